"""The engine: one that answers is used, a configured one is never replaced, and one of our own can be ended."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from toolchain import apt, engine
from toolchain.docker import Docker
from toolchain.failure import SetupError
from toolchain.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "root", tmp_path / "cache")


# Where an engine answers, what is configured, may we install -> where we end, or the words of the message.
@pytest.mark.parametrize(
    ("answering", "environment", "may_install", "expected"),
    [
        ({None}, {}, True, None),
        ({None}, {"DOCKER_HOST": "tcp://there:2376"}, True, None),
        (set(), {"DOCKER_HOST": "tcp://there:2376"}, True, "DOCKER_HOST is tcp://there:2376, but no engine answers"),
        ({"unix://{runtime}/docker.sock"}, {"XDG_RUNTIME_DIR": "{runtime}"}, False, "unix://{runtime}/docker.sock"),
        ({"ssh://builder"}, {"DOCKER_CONTEXT": "far"}, False, "ssh://builder"),
        (set(), {}, True, "started"),
        (set(), {}, False, "installing one needs root"),
    ],
)
def test_an_engine_is_found_before_it_is_started(
    answering: set[str | None],
    environment: dict[str, str],
    may_install: bool,
    expected: str | None,
    tmp_path: Path,
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def here(text: str) -> str:
        return text.format(runtime=tmp_path)

    hosts = {host if host is None else here(host) for host in answering}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "docker.sock"))
    monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/bin/{name}")
    monkeypatch.setattr(Docker, "ping", lambda self: "20.10" if self.host in hosts else None)
    monkeypatch.setattr("toolchain.shell.answer", lambda command: "ssh://builder")
    monkeypatch.setattr(apt, "can_install", lambda: may_install)
    monkeypatch.setattr(engine, "_start", lambda layout, environment: Docker("started"))
    told = {
        "DOCKER_CONFIG": str(tmp_path / "no config"),
        "XDG_RUNTIME_DIR": str(tmp_path / "nothing"),
        **{name: here(value) for name, value in environment.items()},
    }
    if expected and " " in expected:
        with pytest.raises(SetupError, match=expected):
            engine.reach(layout, told)
    else:
        assert engine.reach(layout, told).host == (expected and here(expected))


def test_the_advice_tells_a_missing_right_from_a_missing_engine() -> None:
    assert "usermod -aG docker" in engine.advice(denied=True)
    assert "apt-get install" not in engine.advice(denied=True)
    assert f"apt-get install -y {' '.join(engine.PACKAGES)}" in engine.advice(denied=False)


def test_a_process_that_got_the_number_of_our_daemon_is_left_alone(layout: Layout) -> None:
    layout.private.mkdir(parents=True)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as stranger:
        engine.pid_file(layout).write_text(json.dumps({"pid": stranger.pid, "started": "1"}))
        assert engine.stop(layout) is False
        assert stranger.poll() is None
        assert stranger.stdin is not None
        stranger.stdin.close()
    assert not engine.pid_file(layout).exists()


def test_without_a_record_there_is_nothing_to_stop(layout: Layout) -> None:
    assert engine.stop(layout) is False


@dataclass(frozen=True)
class Apart:
    """A dockerd that shares nothing with the machine's own: its options, and where it answers."""

    docker: Docker
    options: list[str]


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Apart]:
    """In a network namespace of its own, because a daemon without a bridge deletes `docker0` where it finds one."""
    dockerd = shutil.which("dockerd")
    if os.geteuid() != 0 or dockerd is None:
        pytest.skip("starting an engine needs root and dockerd")
    alone = tmp_path / "bin" / "dockerd"
    alone.parent.mkdir()
    alone.write_text(f'#!/bin/sh\nexec unshare --net {dockerd} "$@"\n')
    alone.chmod(0o755)
    monkeypatch.setenv("PATH", f"{alone.parent}:{os.environ['PATH']}")
    # Not pytest's folder: a socket's path has room for 107 characters, and containerd's lie deep.
    with tempfile.TemporaryDirectory(prefix="dockerd.") as folder:
        host = f"unix://{folder}/docker.sock"
        options = [f"--{name}={folder}/{name}" for name in ("data-root", "exec-root", "pidfile")]
        options += ["--bridge=none", "--iptables=false", "--storage-driver=vfs", f"--host={host}"]
        yield Apart(Docker(host), options)
        subprocess.run(["umount", "--quiet", "--lazy", f"{folder}/data-root"], check=False, capture_output=True)


@pytest.mark.engine
def test_a_daemon_outlives_its_starter_answers_and_can_be_ended(layout: Layout, apart: Apart) -> None:
    layout.root.mkdir()
    assert engine.start_daemon(layout, apart.docker, apart.options) is apart.docker
    pid = json.loads(engine.pid_file(layout).read_text())["pid"]
    assert os.getsid(pid) == pid  # a session of its own: the end of `make` does not reach it
    assert apart.docker.ping() is not None
    assert engine.stop(layout) is True
    assert apart.docker.ping() is None
    assert engine.stop(layout) is False


@pytest.mark.engine
def test_a_daemon_that_ends_at_once_is_explained_by_the_end_of_its_log(layout: Layout, apart: Apart) -> None:
    layout.root.mkdir()
    with pytest.raises(SetupError, match=r"(?s)ended with exit code 1; the end of .*error initializing graphdriver"):
        engine.start_daemon(layout, apart.docker, [*apart.options, "--storage-driver=no-such-driver"])
    assert not engine.pid_file(layout).exists()
