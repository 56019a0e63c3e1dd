"""An agent's definition, from the text of its file: Markdown with front matter as Claude Code reads it, or YAML.

Most files are other people's, so that a value which makes no sense costs only itself, and is noted. A file is refused
where Claude Code skips it: without a name or with one that begins with `-` or holds `:`, without a description, or with
front matter that even a lenient reading makes nothing of (code.claude.com/docs/en/sub-agents, as of 2026-11-28).
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from reading import front_matter
from reading.front_matter import FrontMatterError, Value
from reading.text import shown

MAX_ID = 63
_MAX_SHOWN = 100
_HASH_DIGITS = 8

# What is used here; `prompt`, `server`, `tool` and `prompt_argument` are this program's own.
_USED = frozenset(
    {
        "name",
        "description",
        "model",
        "tools",
        "disallowedTools",
        "mcpServers",
        "maxTurns",
        "prompt",
        "server",
        "tool",
        "prompt_argument",
    }
)
# What Claude Code does for an agent, and nobody here: its own tools, permissions, memory and display.
NOT_APPLIED = (
    "permissionMode",
    "skills",
    "hooks",
    "memory",
    "background",
    "effort",
    "isolation",
    "color",
    "initialPrompt",
)
_SIGNS = str.maketrans({"#": " sharp ", "+": " plus ", "&": " and "})
_PARENT_FOLDER = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)")


class DefinitionError(Exception):
    """The text defines no agent; the message says why, as `what is wrong; what to do`."""


class NoNameError(DefinitionError):
    """There is not even a name: the text may be about something else."""


@dataclass(frozen=True)
class Definition:
    """What a file says of its agent. `name` is for people; `agent_id` makes what addresses it.

    `tools` is None where the file says nothing of them. `model` has a suffix such as `[1m]` as it was written.
    `not_applied` names the keys that mean something to Claude Code only, `notes` what was left aside, and why.
    """

    name: str
    description: str
    prompt: str
    model: str | None = None
    tools: tuple[str, ...] | None = None
    disallowed_tools: tuple[str, ...] = ()
    mcp_servers: tuple[str, ...] = ()
    max_turns: int | None = None
    server: str | None = None
    tool: str | None = None
    prompt_argument: str | None = None
    not_applied: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """As the application reads it: JSON, sorted by key. What is only for the look stays out."""
        document = {key: value for key, value in asdict(self).items() if key != "notes"}
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def read_definition(data: bytes, *, is_yaml: bool = False) -> Definition:
    """The definition in a file's bytes. Raises `DefinitionError`, and nothing else."""
    text = _decoded(data)
    try:
        head, first_line, body = (text, 1, "") if is_yaml else front_matter.split(text)
    except FrontMatterError as error:
        raise NoNameError(str(error)) from error
    try:
        fields = front_matter.read(head, _USED, first_line)
        return _definition(fields, body)
    except FrontMatterError as error:
        raise DefinitionError(str(error)) from error


