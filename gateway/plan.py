"""The deployed plan as the gateway is given it: one JSON file, mounted read-only. Keys not listed are ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class PlanError(Exception):
    """The plan can't be read; the text says which file, what is wrong and what to do."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class PlannedService(_Model):
    """One service: what was decided and where it is.

    `credential` is the path of a file with its secret; `host` the Host to ask for where it is not the endpoint's;
    `header_file` (`headers` in the plan) that of a JSON map with more headers for an MCP server;
    `answer_seconds` is what its entry allows for an answer. `pin` is the file with the tools that were accepted of an
    MCP server, `identity` a digest of where the plan gets it from.
    """

    action: Literal["deploy", "reuse", "relay", "omit"]
    source: str | None = None
    endpoint: str | None = None
    reason: str = ""
    stand_in: str | None = None
    protocol: str
    credential: Path | None = None
    host: str | None = None
    header_file: Path | None = Field(default=None, alias="headers")
    answer_seconds: float | None = Field(default=None, gt=0)
    pin: Path | None = None
    identity: str | None = None

    @property
    def is_used(self) -> bool:
        return self.action != "omit" and self.endpoint is not None

    def secret(self) -> str | None:
        """What the credential file holds now. Raises `OSError` when it is named but can't be read."""
        return None if self.credential is None else self.credential.read_text().strip() or None

    def headers(self) -> dict[str, str]:
        """What a request to an MCP server carries. Raises `OSError` when one of its files can't be read."""
        secret = self.secret()
        authorization = {"Authorization": f"Bearer {secret}"} if secret else {}
        # An MCP server may answer to its own names only (the SDK's protection against DNS rebinding).
        own = {} if self.header_file is None else json.loads(self.header_file.read_text(encoding="utf-8"))
        return authorization | own | ({"Host": self.host} if self.host else {})


class Shadowed(_Model):
    """A definition that did not win; `problem` says why, where it is not the order of the tiers alone."""

    tier: str
    path: str
    problem: str | None = None


class PlannedAgent(_Model):
    """One agent: the definition that won. `file` is where it is mounted as JSON, None when it was left out.

    `tier` and `path` are None when there is no definition at all, only something that needs the agent.
    """

    tier: str | None = None
    path: str | None = None
    file: Path | None = None
    model: str | None = None
    problem: str | None = None
    shadowed: tuple[Shadowed, ...] = ()
    dependencies: dict[str, str | None] = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """What to call the definition in a message."""
        return self.path or "definition"


class Limits(_Model):
    """How much may run at once, over all replicas. Memory in MiB."""

    max_concurrent_agents: int = Field(10, ge=1)
    agent_memory_mb: int = Field(2048, ge=1)
    mcp_memory_mb: int = Field(1024, ge=1)
    models: dict[str, int] = Field(default_factory=lambda: {"opus": 3, "sonnet": 8, "haiku": 15})


class LocalModels(_Model):
    """A model server of the stack that speaks OpenAI's chat API; `endpoint` ends in `/v1`, `names` are its models."""

    endpoint: str
    host: str | None = None
    title: str = "the local model server"
    names: tuple[str, ...] = ()
    credential: Path | None = None


class ModelProvider(_Model):
    """A provider of models; `credential` is the file that holds the key to it."""

    credential: Path


class Models(_Model):
    """Which models agents can have. `names` maps what an agent says (or `default`) to `provider:model`.

    `problem` says what to set or start where there is none at all.
    """

    local: LocalModels | None = None
    providers: dict[str, ModelProvider] = Field(default_factory=dict)
    names: dict[str, str] = Field(default_factory=dict)
    problem: str | None = None


class OAuth(_Model):
    """The authorization server whose tokens are taken: those for `audience`, with all of `scopes`.

    `caller_claim` is the claim that names the caller.
    """

    issuer: str
    audience: str
    scopes: tuple[str, ...] = ()
    caller_claim: str = "sub"


class Plan(_Model):
    """`access` has the globs of tools by caller; None where the stack says nothing of it."""

    schema_version: Literal[1]
    project: str
    stack: str
    services: dict[str, PlannedService]
    limits: Limits = Limits()
    agents: dict[str, PlannedAgent] = Field(default_factory=dict)
    models: Models = Models()
    access: dict[str, tuple[str, ...]] | None = None
    oauth: OAuth | None = None

    def used(self, protocol: str) -> dict[str, PlannedService]:
        """The services of that protocol that are deployed or reused, by name."""
        return {
            name: service for name, service in self.services.items() if service.protocol == protocol and service.is_used
        }


def load_plan(path: Path) -> Plan:
    """The plan in `path`. Raises `PlanError`."""
    try:
        return Plan.model_validate_json(path.read_bytes())
    except OSError as error:
        raise PlanError(
            f"{path}: {error.strerror}; mount the plan there or name its place in PROMPTCRAFT_PLAN_FILE"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise PlanError(f"{path}: {where}: {first['msg']}; deploy again with the program of this version") from error


def mcp_url(endpoint: str) -> str:
    """An MCP endpoint with its path: `/mcp` where the plan names only the server; `/` is a path of its own."""
    parts = urlsplit(endpoint)
    return endpoint if parts.path else parts._replace(path="/mcp").geturl()
