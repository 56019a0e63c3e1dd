"""`${VAR}` and `${VAR:-default}` in `mcpServers` documents, as Claude Code expands them.

Facts (Claude Code's documentation, "Environment variable expansion in .mcp.json"): a variable that is set wins even
when it is empty, unlike in a shell; the default is taken as it stands, never expanded again; a variable without value
and default makes the entry unusable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from reading.text import one_line

MAX_EXPANDED = 8192

_REFERENCE = re.compile(r"\$\{([^}]+)\}")
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|AUTH|CREDENTIAL|PRIVATE", re.IGNORECASE)


class ExpansionError(ValueError):
    """The text cannot be expanded; the message says which variable is missing and what to do."""


def expand(text: str, environment: Mapping[str, str]) -> str:
    """`text` with its references replaced; at most `MAX_EXPANDED` characters. Raises `ExpansionError`."""
    pieces: list[str] = []
    missing: list[str] = []
    end = length = 0
    for match in _REFERENCE.finditer(text):
        name, separator, default = match[1].partition(":-")
        value = environment.get(name, default if separator else None)
        if value is None:
            missing.append(name)
            continue
        pieces += (text[end : match.start()], value)
        length += len(pieces[-2]) + len(value)
        end = match.end()
    # Before anything is joined: a small text can refer to a large variable very often.
    if length + len(text) - end > MAX_EXPANDED:
        raise ExpansionError(f"is longer than {MAX_EXPANDED} characters once expanded; shorten it")
    if missing:
        names = ", ".join(one_line(name, 60) for name in missing[:3])
        raise ExpansionError(f"needs {names}, which is not set; set it or write ${{NAME:-default}}")
    return "".join((*pieces, text[end:]))


def names_in(text: str) -> tuple[str, ...]:
    """Every variable `text` refers to, with or without a default."""
    return tuple(match[1].partition(":-")[0] for match in _REFERENCE.finditer(text))


def needed_in(text: str) -> tuple[str, ...]:
    """The variables without which `text` cannot be expanded: those that have no default."""
    return tuple(match[1] for match in _REFERENCE.finditer(text) if ":-" not in match[1])


def variable_in(text: str) -> str | None:
    """The variable whose value is all that `text` stands for (`${NAME}`); None where it says anything else."""
    match = _REFERENCE.fullmatch(text)
    return match[1] if match and ":-" not in match[1] else None


def secret_names(text: str) -> tuple[str, ...]:
    """The variables `text` refers to whose names say that they hold a secret."""
    return tuple(name for name in names_in(text) if _SECRET_NAME.search(name))
