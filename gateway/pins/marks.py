"""What of a tool's texts hides something, or speaks to the model instead of about the tool."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from gateway.pins import rules
from gateway.pins.reading import hidden_in, mixed_words, plain
from gateway.pins.tool_set import MAX_TOOL_CHARACTERS, PinnedTool, is_too_long, texts_of

EXCERPT_CHARACTERS = 120


class Mark(BaseModel):
    """One thing about one text of a tool. `code` is for machines, `says` for people; `words` is what was found."""

    model_config = ConfigDict(frozen=True)

    code: str
    where: str
    says: str
    words: str


def marks_of(tool: PinnedTool, twins: Iterable[str] = ()) -> tuple[Mark, ...]:
    """The marks of a tool, each once; `twins` are the names of its neighbours that are `alike`."""
    if tool.digest is not None:
        return ()
    if is_too_long(tool):
        return (Mark(code="too_long", where="tool", says=f"has more than {MAX_TOOL_CHARACTERS} characters", words=""),)
    found: dict[tuple[str, str], Mark] = {}
    # A schema says `string` a thousand times.
    places: dict[str, str] = {}
    for where, text in texts_of(tool):
        places.setdefault(text, where)
    for text, where in places.items():
        for mark in _of_text(where, text):
            found.setdefault((mark.code, mark.words), mark)
    for other in twins:
        if other != tool.name:
            mark = Mark(code="looks_alike", where="name", says="looks like another tool's name", words=shown(other))
            found.setdefault((mark.code, mark.words), mark)
    return tuple(found.values())


def alike(name: str) -> str:
    """What two names have in common that a reader takes for one."""
    return "".join(letter for letter in plain(name).casefold() if letter.isalnum()).replace("0", "o").replace("1", "l")


def shown(text: str) -> str:
    """A stranger's words as they may be shown: one line, cut, and nothing in it that hides."""
    line = " ".join(text.split())
    cut = line if len(line) <= EXCERPT_CHARACTERS else f"{line[: EXCERPT_CHARACTERS - 1]}…"
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in cut)


def _of_text(where: str, text: str) -> Iterable[Mark]:
    if hidden := hidden_in(text):
        yield Mark(code="hides_characters", where=where, says="holds what is not shown", words=shown(" ".join(hidden)))
    if rules.GAP.search(text.strip()):
        yield Mark(code="hides_in_space", where=where, says="goes on after a long gap", words="")
    if not text.isascii() and (mixed := mixed_words(text)):
        words = shown(" ".join(mixed))
        yield Mark(code="mixes_alphabets", where=where, says="mixes letters that look alike", words=words)
    for rule, words in rules.found((rules.BLOB,), text):
        yield Mark(code=rule.code, where=where, says=rule.says, words=shown(words))
    # `do_not_tell_the_user` as a choice, or as a parameter's name.
    read = plain(text if " " in text else text.replace("_", " ").replace("-", " "))
    for rule, words in rules.found(rules.MARKING, read):
        yield Mark(code=rule.code, where=where, says=rule.says, words=shown(words).casefold())
