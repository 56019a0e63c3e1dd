"""Every Dockerfile of the repository is built and started, where no image registry is reached.

Those that stand on published images are built by set-up's own way, in an engine whose mirror of Docker Hub is a real
registry. What it has under the published names is made by our own recipes, so this shows that the Dockerfiles are
sound: their syntax, what they copy and install, their users, and that what they start comes up healthy under the
stack's restrictions. It says nothing about the published images themselves (docs/tried.md).
"""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from catalog import EGRESS, EXPORTERS, NGINX_STATUS_PORT, RUNNER, SERVICES, Exporter, Service
from discovery.config import DiscoveryConfig
from gateway.tests.conftest import plan_of
from planning.decide import decide
from rendering.health_checks import health_command
from rendering.squid_conf import squid_conf
from tests import docker_registry
from tests.builders import ROOT, report_of, settings_of
from tests.engine.private_engine import PrivateEngine
from tests.journeys import python_index
from tests.journeys.serving import serving
from tests.waiting import until
from toolchain.docker import Docker
from toolchain.failure import SetupError
from toolchain.images import recipes, references, resolve, wheels
from toolchain.layout import Layout, layout
from toolchain.reachability import Outside

pytestmark = pytest.mark.engine

MIRROR = f"127.0.0.1:{docker_registry.PORT}"
# By entry of images/references.json: the recipe that stands in, and what the published image has beside it.
_UNDER_PUBLISHED_NAMES = {
    # The published image has pip, and is not Debian's to manage. The mirror's engine reaches no archive of Debian's, so
    # what images/egress installs is there already.
    "python": (
        "python",
        "RUN apt-get update && apt-get install -y --no-install-recommends python3-pip squid socat busybox-static"
        " && rm -rf /var/lib/apt/lists/*"
        " && rm /usr/lib/python3*/EXTERNALLY-MANAGED",
    ),
    "nginx-exporter": (
        "exporters",
        "USER 0\nRUN cp /usr/bin/prometheus-nginx-exporter /usr/bin/nginx-prometheus-exporter",
    ),
    "redis-exporter": ("exporters", "USER 0\nRUN cp /usr/bin/prometheus-redis-exporter /redis_exporter"),
    "busybox": ("exporters", "USER 0\nRUN rm /usr/local/bin/*exporter"),
}
KNOWN = references.load(ROOT)
BUILT = {name: entry.build for name, entry in KNOWN.items() if entry.build}


class Everywhere(Outside):
    """An outside where everybody answers: the mirror is asked for Docker Hub's images."""

    def __init__(self) -> None:
        super().__init__(())

    def answers(self, url: str) -> bool:
        return True


