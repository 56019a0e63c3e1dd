"""The engine: one that answers is used, a configured one is never replaced, and one of our own can be ended."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
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


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Options for a dockerd that shares nothing with the machine's own.

    In a network namespace of its own, because a daemon without a bridge deletes `docker0` where it finds one.
    """
    dockerd = shutil.which("dockerd")
    if os.geteuid() != 0 or dockerd is None:
        pytest.skip("starting an engine needs root and dockerd")
    alone = tmp_path / "bin" / "dockerd"
    alone.parent.mkdir()
    alone.write_text(f'#!/bin/sh\nexec unshare --net {dockerd} "$@"\n')
    alone.chmod(0o755)
    monkeypatch.setenv("PATH", f"{alone.parent}:{os.environ['PATH']}")
    folders = [f"--{name}={tmp_path / name}" for name in ("data-root", "exec-root", "pidfile")]
    socket_path = tmp_path / "docker.sock"
    yield [*folders, "--bridge=none", "--iptables=false", "--storage-driver=vfs", f"--host=unix://{socket_path}"]
    subprocess.run(["umount", "--quiet", "--lazy", tmp_path / "data-root"], check=False, capture_output=True)


@pytest.mark.engine
def test_a_daemon_outlives_its_starter_answers_and_can_be_ended(
    tmp_path: Path, layout: Layout, apart: list[str]
) -> None:
    layout.root.mkdir()
    docker = Docker(f"unix://{tmp_path / 'docker.sock'}")
    assert engine.start_daemon(layout, docker, apart) is docker
    pid = json.loads(engine.pid_file(layout).read_text())["pid"]
    assert os.getsid(pid) == pid  # a session of its own: the end of `make` does not reach it
    assert docker.ping() is not None
    assert engine.stop(layout) is True
    assert docker.ping() is None
    assert engine.stop(layout) is False


@pytest.mark.engine
def test_a_daemon_that_ends_at_once_is_explained_by_the_end_of_its_log(
    tmp_path: Path, layout: Layout, apart: list[str]
) -> None:
    layout.root.mkdir()
    options = [*apart, "--storage-driver=no-such-driver"]
    with pytest.raises(SetupError, match=r"(?s)ended with exit code 1; the end of .*error initializing graphdriver"):
        engine.start_daemon(layout, Docker(f"unix://{tmp_path / 'docker.sock'}"), options)
    assert not engine.pid_file(layout).exists()
