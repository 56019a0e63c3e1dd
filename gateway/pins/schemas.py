"""Whether a JSON schema takes what an earlier one did not.

It is asked of the schema of a tool's arguments: what it takes more of can carry more away. Where it can't be told, the
answer is yes. Validators judge values, not schemas, so none of them can be asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.pins.tool_set import MAX_DEPTH, canonical

Kind = Literal["parameter", "looser", "required", "default", "unclear"]

# Comparisons of two places: beyond, a schema is too large to be compared.
MAX_COMPARED = 20_000
_ALL_TYPES = frozenset({"string", "integer", "number", "boolean", "array", "object", "null"})
_TYPE_OF = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", type(None): "null"}
# Said to readers only; `pins.judge` reads the texts of all of them.
_SAID_WORDS = """
title description $comment examples example deprecated $schema $id $anchor $defs definitions readOnly writeOnly
$ref default markdownDescription x-google-identifier
"""
_SAID_ONLY = frozenset(_SAID_WORDS.split())
# Each is a bound from above (more is looser) or from below (less is looser).
_UPPER = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"})
_LOWER = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"})
_BRANCHES = ("anyOf", "oneOf")
_COMPARED = frozenset(
    {"type", "enum", "const", "properties", "required", "additionalProperties", "items", "nullable", "allOf"}
    | {*_UPPER, *_LOWER, *_BRANCHES}
)
# Whether JSON Schema's validators hold a value to it depends on them; a model reads it as a hint.
_HINTS = frozenset({"format", "contentEncoding", "contentMediaType", "discriminator"})


@dataclass(frozen=True)
class Difference:
    """What a schema takes that it did not, or asks for; `where` is the place within it."""

    kind: Kind
    where: str
    what: str


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """In what `now` is wider than `before`, asks for more, or fills in something else; empty where it is not."""
    if canonical(before) == canonical(now):
        return []
    comparison = _Comparison(before, now)
    comparison.compare(before, now, "input")
    return comparison.found


@dataclass
class _Effort:
    """What one comparison with all its branches has cost.

    `merged` holds what a reference, or a branch, became with what stands beside it: one object each, which stays alive
    and keeps its id.
    """

    compared: int = 0
    merged: dict[tuple[int, int, int], Any] = field(default_factory=dict)


class _Comparison:
    def __init__(self, before: Mapping[str, Any], now: Mapping[str, Any], outer: _Comparison | None = None) -> None:
        self._before, self._now = before, now
        # Pairs that are compared, or were: a schema may refer to itself.
        self._seen: set[tuple[int, int]] = set(outer._seen) if outer else set()
        self._effort: _Effort = outer._effort if outer else _Effort()
        self._depth: int = outer._depth if outer else 0
        self.found: list[Difference] = []

    def compare(self, before: Any, now: Any, where: str) -> None:
        old, new = self._resolved(self._before, before), self._resolved(self._now, now)
        pair = (id(old), id(new))
        if new is False or pair in self._seen:
            return
        self._effort.compared += 1
        if self._effort.compared > MAX_COMPARED or self._depth > MAX_DEPTH:
            self._say("unclear", where, f"is compared in {MAX_COMPARED} places and {MAX_DEPTH} levels, no further")
            return
        self._seen.add(pair)
        self._depth += 1
        self._compare(old, new, where)
        self._depth -= 1

    def _compare(self, old: Any, new: Any, where: str) -> None:
        if old is True or old == {}:
            # Everything was taken already; what is new inside can only take less, but may ask for more.
            old = {}
        if not isinstance(old, Mapping) or not isinstance(new, Mapping):
            if canonical(old) != canonical(new):
                self._say("looser", where, "takes what it did not")
            return
        if self._is_within(old, new):
            return
        self._types(old, new, where)
        self._choices(old, new, where)
        self._bounds(old, new, where)
        self._properties(old, new, where)
        self._items(old, new, where)
        self._combined(old, new, where)
        self._others(old, new, where)

    def _say(self, kind: Kind, where: str, what: str) -> None:
        self.found.append(Difference(kind, where, what))

    def _resolved(self, root: Mapping[str, Any], schema: Any) -> Any:
        seen = set()
        while isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str):
            reference = schema["$ref"]
            target = _pointed(root, reference)
            if target is None or reference in seen:
                return schema
            seen.add(reference)
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            # What stands beside a reference counts too (2020-12).
            schema = self._effort.merged.setdefault((id(root), id(schema), -1), {**target, **rest}) if rest else target
        return schema

    def _types(self, old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
        before, now = _types(old), _types(new)
        # Without a type of its own, what its branches take counts.
        if before and (wider := (now or _ALL_TYPES) - before) and (now or not _has_branches(new)):
            what = f"takes {_listed(wider)} besides {_listed(before)}" if now else "takes any type"
            self._say("looser", where, what)

    def _choices(self, old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
        before, now = _choices(old), _choices(new)
        if before is None:
            return
        if now is None:
            if not _has_branches(new):
                self._say("looser", where, "takes any value, no more a choice of some")
        elif added := sorted(now - before):
            self._say("looser", where, f"takes {', '.join(added)[:120]} too")

    def _bounds(self, old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
        for key in sorted((_UPPER | _LOWER) & old.keys()):
            before, now = old[key], new.get(key)
            if not _is_number(before) or before == now:
                continue
            if not _is_number(now) or (now > before) == (key in _UPPER):
                self._say("looser", where, f"{key} was {before}, and is {'gone' if now is None else now}"[:160])
        if "pattern" in old and new.get("pattern") != old["pattern"]:
            self._say("looser", where, "its pattern is another, or gone")
        if old.get("uniqueItems") is True and new.get("uniqueItems") is not True:
            self._say("looser", where, "takes an item twice")
        if "multipleOf" in old and new.get("multipleOf") != old["multipleOf"]:
            self._say("looser", where, "its step is another, or gone")
        if "default" in new and canonical(new["default"]) != canonical(old.get("default")):
            told = canonical(new["default"])[:80]
            self._say("default", where, f"is {told} where nothing is given")

    def _properties(self, old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
        before, now = _mapping(old.get("properties")), _mapping(new.get("properties"))
        for name in now:
            if name in before:
                self.compare(before[name], now[name], f"{where}.{name}")
            else:
                self._say("parameter", f"{where}.{name}", "is a new parameter")
        wanted_before, wanted_now = _names(old.get("required")), _names(new.get("required"))
        for name in sorted(wanted_now - wanted_before):
            if name in before or name not in now:
                self._say("required", f"{where}.{name}", "has to be given, and did not")
        for name in sorted((wanted_before - wanted_now) & now.keys()):
            self._say("looser", f"{where}.{name}", "may be left out, and could not")
        rest_before, rest_now = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if rest_before is True or rest_before == {}:
            return
        if rest_now is True or rest_now == {} or (rest_before is False and rest_now is not False):
            self._say("looser", where, "takes parameters that it does not name")
        elif rest_now is not False:
            self.compare(rest_before, rest_now, f"{where}.*")

    def _items(self, old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
        before, now = old.get("items", True), new.get("items", True)
        if isinstance(before, list) or isinstance(now, list):
            if canonical(before) != canonical(now):
                self._say("unclear", where, "its items are described in another way")
        elif not (before is True and now is True):
            self.compare(before, now, f"{where}[]")

    def _combined(self, old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
        for key in _BRANCHES:
            before, now = _list(old.get(key)), _list(new.get(key))
            if not before:
                if now and any(self._says_more(old, branch) for branch in now):
                    self._say("unclear", where, f"{key} is new, and takes what it did not")
                continue
            if not now:
                # `anyOf: [string, null]` may become `type: string`: one of the branches.
                bare = {name: value for name, value in new.items() if name not in _BRANCHES}
                if not any(self._fits(branch, bare) for branch in before):
                    self._say("looser", where, f"{key} is gone")
                continue
            for number, branch in enumerate(now):
                if not any(self._fits(one, branch) for one in before):
                    # Said by what it differs in from its neighbour of before, where there is one.
                    told = len(self.found)
                    if len(before) == len(now):
                        self.compare(before[number], branch, where)
                    if len(self.found) == told:
                        self._say("looser", where, f"{key} takes one more shape")
        before, now = _list(old.get("allOf")), _list(new.get("allOf"))
        for one in before:
            if not any(self._fits(one, other) for other in now):
                self._say("looser", where, "one of its conditions (allOf) is gone or another")
        for one in now:
            known = {*_mapping(old.get("properties")), *(name for part in before for name in _named(part))}
            for name in sorted(_named(one) - known):
                self._say("parameter", f"{where}.{name}", "is a new parameter")

    def _others(self, old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
        handled = _SAID_ONLY | _COMPARED | _HINTS | {"pattern", "uniqueItems", "multipleOf"}
        for key in sorted({*old, *new} - handled):
            if key.startswith("x-") or canonical(old.get(key)) == canonical(new.get(key)):
                continue
            self._say("unclear", where, f"{key} is another: what it takes now can't be told"[:160])
        for key in sorted(_HINTS & old.keys()):
            if canonical(new.get(key)) != canonical(old[key]):
                self._say("looser", where, f"{key} was {canonical(old[key])[:40]}, and is another or gone")
        # What it refers to is elsewhere, or can't be found in it: the document around it is another by now.
        if {"$ref", "$dynamicRef", "$recursiveRef"} & new.keys():
            self._say("unclear", where, "refers to what can't be followed")

    def _is_within(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
        """Whether one or both have branches, and each of the new one's lies within one of the old one's."""
        if not (_has_branches(old) or _has_branches(new)):
            return False
        before, now = self._alternatives(self._before, old), self._alternatives(self._now, new)
        # A default stands beside the branches, and in none of them.
        is_default_known = canonical(new.get("default")) in ("null", canonical(old.get("default")))
        return is_default_known and all(any(self._fits(one, branch) for one in before) for branch in now)

    def _alternatives(self, root: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The schema once for each of its branches; itself alone where it has none, or more than can be told apart."""
        keys = [key for key in _BRANCHES if _list(schema.get(key))]
        if len(keys) != 1:
            return [schema]
        bare = {key: value for key, value in schema.items() if key != keys[0]}
        found = []
        for number, branch in enumerate(schema[keys[0]]):
            branch = self._resolved(root, branch)
            if not isinstance(branch, Mapping):
                return [schema]
            shared = (bare.keys() & branch.keys()) - _SAID_ONLY - {"properties", "required"}
            if any(canonical(bare[key]) != canonical(branch[key]) for key in shared):
                return [schema]
            whole = {**bare, **branch}
            for key in {"properties"} & bare.keys() & branch.keys():
                whole[key] = {**_mapping(bare[key]), **_mapping(branch[key])}
            for key in {"required"} & bare.keys() & branch.keys():
                whole[key] = sorted(_names(bare[key]) | _names(branch[key]))
            found.append(self._effort.merged.setdefault((id(root), id(schema), number), whole))
        return found

    def _fits(self, before: Any, now: Any) -> bool:
        """Whether all that `now` takes was taken by `before`, with nothing more asked for."""
        inner = _Comparison(self._before, self._now, self)
        inner.compare(before, now, "")
        if not inner.found:
            self._seen |= inner._seen
        return not inner.found

    def _says_more(self, old: Mapping[str, Any], branch: Any) -> bool:
        bare = {key: value for key, value in old.items() if key not in ("required", *_BRANCHES)}
        branch = self._resolved(self._now, branch)
        # A branch that only asks for some of what is known (`required`) takes less.
        if isinstance(branch, Mapping) and not branch.keys() - _SAID_ONLY - {"required"}:
            return False
        return not self._fits(bare, branch)