def agent_id(name: str) -> str:
    """What addresses the agent in ids, paths and the API: 1 to 63 of `a-z`, `0-9` and `-`; the same for the same name.

    Where letters are lost (another script) or the name is too long, it ends in 8 hex digits of the name's SHA-256.
    """
    folded = unicodedata.normalize("NFKD", name.casefold().translate(_SIGNS))
    kept = re.sub(r"[^a-z0-9]+", "-", "".join(c for c in folded if not unicodedata.combining(c))).strip("-")
    is_whole = all(ord(c) < 128 for c in folded if c.isalnum())
    if kept and is_whole and len(kept) <= MAX_ID:
        return kept
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:_HASH_DIGITS]
    return f"{kept[: MAX_ID - _HASH_DIGITS - 1].strip('-') or 'agent'}-{digest}"


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DefinitionError("is UTF-16; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # An older editor's: better its letters than none.
        text = data.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _definition(fields: Mapping[str, Value], body: str) -> Definition:
    name = _name(fields.get("name"))
    notes: list[str] = []
    prompt = _word(fields, "prompt", notes) or body
    return Definition(
        name=name,
        description=_description(fields.get("description")),
        prompt=prompt.strip(),
        model=_model(fields, notes),
        tools=_tools(fields, "tools", notes),
        disallowed_tools=_tools(fields, "disallowedTools", notes) or (),
        mcp_servers=_names(fields.get("mcpServers"), "mcpServers", notes) or (),
        max_turns=_max_turns(fields, notes),
        server=_word(fields, "server", notes),
        tool=_word(fields, "tool", notes),
        prompt_argument=_word(fields, "prompt_argument", notes),
        not_applied=tuple(key for key in NOT_APPLIED if key in fields),
        notes=tuple(notes),
    )


def _name(value: Value) -> str:
    if value is None or value == "":
        raise NoNameError("has no name; give it one")
    if not isinstance(value, str):
        raise DefinitionError(f"its name is {shown(value)}, not text; give it a text")
    name = value.strip()
    if not name.isprintable():
        raise DefinitionError(f"its name {shown(name, 60)} has control characters; remove them")
    if name.startswith("-") or ":" in name:
        raise DefinitionError(f"its name {shown(name, 60)} begins with '-' or holds ':'; Claude Code skips it too")
    if _PARENT_FOLDER.search(name):
        raise DefinitionError(f"its name {shown(name, 60)} leads out of a folder; remove the '..'")
    if not name or len(name) > 2 * _MAX_SHOWN:
        raise DefinitionError(f"its name has {len(name)} characters; write 1 to {2 * _MAX_SHOWN}")
    return name


def _description(value: Value) -> str:
    if isinstance(value, list | dict):
        raise DefinitionError(f"its description is {shown(value)}, not text; put it in quotes")
    if not value or not value.strip():
        raise DefinitionError("has no description; say in it when to use the agent")
    return value.strip()


def _word(fields: Mapping[str, Value], key: str, notes: list[str]) -> str | None:
    value = fields.get(key)
    if isinstance(value, list | dict):
        notes.append(f"{key} is {shown(value)}, not text, and is left aside")
        return None
    return value or None


def _model(fields: Mapping[str, Value], notes: list[str]) -> str | None:
    value = fields.get("model")
    if isinstance(value, list) and value and isinstance(value[0], str):
        # VS Code's order of preference
        notes.append(f"model is a list; its first entry counts: {shown(value[0], 60)}")
        value = value[0]
    if isinstance(value, list | dict):
        notes.append(f"model is {shown(value)}, not text, and is left aside")
        return None
    model = (value or "").strip()
    if len(model) > _MAX_SHOWN or not model.isprintable():
        notes.append(f"model is no model's name, and is left aside: {shown(model, 60)}")
        return None
    return model or None


def _max_turns(fields: Mapping[str, Value], notes: list[str]) -> int | None:
    value = fields.get("maxTurns")
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,5}", value.strip()):
        return int(value)
    notes.append(f"maxTurns is no whole number of at least 1, and is left aside: {shown(value, 40)}")
    return None


def _tools(fields: Mapping[str, Value], key: str, notes: list[str]) -> tuple[str, ...] | None:
    value = fields.get(key)
    if isinstance(value, dict):
        # {read: true, write: false}, as OpenCode writes it
        value = [name for name, is_on in value.items() if str(is_on).lower() != "false"]
    return _names(value, key, notes)


def _names(value: Value, key: str, notes: list[str]) -> tuple[str, ...] | None:
    """The names in `Read, Grep`, `[Read, Grep]`, `[{docs: {…}}]` or `{docs: {…}}`; a description counts by its name."""
    if value is None:
        return None
    if isinstance(value, str):
        return tuple(_parted(value))
    names: list[str] = []
    for one in value:
        if isinstance(one, str):
            names += _parted(one)
        elif isinstance(one, dict):
            names += one
        else:
            notes.append(f"{key} has {shown(one)} in it, which is left aside")
    return tuple(_distinct(names))


def _parted(text: str) -> list[str]:
    """The parts between commas; those inside of `Agent(reviewer, tester)` part nothing."""
    parts: list[list[str]] = [[]]
    depth = 0
    for piece in re.split(r"([,()])", text):
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if piece == "," and depth <= 0:
            parts.append([])
        else:
            parts[-1].append(piece)
    return _distinct("".join(part).strip().strip("[]\"'").strip() for part in parts)


def _distinct(names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name]
