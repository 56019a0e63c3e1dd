"""Attacks of what the stack itself runs, and of its own disks: an MCP server that is an enemy, a script without an end,
volumes without room."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from catalog import volume_name
from tests.chat_completions import ChatServer
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project
from tests.journeys.attacked import ALICE, authorized, name_servers, run
from tests.journeys.attacking import HOST, Answer, Door, container, give_addresses, vitals
from tests.journeys.hostile_server import NAME, REQUIREMENT, write_wheel
from tests.journeys.python_index import index_of
from tests.waiting import until

pytestmark = pytest.mark.engine

KEY = "key-of-the-keeper-0b7e"
AGENT = """---
name: spy
description: Has a server do what it is told.
model: haiku
server: spy
tool: do
prompt_argument: code
---
"""


@pytest.fixture(scope="module")
def index(private_engine: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("index")
    write_wheel(folder)
    with index_of(private_engine, folder) as address:
        yield address


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], index: str, models: ChatServer) -> Project:
    """Production with two servers that speak stdio: one keeps a key, the other is after it."""
    project = new_project(like="production", config={"publicHosts": [HOST]})
    entry = {"command": "uvx", "args": ["--from", REQUIREMENT, NAME]}
    name_servers(project, {"spy": entry, "keeper": {**entry, "env": {"KEEPER_KEY": KEY}}})
    (project.root / ".agents/core/spy.md").write_text(AGENT)
    project.environment.update(GRAFANA_PASSWORD="", GATEWAY_TOKENS=ALICE, UV_DEFAULT_INDEX=index)
    project.environment["OPENAI_BASE_URL"] = models.url
    give_addresses(project)
    return project


@pytest.fixture(scope="module")
def door(deployed: Done, project: Project) -> Door:
    return Door(project)


def done_within(door: Door, code: str) -> str:
    """What `code` prints when the spy runs it in its container."""
    answer = run(door, "spy", f"{code}\n# {secrets.token_hex(8)}").json()
    assert answer["status"] == "succeeded", answer
    return str(answer["output"])


# --- A server that is an enemy ---

PROCESSES = """
import glob, json
seen = {}
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    try:
        seen[path] = open(path, errors="replace").read()
    except OSError:
        pass
print(json.dumps(seen))
"""


def test_what_the_kernel_tells_of_a_server_has_no_key(door: Door) -> None:
    """Nor to those that share its container."""
    seen = json.loads(done_within(door, PROCESSES))
    assert sum(NAME in text for text in seen.values()) >= 1
    assert [path for path, text in seen.items() if KEY in text] == []


WRITING = """
import json, os
could = []
for path in ("/app/runner/main.py", "/app/runner/preload/sitecustomize.py", "/app/dependencies/mcp/__init__.py",
             "/usr/bin/env", "/etc/passwd", "/run/door/egress", "/proc/sys/kernel/hostname"):
    try:
        open(path, "r+b").close()
        could.append(path)
    except OSError:
        pass
for folder in ("/", "/app/runner", "/run/door", "/run/carrier", "/etc"):
    try:
        open(folder + "/mine", "w").close()
        could.append(folder)
    except OSError:
        pass
print(json.dumps(could))
"""


def test_a_server_changes_neither_the_runner_nor_what_others_are_given(door: Door) -> None:
    assert json.loads(done_within(door, WRITING)) == []


ASKING = r"""
import json, socket, urllib.request, urllib.error
def redis(line):
    with socket.create_connection(("redis", 6379), 5) as connection:
        connection.sendall(line)
        return connection.recv(200).decode()
def http(url, method="GET"):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code
print(json.dumps({
    "redis": [redis(b"KEYS *\r\n"), redis(b"SET a b\r\n"), redis(b"INFO\r\n"), redis(b"HELLO 3\r\n")],
    "qdrant": [http("http://qdrant:6333" + path) for path in ("/collections", "/telemetry", "/metrics")],
    "gateway": [http("http://promptcraft:7862/api" + path) for path in ("/agents/available", "/runs", "/events")],
    "prometheus": [http("http://prometheus:9090" + path, "POST") for path in ("/-/reload", "/-/quit")],
    "grafana": [http("http://grafana:3000" + path) for path in ("/api/org", "/api/datasources")],
}))
"""


def told_in(project: Project, service: str, code: str) -> Any:
    """What `code` prints as JSON in a container that is on the stack's network, as no server is."""
    done: Any = container(project, service).exec_run(["python3", "-c", code])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_the_neighbours_ask_whoever_is_on_the_network_who_it_is(door: Door, project: Project) -> None:
    told = told_in(project, "runner", ASKING)
    assert all("NOAUTH" in answer for answer in told["redis"]), told["redis"]
    assert set(told["qdrant"]) == set(told["gateway"]) == set(told["grafana"]) == {401}, told
    assert set(told["prometheus"]) == {403}


# All ports that a stack could publish, of the host as its containers see it.
SCANNING = """
import json, socket, struct
from concurrent.futures import ThreadPoolExecutor
words = [line.split() for line in open("/proc/net/route").read().splitlines()[1:]]
gateway = next(socket.inet_ntoa(struct.pack("<L", int(word[2], 16))) for word in words if word[1] == "00000000")
def listens(port):
    with socket.socket() as client:
        client.settimeout(2)
        return port if client.connect_ex((gateway, port)) == 0 else 0
with ThreadPoolExecutor(32) as pool:
    print(json.dumps(sorted(filter(None, pool.map(listens, range(1, 10001))))))
"""


