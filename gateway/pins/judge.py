"""What has changed in a server's tools since somebody accepted them, and whether it may go on being served. Pure."""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gateway.pins import rules, schemas
from gateway.pins.addresses import addresses_in
from gateway.pins.marks import Mark, alike, marks_of, shown
from gateway.pins.reading import plain, sentences, words
from gateway.pins.tool_set import MAX_TOOL_CHARACTERS, PinnedTool, ToolSet, is_too_long, texts_of

Kind = Literal["same", "reworded", "blocked", "new", "gone", "unpinned"]

# From so much in common on, a sentence is another's new wording (0 to 1, of its words).
_REWORDED = 0.7
# Pairs of sentences that are held against each other; beyond, each that is not known word by word counts as added.
_MAX_PAIRS = 40_000
_MAX_CHANGES = 30
# The hints of MCP's `ToolAnnotations`: what holds without one, and which value lets a tool do more.
_HINTS = (
    ("readOnlyHint", False, False),
    ("destructiveHint", True, True),
    ("idempotentHint", False, False),
    ("openWorldHint", True, True),
)
# What may stand in a `$schema` besides what stood there: it names the language, and nothing is fetched from it.
_DIALECTS = ("http://json-schema.org/", "https://json-schema.org/")


class Change(BaseModel):
    """One thing that is not as it was accepted. `code` is for machines, `says` one line for people.

    `blocks`: the tool is not served until somebody accepts it.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    where: str
    says: str
    blocks: bool


class Verdict(BaseModel):
    """One tool. `kind` is `unpinned` where nothing was accepted yet, `gone` where it is not listed any more."""

    model_config = ConfigDict(frozen=True)

    tool: str
    kind: Kind
    changes: tuple[Change, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def is_served(self) -> bool:
        return self.kind in ("same", "reworded", "unpinned")

    @property
    def reason(self) -> str:
        """Why it is not served, or what is different, in one line; empty where nothing is."""
        if self.kind == "new":
            return "it was not among the tools that were accepted"
        told = [change for change in self.changes if change.blocks] or list(self.changes)
        if not told:
            return ""
        more = f", and {len(told) - 1} more" if len(told) > 1 else ""
        return f"{told[0].where}: {told[0].says}"[:180] + more


def judge(now: ToolSet, accepted: ToolSet | None) -> tuple[Verdict, ...]:
    """Every tool of either set, by name."""
    listed = now.by_name()
    known = accepted.by_name() if accepted is not None else None
    verdicts = []
    twins = defaultdict(list)
    for name in listed:
        twins[alike(name)].append(name)
    for name in sorted({*listed, *(known or {})}):
        if name not in listed:
            verdicts.append(Verdict(tool=name, kind="gone"))
            continue
        marks = marks_of(listed[name], twins[alike(name)])
        if known is None:
            verdicts.append(Verdict(tool=name, kind="unpinned", marks=marks))
        elif name not in known:
            verdicts.append(Verdict(tool=name, kind="new", marks=marks))
        else:
            changes = tuple(_distinct(_changes(known[name], listed[name], marks)))
            kind: Kind = "blocked" if any(one.blocks for one in changes) else "reworded" if changes else "same"
            verdicts.append(Verdict(tool=name, kind=kind, changes=changes, marks=marks))
    return tuple(verdicts)


def _distinct(changes: Iterable[Change]) -> Iterator[Change]:
    ordered = sorted(dict.fromkeys(changes), key=lambda change: not change.blocks)
    yield from ordered[:_MAX_CHANGES]
    if len(ordered) > _MAX_CHANGES:
        yield Change(code="more", where="tool", says=f"{len(ordered) - _MAX_CHANGES} more changes", blocks=False)


def _changes(before: PinnedTool, now: PinnedTool, marks: tuple[Mark, ...]) -> Iterator[Change]:
    if before.fingerprint() == now.fingerprint():
        return
    if before.digest is not None:
        yield Change(
            code="unreadable", where="tool", says="is another; its first text was too long to keep", blocks=True
        )
        return
    if is_too_long(now) or is_too_long(before):
        says = f"is another, and longer than the {MAX_TOOL_CHARACTERS} characters that are compared"
        yield Change(code="unreadable", where="tool", says=says, blocks=True)
        return
    yield from _wider_hints(before.annotations or {}, now.annotations or {})
    for one in schemas.differences(before.input_schema, now.input_schema):
        yield Change(code=one.kind, where=one.where, says=one.what, blocks=True)
    known = {(mark.code, mark.words) for mark in marks_of(before)}
    for mark in marks:
        # What a neighbour is called is the neighbour's change.
        if (mark.code, mark.words) not in known and mark.code != "looks_alike":
            says = f"{mark.says}: {mark.words}" if mark.words else mark.says
            yield Change(code=mark.code, where=mark.where, says=says, blocks=True)
    yield from _added_words(before, now)
    yield from _told(before, now)


def _wider_hints(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Change]:
    for key, otherwise, wide in _HINTS:
        was, is_now = before.get(key, otherwise), now.get(key, otherwise)
        if was != is_now and is_now == wide:
            says = f"was {_json(was)}, and is {_json(now.get(key))}"
            yield Change(code="wider_hint", where=f"annotations.{key}", says=says, blocks=True)


def _told(before: PinnedTool, now: PinnedTool) -> Iterator[Change]:
    """What is different at all, for who reads it; it blocks nothing."""
    for part in ("title", "description", "annotations", "input_schema", "output_schema"):
        if getattr(before, part) != getattr(now, part):
            yield Change(code="reworded", where=part, says="is not what was accepted", blocks=False)


@dataclass
class _Texts:
    """What a tool says: its sentences by their words, with what is first in its text; and its addresses."""

    sentences: list[tuple[str, str, bool]] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    scripts: set[str] = field(default_factory=set)


def _texts(tool: PinnedTool) -> _Texts:
    texts = _Texts()
    places: dict[tuple[str, bool], str] = {}
    for where, text in texts_of(tool):
        places.setdefault((text, _names_nothing(where, text)), where)
    for (text, names_nothing), where in places.items():
        read = plain(text)
        texts.scripts |= _scripts(read)
        if not names_nothing:
            for address in addresses_in(read):
                texts.addresses.setdefault(address, where)
        if " " not in read:
            # `tellTheUser`, `tell_the_user`: a name, or a choice.
            read = "".join(f" {one}" if one.isupper() else one for one in read).replace("_", " ").replace("-", " ")
        for number, sentence in enumerate(sentences(read)):
            texts.sentences.append((where, sentence, number == 0))
    return texts


def _names_nothing(where: str, text: str) -> bool:
    """Whether what looks like an address is none: the schema's language, its own parts, a regular expression."""
    if where.endswith(".$schema"):
        return text.startswith(_DIALECTS)
    return (where.endswith(".$ref") and text.startswith("#")) or where.endswith((".pattern", ".format"))


