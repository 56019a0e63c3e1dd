"""The stack that is attacked: production's shape with two callers and a tool whose answers can be held back."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.chat_completions import ChatServer
from tests.engine.private_engine import PrivateEngine
from tests.engine.project import Project
from tests.journeys.attacking import HOST, Answer, Door, give_addresses
from tests.scenarios.sdk_servers import SdkServer

ALICE, MALLORY = "alice-of-the-attacks-7d1c", "mallory-of-the-attacks-90be"
# Nobody else listens in the engine's own namespace, so that a second deployment finds it where the first did.
HELD_PORT = 9400
HELD_AGENT = """---
name: held
description: Asks a tool that takes its time.
model: haiku
server: team-held
tool: hold
prompt_argument: text
---
Hold.
"""
# Runs at once, of all replicas together (.mcp/discovery-config.yaml), and how long one more waits for its turn.
SLOTS = 10
QUEUE_SECONDS = 3


def authorized(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Held:
    """A tool that answers at once, or only when it is let go; it counts how often it was asked what."""

    asked: Counter[str] = field(default_factory=Counter)
    answer: Callable[[str], str] = "held: {}".format
    _open: threading.Event = field(default_factory=threading.Event)

    def hold(self, text: str) -> str:
        """Answers in its own time."""
        question = text.splitlines()[-1]
        self.asked[question] += 1
        self._open.wait(60)
        return self.answer(question)

    def calls(self, question: str) -> int:
        return self.asked[question]

    @contextmanager
    def back(self) -> Iterator[None]:
        """Nobody is answered while this lasts."""
        self._open.clear()
        try:
            yield
        finally:
            self.let_go()

    def let_go(self) -> None:
        self._open.set()


@pytest.fixture(scope="module")
def held(private_engine: PrivateEngine) -> Iterator[Held]:
    tool = Held()
    tool._open.set()
    address = private_engine.bridge
    server = private_engine.namespace.run(lambda: SdkServer("team-held", HELD_PORT, host=address, tools=(tool.hold,)))
    yield tool
    server.close()


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], held: Held, models: ChatServer) -> Project:
    """The attacked stack, declared and not yet deployed."""
    variables = {"PROMPTCRAFT_QUEUE_SECONDS": str(QUEUE_SECONDS)}
    project = new_project(like="production", config={"gateway": variables, "publicHosts": [HOST]})
    name_servers(project, {"team-held": {"type": "http", "url": f"http://{project.engine.bridge}:{HELD_PORT}/mcp"}})
    (project.root / ".agents/core/held.md").write_text(HELD_AGENT)
    project.environment.update(GRAFANA_PASSWORD="", GATEWAY_TOKENS=f"{ALICE} {MALLORY}", OPENAI_BASE_URL=models.url)
    give_addresses(project)
    return project


def name_servers(project: Project, servers: Mapping[str, Any]) -> None:
    """What the person who deploys has in their own Claude configuration."""
    file = project.root.parent / "home" / ".claude.json"
    file.write_text(json.dumps({"mcpServers": servers}))
    file.chmod(0o600)


def run(
    door: Door,
    agent: str,
    text: str,
    *,
    token: str = ALICE,
    key: str | None = None,
    session: str | None = None,
    source: str = "",
    seconds: float = 60,
) -> Answer:
    """An agent's run, asked for through nginx."""
    document = {"input": text} | ({"session": session} if session else {})
    headers = authorized(token) | {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
    return door.ask(
        f"/api/agents/{agent}/runs", "POST", json.dumps(document).encode(), headers, source=source, seconds=seconds
    )
