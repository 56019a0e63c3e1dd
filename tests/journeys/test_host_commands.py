"""A local command of the user's own as an MCP server: refused, allowed, called, killed, healed, changed, stopped."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from host_command import bridge_environment
from host_command.entry import MARK
from host_command.starting import BRIDGE
from tests.engine.project import Done, Project
from tests.waiting import until
from toolchain.layout import layout

pytestmark = pytest.mark.engine

NAME = "my-notes"
SECRETS = ("geheim-variable-7c1e", "geheim-argument-93ab")
ENTRY = {
    "command": sys.executable,
    "args": ["server.py", "--token", SECRETS[1]],
    "env": {"NOTES_KEY": SECRETS[0]},
}
SERVER = """
import os, sys
from mcp.server import MCPServer

print("a key:", os.environ["NOTES_KEY"], sys.argv, file=sys.stderr)
server = MCPServer("my-notes", version="4.5.6")

@server.tool()
def note(text: str) -> str:
    "Keeps a note."
    private = [name for name in os.environ if name.startswith("PULUMI_")]
    return f"{text} kept in {os.getcwd()} {private} {len(os.environ['NOTES_KEY'])}"

server.run("stdio")
"""
AGENT = """---
name: keeper
description: Keeps notes.
model: haiku
server: my-notes
tool: note
prompt_argument: text
---
Keep the note.
"""
PROJECTS_OWN = {"mcpServers": {"from-the-project": {"command": "touch", "args": ["/nowhere"]}}}
UNCHANGED = ("preview", "--refresh", "--expect-no-changes")


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Iterator[Project]:
    project = new_project(like="cloud", config={"mcpServers": [NAME, "from-the-project"]})
    (project.root / ".agents/core/keeper.md").write_text(AGENT)
    (project.root / ".mcp.json").write_text(json.dumps(PROJECTS_OWN))
    (home(project) / "server.py").write_text(SERVER)
    write_entry(project, ENTRY)
    # The bridge's packages are fetched here: no registry is reached from the engine's namespace.
    project.environment["PROMPTCRAFT_CACHE"] = str(layout().cache)
    bridge_environment.ensure(BRIDGE / "requirements.lock", project.environment)
    yield project
    for process in of_the_command(project):
        process.kill()


def home(project: Project) -> Path:
    return project.root.parent / "home"


def write_entry(project: Project, entry: object) -> None:
    file = home(project) / ".claude.json"
    file.write_text(json.dumps({"mcpServers": {NAME: entry}}))
    file.chmod(0o600)


def of_the_command(project: Project) -> list[psutil.Process]:
    """Every process that was started for a command of this project, by the mark that they inherit."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").startswith(str(project.root)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def folder(project: Project) -> Path:
    return project.root / ".promptcraft" / "host-commands" / project.stack


def record(project: Project) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder(project) / f"{NAME}.json").read_text())
    return document


def run_agent(project: Project, text: str) -> str:
    answer = project.ask(7862, "/api/agents/keeper/runs", "POST", json={"input": text}).json()
    assert answer["status"] == "succeeded", answer
    return str(answer["output"])


@pytest.fixture(scope="module")
def refused(project: Project) -> Done:
    done = project.operate("up")
    assert done.code == 0, done.text
    return done


@pytest.fixture(scope="module")
def deployed(project: Project, refused: Done) -> Done:
    allowed = project.pulumi("config", "set", "allowHostCommands", "true")
    assert allowed.code == 0, allowed.text
    done = project.operate("up")
    assert done.code == 0, done.text
    return done


def test_it_is_refused_until_the_stack_allows_it(refused: Done, project: Project) -> None:
    assert re.search(rf"{NAME} is unavailable: .* never run, unless the stack sets allowHostCommands", refused.text)
    assert of_the_command(project) == [] and not (project.root / ".promptcraft/host-commands").exists()


def test_what_the_project_brings_along_is_refused_even_then(deployed: Done) -> None:
    assert re.search(r"from-the-project is unavailable: .* not by allowHostCommands either", deployed.text)


def test_allowed_it_is_announced_started_and_called_through_the_gateway(deployed: Done, project: Project) -> None:
    assert f"{NAME}: the command in ~/.claude.json: mcpServers.{NAME} runs on this host" in deployed.text
    told = run_agent(project, "milk")
    assert f"milk kept in {home(project)} [] {len(SECRETS[0])}" in told
    service = project.ask(7862, "/api/health/detailed").json()["services"][NAME]
    assert (service["status"], service["source"]) == ("ok", "user_installation")
    assert "by allowHostCommands" in service["reason"]
    planned = project.ask(7862, "/api/discovery/status").json()
    assert "by allowHostCommands" in json.dumps(planned)


def test_it_listens_on_the_networks_gateway_alone(deployed: Done, project: Project) -> None:
    network = project.engine.client.networks.get(f"promptcraft-{project.stack}-network")
    gateway = network.attrs["IPAM"]["Config"][0]["Gateway"]
    pids = {process.pid for process in of_the_command(project)}
    listening = [line for line in project.run("ss", "-lntupH").text.splitlines() if re_pids(line) & pids]
    assert len(listening) == 1 and f" {gateway}:{record(project)['port']} " in listening[0]


def re_pids(line: str) -> set[int]:
    return {int(number) for number in re.findall(r"pid=(\d+)", line)}


