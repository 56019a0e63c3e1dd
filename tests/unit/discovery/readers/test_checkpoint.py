"""The stack's state: what it says is ours; and that a state nobody can read is not the same as none."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.readers.checkpoint import export_checkpoint, read_checkpoint
from discovery.report import Remembered
from discovery.request import Checkpoint
from tests.unit.asking import JSON_VALUES, MANY, write

PROJECT = "promptcraft-hybrid"
CONTAINER = "docker:index/container:Container"
ID = "a1" * 32
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:xyz"}


def resource(kind: str, identity: object, project: str = PROJECT, **other: object) -> dict[str, object]:
    return {"urn": f"urn:pulumi:dev::{project}::{kind}::x", "type": kind, "id": identity, "custom": True} | other


def state(*resources: object) -> dict[str, object]:
    return {"version": 3, "checkpoint": {"stack": "organization/p/dev", "latest": {"resources": list(resources)}}}


WHOLE = json.dumps(state(resource(CONTAINER, ID))).encode()


def stack_file(root: Path) -> Path:
    return root / ".promptcraft/state/.pulumi/stacks" / PROJECT / "dev.json"


def read(root: Path, **environ: str) -> Checkpoint:
    return read_checkpoint(root, PROJECT, "dev", {"HOME": str(root / "home"), "PATH": str(root / "bin")} | environ)


def test_what_the_program_created_is_ours(tmp_path: Path) -> None:
    write(
        stack_file(tmp_path),
        state(
            resource("pulumi:pulumi:Stack", None),
            resource(CONTAINER, ID),
            resource("docker:index/network:Network", "b2" * 32),
            resource("docker:index/service:Service", "swarmservice"),
            resource("docker:index/volume:Volume", "some-volume"),
            resource(CONTAINER, "c3" * 32, external=True),
            resource(CONTAINER, "d4" * 32, project="another"),
            resource(CONTAINER, "e5" * 32, delete=True),
            resource(CONTAINER, None),
            resource(CONTAINER, SECRET),
        ),
    )

    checkpoint = read(tmp_path)

    assert (checkpoint.known, checkpoint.problem) == (True, None)
    assert checkpoint.ids == {ID, "b2" * 32, "swarmservice", "e5" * 32}


def test_the_last_deployments_plan_is_told_without_its_secrets(tmp_path: Path) -> None:
    plan = {
        "qdrant": {"source": "external_deployment", "endpoint": "http://h:6333", "reason": "found"},
        "redis": {"source": "deployed", "endpoint": SECRET, "reason": None, "more": "x"},
        "zen-mcp": {"source": SECRET},
        "nginx": "x",
    }
    write(stack_file(tmp_path), state(resource("pulumi:pulumi:Stack", None, outputs={"plan": plan})))

    assert read(tmp_path).previous == {
        "qdrant": Remembered("external_deployment", "http://h:6333", "found"),
        "redis": Remembered("deployed"),
    }


def test_the_runs_of_commands_of_this_host_are_told(tmp_path: Path) -> None:
    def command(name: str, triggers: object, delete: bool = False) -> dict[str, object]:
        urn = f"urn:pulumi:dev::{PROJECT}::command:local:Command::{name}"
        return resource("command:local:Command", name, urn=urn, inputs={"triggers": triggers}, delete=delete)

    resources = (
        command("notes-host-command", [3, "0123456789abcdef"]),
        command("older-host-command", [2, "x"], delete=True),
        command("text-host-command", ["3"]),
        command("none-host-command", []),
        command("secret-host-command", SECRET),
        command("huge-host-command", [1e300]),
        command("redis-lock", [1]),
    )
    write(stack_file(tmp_path), state(*resources))

    assert read(tmp_path).host_runs == {"notes": 3}


def test_what_an_update_began_and_never_ended_is_counted(tmp_path: Path) -> None:
    begun = {"resource": resource(CONTAINER, None), "type": "creating"}
    latest = {"resources": [resource(CONTAINER, ID)], "pending_operations": [begun, begun]}
    write(stack_file(tmp_path), {"version": 3, "checkpoint": {"stack": "organization/p/dev", "latest": latest}})
    assert read(tmp_path).pending == 2


@pytest.mark.parametrize("outputs", [None, [], {"plan": SECRET}, {"plan": "x"}, {"plan": None}, {"urls": {}}])
def test_a_plan_that_is_none_is_none(tmp_path: Path, outputs: object) -> None:
    write(stack_file(tmp_path), state(resource("pulumi:pulumi:Stack", None, outputs=outputs)))

    assert (read(tmp_path).known, read(tmp_path).previous) == (True, {})


@pytest.mark.parametrize(
    "place",
    [
        lambda stacks: write(stacks / PROJECT / "dev.json", state(resource(CONTAINER, ID))),
        lambda stacks: write(stacks / "dev.json", state(resource(CONTAINER, ID))),
        lambda stacks: write(stacks / PROJECT / "dev.json.gz", gzip.compress(WHOLE)),
    ],
    ids=["by project", "before projects", "gzipped"],
)
def test_every_layout_is_read(tmp_path: Path, place: Callable[[Path], object]) -> None:
    place(tmp_path / ".promptcraft/state/.pulumi/stacks")

    assert read(tmp_path).ids == {ID}


@pytest.mark.parametrize("url", ["file://{root}/b", "file://b", "file://./b", "file://{root}/b?no_tmp_dir=true"])
def test_a_configured_backend_is_respected(tmp_path: Path, url: str) -> None:
    write(stack_file(tmp_path), state(resource(CONTAINER, "00" * 32)))
    write(tmp_path / "b/.pulumi/stacks" / PROJECT / "dev.json", state(resource(CONTAINER, ID)))
    configured = url.format(root=tmp_path)

    checkpoint = read(tmp_path, PULUMI_BACKEND_URL=configured)

    assert checkpoint.ids == {ID}
    assert checkpoint.owner == hashlib.sha256(configured.encode()).hexdigest()[:16]


@pytest.mark.parametrize("variables", [{}, {"PULUMI_HOME": "{root}/elsewhere"}])
def test_a_login_is_respected(tmp_path: Path, variables: dict[str, str]) -> None:
    environ = {name: value.format(root=tmp_path) for name, value in variables.items()}
    home = Path(environ.get("PULUMI_HOME", tmp_path / "home/.pulumi"))
    write(home / "credentials.json", {"current": "file://~"})
    write(tmp_path / "home/.pulumi/stacks" / PROJECT / "dev.json", state(resource(CONTAINER, ID)))

    assert read(tmp_path, **environ).ids == {ID}


@pytest.mark.parametrize(
    "prepare",
    [
        lambda root: None,
        lambda root: (root / ".promptcraft/state").mkdir(parents=True),
        lambda root: write(stack_file(root).with_name("other.json"), state(resource(CONTAINER, ID))),
        lambda root: write(stack_file(root), {"version": 3, "checkpoint": {"latest": None}}),
        lambda root: write(stack_file(root), {"version": 3, "checkpoint": {"latest": {"manifest": {}}}}),
    ],
    ids=["no backend", "no stack", "another stack", "a stack without an update", "a stack without resources"],
)
def test_never_deployed_is_known_and_empty(tmp_path: Path, prepare: Callable[[Path], object]) -> None:
    prepare(tmp_path)

    checkpoint = read(tmp_path)

    assert (checkpoint.known, checkpoint.ids, checkpoint.previous, checkpoint.problem) == (True, frozenset(), {}, None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        WHOLE[:50],
        WHOLE[:-1],
        b"\0" * 100,
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"null",
        b"{}",
        b'{"checkpoint": []}',
        b'{"checkpoint": {"latest": 5}}',
        b'{"checkpoint": {"latest": {"resources": {"a": 1}}}}',
        b'{"checkpoint": {"latest": {"resources": [1]}}}',
    ],
)
def test_a_state_that_cannot_be_read_is_not_known(tmp_path: Path, content: bytes) -> None:
    write(stack_file(tmp_path), content)

    checkpoint = read(tmp_path)

    assert (checkpoint.known, checkpoint.ids) == (False, frozenset())
    assert str(checkpoint.problem).startswith("the state of stack dev ")
    assert checkpoint.owner != ""


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "named pipe"),
        (os.mkdir, "directory"),
        (lambda path: path.symlink_to("/dev/zero"), "device"),
        (lambda path: os.truncate(write(path, "{"), 1 << 30), "larger than 64 MiB"),
        (lambda path: write(path.with_suffix(".json.gz"), b"no gzip"), "not gzip"),
        (lambda path: write(path.with_suffix(".json.gz"), gzip.compress(WHOLE)[:40]), "not gzip"),
        (lambda path: write(path.with_suffix(".json.gz"), gzip.compress(b" " * (65 << 20))), "larger than 64 MiB"),
    ],
)
def test_what_is_no_state_file_is_not_known(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    stack_file(tmp_path).parent.mkdir(parents=True)
    make(stack_file(tmp_path))

    checkpoint = read(tmp_path)

    assert not checkpoint.known
    assert words in str(checkpoint.problem)


@pytest.mark.parametrize("stack", ["../../x", "a/b", "", ".", "..", "a\0b", "x" * 101, "a\n[OK]"])
def test_a_name_that_leads_elsewhere_is_not_known(tmp_path: Path, stack: str) -> None:
    write(stack_file(tmp_path), state())

    checkpoint = read_checkpoint(tmp_path, PROJECT, stack, {})

    assert not checkpoint.known
    assert str(checkpoint.problem).isprintable()


def test_the_owner_is_what_was_written_once(tmp_path: Path) -> None:
    write(tmp_path / ".promptcraft/owner", "0123456789abcdef\n")

    assert read(tmp_path).owner == "0123456789abcdef"
    assert read(tmp_path, PULUMI_BACKEND_URL="file://elsewhere").owner == "0123456789abcdef"


def test_broken_credentials_are_not_known(tmp_path: Path) -> None:
    write(tmp_path / "home/.pulumi/credentials.json", "{")

    assert "is not JSON" in str(read(tmp_path).problem)


# --- backends that are no folder ---


def pulumi(root: Path, script: str) -> dict[str, str]:
    write(root / "bin/pulumi", f'#!/bin/sh\necho "$@" > {root}/arguments\n{script}\n', mode=0o755)
    return {"PATH": f"{root}/bin:{os.environ['PATH']}", "PULUMI_BACKEND_URL": "s3://bucket"}


def test_another_backend_is_asked_through_pulumi(tmp_path: Path) -> None:
    export = write(tmp_path / "export", {"version": 3, "deployment": {"resources": [resource(CONTAINER, ID)]}})
    environ = pulumi(tmp_path, f"cat {export}")

    checkpoint = read_checkpoint(tmp_path, PROJECT, "dev", environ)

    assert checkpoint.ids == {ID}
    assert (tmp_path / "arguments").read_text() == "stack export --non-interactive --stack dev\n"


def test_no_such_stack_there_is_known_and_empty(tmp_path: Path) -> None:
    environ = pulumi(tmp_path, "echo \"error: no stack named 'dev' found\" >&2; exit 255")

    assert read_checkpoint(tmp_path, PROJECT, "dev", environ).known


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'error: boom' >&2; exit 1", "cannot be exported: error: boom"),
        ("exit 1", "cannot be exported"),
        ("echo '{'", "is not JSON"),
        ("echo '[]'", "is broken"),
        ("echo '{\"deployment\": 5}'", "is broken"),
    ],
)
def test_a_pulumi_that_fails_is_not_known(tmp_path: Path, script: str, words: str) -> None:
    checkpoint = read_checkpoint(tmp_path, PROJECT, "dev", pulumi(tmp_path, script))

    assert not checkpoint.known
    assert words in str(checkpoint.problem)


def test_no_pulumi_is_not_known(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path), "PULUMI_BACKEND_URL": "https://api.pulumi.com"}

    assert "pulumi cannot be run" in str(read_checkpoint(tmp_path, PROJECT, "dev", environ).problem)


def test_a_pulumi_that_hangs_is_given_up(tmp_path: Path) -> None:
    environ = pulumi(tmp_path, "exec tail -f /dev/null")
    start = time.monotonic()

    with pytest.raises(Exception, match=r"took longer than 0\.5 s"):
        export_checkpoint(tmp_path, "dev", environ, seconds=0.5)

    assert time.monotonic() - start < 5


@MANY
@given(
    st.binary(max_size=60)
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from([CONTAINER, "pulumi:pulumi:Stack"]) | JSON_VALUES,
                "urn": st.just(f"urn:pulumi:dev::{PROJECT}::t::n") | JSON_VALUES,
                "id": st.just(ID) | JSON_VALUES,
                "outputs": JSON_VALUES | st.fixed_dictionaries({"plan": JSON_VALUES}),
            },
        )
        | JSON_VALUES,
        max_size=4,
    ).map(lambda resources: json.dumps(state(*resources)).encode())
)
def test_any_bytes_are_a_checkpoint(tmp_path: Path, data: bytes) -> None:
    write(stack_file(tmp_path), data)

    checkpoint = read(tmp_path)

    assert checkpoint.known == (checkpoint.problem is None)
    assert all(isinstance(identity, str) for identity in checkpoint.ids)
    for decision in checkpoint.previous.values():
        assert all(value is None or isinstance(value, str) for value in decision.to_texts().values())
    assert (checkpoint.problem or "").isprintable()
