"""What an attacker has: connections from many addresses that say any bytes, over plain HTTP or TLS."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from docker.models.containers import Container

from tests.certificates import Pair
from tests.engine.project import Project
from tests.scenarios.namespace import ip

Result = TypeVar("Result")
Other = TypeVar("Other")

HOST = "craft.example.com"
# Seconds. Whoever waits longer for an answer than this has been kept waiting by the attack.
PATIENCE = 30.0
# Addresses of nobody (RFC 2544's for benchmarks), each of which is one client to nginx.
CLIENTS = tuple(f"198.18.0.{number}" for number in range(1, 17))


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the headers by lower-case name, the body, and how many seconds it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The API's own word for the error; None where the body is not of the API's shape."""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            error = self.json()["error"]
            return str(error["code"]) if set(error) == {"code", "message"} else None
        return None


@dataclass(frozen=True)
class Door:
    """nginx on an address beyond the loopback, as the world meets it; with `pair` by TLS."""

    project: Project
    pair: Pair | None = None

    @property
    def port(self) -> int:
        return 443 if self.pair else 80

    def connected(self, source: str = "", seconds: float = PATIENCE) -> socket.socket:
        """A connection from `source`, after its handshake."""
        where = (self.project.engine.bridge, self.port)

        def connect() -> socket.socket:
            plain = socket.create_connection(where, seconds, (source, 0) if source else None)
            if self.pair is None:
                return plain
            return ssl.create_default_context(cadata=self.pair.certificate).wrap_socket(plain, server_hostname=HOST)

        return self.project.inside(connect)

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        source: str = "",
        seconds: float = PATIENCE,
    ) -> Answer:
        """One request on a connection of its own. Raises `OSError` or `http.client.HTTPException`."""
        connection = http.client.HTTPConnection(HOST, timeout=seconds)
        started = time.monotonic()
        connection.sock = self.connected(source, seconds)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            return answer_of(connection.getresponse(), started)

    def said(self, data: bytes, source: str = "") -> Answer:
        """The answer to exactly these bytes."""
        started = time.monotonic()
        with self.connected(source) as connection:
            connection.sendall(data)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return answer_of(response, started)


def answer_of(response: http.client.HTTPResponse, started: float) -> Answer:
    body = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, body, time.monotonic() - started)


def give_addresses(project: Project) -> None:
    """Let the attacks come from `CLIENTS`."""
    for client in CLIENTS:
        project.inside(partial(ip, "address", "replace", f"{client}/32", "dev", "lo"))


def together(tasks: Sequence[Callable[[], Result]], workers: int = 48) -> list[Result]:
    """The results of `tasks`, carried out at once as far as `workers` go."""
    with ThreadPoolExecutor(workers) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


def beside(tasks: Sequence[Callable[[], Result]], other: Callable[[], Other]) -> tuple[list[Result], Other]:
    """The results of `tasks`, all carried out at once, and of `other`, meanwhile."""
    with ThreadPoolExecutor(len(tasks) + 1) as pool:
        futures, one = [pool.submit(task) for task in tasks], pool.submit(other)
        return [future.result() for future in futures], one.result()


@dataclass(frozen=True)
class Outcome:
    """How a request of a steady stream ended: begun so many seconds after the first, None for no answer at all."""

    number: int
    begun: float
    seconds: float
    status: int | None


@dataclass
class Steady:
    """Requests at an even rate, whatever becomes of them, from `start` to `stop`."""

    ask: Callable[[int], Answer]
    rate: float
    outcomes: list[Outcome] = field(default_factory=list)
    _ending: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        started = time.monotonic()
        with ThreadPoolExecutor(100) as pool:
            number = 0
            while not self._ending.wait(max(0.0, started + number / self.rate - time.monotonic())):
                pool.submit(self._one, number, started)
                number += 1

    def _one(self, number: int, started: float) -> None:
        begun = time.monotonic()
        status: int | None = None
        with contextlib.suppress(OSError, http.client.HTTPException):
            status = self.ask(number).status
        self.outcomes.append(Outcome(number, begun - started, time.monotonic() - begun, status))

    def stop(self) -> None:
        self._ending.set()


@contextmanager
def steadily(ask: Callable[[int], Answer], rate: float) -> Iterator[Steady]:
    """A stream of requests, `rate` a second, for as long as this lasts; all have ended after it."""
    stream = Steady(ask, rate)
    thread = threading.Thread(target=stream.run)
    thread.start()
    try:
        yield stream
    finally:
        stream.stop()
        thread.join()


@contextmanager
def kept_open(connections: Iterable[socket.socket]) -> Iterator[list[socket.socket]]:
    """The connections, closed after this."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connection) for connection in connections]


def container(project: Project, name: str) -> Container:
    """A container of the stack as it is now, by its name behind the stack's."""
    found = project.engine.client.containers.get(f"promptcraft-{project.stack}-{name}")
    found.reload()
    return found


def vitals(project: Project) -> dict[str, tuple[int, bool, str]]:
    """Of every container that runs: how often it was started again, whether for lack of memory, since when it is up."""
    found = {}
    for one in project.containers():
        if one.status == "running":
            state = one.attrs["State"]
            found[str(one.name)] = (one.attrs["RestartCount"], state["OOMKilled"], state["StartedAt"])
    return found
