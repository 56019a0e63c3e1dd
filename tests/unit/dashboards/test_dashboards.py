"""The dashboards: as they are generated, and checked before anything changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dashboards import load_dashboards
from dashboards.generate import dashboards
from errors import ConfigError
from tests.builders import ROOT


def test_the_committed_dashboards_are_as_generated() -> None:
    out_of_date = [name for name, text in dashboards().items() if load_dashboards(ROOT).get(name) != text]
    assert out_of_date == [], "run: python -m dashboards.generate"


def test_a_folder_without_dashboards_is_none(tmp_path: Path) -> None:
    assert load_dashboards(tmp_path) == {}


def written(root: Path, document: object, name: str = "mine.json") -> Path:
    (root / "dashboards").mkdir(exist_ok=True)
    text = document if isinstance(document, str) else json.dumps(document, indent=1)
    (root / "dashboards" / name).write_text(text)
    return root


def with_query(expression: str, **target: object) -> dict[str, object]:
    panel = {"title": "Mine", "targets": [{"expr": expression, **target}]}
    return {"uid": "mine", "title": "Mine", "panels": [{"type": "row", "panels": [panel]}]}


def test_grafanas_own_variables_are_no_mistake(tmp_path: Path) -> None:
    assert load_dashboards(written(tmp_path, with_query("rate(up[$__rate_interval])"))).keys() == {"mine.json"}


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("{", "dashboards/mine.json:1: file: cannot be read"),
        ("\n\n[", "dashboards/mine.json:3: file: cannot be read"),
        ("[]", "panels: is missing"),
        ({"panels": [], "title": "Mine"}, "uid: is missing"),
        ({"panels": [], "uid": "mine"}, "title: is missing"),
        (with_query("rate(up[5m]"), "dashboards/mine.json:12: Mine: 'rate(up[5m]' is not PromQL: unclosed"),
        (with_query("rate(up)"), "is not PromQL: expected type matrix"),
        (with_query(""), "'' is not PromQL"),
        (with_query("up", datasource={"uid": "other"}), "asks the data source 'other', which is not there"),
    ],
)
def test_a_dashboard_that_could_not_work_is_told_with_file_and_line(
    document: object, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as told:
        load_dashboards(written(tmp_path, document))
    assert complaint in str(told.value)


def test_two_dashboards_with_one_uid_are_told(tmp_path: Path) -> None:
    written(tmp_path, with_query("up"), "other.json")
    with pytest.raises(ConfigError, match=r"other.json:1: uid: 'mine' is that of dashboards/mine.json too"):
        load_dashboards(written(tmp_path, with_query("up")))