def test_of_the_host_a_container_reaches_what_the_world_reaches(door: Door, project: Project) -> None:
    # Of the application, which has the memory for it.
    assert told_in(project, "promptcraft-1", SCANNING) == [door.port]


# --- A script without an end ---

CLIENT = 'REDISCLI_AUTH="$(cat /run/promptcraft/secrets/redis 2>/dev/null)" redis-cli '


def health(door: Door) -> dict[str, Any]:
    found: dict[str, Any] = door.ask("/api/health/detailed", headers=authorized(ALICE)).json()
    return found


def fresh(door: Door) -> Answer:
    return run(door, "ai-engineer", secrets.token_hex(8))


def runs_without_redis(door: Door) -> bool:
    """Whether a run that succeeds, as every run must, did so without Redis."""
    assert fresh(door).json()["status"] == "succeeded"
    return health(door)["cache"]["problem"] is not None


def is_served(door: Door) -> bool:
    """Whether every replica finds Redis well: each answers for itself."""
    return all(health(door)["services"]["redis"]["status"] == "ok" for _ in range(6))


@contextmanager
def running_script(project: Project, script: str) -> Iterator[None]:
    """As the application's own user, which may run scripts: its ledger of slots is one."""
    redis = container(project, "redis")
    redis.exec_run(["sh", "-c", f"{CLIENT} eval '{script}' 0"], detach=True)
    try:
        yield
    finally:
        container(project, "redis").exec_run(["sh", "-c", f"{CLIENT} script kill"])


ENDLESS = "while true do end"


@pytest.mark.parametrize("script", [ENDLESS, f"pcall(function() {ENDLESS} end) {ENDLESS}"], ids=["loop", "catching"])
def test_a_script_without_an_end_ends(script: str, door: Door, project: Project) -> None:
    before = vitals(project)
    with running_script(project, script):
        until(lambda: not is_served(door), 30)
        assert fresh(door).json()["status"] == "succeeded"
        until(lambda: is_served(door), 60)
    assert vitals(project) == before


def test_a_script_that_has_written_ends_with_its_redis(door: Door, project: Project) -> None:
    """Redis itself ends no such script, since half of it has happened."""
    kept = run(door, "ai-engineer", secrets.token_hex(8)).json()["id"]

    def is_known() -> bool:
        """To every replica: all but the one that ran it ask Redis."""
        answers = [door.ask(f"/api/runs/{kept}", headers=authorized(ALICE)) for _ in range(6)]
        return all(answer.status == 200 and answer.json()["status"] == "succeeded" for answer in answers)

    until(is_known, 30)
    before = vitals(project)
    with running_script(project, f'redis.call("set", "half", "1") {ENDLESS}'):
        until(lambda: not is_served(door), 30)
        assert fresh(door).json()["status"] == "succeeded"
        until(lambda: is_served(door), 180)
    now, redis = vitals(project), f"promptcraft-{project.stack}-redis"
    assert {name for name in now if now[name] != before[name]} == {redis}
    until(is_known, 30)


# --- Volumes without room ---


@contextmanager
def small_volume(project: Project, service: str, mb: int) -> Iterator[Path]:
    """The data of `service` on a disk of `mb` MiB, which is taken away afterwards with what was written meanwhile."""
    volume = Path(project.engine.client.volumes.get(volume_name(project.stack, service)).attrs["Mountpoint"])
    holder = container(project, service)
    copy = volume.parent / "copy"
    holder.stop()
    shutil.copytree(volume, copy, copy_function=shutil.copy2)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mb}m", "small", str(volume)], check=True)
    subprocess.run(["cp", "-a", f"{copy}/.", str(volume)], check=True)
    subprocess.run(["chown", "-R", holder.attrs["Config"]["User"], str(volume)], check=True)
    try:
        start(project, service)
        yield volume
    finally:
        holder.stop()
        subprocess.run(["umount", str(volume)], check=True)
        shutil.rmtree(copy)
        start(project, service)


def start(project: Project, service: str) -> None:
    container(project, service).start()
    until(lambda: container(project, service).attrs["State"]["Health"]["Status"] == "healthy", 60)


def fill(volume: Path) -> Path:
    filler = volume / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    return filler


def test_runs_go_on_while_redis_has_no_room_on_its_disk(door: Door, project: Project) -> None:
    with small_volume(project, "redis", 8) as volume:
        until(lambda: health(door)["cache"]["problem"] is None, 30)
        filler = fill(volume)
        until(lambda: runs_without_redis(door), 30)
        filler.unlink()
        until(lambda: not any(runs_without_redis(door) for _ in range(6)), 30)
    until(lambda: not any(runs_without_redis(door) for _ in range(6)), 30)


def test_runs_go_on_while_qdrant_has_no_room_on_its_disk(door: Door, project: Project) -> None:
    with small_volume(project, "qdrant", 256) as volume:
        filler = fill(volume)

        def is_noticed() -> bool:
            assert fresh(door).json()["status"] == "succeeded"
            return health(door)["similar"]["problem"] is not None

        until(is_noticed, 30)
        filler.unlink()
        until(lambda: fresh(door).status == 200 and health(door)["similar"]["problem"] is None, 30)


def test_prometheus_without_room_is_not_called_well(door: Door, project: Project) -> None:
    def problem() -> str:
        told = health(door)
        return str(told["services"]["prometheus"]["problem"]) if told["status"] == "degraded" else ""

    with small_volume(project, "prometheus", 64) as volume:
        until(lambda: problem() == "", 60)
        filler = fill(volume)
        until(lambda: "room on its disk" in problem(), 90)
        filler.unlink()
        until(lambda: problem() == "", 60)
