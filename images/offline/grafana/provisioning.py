"""Grafana's provisioning files: data sources, dashboard providers and dashboards, read and checked. No HTTP here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class Refused(Exception):
    """A file that Grafana would not take; the text is `file: what is wrong`."""


@dataclass(frozen=True)
class Source:
    """A data source: `kind` is Grafana's plugin id, `url` its server's address."""

    uid: str
    name: str
    kind: str
    url: str


@dataclass(frozen=True)
class Query:
    """One query of a panel, at the data source with `source` as its uid."""

    panel: str
    expression: str
    source: str


@dataclass(frozen=True)
class Dashboard:
    """A dashboard and the queries of its panels."""

    uid: str
    title: str
    queries: tuple[Query, ...]


@dataclass(frozen=True)
class Provisioning:
    """All that is provisioned: data sources by uid, dashboards by uid."""

    sources: dict[str, Source]
    dashboards: dict[str, Dashboard]


def load(root: Path) -> Provisioning:
    """Read `root/datasources` and `root/dashboards`. Raises `Refused` for the first thing that is wrong."""
    sources: dict[str, Source] = {}
    for path, entry in _entries(root / "datasources", "datasources"):
        source = Source(_need(path, entry, "uid"), *(_need(path, entry, key) for key in ("name", "type", "url")))
        _add(path, sources, source.uid, source)
    dashboards: dict[str, Dashboard] = {}
    for path, entry in _entries(root / "dashboards", "providers"):
        options = entry.get("options")
        folder = Path(_need(path, options if isinstance(options, dict) else {}, "path"))
        if not folder.is_dir():
            raise Refused(f"{path}: options.path: {folder} is not a folder")
        for file in sorted(folder.rglob("*.json")):
            dashboard = _dashboard(file, sources)
            _add(file, dashboards, dashboard.uid, dashboard)
    return Provisioning(sources, dashboards)


def _entries(folder: Path, key: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise Refused(f"{path}: is not YAML ({error})") from error
        if not isinstance(document, dict) or document.get("apiVersion") != 1:
            raise Refused(f"{path}: apiVersion must be 1")
        listed = document.get(key)
        if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
            raise Refused(f"{path}: {key} must be a list of maps")
        for entry in listed:
            _need(path, entry, "name")
            yield path, entry


def _dashboard(path: Path, sources: dict[str, Source]) -> Dashboard:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Refused(f"{path}: is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise Refused(f"{path}: must be an object")
    panels = document.get("panels")
    if not isinstance(panels, list) or not panels:
        raise Refused(f"{path}: panels must be a list with something in it")
    queries = tuple(query for panel in panels for query in _queries(path, panel, sources))
    return Dashboard(_need(path, document, "uid"), _need(path, document, "title"), queries)


def _queries(path: Path, panel: Any, sources: dict[str, Source]) -> Iterator[Query]:
    if not isinstance(panel, dict):
        raise Refused(f"{path}: a panel must be an object")
    # A text or a row asks nothing, and a row may hold panels of its own.
    _need(path, panel, "type")
    title = str(panel.get("title", ""))
    targets, nested = panel.get("targets") or [], panel.get("panels") or []
    if not isinstance(targets, list) or not isinstance(nested, list):
        raise Refused(f"{path}: panel {title!r}: targets and panels must be lists")
    for inner in nested:
        yield from _queries(path, inner, sources)
    for target in targets:
        source = target.get("datasource", panel.get("datasource")) if isinstance(target, dict) else None
        uid = _need(path, source if isinstance(source, dict) else {}, "uid")
        if uid not in sources:
            raise Refused(f"{path}: panel {title!r} asks the data source {uid!r}, which is not provisioned")
        yield Query(title, _need(path, target, "expr"), uid)


def _need(path: Path, entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise Refused(f"{path}: {key} is missing")
    return value


def _add(path: Path, known: dict[str, Any], uid: str, value: Any) -> None:
    if uid in known:
        raise Refused(f"{path}: uid {uid!r} is taken by another one")
    known[uid] = value