def test_nobody_else_is_served(deployed: Done, project: Project) -> None:
    """Neither a user of this host nor a container of another network, though both can send to the address."""
    ask = (
        "import sys, urllib.request as r, urllib.error as e\n"
        "try: print(r.urlopen(sys.argv[1], data=b'{}', timeout=20).status)\n"
        "except e.HTTPError as error: print(error.code)"
    )
    url = f"http://{record(project)['address']}:{record(project)['port']}/mcp"
    assert project.run(sys.executable, "-c", ask, url).text.strip() == "403"
    image = json.loads((project.root / ".promptcraft/images.json").read_text())["promptcraft"]["reference"]
    output = project.engine.client.containers.run(
        image, ["-c", ask, url], entrypoint="python3", network="bridge", remove=True
    )
    assert output.decode().strip() == "403"


def test_its_secrets_are_nowhere_but_with_itself(deployed: Done, project: Project) -> None:
    bridge = psutil.Process(record(project)["pid"])
    texts = {"output": deployed.text, "bridge": " ".join([*bridge.cmdline(), *bridge.environ().values()])}
    for container in project.containers():
        texts[f"inspect {container.name}"] = json.dumps(container.attrs)
        texts[f"logs {container.name}"] = container.logs().decode(errors="replace")
    for part in ("state", "locks", "project/.promptcraft"):
        for path in (project.root.parent / part).rglob("*"):
            if path.is_file():
                texts[str(path)] = path.read_text(errors="replace")
    assert "a key: [hidden]" in texts[str(folder(project) / f"{NAME}.log")]
    assert [where for where, text in texts.items() for secret in SECRETS if secret in text] == []
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder(project).iterdir()}
    assert set(modes.values()) == {0o600} and folder(project).stat().st_mode & 0o777 == 0o700


def test_other_tools_see_who_serves_and_the_next_look_knows_it_as_its_own(deployed: Done, project: Project) -> None:
    lock = json.loads((project.root.parent / "locks" / f".mcp-{NAME}.lock").read_text())
    assert lock["pid"] == record(project)["pid"]
    candidates = project.discover()["services"][NAME]["candidates"]
    assert [found["verdict"] for found in candidates] == ["owned", "skipped"]


def test_a_second_up_changes_nothing(deployed: Done, project: Project) -> None:
    before = record(project)
    again = project.pulumi("up", "--yes", "--skip-preview", "--refresh", "--expect-no-changes")
    assert again.code == 0, again.text
    unchanged = project.pulumi(*UNCHANGED)
    assert unchanged.code == 0, unchanged.text
    assert record(project) == before


def test_killed_it_is_announced_and_healed(deployed: Done, project: Project) -> None:
    killed = record(project)["pid"]
    psutil.Process(killed).send_signal(signal.SIGKILL)
    until(lambda: not psutil.pid_exists(killed))
    preview = project.operate("preview")
    assert preview.code == 0 and f"process {killed} has ended, so it is started again" in preview.text
    up = project.operate("up")
    assert up.code == 0, up.text
    assert (record(project)["run"], record(project)["pid"] != killed) == (2, True)
    assert "eggs kept" in run_agent(project, "eggs")
    assert len(of_the_command(project)) == 2
    unchanged = project.pulumi(*UNCHANGED)
    assert unchanged.code == 0, unchanged.text


def test_a_changed_variable_is_a_changed_plan(deployed: Done, project: Project) -> None:
    before = record(project)
    write_entry(project, {**ENTRY, "env": {"NOTES_KEY": "shorter"}})
    changed = project.pulumi(*UNCHANGED)
    assert changed.code != 0 and f"{NAME}-host-command" in changed.text
    up = project.operate("up")
    assert up.code == 0, up.text
    assert record(project)["pid"] != before["pid"] and "[] 7" in run_agent(project, "bread")


def test_a_command_that_ends_at_once_ends_the_update_with_its_last_words(deployed: Done, project: Project) -> None:
    words = f"import sys; sys.exit('cannot open the notes with {SECRETS[0]}')"
    write_entry(project, {"command": sys.executable, "args": ["-c", words], "env": {"NOTES_KEY": SECRETS[0]}})
    up = project.operate("up")
    assert up.code != 0 and "ended by itself (exit code 1) before it answered" in up.text
    assert SECRETS[0] not in up.text
    assert of_the_command(project) == [] and not (folder(project) / f"{NAME}.json").exists()
    write_entry(project, ENTRY)
    again = project.operate("up")
    assert again.code == 0, again.text
    assert "tea kept" in run_agent(project, "tea")


def test_taken_out_of_its_file_it_is_stopped(deployed: Done, project: Project) -> None:
    assert of_the_command(project)
    write_entry(project, {**ENTRY, "disabled": True})
    up = project.operate("up")
    assert up.code == 0, up.text
    assert of_the_command(project) == [] and list(folder(project).iterdir()) == []
    write_entry(project, ENTRY)


def test_down_leaves_nothing(deployed: Done, project: Project) -> None:
    assert project.operate("up").code == 0
    assert of_the_command(project)
    down = project.operate("down", PURGE="1")
    assert down.code == 0, down.text
    assert of_the_command(project) == []
    assert list(folder(project).iterdir()) == list((project.root.parent / "locks").iterdir()) == []
