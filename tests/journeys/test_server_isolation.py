"""What an MCP server that is an enemy reaches: nothing but its own files, and by its way out what it may."""

from __future__ import annotations

import base64
import http.server
import json
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container

from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project
from tests.hardening import broken_rows
from tests.journeys.attacked import name_servers
from tests.journeys.hostile_server import NAME, REQUIREMENT, write_wheel
from tests.journeys.python_index import index_of
from tests.scenarios.namespace import ip
from tests.waiting import until

pytestmark = pytest.mark.engine

API = 7862
KEY = "key-of-the-keeper-4c1d"
# Of the internet, as the engine's machine plays it.
ADDRESS = "9.9.9.7"
METADATA = "169.254.169.254"
ANYWHERE, NAMED, SHUT, SHARING = "anywhere", "named", "shut", "sharing"
CONFIG = f"""
servers:
  {NAMED}: {{egress: [allowed.example.com, "*.below.example.com", inward.example.com]}}
  {SHUT}: {{egress: none}}
"""
AGENT = """---
name: {name}
description: Has a server do what it is told.
model: haiku
server: {name}
tool: do
prompt_argument: code
---
"""


class Names(threading.Thread):
    """A name server (RFC 1035) of the engine's machine: A records only. `rebind.` changes its answer each time."""

    def __init__(self, engine: PrivateEngine, address: str) -> None:
        super().__init__(daemon=True)
        self.asked: list[str] = []
        self._socket = engine.namespace.run(lambda: _bound(address))

    def run(self) -> None:
        while True:
            try:
                query, sender = self._socket.recvfrom(4096)
            except OSError:
                return
            self._socket.sendto(self._answer(query), sender)

    def _answer(self, query: bytes) -> bytes:
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode(errors="replace"))
            at += 1 + length
        name, question = ".".join(labels).lower(), query[12 : at + 5]
        is_a = question[-4:-2] == b"\0\1"
        if is_a:
            self.asked.append(name)
        inward = name.startswith("inward.") or (name.startswith("rebind.") and self.asked.count(name) % 2 == 0)
        address = socket.inet_aton(METADATA if inward else ADDRESS)
        known = is_a and name.endswith((".example.com", ".example.org"))
        header = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if known else b"\0\0") + b"\0\0\0\0"
        # A time to live of nothing: whoever trusts it asks again.
        record = b"\xc0\x0c\0\1\0\1" + b"\0\0\0\0" + b"\0\4" + address
        return header + question + (record if known else b"")

    def close(self) -> None:
        self._socket.close()


def _bound(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, 53))
    return made


