"""The gateway as it is shipped: containers of its image beside a Redis, a Qdrant and an MCP server that counts."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container
from docker.models.networks import Network

from catalog import LABEL_PROJECT, LABEL_STACK
from gateway.tests.conftest import ROOT, agent, answers, as_json, listens, plan_of, service, wait_until

API_PORT, PAGE_PORT = 7862, 7860
MCP_PORT = 8000
START_SECONDS = 60.0
FILES = "/run/promptcraft"
MODELS = ("opus", "sonnet", "haiku")

# What components/workload.py declares for every container, and catalog.py for this one.
CONFINED: Mapping[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "pids_limit": 256,
}
GATEWAY_MEMORY_MIB = 384
GATEWAY_CPUS = 2.0


@dataclass(frozen=True)
class Replica:
    """One gateway container; `api` and `page` are the URLs of its ports here, which `answered_at` (epoch) first."""

    container: Container
    api: str
    page: str
    answered_at: float

    def resident_mib(self) -> float:
        """What the gateway's process has in memory, by the engine's own `ps`."""
        told: Any = self.container.top(ps_args="-o pid,rss")
        return int(told["Processes"][0][told["Titles"].index("RSS")]) / 1024


@dataclass
class Stage:
    """The neighbours, and what it takes to put gateways beside them. `mcp_url` is on this machine."""

    engine: docker.DockerClient
    network: str
    folder: Path
    mcp_url: str
    plan: Mapping[str, Any]
    _stack: ExitStack

    def replica(self, *, files: Mapping[Path, str] | None = None, **environment: str) -> Replica:
        """A gateway that answers; `files` are mounted beside its plan and its agents."""
        name = f"gateway-{secrets.token_hex(3)}"
        plan_file = _readable(self.folder / f"{name}.json", json.dumps(self.plan))
        container = run(
            self._stack,
            self.engine,
            self.network,
            name,
            image("promptcraft"),
            ports=(API_PORT, PAGE_PORT),
            files={plan_file: f"{FILES}/plan.json", self.folder / "agents": f"{FILES}/agents", **(files or {})},
            environment=environment,
            mem_limit=f"{GATEWAY_MEMORY_MIB}m",
            memswap_limit=f"{GATEWAY_MEMORY_MIB}m",
            nano_cpus=int(GATEWAY_CPUS * 1e9),
            tmpfs={"/tmp": "size=32m"},
        )
        api, page = published(container, API_PORT), published(container, PAGE_PORT)
        for url in (api, page):
            wait_until(lambda url=url: answers(f"{url}/health"), f"{name} answers", START_SECONDS)  # type: ignore[misc]
        return Replica(container, api, page, time.time())


@contextmanager
def stage(engine: docker.DockerClient, folder: Path, *, delay: float = 0.0) -> Iterator[Stage]:
    """The neighbours of a gateway in a network of their own; the MCP server's `chat` takes `delay` seconds."""
    with ExitStack() as stack:
        network = f"promptcraft-gateway-test-{secrets.token_hex(3)}"
        made = engine.networks.create(network, driver="bridge")
        stack.callback(lambda: wait_until(lambda: _removed(made), f"{network} is removed", START_SECONDS))
        run(stack, engine, network, "redis", image("redis"), command=["redis-server", "--save", ""])
        run(
            stack,
            engine,
            network,
            "qdrant",
            image("qdrant"),
            tmpfs={"/qdrant/storage": "uid=1000,gid=1000", "/tmp": ""},
        )
        counting = _readable(folder / "counting_mcp.py", (ROOT / "gateway/tests/counting_mcp.py").read_text())
        server = run(
            stack,
            engine,
            network,
            "counting",
            image("promptcraft"),
            command=["python3", "/counting_mcp.py"],
            ports=(MCP_PORT,),
            files={counting: "/counting_mcp.py"},
            environment={"HOST": "0.0.0.0", "PORT": str(MCP_PORT), "DELAY_SECONDS": str(delay)},
        )
        mcp_url = published(server, MCP_PORT)
        wait_until(lambda: listens(mcp_url), "the counting server listens", START_SECONDS)
        services = {
            "redis": service("redis", "redis://redis:6379"),
            "qdrant": service("qdrant", "http://qdrant:6333", stand_in="over qdrant-edge-py"),
            "zen-mcp": service("mcp", f"http://counting:{MCP_PORT}"),
            "promptcraft": service("promptcraft", f"http://promptcraft:{API_PORT}"),
            "grafana": service("grafana", None),
        }
        (folder / "agents").mkdir()
        (folder / "agents").chmod(0o755)
        agents = {model: _define(folder / "agents", model) for model in MODELS}
        yield Stage(engine, network, folder, mcp_url, plan_of(services, agents), stack)


def image(service_name: str) -> str:
    """The reference that set-up resolved for a service."""
    resolved = json.loads((ROOT / ".promptcraft" / "images.json").read_text())
    return str(resolved[service_name]["reference"])


def run(
    stack: ExitStack,
    engine: docker.DockerClient,
    network: str,
    name: str,
    image_name: str,
    *,
    ports: tuple[int, ...] = (),
    files: Mapping[Path, str] | None = None,
    **options: Any,
) -> Container:
    """A confined container that answers to `name` in the network, with `ports` published on loopback; gone with
    `stack`."""
    container = engine.containers.create(
        image_name,
        name=f"{network}-{name}",
        network=network,
        # A stack that is deployed here meanwhile leaves another project's containers alone.
        labels={LABEL_PROJECT: "promptcraft-gateway-tests", LABEL_STACK: network},
        networking_config={network: engine.api.create_endpoint_config(aliases=[name])},
        ports={f"{port}/tcp": ("127.0.0.1", 0) for port in ports},
        volumes={str(source): {"bind": target, "mode": "ro"} for source, target in (files or {}).items()},
        **{**CONFINED, **options},
    )
    stack.callback(container.remove, force=True, v=True)
    container.start()
    container.reload()
    return container


def published(container: Container, port: int) -> str:
    """The URL on this machine of a published port."""
    bindings = container.ports[f"{port}/tcp"]
    assert bindings is not None
    return f"http://127.0.0.1:{bindings[0]['HostPort']}"


def _removed(network: Network) -> bool:
    try:
        network.remove()
    except docker.errors.APIError as error:
        # For a moment the engine still counts a container that it has removed: "has active endpoints".
        if error.status_code != 403:
            raise
        return False
    return True


def _define(folder: Path, model: str) -> dict[str, Any]:
    text = f"---\nname: {model}\nmodel: {model}\nserver: zen-mcp\n---\nYou are {model}.\n"
    file = _readable(folder / f"{model}.json", as_json(text))
    return agent(Path(FILES) / "agents" / file.name)


def _readable(path: Path, text: str) -> Path:
    # Whatever the umask here: the container's user is another.
    path.write_text(text)
    path.chmod(0o644)
    return path
