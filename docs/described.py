"""A pydantic model's keys in words: name, type and bounds, default, what it does. By way of its JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel


@dataclass(frozen=True)
class Key:
    """One key. `default` is None where there is none."""

    name: str
    kind: str
    default: Any = None
    what: str = ""


def keys_of(model: type[BaseModel]) -> Iterator[Key]:
    """The model's keys in the order of its fields, those of a model within by their whole path."""
    schema = model.model_json_schema()
    yield from _keys(schema, "", schema.get("$defs", {}))


def examples_of(model: type[BaseModel]) -> dict[str, Any]:
    """A value for each of the model's own keys that has an example. The schema would sort what is in them."""
    return {field.alias or name: field.examples[0] for name, field in model.model_fields.items() if field.examples}


def _keys(schema: Mapping[str, Any], path: str, models: Mapping[str, Any]) -> Iterator[Key]:
    for name, entry in schema["properties"].items():
        inner = _resolved(entry, models)
        below = _resolved(inner.get("additionalProperties", {}), models)
        whole = f"{path}{name}"
        # A model is its keys; only what is said of the whole needs a line.
        if "properties" not in inner or "description" in entry:
            yield Key(whole, kind(entry, models), entry.get("default"), entry.get("description", ""))
        if "properties" in inner:
            yield from _keys(inner, f"{whole}.", models)
        elif "properties" in below:
            yield from _keys(below, f"{whole}.NAME.", models)


def _resolved(schema: Mapping[str, Any] | bool, models: Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(schema, bool):
        return {}
    if "$ref" in schema:
        return _resolved(models[schema["$ref"].rpartition("/")[2]], models)
    # An optional key is its type, or left out.
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    return _resolved(choices[0], models) if choices else schema


def kind(schema: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """A type and its bounds in words. Raises `ValueError` for a type that there are no words for."""
    schema = _resolved(schema, models)
    if "enum" in schema:
        return _one_of(schema["enum"])
    match schema.get("type"):
        case "boolean":
            return "true or false"
        case "integer":
            return f"whole number{_bounds(schema)}"
        case "number":
            return f"number{_bounds(schema)}"
        case "string":
            return _text(schema)
        case "array":
            least = ", at least one" if schema.get("minItems") else ""
            return f"list of {_several(kind(schema['items'], models))}{least}"
        case "object" if "properties" in schema:
            return "the keys below"
        case "object":
            key = kind({"type": "string", **schema.get("propertyNames", {})}, models)
            return f"map: {key} → {kind(schema['additionalProperties'], models)}"
        case _:
            raise ValueError(f"no words for a type: {schema}")


_FORMATS = {"path": "path", "uri": "http(s) address"}


def _text(schema: Mapping[str, Any]) -> str:
    if schema.get("contentMediaType") == "application/json":
        return "JSON object"
    if form := schema.get("format"):
        return str(_FORMATS.get(form, form))
    return f"text, at most {schema['maxLength']} characters" if "maxLength" in schema else "text"


def _bounds(schema: Mapping[str, Any]) -> str:
    least, most, above = schema.get("minimum"), schema.get("maximum"), schema.get("exclusiveMinimum")
    if least is not None and most is not None:
        return f", {least} to {most}"
    parts = [
        *([f"at least {least}"] if least is not None else []),
        *([f"more than {above}"] if above is not None else []),
        *([f"at most {most}"] if most is not None else []),
    ]
    return f", {', '.join(parts)}" if parts else ""


def _several(one: str) -> str:
    word, comma, rest = one.partition(",")
    return one if "`" in one else f"{word}s{comma}{rest}{' each' if comma else ''}"


def _one_of(words: list[str]) -> str:
    *most, last = (f"`{word}`" for word in words)
    return f"{', '.join(most)} or {last}" if most else last


def written(value: Any) -> str:
    """A value as a stack file has it, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1_000)
    return text.removesuffix("\n").removesuffix("\n...")


def cell(text: str) -> str:
    """Text with code in backticks as a table's cell."""
    parts = text.replace("|", r"\|").split("`")
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts))


def table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [columns, tuple("---" for _ in columns), *(tuple(map(cell, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