class _Says(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"the other side"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def names(private_engine: PrivateEngine) -> Iterator[Names]:
    """An internet: two machines with a page on two ports each, of which one is nobody's to see, and their names."""
    found = re.findall(r"(?m)^nameserver\s+([0-9.]+)$", Path("/etc/resolv.conf").read_text())
    resolver = next((address for address in found if not address.startswith("127.")), "8.8.8.8")
    servers = []
    for address in (ADDRESS, METADATA, resolver):
        private_engine.namespace.run(partial(ip, "address", "add", f"{address}/32", "dev", "lo"))
    for place in ((ADDRESS, 80), (ADDRESS, 443), (ADDRESS, 25), (METADATA, 80), (METADATA, 443)):
        server = private_engine.namespace.run(partial(http.server.ThreadingHTTPServer, place, _Says))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    names = Names(private_engine, resolver)
    names.start()
    yield names
    names.close()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def project(
    new_project: Callable[..., Project],
    private_engine: PrivateEngine,
    names: Names,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("index")
    write_wheel(folder)
    with index_of(private_engine, folder) as index:
        project = new_project(config={"loadBalancer": True, "monitoring": True, "memoryBudgetMb": 4096})
        entry = {"command": "uvx", "args": ["--from", REQUIREMENT, NAME]}
        with_key = {**entry, "env": {"KEEPER_KEY": KEY}}
        name_servers(project, {"keeper": with_key, ANYWHERE: with_key, NAMED: entry, SHUT: entry, SHARING: entry})
        for name in (ANYWHERE, NAMED, SHUT, SHARING):
            (project.root / f".agents/core/{name}.md").write_text(AGENT.format(name=name))
        (project.root / ".mcp/discovery-config.yaml").write_text(CONFIG)
        project.environment["UV_DEFAULT_INDEX"] = index
        yield project


def container(project: Project, service: str) -> Container:
    return project.engine.client.containers.get(f"promptcraft-{project.stack}-{service}")


def said(project: Project, service: str, *command: str) -> str:
    """What a command prints in a container of the stack."""
    done: Any = container(project, service).exec_run([*command])
    assert done.exit_code == 0, done.output
    return str(done.output.decode())


def done_by(project: Project, server: str, code: str) -> Any:
    """What `code` prints, as JSON, when the server runs it."""
    body = {"input": f"{code}\n# {secrets.token_hex(8)}"}
    run = project.ask(API, f"/api/agents/{server}/runs", "POST", json=body).json()
    assert run["status"] == "succeeded", run
    return json.loads(run["output"])


def test_each_runs_where_the_plan_says(deployed: Done, project: Project) -> None:
    services = {str(one.labels["ai.promptcraft.service"]) for one in project.containers() if one.status == "running"}
    assert services >= {f"{name}-stdio" for name in ("keeper", ANYWHERE, NAMED, SHUT)} | {"runner-servers", "egress"}
    assert f"{NAMED}: the runner starts uvx {REQUIREMENT} " in deployed.text
    assert "; it may reach allowed.example.com, *.below.example.com, inward.example.com" in deployed.text


def test_all_is_hardened_and_a_second_up_changes_nothing(deployed: Done, project: Project) -> None:
    assert broken_rows(project) == []
    preview = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert preview.code == 0, preview.text


# Every file that could hold a key, and what the kernel tells of each process.
READING = """
import glob, json, os
found = []
for top in ("/run", "/packages", "/tmp", "/proc"):
    for folder, folders, files in os.walk(top):
        for file in files:
            path = os.path.join(folder, file)
            if top == "/proc" and file not in ("environ", "cmdline"):
                continue
            try:
                if "KEY_TO_FIND" in open(path, errors="replace").read(1 << 20):
                    found.append(path)
            except OSError:
                pass
print(json.dumps(found))
"""


@pytest.mark.parametrize("server", [NAMED, SHUT, SHARING])
def test_no_server_finds_anothers_key(deployed: Done, project: Project, server: str) -> None:
    assert done_by(project, server, READING.replace("KEY_TO_FIND", KEY[:8] + '" + "' + KEY[8:])) == []


def test_a_server_writes_to_no_door(deployed: Done, project: Project) -> None:
    code = (
        "import json, os; print(json.dumps([p for p in ('/run/door', '/run/carrier', '/') if os.access(p, os.W_OK)]))"
    )
    assert done_by(project, ANYWHERE, code) == []
    code = "import json, os; print(json.dumps(sorted(os.listdir('/run/door'))))"
    assert set(done_by(project, ANYWHERE, code)) == {ANYWHERE, "egress"}


def probing(project: Project) -> str:
    """Python that prints what it can connect to: of the stack by name and address, of the host, and of the world."""
    addresses = {}
    for one in project.containers():
        for network in one.attrs["NetworkSettings"]["Networks"].values():
            if network["IPAddress"]:
                addresses[one.labels["ai.promptcraft.service"]] = network["IPAddress"]
    ports = {"redis": (6379,), "qdrant": (6333,), "promptcraft": (7860, 7862), "nginx": (8080, 8081)}
    ports |= {"prometheus": (9090,), "grafana": (3000,), "zen-mcp": (8000,), "runner": (8000,), "egress": (3128, 3200)}
    places = [(host, port) for name, each in ports.items() for port in each for host in (name, addresses[name])]
    network = project.engine.client.networks.get(f"promptcraft-{project.stack}-network")
    gateway = network.attrs["IPAM"]["Config"][0]["Gateway"]
    places += [(gateway, port) for port in (22, 53, 80, 443, 3000, 7862, 21379)]
    places += [(address, port) for address in (METADATA, ADDRESS) for port in (80, 443)]
    return f"""
import json, socket
reached = []
for host, port in {places!r}:
    try:
        socket.create_connection((host, port), 1).close()
        reached.append(f"{{host}}:{{port}}")
    except OSError:
        pass
try:
    reached.append(socket.getaddrinfo("tunnel.example.com", 80)[0][4][0])
except OSError:
    pass
print(json.dumps(reached))
"""


@pytest.mark.parametrize("server", [ANYWHERE, NAMED, SHUT, SHARING])
def test_a_server_connects_to_nobody(deployed: Done, project: Project, names: Names, server: str) -> None:
    assert done_by(project, server, probing(project)) == []
    # Names are a way out as well: what is asked for can be what was read.
    assert "tunnel.example.com" not in names.asked


def test_on_the_stacks_network_the_same_would_be_reached(deployed: Done, project: Project, names: Names) -> None:
    reached = json.loads(said(project, "runner", "python3", "-c", probing(project)))
    names.asked.clear()
    assert {"redis:6379", "qdrant:6333", "promptcraft:7862", "prometheus:9090", f"{METADATA}:80"} <= {*reached}
    assert ADDRESS in reached


ASKING = """
import http.client, json
def asked(host, port, tunnel):
    connection = http.client.HTTPConnection("127.0.0.1", 3128, timeout=8)
    try:
        if tunnel:
            connection.set_tunnel(host, port)
            connection.request("GET", "/", headers={"Host": host})
        else:
            connection.request("GET", f"http://{host}:{port}/")
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == 200 else answer.status
    except OSError as error:
        return str(error)
    finally:
        connection.close()
print(json.dumps({f"{host}:{port}": asked(host, port, tunnel) for host, port, tunnel in PLACES}))
"""
SAID = "the other side"


def went(project: Project, server: str, *places: tuple[str, int, bool]) -> set[str]:
    """Where the server got by its way out, of `places`: host, port, and whether by CONNECT."""
    told = done_by(project, server, ASKING.replace("PLACES", repr(places)))
    return {place for place, answer in told.items() if answer == SAID}


OUT = (
    ("allowed.example.com", 443, True),
    ("allowed.example.com", 80, False),
    ("a.below.example.com", 443, True),
    ("below.example.com", 443, True),
    ("other.example.org", 443, True),
    ("notallowed.example.com", 443, True),
    (ADDRESS, 443, True),
)
# What no server reaches, whatever its `egress`.
NEVER = (
    ("inward.example.com", 443, True),
    ("inward.example.com", 80, False),
    (METADATA, 443, True),
    (METADATA, 80, False),
    ("redis", 443, True),
    ("runner", 80, False),
    ("127.0.0.1", 443, True),
    ("[::ffff:169.254.169.254]", 443, True),
    ("0251.0376.0251.0376", 443, True),
    (ADDRESS, 25, True),
    ("allowed.example.com", 80, True),
)


def test_the_internet_is_all_of_it_and_nothing_nearer(deployed: Done, project: Project) -> None:
    for server in (ANYWHERE, SHARING):
        assert went(project, server, *OUT) == {f"{host}:{port}" for host, port, _ in OUT}
        assert went(project, server, *NEVER) == set()


def test_a_list_of_names_is_those_names(deployed: Done, project: Project) -> None:
    allowed = {"allowed.example.com:443", "allowed.example.com:80", "a.below.example.com:443"}
    assert went(project, NAMED, *OUT) == allowed
    # A name that is allowed and leads inward leads nowhere.
    assert went(project, NAMED, *NEVER) == set()


def test_none_is_nothing(deployed: Done, project: Project) -> None:
    assert went(project, SHUT, *OUT, *NEVER) == set()


def test_a_name_that_changes_its_mind_leads_nowhere_else(deployed: Done, project: Project, names: Names) -> None:
    places = [("rebind.example.com", 443, True)] * 6
    told = [went(project, ANYWHERE, place) for place in places]
    assert told == [{"rebind.example.com:443"}] * 6
    assert names.asked.count("rebind.example.com") == 1


# squid again, without one rule, by ports of its own.
@contextmanager
def without(project: Project, rule: str) -> Iterator[str]:
    """Code that asks as ANYWHERE does, where squid has not this rule."""
    conf = said(project, "egress", "cat", "/run/promptcraft/squid.conf")
    assert conf.count(rule) == 1
    changed = re.sub(r"\b3(128|2[0-9][0-9])\b", r"4\1", conf.replace(rule, ""))
    written = base64.b64encode(changed.encode()).decode()
    said(project, "egress", "sh", "-c", f"echo {written} | base64 -d > /tmp/changed.conf")
    doors = json.loads(said(project, "runner", "cat", "/run/promptcraft/doors.json"))
    port = doors["containers"][f"{ANYWHERE}-stdio"]["port"] + 1000
    container(project, "egress").exec_run(["squid", "-N", "-f", "/tmp/changed.conf"], detach=True)
    listens = f"import socket; socket.create_connection(('egress', {port}), 1)"
    until(lambda: container(project, "runner").exec_run(["python3", "-c", listens]).exit_code == 0, 30)
    yield ASKING.replace('"127.0.0.1", 3128', f'"egress", {port}')
    # Of two that run, the one whose configuration has changed; the shell that looks names it too.
    is_it = r"tr '\0' ' ' < $p/cmdline | grep -q '^squid.*changed'"
    ending = f"for p in /proc/[0-9]*; do {is_it} && kill -9 ${{p#/proc/}}; done; true"
    said(project, "egress", "sh", "-c", ending)


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ("http_access deny special\n", ("inward.example.com", 443, True)),
        ("http_access deny special\n", (METADATA, 80, False)),
        ("http_access deny !web\n", (ADDRESS, 25, False)),
        ("http_access deny tunnel !tls\n", ("allowed.example.com", 80, True)),
    ],
)
def test_each_rule_of_the_way_out_is_what_keeps_it(
    deployed: Done, project: Project, rule: str, place: tuple[str, int, bool]
) -> None:
    assert went(project, ANYWHERE, place) == set()
    with without(project, rule) as asking:
        told = json.loads(said(project, "runner", "python3", "-c", asking.replace("PLACES", repr([place]))))
    assert [*told.values()] == [SAID]


