"""An MCP server that comes as an image: in a container of its own, hardened as every other, its secrets unseen."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from docker.models.containers import Container

from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Done, Project
from tests.hardening import broken_rows

pytestmark = pytest.mark.engine

IMAGE = "acme.example/notes:1.0"
TOKEN = "token'of \"the/journey.*-51c0"
KEY = "key-of-the-journey-9d2e"
API = 7862

# It says on stderr what no log may show, and answers with what it was started with.
SERVER = """
import json, os, sys
print("starting with", os.environ["NOTES_TOKEN"], sys.argv[-1], file=sys.stderr, flush=True)
def say(message, result):
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "initialize":
        version, about = message["params"]["protocolVersion"], {"name": "notes", "version": "1.0"}
        say(message, {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about})
    elif message["method"] == "tools/list":
        schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        say(message, {"tools": [{"name": "note", "description": "Keeps a note.", "inputSchema": schema}]})
    elif message["method"] == "tools/call":
        told = [os.environ["NOTES_TOKEN"], os.environ["FROM_THE_IMAGE"], *sys.argv[1:], str(os.getuid())]
        say(message, {"content": [{"type": "text", "text": json.dumps(told)}]})
    elif message["method"] == "ping":
        say(message, {})
"""
DOCKERFILE = """
FROM {base}
COPY server.py /srv/server.py
ENV FROM_THE_IMAGE=image
USER 0
ENTRYPOINT ["python3", "/srv/server.py"]
CMD ["default"]
"""


@pytest.fixture(scope="module")
def image(private_engine: PrivateEngine) -> str:
    """The server's image, on the engine as if it had been pulled."""
    tags = [tag for image in private_engine.client.images.list() for tag in image.tags]
    base = next(tag for tag in tags if "/runner:" in tag)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in {"server.py": SERVER, "Dockerfile": DOCKERFILE.format(base=base)}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text.encode()), 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
    packed.seek(0)
    private_engine.client.images.build(fileobj=packed, custom_context=True, tag=IMAGE)
    return IMAGE


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], image: str) -> Project:
    project = new_project(config={"memoryLimits": {"notes-stdio": 96}})
    words = ["run", "-i", "--rm", "-e", "NOTES_TOKEN", image, "--key", "${NOTES_KEY}"]
    path = project.root.parent / "home" / ".claude.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"mcpServers": {"notes": {"command": "docker", "args": words}}}))
    path.chmod(0o600)
    front = "name: keeper\ndescription: Keeps.\nmodel: haiku\nserver: notes\ntool: note\nprompt_argument: text"
    (project.root / ".agents/core/keeper.md").write_text(f"---\n{front}\n---\nKeep.\n")
    project.environment.update({"NOTES_TOKEN": TOKEN, "NOTES_KEY": KEY})
    return project


def container(project: Project) -> Container:
    return project.engine.client.containers.get(f"promptcraft-{project.stack}-notes-stdio")


def ran(project: Project) -> list[str]:
    body: dict[str, Any] = {"input": "a line for the journey"}
    run = project.ask(API, "/api/agents/keeper/runs", "POST", json=body).json()
    assert run["status"] == "succeeded", run
    told: list[str] = json.loads(run["output"])
    return told


def test_a_tool_is_called_through_the_gateway(deployed: Done, project: Project) -> None:
    # The image's own variables hold, its command gives way to arguments, and its user to the stack's.
    assert ran(project) == [TOKEN, "image", "--key", KEY, "10001"]


def test_the_preview_names_image_and_variables(deployed: Done, project: Project) -> None:
    assert re.search(
        rf"notes: a container of its own runs docker {IMAGE} \(.*\), given NOTES_TOKEN, "
        r"taken from this machine's NOTES_KEY, NOTES_TOKEN",
        deployed.text,
    )


def test_it_is_hardened_as_every_other(deployed: Done, project: Project) -> None:
    assert broken_rows(project) == []
    attributes = container(project).attrs
    assert attributes["HostConfig"]["Memory"] == 96 * 1024 * 1024
    assert {(mount["Type"], mount["RW"]) for mount in attributes["Mounts"]} == {("volume", False)}
    assert not attributes["HostConfig"]["PortBindings"]


def test_no_secret_is_shown(deployed: Done, project: Project) -> None:
    shown = json.dumps(container(project).attrs) + container(project).logs().decode() + deployed.text
    shown += project.pulumi("stack", "export").text
    assert TOKEN not in shown and json.dumps(TOKEN)[1:-1] not in shown and KEY not in shown


def test_a_second_up_changes_nothing(deployed: Done, project: Project) -> None:
    preview = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert preview.code == 0, preview.text


def test_what_ends_is_there_again(deployed: Done, project: Project) -> None:
    container(project).restart()
    assert ran(project)[0] == TOKEN
