"""Real containers on a real engine of our own: what they are, whose they are, and from where they can be reached."""

from __future__ import annotations

import os

from docker.errors import APIError
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool

from tests.waiting import until

from ..debian import binary
from ..engine import emulator
from ..scenario import DOCKER, Table, ends_within, lists, lists_nothing, says, selects, selects_nothing
from ..servers import await_port
from ..world import World

scenario = Table(engine=True)

_QDRANT = "qdrant/qdrant:v1.12.0"
_APP = "acme/app:1"


def _labels(stack: str, service: str = "qdrant", project: str = "promptcraft-hybrid") -> dict[str, str]:
    return {"ai.promptcraft.project": project, "ai.promptcraft.stack": stack, "ai.promptcraft.service": service}


@scenario(
    "a container with Qdrant's image and a published port is chosen",
    selects("qdrant", 7333, DOCKER, "1.12.0"),
    lists("qdrant", 7333, "verified", DOCKER, evidence="container vectors"),
)
def _(world: World) -> None:
    world.engine.run("vectors", _QDRANT, *emulator("qdrant", "1.12.0", 6333), port=6333, publish=7333)


@scenario(
    "a container on the usual port is found as a container, not as a process of the host",
    selects("qdrant", 6333, DOCKER),
)
def _(world: World) -> None:
    world.engine.run("vectors", _QDRANT, *emulator("qdrant", "1.12.0", 6333), port=6333, publish=6333)


@scenario("a real Redis in a container of a mirrored image is chosen", selects("redis", 7379, DOCKER))
def _(world: World) -> None:
    command = (binary("redis-server"), "--port", "6379", "--protected-mode", "no", "--save", "")
    world.engine.run("cache", "mirror.local:5000/library/redis:7.2.4", *command, port=6379, publish=7379)


@scenario(
    "a container on a network alone is found, and the network named",
    lists("redis", 6379, "verified", DOCKER, hosts=frozenset({"172.28.5.2"}), reach__vantage="container_network"),
)
def _(world: World) -> None:
    pool = IPAMConfig(pool_configs=[IPAMPool(subnet="172.28.5.0/24")])
    network = world.engine.client.networks.create("backend", ipam=pool)
    command = (binary("redis-server"), "--port", "6379", "--protected-mode", "no", "--save", "")
    world.engine.run("cache", "redis:7.2.4", *command, port=6379, network=network.name)


@scenario(
    "models: vLLM's container is found at whatever port it publishes, and its network named",
    selects("models", 18000, DOCKER, "0.21.0", holds=["tiny"], title="vLLM"),
    lists("models", 18000, "verified", DOCKER, reach__vantage="container_network"),
)
def _(world: World) -> None:
    world.engine.run("brain", "vllm/vllm-openai:v0.21.0", *emulator("vllm", "tiny", 8000), port=8000, publish=18000)


@scenario(
    "a container is not a service by its name alone",
    lists_nothing("redis", source=DOCKER),
    lists_nothing("qdrant", source=DOCKER),
)
def _(world: World) -> None:
    world.engine.run("my-redis-qdrant", "acme/backup:1", *emulator("grafana", "1", 7555), port=7555, publish=7555)


@scenario("an image whose name merely contains the right one is not it", lists_nothing("qdrant", source=DOCKER))
def _(world: World) -> None:
    world.engine.run("exporter", "acme/qdrant-exporter:1", *emulator("grafana", "1", 6333), port=6333, publish=7555)


@scenario(
    "the right image with something else in it is an impostor",
    lists("qdrant", 7333, "impostor", DOCKER),
    selects_nothing("qdrant"),
)
def _(world: World) -> None:
    world.engine.run("vectors", _QDRANT, *emulator("grafana", "1", 6333), port=6333, publish=7333)


@scenario(
    "labels of this stack make nothing ours, and what bears them is not reused",
    selects_nothing("qdrant"),
    lists("qdrant", 6333, ("owned", "skipped")),
)
def _(world: World) -> None:
    world.engine.run(
        "forged", "acme/thing:1", *emulator("qdrant", "1.12.0", 6333), port=6333, publish=6333, labels=_labels("dev")
    )


@scenario("another stack's service is somebody else's", selects_nothing("qdrant"), says("production"))
def _(world: World) -> None:
    command = emulator("qdrant", "1.12.0", 6333)
    labels = _labels("production")
    world.engine.run("promptcraft-production-qdrant", _QDRANT, *command, port=6333, publish=6333, labels=labels)


@scenario(
    "another stack's service is chosen where the stack shares it", selects("qdrant", 6333, ownership="foreign_claim")
)
def _(world: World) -> None:
    command = emulator("qdrant", "1.12.0", 6333)
    labels = _labels("production")
    world.engine.run("promptcraft-production-qdrant", _QDRANT, *command, port=6333, publish=6333, labels=labels)
    world.configure("share", ["qdrant"])


@scenario("another project's service is somebody else's", selects_nothing("qdrant"), says("another"))
def _(world: World) -> None:
    command = emulator("qdrant", "1.12.0", 6333)
    world.engine.run(
        "other", _QDRANT, *command, port=6333, publish=6333, labels=_labels("dev", project="other-project")
    )


@scenario("sharing one service shares no other", selects_nothing("qdrant"))
def _(world: World) -> None:
    command = emulator("qdrant", "1.12.0", 6333)
    world.engine.run("other", _QDRANT, *command, port=6333, publish=6333, labels=_labels("production"))
    world.configure("share", ["redis"])


