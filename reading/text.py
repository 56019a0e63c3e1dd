"""Foreign text made safe to print: one line, escaped, bounded, without the secrets a URL can carry."""

from __future__ import annotations

import re

_USERINFO = re.compile(r"(?s)^([A-Za-z][A-Za-z0-9+.-]*://)?.*@")
_QUERY = re.compile(r"(?s)[?#].*$")
_PARAMETER = re.compile(r"\?[^=?]+=")


def shown(value: object, limit: int = 80) -> str:
    """`value` as a person may read it in a message: quoted, control characters escaped, at most `limit` characters.

    Everything before the last `@` and after a `?` or `#` of a URL is replaced: keys live there.
    """
    if isinstance(value, str):
        value = _without_secrets(value)
    elif isinstance(value, dict):
        return "a map"
    elif isinstance(value, list):
        return "a list"
    elif value is None:
        return "empty"
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_line(text: str, limit: int = 200) -> str:
    """`text` without quotes but with whatever is not printable escaped, at most `limit` characters."""
    clean = text[: limit + 1]
    if not clean.isprintable():
        clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in clean)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def bounded(warnings: list[str], label: str, limit: int = 20) -> tuple[str, ...]:
    """At most `limit` of `warnings`, and how many more there were: one bad file must not drown the rest."""
    if len(warnings) <= limit:
        return tuple(warnings)
    return (*warnings[:limit], f"{label}: {len(warnings) - limit} more warnings")


def _without_secrets(value: str) -> str:
    if "@" in value:
        value = _USERINFO.sub(lambda match: f"{match[1] or ''}***@", value, count=1)
    return _QUERY.sub("?***", value) if "://" in value or _PARAMETER.search(value) else value
