"""Data outlives what happens to its stack: destroyed, lost with its volumes, half restored, in a stranger's way."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from catalog import LABEL_STAND_IN
from tests.engine.project import Done, Project
from tests.hardening import broken_rows

pytestmark = pytest.mark.engine

PASSWORD, KEY = "redis-secret-41aa", "qdrant-secret-9c03"
QDRANT_PORT = 6333
STORES = ("redis", "qdrant")
# Guarded as production is, with as little around the data as there can be.
SMALL = {"environment": "production", "services": ["promptcraft", *STORES]}


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    project = new_project(config=SMALL)
    project.environment.update(QDRANT_API_KEY=KEY, REDIS_URL=f"redis://:{PASSWORD}@192.0.2.1:6379")
    return project


def redis(project: Project, command: str) -> str:
    shell = f'REDISCLI_AUTH="$(cat /run/promptcraft/secrets/redis)" redis-cli {command}'
    container = project.engine.client.containers.get(f"promptcraft-{project.stack}-redis")
    output = container.exec_run(["sh", "-c", shell]).output
    assert isinstance(output, bytes)
    return output.decode().strip()


def qdrant(project: Project, path: str, method: str = "GET", body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    answer = project.ask(QDRANT_PORT, path, method, json=body, headers={"api-key": KEY})
    document: dict[str, Any] = answer.json()
    return document


def write(project: Project, word: str) -> None:
    assert redis(project, f"set word {word}") == "OK"
    qdrant(project, "/collections/words", "DELETE")
    assert qdrant(project, "/collections/words", "PUT", {"vectors": {"size": 2, "distance": "Cosine"}})["result"]
    points = [{"id": number, "vector": [0.6, 0.8], "payload": {"word": word}} for number in range(20)]
    assert qdrant(project, "/collections/words/points?wait=true", "PUT", {"points": points})["status"] == "ok"


def read(project: Project) -> tuple[str, str]:
    return redis(project, "get word"), qdrant(project, "/collections/words/points/19")["result"]["payload"]["word"]


def backup(project: Project, name: str) -> Path:
    folder = project.root / "backups" / name
    done = operate(project, "backup", folder)
    assert done.code == 0, done.text
    return folder


def operate(project: Project, action: str, folder: Path) -> Done:
    command = (".venv/bin/python", "-m", "operate", action, "--stack", project.stack, "--folder", str(folder))
    return project.run(*command)


def changed(folder: Path, service: str, **entry: object) -> None:
    """Rewrite what the manifest says of a service."""
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    document["services"][service].update(entry)
    path.write_text(json.dumps(document))


def nothing_would_change(project: Project) -> None:
    preview = project.pulumi("preview", "--refresh", "--expect-no-changes")
    assert preview.code == 0, preview.text


def volumes(project: Project) -> set[str]:
    found = project.engine.client.volumes.list(filters={"label": f"ai.promptcraft.stack={project.stack}"})
    return {str(volume.name) for volume in found if str(volume.name).endswith("-data")}


def test_a_backup_is_for_its_owner_only_and_leaves_the_stack_as_it_was(deployed: Done, project: Project) -> None:
    write(project, "first")
    folder = backup(project, "first")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "manifest.json": 0o600,
        "redis.tar": 0o600,
        "qdrant.tar": 0o600,
    }
    assert [path.name for path in folder.parent.iterdir()] == ["first"]
    written = json.loads((folder / "manifest.json").read_text())["services"]
    assert (written["redis"]["stand_in"], bool(written["qdrant"]["stand_in"])) == (None, True)
    assert read(project) == ("first", "first")
    assert broken_rows(project) == []
    nothing_would_change(project)
    again = operate(project, "backup", folder)
    assert (again.code, "exists already" in again.text) == (2, True)


def test_everything_lost_comes_back_from_a_backup(deployed: Done, project: Project) -> None:
    write(project, "kept")
    folder = backup(project, "kept")
    for container in project.containers():
        container.remove(force=True)
    for name in volumes(project):
        project.engine.client.volumes.get(name).remove(force=True)
    refreshed = project.pulumi("refresh", "--yes", "--skip-preview")
    assert refreshed.code == 0, refreshed.text
    up = project.operate("up")
    assert up.code == 0, up.text
    assert redis(project, "get word") == ""

    restored = operate(project, "restore", folder)
    assert restored.code == 0, restored.text
    assert read(project) == ("kept", "kept")
    write(project, "later")
    nothing_would_change(project)


def test_up_starts_what_a_backup_that_was_killed_has_stopped(deployed: Done, project: Project) -> None:
    project.engine.client.containers.get(f"promptcraft-{project.stack}-redis").stop()
    up = project.operate("up")
    assert (up.code, f"started promptcraft-{project.stack}-redis: it was stopped" in up.text) == (0, True), up.text


@pytest.mark.parametrize(
    ("service", "entry", "complaint"),
    [
        ("qdrant", {"stand_in": "another store"}, "was written by another store, and "),
        ("redis", {"version": "7.99.0"}, "was written by Redis 7.99.0"),
        ("qdrant", {"version": "99.0.0"}, "was written by Qdrant 99.0.0"),
        ("qdrant", {"file": "../../etc.tar"}, "services.qdrant.file"),
        ("qdrant", {"sha256": "0" * 64}, "the backup is damaged"),
    ],
)
def test_a_backup_that_does_not_fit_is_refused_before_anything_stops(
    service: str, entry: dict[str, object], complaint: str, deployed: Done, project: Project
) -> None:
    folder = backup(project, f"unfit-{service}-{next(iter(entry))}")
    changed(folder, service, **entry)
    started = {container.id: container.attrs["State"]["StartedAt"] for container in project.containers()}
    refused = operate(project, "restore", folder)
    assert (refused.code, complaint in refused.text) == (2, True), refused.text
    assert {container.id: container.attrs["State"]["StartedAt"] for container in project.containers()} == started


def test_a_damaged_file_is_refused(deployed: Done, project: Project) -> None:
    folder = backup(project, "damaged")
    data = bytearray((folder / "redis.tar").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "redis.tar").write_bytes(data)
    refused = operate(project, "restore", folder)
    assert (refused.code, "redis.tar: is not what was backed up" in refused.text) == (2, True), refused.text


def test_data_that_redis_cannot_read_does_not_cost_what_it_has(deployed: Done, project: Project) -> None:
    write(project, "before")
    folder = backup(project, "unreadable")
    content = b"file no-such-file.aof seq 1 type b\n"
    member = tarfile.TarInfo("data/appendonlydir/appendonly.aof.manifest")
    member.size, member.uid, member.gid = len(content), 999, 999
    with tarfile.open(folder / "redis.tar", "w") as tar:
        for name in ("data", "data/appendonlydir"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode, directory.uid, directory.gid = tarfile.DIRTYPE, 0o755, 999, 999
            tar.addfile(directory)
        tar.addfile(member, io.BytesIO(content))
    changed(folder, "redis", sha256=sha256((folder / "redis.tar").read_bytes()).hexdigest())
    failed = operate(project, "restore", folder)
    assert (failed.code, "redis: cannot be restored" in failed.text) == (2, True), failed.text
    assert read(project) == ("before", "before")
    nothing_would_change(project)


def test_a_plain_destroy_refuses_and_make_down_keeps_the_data(deployed: Done, project: Project) -> None:
    write(project, "still")
    refused = project.pulumi("destroy", "--yes", "--skip-preview")
    assert (refused.code != 0, "protect" in refused.text) == (True, True), refused.text
    kept = volumes(project)
    assert len(kept) == len(STORES)
    down = project.operate("down")
    assert down.code == 0, down.text
    assert (project.containers(), volumes(project)) == ([], kept)
    up = project.operate("up")
    assert up.code == 0, up.text
    assert read(project) == ("still", "still")

    purged = project.operate("down", PURGE="1")
    assert purged.code == 0, purged.text
    assert (project.containers(), volumes(project)) == ([], set())


def test_what_a_stand_in_wrote_is_given_to_the_real_service_by_a_pin_only(new_project: Callable[..., Project]) -> None:
    project = new_project(config={"services": ["qdrant"], "portOffset": 3000})
    port = QDRANT_PORT + 3000  # beside the module's own
    assert project.pulumi("stack", "init").code == 0
    up = project.pulumi("up", "--yes", "--skip-preview")
    assert up.code == 0, up.text
    collection = {"vectors": {"size": 2, "distance": "Cosine"}}
    assert project.ask(port, "/collections/words", "PUT", json=collection).json()["result"]
    (before,) = project.containers()
    assert before.labels[LABEL_STAND_IN], "this journey needs the stand-in"

    # For the plan it is the real one: the stack file names it, and nobody says that it is none.
    project.engine.client.images.get(before.attrs["Image"]).tag("somewhere/qdrant", "1.0.0")
    assert project.pulumi("config", "set", "--path", "images.qdrant", "somewhere/qdrant:1.0.0").code == 0
    refusal = f"qdrant: its data (volume promptcraft-{project.stack}-qdrant-data) was written by a stand-in"
    cure = f"pulumi config set --stack {project.stack} --path 'pin.qdrant' deployed"
    for command in (("preview",), ("up", "--yes", "--skip-preview")):
        refused = project.pulumi(*command)
        assert (refused.code != 0, refusal in refused.text, cure in refused.text) == (True,) * 3, refused.text
    (still,) = project.containers()
    assert (still.id, still.attrs["State"]["StartedAt"]) == (before.id, before.attrs["State"]["StartedAt"])
    assert project.ask(port, "/collections/words").ok

    # A stack that was destroyed has left its volume only.
    assert project.operate("down").code == 0
    refused = project.pulumi("up", "--yes", "--skip-preview")
    assert (refused.code != 0, refusal in refused.text, project.containers()) == (True, True, []), refused.text

    assert project.pulumi("config", "set", "--path", "pin.qdrant", "deployed").code == 0
    pinned = project.pulumi("up", "--yes", "--skip-preview")
    assert (pinned.code, "takes over from a stand-in" in pinned.text) == (0, True), pinned.text
    assert project.ask(port, "/collections/words").ok
    nothing_would_change(project)
    # The pin was for the change, which is made.
    assert project.pulumi("config", "rm", "--path", "pin.qdrant").code == 0
    unpinned = project.pulumi("up", "--yes", "--skip-preview")
    assert (unpinned.code, "was written by" in unpinned.text) == (0, False), unpinned.text


@pytest.mark.parametrize("kind", ["volume", "container"])
def test_what_a_stranger_calls_as_we_do_is_refused_and_left_alone(
    kind: str, new_project: Callable[..., Project]
) -> None:
    project = new_project(config={"services": ["redis"], "portOffset": 4000})
    engine = project.engine.client
    image = engine.images.list(filters={"reference": "promptcraft.local/redis"})[0]
    name = f"promptcraft-{project.stack}-redis" + ("-data" if kind == "volume" else "")
    mounted = name if kind == "volume" else f"strangers-{project.stack}"
    arguments: dict[str, Any] = {"entrypoint": ["sh", "-c"], "volumes": {mounted: {"bind": "/data", "mode": "rw"}}}
    writer = f"strangers-{project.stack}-writer" if kind == "volume" else name
    stranger = engine.containers.run(
        image, ["echo mine > /data/mine; sleep 600"], name=writer, detach=True, **arguments
    )
    try:
        up = project.operate("up")
        assert (up.code != 0, f"redis: {kind} {name} is held by" in up.text) == (True, True), up.text
        assert project.containers() == []
        down = project.operate("down", PURGE="1")
        assert down.code == 0, down.text
        assert stranger.exec_run(["cat", "/data/mine"]).output == b"mine\n"
    finally:
        stranger.remove(force=True)
        engine.volumes.get(mounted).remove(force=True)