def _added_words(before: PinnedTool, now: PinnedTool) -> Iterator[Change]:
    old, new = _texts(before), _texts(now)
    for address, where in new.addresses.items():
        if address not in old.addresses:
            yield Change(code="address", where=where, says=f"names {shown(address)}", blocks=True)
    for script in sorted(new.scripts - old.scripts):
        yield Change(code="script", where="tool", says=f"has words in another script ({script})", blocks=True)
    # Sentences that were moved elsewhere are no new ones.
    left = Counter(words(sentence) for _, sentence, _ in old.sentences)
    added = []
    for where, sentence, is_first in new.sentences:
        spoken = words(sentence)
        if left[spoken]:
            left[spoken] -= 1
        elif spoken:
            added.append((where, sentence, is_first))
    gone = {key for key, count in left.items() if count}
    former = [sentence for _, sentence, _ in old.sentences if words(sentence) in gone]
    is_many = len(former) * len(added) > _MAX_PAIRS
    for where, sentence, is_first in added:
        like = None if is_many else _nearest(sentence, former)
        known = _findings(like, is_first=False) if like is not None else Counter()
        for (code, says, found), count in _findings(sentence, is_first=is_first).items():
            if count > known[code, says, found]:
                yield Change(code=code, where=where, says=f"{says}: {shown(sentence)}", blocks=True)
                break


def _findings(sentence: str, *, is_first: bool) -> Counter[tuple[str, str, str]]:
    ruled = list(rules.found(rules.ADDED, sentence))
    # The first sentence of a text says what its tool does: `Read a file.`
    ruled += [] if is_first else list(rules.found((rules.IMPERATIVE,), sentence))
    return Counter((rule.code, rule.says, found.casefold()) for rule, found in ruled)


def _nearest(sentence: str, former: list[str]) -> str | None:
    """The sentence of before that this one is a new wording of; None where it is none."""
    spoken, best, nearest = words(sentence), _REWORDED, None
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(spoken)
    for one in former:
        matcher.set_seq1(words(one))
        if matcher.real_quick_ratio() >= best and matcher.quick_ratio() >= best and (ratio := matcher.ratio()) >= best:
            best, nearest = ratio, one
    return nearest


# Scripts by where their letters begin and end; what is in none of them is like Latin to a reader.
_SCRIPTS = (
    ("Greek", 0x0370, 0x03FF),
    ("Cyrillic", 0x0400, 0x052F),
    ("Hebrew", 0x0590, 0x05FF),
    ("Arabic", 0x0600, 0x08FF),
    ("Indic", 0x0900, 0x0DFF),
    ("Thai", 0x0E00, 0x0EFF),
    ("Georgian", 0x10A0, 0x10FF),
    ("Hangul", 0x1100, 0x11FF),
    ("other", 0x1200, 0x1DBF),
    ("Chinese or Japanese", 0x2E80, 0xA4CF),
    ("other", 0xA4D0, 0xABFF),
    ("Hangul", 0xAC00, 0xD7AF),
    ("other", 0x10000, 0x1CFFF),
    ("Chinese or Japanese", 0x20000, 0x3FFFF),
)


def _scripts(text: str) -> set[str]:
    if text.isascii():
        return set()
    letters = {ord(letter) for letter in text if letter.isalpha()}
    return {name for name, first, last in _SCRIPTS if any(first <= letter <= last for letter in letters)}


def _json(value: object) -> str:
    return "not given" if value is None else str(value).lower()
