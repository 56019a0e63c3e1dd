"""Grafana's dashboards: every `*.json` of this folder is provisioned, and its queries are read before anything changes.

Those of the project are written by `python -m dashboards.generate`; another one may lie beside them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser

from errors import ConfigError

FOLDER = "dashboards"
# The uid under which the stack's Prometheus is provisioned.
SOURCE = "prometheus"


def load_dashboards(root: Path) -> dict[str, str]:
    """The text of each dashboard in the project folder `root`, by file name.

    Raises `ConfigError`, one line a problem, for what Grafana would not load and for queries that are not PromQL.
    """
    texts: dict[str, str] = {}
    problems: list[str] = []
    owners: dict[str, str] = {}
    for path in sorted((root / FOLDER).glob("*.json")):
        file = f"{FOLDER}/{path.name}"
        try:
            texts[path.name] = path.read_text(encoding="utf-8")
            document = json.loads(texts[path.name])
        except (OSError, ValueError) as error:
            problems.append(f"{file}:{getattr(error, 'lineno', 1)}: file: cannot be read ({error}); correct it")
            continue
        problems += _problems(file, texts[path.name], document, owners)
    if problems:
        raise ConfigError("\n".join(problems))
    return texts


def _problems(file: str, text: str, document: Any, owners: dict[str, str]) -> Iterator[str]:
    if not isinstance(document, dict) or not isinstance(document.get("panels"), list):
        yield f"{file}:1: panels: is missing; export the dashboard as JSON from Grafana, or generate it"
        return
    for key in ("uid", "title"):
        if not isinstance(document.get(key), str) or not document[key]:
            yield f"{file}:1: {key}: is missing; give the dashboard one"
    uid = str(document.get("uid"))
    if owners.setdefault(uid, file) != file:
        yield f"{file}:1: uid: {uid!r} is that of {owners[uid]} too; give it another"
    for title, target in _targets(document["panels"]):
        yield from _query_problems(file, text, title, target)


def _targets(panels: list[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Panel title and each of its queries; a collapsed row holds panels of its own."""
    for panel in panels:
        if not isinstance(panel, dict):
            continue
        yield from ((str(panel.get("title")), target) for target in panel.get("targets") or [])
        yield from _targets(panel.get("panels") or [])


def _query_problems(file: str, text: str, title: str, target: Mapping[str, Any]) -> Iterator[str]:
    source = target.get("datasource", {}).get("uid", SOURCE)
    expression = str(target.get("expr", ""))
    where = f"{file}:{_line(text, expression)}: {title}"
    if source != SOURCE:
        yield f"{where}: asks the data source {source!r}, which is not there; use {SOURCE!r}"
        return
    try:
        promql_parser.parse(_without_variables(expression))
    except ValueError as error:
        yield f"{where}: {expression[:80]!r} is not PromQL: {error}; correct the query"


# What Grafana puts in place of its own variables before it asks (grafana.com/docs, Global variables).
_VARIABLES = {"$__rate_interval": "1m", "$__interval": "1m", "$__range": "1h"}


def _without_variables(expression: str) -> str:
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def _line(text: str, expression: str) -> int:
    before, found, _ = text.partition(json.dumps(expression))
    return before.count("\n") + 1 if found else 1