def _pointed(root: Mapping[str, Any], reference: str) -> Mapping[str, Any] | None:
    if reference != "#" and not reference.startswith("#/"):
        return None
    place: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(place, Mapping) or name not in place:
            return None
        place = place[name]
    return place if isinstance(place, Mapping) else None


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    types = schema.get("type")
    named = {types} if isinstance(types, str) else {one for one in _list(types) if isinstance(one, str)}
    if named and schema.get("nullable") is True:
        named.add("null")
    if not named and (values := [schema["const"]] if "const" in schema else _list(schema.get("enum"))):
        named = {_TYPE_OF.get(type(value), "object") for value in values}
    # An integer is a number.
    return frozenset(named | ({"integer"} if "number" in named else set()))


def _choices(schema: Mapping[str, Any]) -> frozenset[str] | None:
    if "const" in schema:
        return frozenset({canonical(schema["const"])})
    choices = schema.get("enum")
    return frozenset(canonical(one) for one in choices) if isinstance(choices, list) else None


def _has_branches(schema: Mapping[str, Any]) -> bool:
    return any(_list(schema.get(key)) for key in _BRANCHES)


def _named(schema: Any) -> frozenset[str]:
    return frozenset(_mapping(schema.get("properties"))) if isinstance(schema, Mapping) else frozenset()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _names(value: Any) -> frozenset[str]:
    return frozenset(one for one in _list(value) if isinstance(one, str))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listed(names: frozenset[str]) -> str:
    return " and ".join(sorted(names))
