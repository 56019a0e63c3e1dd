"""Qdrant's JSON filters as the engine's: must, should, must_not over match, range, has_id, is_empty, is_null."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import qdrant_edge as edge


class BadInput(Exception):
    """The caller's JSON does not fit; the text is what Qdrant would answer with status 400."""


def to_filter(value: Any) -> edge.Filter | None:
    """The engine's filter for `value`, None for none. Raises `BadInput` for a condition that is not served here."""
    if value is None:
        return None
    clauses = as_object(value, "filter")
    unknown = clauses.keys() - {"must", "should", "must_not"}
    if unknown:
        raise BadInput(f"Wrong input: filter clause {sorted(unknown)[0]!r} is not supported by the stand-in")
    must, should, must_not = (
        [_condition(one) for one in _as_list(clauses[name])] if name in clauses else None
        for name in ("must", "should", "must_not")
    )
    return edge.Filter(must=must, should=should, must_not=must_not)


def to_point_id(value: Any) -> edge.PointId:
    """A point's id: an unsigned integer or a UUID. Raises `BadInput` otherwise."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            pass
    raise BadInput(f"Format error in JSON body: value {str(value)[:80]} is not a valid point ID")


def as_object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"Format error in JSON body: {what} must be an object")
    return value


def need(value: Any, key: str) -> Any:
    """`value[key]`. Raises `BadInput` when `value` is no object or has no such key."""
    found = as_object(value, f"the holder of `{key}`")
    if key not in found:
        raise BadInput(f"Format error in JSON body: missing field `{key}`")
    return found[key]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _condition(value: Any) -> Any:
    condition = as_object(value, "a condition")
    if "has_id" in condition:
        return edge.HasIdCondition({to_point_id(one) for one in _as_list(condition["has_id"])})
    if "is_empty" in condition:
        return edge.IsEmptyCondition(need(condition["is_empty"], "key"))
    if "is_null" in condition:
        return edge.IsNullCondition(need(condition["is_null"], "key"))
    if "match" in condition:
        return edge.FieldCondition(need(condition, "key"), match=_match(as_object(condition["match"], "match")))
    if "range" in condition:
        return edge.FieldCondition(need(condition, "key"), range=_range(as_object(condition["range"], "range")))
    if condition.keys() & {"must", "should", "must_not"}:
        return to_filter(condition)
    raise BadInput(f"Wrong input: condition with {sorted(condition)} is not supported by the stand-in")


def _match(match: dict[str, Any]) -> Any:
    kinds = {
        "value": edge.MatchValue,
        "any": edge.MatchAny,
        "except": edge.MatchExcept,
        "text": edge.MatchText,
        "phrase": edge.MatchPhrase,
    }
    for name, kind in kinds.items():
        if name in match:
            return kind(match[name])
    raise BadInput(f"Wrong input: match with {sorted(match)} is not supported by the stand-in")


def _range(bounds: dict[str, Any]) -> Any:
    unknown = bounds.keys() - {"gt", "gte", "lt", "lte"}
    if unknown:
        raise BadInput(f"Format error in JSON body: unknown range bound {sorted(unknown)[0]!r}")
    if any(isinstance(bound, str) for bound in bounds.values()):
        return edge.RangeDateTime(**bounds)
    return edge.RangeFloat(**bounds)
