"""What the plan only names: the texts that go into the stack's files, secret ones as a type that does not print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SecretText:
    """A text that nobody may read on the way: neither `str` nor `repr` shows it."""

    text: str = field(repr=False)


@dataclass(frozen=True)
class Contents:
    """Contents by the names that the plan uses for them.

    `secrets` is keyed as `StackSettings.secrets`; `agent_texts` are the winning definitions by agent, `tool_pins` the
    accepted tools by server, `dashboards`
    texts by file name; `launches` how the runner starts servers, by name and key, `headers` what requests to servers
    carry, likewise; `certificates` (PEM) are the authorities that the runner trusts besides the public ones.
    """

    secrets: Mapping[str, SecretText] = field(default_factory=dict)
    agent_texts: Mapping[str, str] = field(default_factory=dict)  # JSON
    tool_pins: Mapping[str, str] = field(default_factory=dict)  # JSON
    dashboards: Mapping[str, str] = field(default_factory=dict)
    launches: Mapping[tuple[str, str], SecretText] = field(default_factory=dict)
    headers: Mapping[tuple[str, str], SecretText] = field(default_factory=dict)
    certificates: str | None = None