@scenario(
    "a shared service must prove itself all the same", selects_nothing("qdrant"), lists("qdrant", 6333, "impostor")
)
def _(world: World) -> None:
    command = emulator("grafana", "1", 6333)
    world.engine.run("other", _QDRANT, *command, port=6333, publish=6333, labels=_labels("production"))
    world.configure("share", ["qdrant"])


@scenario("a variable that leads to our own container does not make it external", selects_nothing("qdrant"))
def _(world: World) -> None:
    command = emulator("qdrant", "1.12.0", 6333)
    world.engine.run("promptcraft-dev-qdrant", _QDRANT, *command, port=6333, publish=7333, labels=_labels("dev"))
    world.set(QDRANT_HOST="127.0.0.1", QDRANT_PORT="7333")


@scenario("a lock that leads to our own container does not make it external", selects_nothing("qdrant"))
def _(world: World) -> None:
    command = emulator("qdrant", "1.12.0", 6333)
    world.engine.run("promptcraft-dev-qdrant", _QDRANT, *command, port=6333, publish=7333, labels=_labels("dev"))
    world.lock("qdrant", 7333, os.getpid())


@scenario("a port published on all addresses leads to the same container", selects_nothing("qdrant"))
def _(world: World) -> None:
    command = emulator("qdrant", "1.12.0", 6333)
    world.engine.run(
        "promptcraft-dev-qdrant", _QDRANT, *command, port=6333, publish=6333, on="0.0.0.0", labels=_labels("dev")
    )


@scenario("our own container on its network's address is not external", selects_nothing("qdrant"))
def _(world: World) -> None:
    command = emulator("qdrant", "1.12.0", 6333)
    container = world.engine.run("promptcraft-dev-qdrant", _QDRANT, *command, port=6333, labels=_labels("dev"))
    world.set(QDRANT_HOST=container.attrs["NetworkSettings"]["IPAddress"])


@scenario("our own container on the host's network is not external", selects_nothing("qdrant"))
def _(world: World) -> None:
    command = emulator("qdrant", "1.12.0", 6333)
    world.engine.run("promptcraft-dev-qdrant", _QDRANT, *command, port=6333, labels=_labels("dev"), network_mode="host")
    await_port(6333, "127.0.0.1")


@scenario("a container that has stopped is nobody", selects_nothing("qdrant"))
def _(world: World) -> None:
    command = emulator("qdrant", "1.12.0", 6333)
    world.engine.run("vectors", _QDRANT, *command, port=6333, publish=7333).stop(timeout=0)


@scenario("a paused container costs the budget at most", selects_nothing("qdrant"), ends_within(2.5), budget=2.0)
def _(world: World) -> None:
    command = emulator("qdrant", "1.12.0", 6333)
    container = world.engine.run("vectors", _QDRANT, *command, port=6333, publish=7333)
    until(lambda: _is_frozen(container))


def _is_frozen(container: Container) -> bool:
    try:
        container.pause()
    except APIError:
        # A busy kernel may refuse to freeze it at first.
        return False
    return True


@scenario("a label with a terminal's escapes is shown without them", selects_nothing("qdrant"))
def _(world: World) -> None:
    command = emulator("qdrant", "1.12.0", 6333)
    labels = _labels("\x1b[2J\n[OK] qdrant ours" + "x" * 3000)
    world.engine.run("vectors", _QDRANT, *command, port=6333, publish=6333, labels=labels)


@scenario("a label that names a service which does not exist is no service", selects("qdrant", 7333))
def _(world: World) -> None:
    command = emulator("qdrant", "1.12.0", 6333)
    world.engine.run(
        "thing", "acme/thing:1", *command, port=6333, publish=7444, labels=_labels("dev", service="../../etc")
    )
    world.engine.run("vectors", _QDRANT, *command, port=6333, publish=7333)


@scenario("a container that docker-compose calls redis is asked, whatever its image", selects("redis", 7379, DOCKER))
def _(world: World) -> None:
    command = (binary("redis-server"), "--port", "6379", "--protected-mode", "no", "--save", "")
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "redis"}
    world.engine.run("shop-redis-1", "acme/cache:1", *command, port=6379, publish=7379, labels=labels)


@scenario("another stack's PromptCraft is chosen where it is shared", selects("promptcraft", 7862, version="2.3.4"))
def _(world: World) -> None:
    command = emulator("promptcraft", "2.3.4", 7862)
    labels = _labels("production", "promptcraft")
    world.engine.run("promptcraft-production-promptcraft-1", _APP, *command, port=7862, publish=7862, labels=labels)
    world.configure("share", ["promptcraft"])


@scenario(
    "a container that nobody named is offered to production, and not taken",
    lists("qdrant", 7333, "skipped", DOCKER, reason=r"pin\.qdrant: http://127\.0\.0\.1:7333", offered=True),
    selects_nothing("qdrant"),
    stack="production",
)
def _(world: World) -> None:
    world.engine.run("vectors", _QDRANT, *emulator("qdrant", "1.12.0", 6333), port=6333, publish=7333)


@scenario("a container that is pinned is production's", selects("qdrant", 7333, DOCKER), stack="production")
def _(world: World) -> None:
    world.engine.run("vectors", _QDRANT, *emulator("qdrant", "1.12.0", 6333), port=6333, publish=7333)
    world.configure("environment", "production", stack="production")
    world.configure("pin", {"qdrant": "docker_service"}, stack="production")


@scenario("another stack's container is production's where it is shared", selects("qdrant", 7333), stack="production")
def _(world: World) -> None:
    labels = _labels("main", project="another")
    world.engine.run("vectors", _QDRANT, *emulator("qdrant", "1.12.0", 6333), port=6333, publish=7333, labels=labels)
    world.configure("environment", "production", stack="production")
    world.configure("share", ["qdrant"], stack="production")
