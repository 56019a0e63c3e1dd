"""Hosts outside: one short wait for all of them, whatever they do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from toolchain.reachability import Outside, ask


class Answer(BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    asked: list[str]

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def server(asked: list[str]) -> Iterator[str]:
    handler = type("Handler", (Answer,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "answers"),
    [(200, True), (204, True), (401, True), (403, False), (404, False), (407, False), (502, False)],
)
def test_a_login_is_an_answer_and_a_gatekeepers_refusal_is_none(server: str, status: int, answers: bool) -> None:
    url = f"{server}/{status}"
    assert ask([url], 3.0) == (frozenset({url}) if answers else frozenset())


def test_hosts_that_never_answer_are_given_up_together(server: str) -> None:
    with ExitStack() as open_sockets:
        silent = []
        for _ in range(8):
            listener = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
            silent.append(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        started = time.monotonic()
        assert ask([*silent, f"{server}/200"], 0.5) == {f"{server}/200"}
        assert time.monotonic() - started < 3.5


def test_a_host_that_answers_a_byte_at_a_time_is_given_up_too() -> None:
    """Each byte starts a socket's own time-out anew; only a deadline over all of it ends the wait."""
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            for _ in range(50):  # then it hangs up: a wait without end should fail here, not hang
                if over.wait(0.1):
                    return
                connection.send(b"H")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        dripping = threading.Thread(target=drip, args=(listener,))
        dripping.start()
        started = time.monotonic()
        assert ask([f"http://127.0.0.1:{listener.getsockname()[1]}/"], 0.5) == frozenset()
        assert time.monotonic() - started < 4
        over.set()
        dripping.join()


def test_a_port_where_nobody_listens_costs_no_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started = time.monotonic()
    assert ask([f"http://127.0.0.1:{port}/"], 3.0) == frozenset()
    assert time.monotonic() - started < 2.5


def test_nobody_is_asked_before_the_first_question_nor_twice(server: str, asked: list[str]) -> None:
    url = f"{server}/200"
    outside = Outside([url, url])
    assert asked == []
    assert outside.answers(url) and outside.all_answer([url]) and not outside.answers("http://127.0.0.1/other")
    assert asked == ["/200"]