@dataclass(frozen=True)
class Hub:
    """An engine that has no image, and a mirror of Docker Hub beside it."""

    engine: PrivateEngine
    docker: Docker

    def publish(self, image: str, reference: str, more: str) -> None:
        """Give the mirror `image`, with `more` in its Dockerfile, under Docker Hub's name; the engine keeps neither."""
        name = references.split(reference)
        there = f"{MIRROR}/{name.repository}:{name.tag}"
        self.docker("build", "--quiet", "--tag", there, "-", stdin=f"FROM {image}\n{more}\n")
        self.docker("push", "--quiet", there)
        self.docker("image", "rm", there, image)

    def load(self, *images: str) -> None:
        """Bring `images` of this host's engine into this one."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            subprocess.run(
                ["docker", "-H", self.engine.host, "load"], stdin=saved.stdout, check=True, capture_output=True
            )
        assert saved.returncode == 0


@pytest.fixture(scope="module")
def hub(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    own, folder = Docker(), tmp_path_factory.mktemp("hub")
    private = PrivateEngine(f"--registry-mirror=http://{MIRROR}")
    private.start()
    hub = Hub(private, Docker(private.host))
    registry, images = docker_registry.registry_image(own, folder), {}
    for entry, (recipe, more) in _UNDER_PUBLISHED_NAMES.items():
        over, text = recipes.make(recipes.RECIPES[recipe], own, layout()), f"ARG BASE\nFROM ${{BASE}}\n{more}\n"
        images[entry] = docker_registry.built(own, tmp_path_factory.mktemp(entry), f"test-{entry}", over, text)
    # All at once: they share most of their layers.
    hub.load(registry, *images.values())
    private.client.containers.run(registry, detach=True, ports={f"{docker_registry.PORT}/tcp": docker_registry.PORT})
    index = tmp_path_factory.mktemp("index")
    platforms = wheels.platforms(own.architecture())
    for lock in sorted(ROOT.glob("**/requirements.lock")):
        if any(lock.is_relative_to(ROOT / build.context) for build in BUILT.values()):
            fitting = ("--no-deps", f"--python-version={wheels.PYTHON}", *platforms)
            python_index.fill(index, *fitting, "--requirement", str(lock))
    with python_index.index_of(private, index) as packages:
        pip = f"[global]\\nindex-url = {packages}\\ntrusted-host = {private.bridge}\\n"
        for entry, image in images.items():
            reference = KNOWN[entry].reference
            assert reference
            hub.publish(image, reference, f"USER 0\nRUN printf '{pip}' > /etc/pip.conf")
        assert {name for name in hub.docker.images() if not name.startswith("promptcraft.local/test-registry")} == set()
        yield hub
    private.close()


@pytest.fixture(scope="module")
def images(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The image of each entry that is built from its own Dockerfile, as set-up builds it."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("images", "gateway"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", ".mypy_cache"))
    where = Layout(root, tmp_path_factory.mktemp("cache"))

    def never(*arguments: object) -> str:
        raise SetupError("its Dockerfile was not built; see the lines above")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recipes, "make", never)
        resolve.resolve(BUILT, hub.docker, where, Everywhere(), fresh=False)
    return {name: image.reference for name, image in resolve.read(where).items()}


def written(file: Path, text: str) -> dict[str, dict[str, str]]:
    """The file as a volume, below /run/promptcraft."""
    file.write_text(text)
    file.chmod(0o644)
    return {str(file): {"bind": f"/run/promptcraft/{file.name}", "mode": "ro"}}


def started(hub: Hub, image: str, service: Service | Exporter, **more: Any) -> Container:
    """A container as the stack declares it, with nothing of its neighbours, once it is healthy."""
    check = service.health_check
    container = hub.engine.client.containers.run(
        image,
        detach=True,
        init=True,
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        user=service.user,
        pids_limit=service.pids,
        mem_limit=f"{service.memory_mb}m",
        tmpfs={path: f"rw,noexec,nosuid,nodev,size={size}m" for path, size in getattr(service, "tmpfs_mb", {}).items()},
        healthcheck={
            "test": [*health_command(check)],
            "interval": 10**9,
            "timeout": check.timeout * 10**9,
            "retries": 60,
        },
        **more,
    )

    def healthy() -> bool:
        container.reload()
        assert container.status == "running", container.logs().decode()
        return bool(container.health == "healthy")

    until(healthy)
    return container


def said(container: Container, *command: str) -> str:
    result: Any = container.exec_run([*command])
    assert result.exit_code == 0, result.output
    return str(result.output.decode())


def test_no_dockerfile_is_left_out() -> None:
    told = subprocess.run(["git", "ls-files", "*Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=True)
    offline = {f"images/offline/{name}/Dockerfile" for name in recipes.RECIPES}
    assert set(told.stdout.split()) == {f"{build.context}/Dockerfile" for build in BUILT.values()} | offline


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_every_recipe_is_built(name: str, engine: docker.DockerClient) -> None:
    own = Docker()
    assert recipes.make(recipes.RECIPES[name], own, layout()) in own.images()


def test_each_is_built_as_set_up_does_and_has_the_user_that_runs_it(hub: Hub, images: Mapping[str, str]) -> None:
    assert set(images) == set(BUILT)
    users = {name: hub.engine.client.images.get(image).attrs["Config"]["User"] for name, image in images.items()}
    services: dict[str, Service | Exporter] = {**SERVICES, "runner": RUNNER, "egress": EGRESS}
    services["exporters"] = EXPORTERS["nginx-exporter"]
    assert users == {name: services[name].user for name in images}


def test_the_gateway_comes_up_on_the_python_that_the_references_name(
    hub: Hub, images: Mapping[str, str], tmp_path: Path
) -> None:
    files = written(tmp_path / "plan.json", json.dumps(plan_of({})))
    container = started(hub, images["promptcraft"], SERVICES["promptcraft"], volumes=files)
    version = said(container, "python3", "-c", "import sys; print('.'.join(map(str, sys.version_info[:2])))").strip()
    assert (KNOWN["python"].reference or "").startswith(f"python:{version}.")
    assert version == wheels.PYTHON


def test_zen_mcp_comes_up(hub: Hub, images: Mapping[str, str]) -> None:
    container = started(hub, images["zen-mcp"], SERVICES["zen-mcp"])
    assert "start_pal.py" in said(container, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")


def test_the_runner_comes_up_with_node_and_uv(hub: Hub, images: Mapping[str, str], tmp_path: Path) -> None:
    doors = written(tmp_path / "doors.json", json.dumps({"egress": "egress", "containers": {}}))
    packages = {"runner-packages": {"bind": str(RUNNER.data_path), "mode": "rw"}}
    container = started(hub, images["runner"], RUNNER, volumes=doors | packages)
    assert said(container, "node", "--version").startswith("v")
    assert said(container, "uv", "--version").startswith("uv ")
    said(container, "sh", "-c", f"touch {RUNNER.data_path}/mine")


def test_the_way_out_comes_up_and_has_the_carriers(hub: Hub, images: Mapping[str, str], tmp_path: Path) -> None:
    settings = settings_of("cloud")
    conf = written(tmp_path / "squid.conf", squid_conf(decide(report_of(), settings, DiscoveryConfig())))
    container = started(hub, images["egress"], EGRESS, volumes=conf)
    socat = ("/carrier/ld.so", "--library-path", "/carrier/lib", "/carrier/socat", "-V")
    assert "socat version" in said(container, *socat) and "nc" in said(container, "/carrier/busybox", "--list")


class Status(http.server.BaseHTTPRequestHandler):
    """nginx's own figures: Debian's exporter starts only where they can be read."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"Active connections: 1 \nserver accepts handled requests\n 7 7 9 \n")
        self.wfile.write(b"Reading: 0 Writing: 1 Waiting: 0 \n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_each_exporter_comes_up(hub: Hub, images: Mapping[str, str], name: str) -> None:
    exporter = EXPORTERS[name]
    with serving(hub.engine, Status) as nginx:
        command = [word.replace(f"http://nginx:{NGINX_STATUS_PORT}/", nginx) for word in exporter.command]
        container = started(hub, images["exporters"], exporter, command=command, extra_hosts={"redis": "127.0.0.1"})
        figures = said(container, "wget", "-q", "-O", "-", f"http://127.0.0.1:{exporter.port}/metrics")
    assert f"{exporter.service}_up {int(exporter.service == 'nginx')}\n" in figures
