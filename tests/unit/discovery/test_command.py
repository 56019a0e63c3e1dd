"""`python -m discovery`: its exits, its outputs, and a table that people can read."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from discovery import table
from discovery.__main__ import main
from discovery.config import AGENT_TIERS
from discovery.report import AgentDefinition, AgentReport, Candidate, Finding, Report, ServiceReport, Source, Verdict
from tests.builders import ROOT

QDRANT = Finding(
    Candidate("qdrant", Source.EXTERNAL, "http://10.0.0.5:6333", "QDRANT_HOST"),
    Verdict.VERIFIED,
    "Qdrant 1.12.4",
    "1.12.4",
)
IMPOSTOR = replace(
    QDRANT,
    candidate=replace(QDRANT.candidate, endpoint="http://127.0.0.1:6333", evidence="port 6333", is_guess=True),
    verdict=Verdict.IMPOSTOR,
    reason="says [red]hello[/red] in its title",
)
NOBODY = replace(IMPOSTOR, verdict=Verdict.UNREACHABLE, reason="connection refused")
REPORT = Report(
    "dev",
    12.0,
    {"qdrant": ServiceReport(QDRANT, (QDRANT, IMPOSTOR, NOBODY)), "redis": ServiceReport(None, ())},
    warnings=("the engine is silent",),
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with the committed stack files, an empty home, and no engine."""
    for name in ("Pulumi.yaml", "Pulumi.dev.yaml", "images/references.json"):
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    monkeypatch.setenv("MCP_LOCK_DIR", str(tmp_path / "locks"))
    return tmp_path


def test_report_is_written_and_printed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = project / "snapshots" / "dev.json"
    assert main(["--root", str(project), "--json", "--write", str(snapshot)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(snapshot.read_text())
    assert Report.from_json(printed).stack == "dev"
    assert [path.name for path in snapshot.parent.iterdir()] == ["dev.json"]


@pytest.mark.parametrize(
    ("arguments", "file"),
    [(["--explain", "postgres"], "command line:1: --explain:"), (["--write", "/proc/nowhere/x.json"], "/proc/nowhere")],
)
def test_mistake_on_the_command_line_is_one_line_and_exit_2(
    project: Path, arguments: list[str], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(project), *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(file)
    assert printed.err.count("\n") == 1


def test_broken_configuration_is_exit_2_and_nothing_on_stdout(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / ".mcp").mkdir()
    (project / ".mcp" / "discovery-config.yaml").write_text("servers:\n  zen-mcp:\n    priority: 1\n")
    assert main(["--root", str(project), "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(".mcp/discovery-config.yaml:3: ")


@pytest.mark.parametrize("budget", ["0", "-1", "1e9", "nan", "soon"])
def test_budget_is_a_time(budget: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--budget", budget])
    assert exit_.value.code == 2
    assert capsys.readouterr().out == ""


def printed(terminal: bool = False) -> str:
    screen = io.StringIO()
    table.print_report(REPORT, Console(file=screen, width=160, force_terminal=terminal, highlight=False))
    return screen.getvalue()


def test_table_tells_choices_rejections_and_warnings() -> None:
    text = printed()
    for expected in ("reuse", "http://10.0.0.5:6333", "QDRANT_HOST: Qdrant 1.12.4", "impostor", "the engine is silent"):
        assert expected in text


def test_closed_ports_are_counted_and_not_listed() -> None:
    assert "connection refused" not in printed()
    assert "1 more with nobody home" in printed()


def test_foreign_text_is_no_markup() -> None:
    assert "says [red]hello[/red] in its title" in printed()


def test_colour_is_for_terminals() -> None:
    assert "\x1b[" not in printed()
    assert "\x1b[" in printed(terminal=True)


def test_a_command_to_copy_is_never_broken() -> None:
    reason = f"waits for approval: python -m discovery approve docs (it would start npx {'x' * 100})"
    candidate = replace(QDRANT.candidate, service="docs", awaits_approval=True)
    waits = replace(QDRANT, candidate=candidate, verdict=Verdict.SKIPPED, reason=reason)
    report = Report("dev", 1.0, {"docs": ServiceReport(None, (waits,))}, warnings=(f"docs {reason}",))
    screen = io.StringIO()
    table.print_report(report, Console(file=screen, width=60, highlight=False))
    table.explain(report, "docs", Console(file=screen, width=60, highlight=False))
    assert screen.getvalue().count(reason) == 2


def test_explanation_leaves_nothing_out() -> None:
    screen = io.StringIO()
    table.explain(REPORT, "qdrant", Console(file=screen, width=160, highlight=False))
    assert "connection refused" in screen.getvalue()
    assert "reachable from: anywhere" in screen.getvalue()


AGENTS = {
    "code-reviewer": AgentReport(
        AgentDefinition(
            "code-reviewer", "claude_project", ".claude/agents/b.md", None, title="Code Reviewer", notes=("x",)
        ),
        (
            AgentDefinition("code-reviewer", "claude_plugin", "plugin a@b/agents/c.md", title="Code Reviewer"),
            AgentDefinition("code-reviewer", "bundled_default", ".agents/defaults/d.md", problem="has no description"),
        ),
        {"qdrant": None},
    ),
    "mine": AgentReport(AgentDefinition("mine", "user_override", "~/.claude/agents/mine.md", "opus", title="mine")),
}


def said(show: Callable[[Console], None]) -> str:
    screen = io.StringIO()
    show(Console(file=screen, width=200, highlight=False))
    return screen.getvalue()


def test_an_agent_is_explained_with_what_it_shadows_and_who_wrote_it() -> None:
    report = Report("dev", 1.0, {}, AGENTS)
    text = said(lambda console: table.explain(report, "code-reviewer", console))
    assert "code-reviewer, called 'Code Reviewer' uses .claude/agents/b.md (claude_project)" in text
    assert "whoever pushed last" in text
    assert "note: x" in text
    assert ".claude/agents/b.md comes before it" in text
    assert "has no description" in text
    assert "needs qdrant: missing" in text
    assert "whoever pushed last" not in said(lambda console: table.explain(report, "mine", console))


def test_the_tiers_of_agents_are_shown_in_their_order() -> None:
    text = said(lambda console: table.explain_agents(Report("dev", 1.0, {}, AGENTS), console))
    assert [text.index(f"\n{tier}") for tier in AGENT_TIERS] == sorted(text.index(f"\n{tier}") for tier in AGENT_TIERS)


def test_the_table_says_how_many_agents_a_repository_brings() -> None:
    text = said(lambda console: table.print_report(Report("dev", 1.0, {}, AGENTS), console))
    assert "1 of these agents come with the repository" in text