def test_the_log_has_the_name_and_nothing_of_the_request(deployed: Done, project: Project) -> None:
    code = ASKING.replace("PLACES", repr((("allowed.example.com", 80, False),))).replace("}/", "}/way?token=zzq")
    done_by(project, ANYWHERE, code)
    logged = container(project, "egress").logs().decode()
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    assert any(line["name"] == "allowed.example.com" and line["status"] == 200 for line in lines)
    assert "zzq" not in logged and "/way" not in logged


def test_who_was_given_its_secrets_does_not_reach_the_registry_again(deployed: Done, project: Project) -> None:
    """A server with a narrow way out that says it installs anew could send there what it knows."""
    index = project.environment["UV_DEFAULT_INDEX"]
    # Once it waits for its turn, it ends the server's own connection.
    pretending = f"""
import glob, os, signal, socket, urllib.request
runner = socket.socket(socket.AF_UNIX)
runner.connect("/run/door/{SHUT}")
runner.settimeout(60)
for path in glob.glob("/proc/[0-9]*/cmdline"):
    if "{NAME}" in open(path).read() and int(path.split("/")[2]) != os.getpid():
        os.kill(int(path.split("/")[2]), signal.SIGKILL)
print(runner.makefile("rb", buffering=0).readline().decode())
opener = urllib.request.build_opener(urllib.request.ProxyHandler({{"http": "http://127.0.0.1:3128"}}))
print(opener.open({index!r}, timeout=5).status)
"""
    told = container(project, f"{SHUT}-stdio").exec_run(["python3", "-c", pretending])
    assert b'"package"' in told.output, told.output
    assert told.exit_code == 1 and b"200" not in told.output, told.output


def test_what_ends_is_there_again(deployed: Done, project: Project) -> None:
    for service in ("runner", f"{ANYWHERE}-stdio", "egress"):
        container(project, service).restart()
        until(lambda: _answers(project), 90)


def _answers(project: Project) -> bool:
    body = {"input": f"print(1)\n# {secrets.token_hex(8)}"}
    run = project.ask(API, f"/api/agents/{ANYWHERE}/runs", "POST", json=body).json()
    return bool(run.get("status") == "succeeded")
