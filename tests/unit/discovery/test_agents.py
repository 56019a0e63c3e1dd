"""The cascade of agents: first by name wins, a broken file costs only itself, dependencies resolve in the report."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery import agents, config
from discovery.report import AgentDefinition, AgentReport, Candidate, Finding, Report, ServiceReport, Source, Verdict
from discovery.request import ConfigError
from tests.unit.asking import MANY, request_in, write

USER, CORE, OWN, BUNDLED = config.USER, config.PROJECT_CORE, config.PROJECT_SPECIFIC, config.BUNDLED
FOLDERS = {USER: "home/.claude/agents", CORE: "root/.agents/core", OWN: "root/.agents/project"}
FOLDERS[BUNDLED] = "root/.agents/defaults"


def markdown(name: str, extra: str = "") -> str:
    return f"---\nname: {name}\ndescription: Reviews.\nmodel: sonnet\n{extra}---\n\nYou review.\n"


def resolve(
    tmp_path: Path, text: str = "{}", services: dict[str, ServiceReport] | None = None
) -> tuple[dict[str, AgentReport], tuple[str, ...]]:
    definitions = agents.read_definitions(request_in(tmp_path))
    return agents.resolve(definitions, config.parse_agents_config(text.encode()), services or {})


def define(tmp_path: Path, *tiers: str, name: str = "reviewer") -> None:
    for tier in tiers:
        write(tmp_path / FOLDERS[tier] / f"{name}.md", markdown(name))


@pytest.mark.parametrize(
    ("tiers", "order", "selected", "shadowed"),
    [
        ((USER, CORE, OWN, BUNDLED), None, USER, (CORE, OWN, BUNDLED)),
        ((CORE, OWN, BUNDLED), None, CORE, (OWN, BUNDLED)),
        ((OWN, BUNDLED), None, OWN, (BUNDLED,)),
        ((BUNDLED,), None, BUNDLED, ()),
        ((USER, OWN), "[project_specific, user_override]", OWN, (USER,)),
        ((USER, CORE, OWN), "{2: user_override, 1: project_specific}", OWN, (USER, CORE)),
        ((CORE,), "[project_specific]", None, (CORE,)),
    ],
)
def test_the_first_tier_in_order_wins(
    tmp_path: Path, tiers: tuple[str, ...], order: str | None, selected: str | None, shadowed: tuple[str, ...]
) -> None:
    define(tmp_path, *tiers)

    reports, warnings = resolve(tmp_path, f"agents: {{reviewer: {{priority_order: {order}}}}}" if order else "{}")

    report = reports["reviewer"]
    assert (report.selected.tier if report.selected else None) == selected
    assert tuple(definition.tier for definition in report.shadowed) == shadowed
    assert warnings == ()


def test_a_tier_that_is_not_in_the_order_says_so(tmp_path: Path) -> None:
    define(tmp_path, CORE)

    reports, _ = resolve(tmp_path, "agents: {reviewer: {priority_order: [project_specific]}}")

    assert "not in this agent's priority_order" in str(reports["reviewer"].shadowed[0].problem)


def test_a_definition_is_labelled_without_this_machines_paths(tmp_path: Path) -> None:
    write(tmp_path / "home/.claude/agents/team/a.md", markdown("a"))
    write(tmp_path / "root/.agents/core/b.yaml", "name: b\ndescription: B.\nmodel: opus\nprompt: |\n  You\n  review.\n")

    reports, _ = resolve(tmp_path)

    a, b = reports["a"].selected, reports["b"].selected
    assert a is not None
    assert a == AgentDefinition("a", USER, "~/.claude/agents/team/a.md", "sonnet", sha256=a.sha256, title="a")
    assert b is not None
    assert (b.path, b.model) == (".agents/core/b.yaml", "opus")
    assert b.sha256 == hashlib.sha256((tmp_path / "root/.agents/core/b.yaml").read_bytes()).hexdigest()


def test_the_name_is_the_one_inside_the_file(tmp_path: Path) -> None:
    write(tmp_path / "root/.agents/core/one.md", markdown("reviewer"))
    write(tmp_path / "root/.agents/core/two.md", markdown("reviewer"))

    reports, _ = resolve(tmp_path)

    assert list(reports) == ["reviewer"]
    assert reports["reviewer"].selected == AgentDefinition(
        "reviewer",
        CORE,
        ".agents/core/one.md",
        "sonnet",
        sha256=hashlib.sha256(markdown("reviewer").encode()).hexdigest(),
        title="reviewer",
    )
    assert [definition.path for definition in reports["reviewer"].shadowed] == [".agents/core/two.md"]


BROKEN = [
    ("You are an agent.\n", "has no front matter"),
    ("---\nname: x\ndescription: d\n<example>\n---\n", "line 4: '<example>' is neither"),
    ("---\ndescription: x\n---\n", "has no name"),
    ("---\nname: x\n---\n", "has no description"),
    ('---\nname: "x\\e[2J\\n[OK]"\ndescription: x\n---\n', r"its name 'x\x1b[2J\n[OK]' has control characters"),
    ("---\nname: x\ndescription: x\n---\n" + "x" * 270_000, "larger than 256 KiB"),
]


@pytest.mark.parametrize(("content", "words"), BROKEN)
def test_a_broken_file_costs_only_itself(tmp_path: Path, content: str | bytes, words: str) -> None:
    define(tmp_path, CORE)
    write(tmp_path / "root/.agents/core/aaa-broken.md", content)

    reports, warnings = resolve(tmp_path)

    assert reports["reviewer"].selected is not None
    assert reports["aaa-broken"].selected is None
    (broken,) = reports["aaa-broken"].shadowed
    assert words in str(broken.problem)
    assert len(warnings) == 1
    assert warnings[0].startswith(".agents/core/aaa-broken.md: ")
    assert warnings[0].isprintable()


def test_a_broken_definition_lets_the_next_one_win(tmp_path: Path) -> None:
    define(tmp_path, CORE, OWN)
    write(tmp_path / "root/.agents/core/reviewer.md", "---\nname: reviewer\n---\n")

    reports, _ = resolve(tmp_path)

    selected = reports["reviewer"].selected
    assert selected is not None
    assert selected.tier == OWN
    assert reports["reviewer"].shadowed[0].problem is not None


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        lambda path: os.truncate(write(path, "---\n"), 1 << 30),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: write(path, markdown("hostile"), mode=0o666),
        lambda path: os.chown(write(path, markdown("hostile")), 12345, 12345),
    ],
)
def test_a_hostile_file_costs_only_itself_at_once(tmp_path: Path, make: Callable[[Path], object]) -> None:
    define(tmp_path, USER)
    make(tmp_path / "home/.claude/agents/hostile.md")
    start = time.monotonic()

    reports, warnings = resolve(tmp_path)

    assert time.monotonic() - start < 4
    assert reports["reviewer"].selected is not None
    assert reports["hostile"].selected is None
    assert "hostile.md: the file " in warnings[0]


def test_what_lies_beside_agents_is_no_agent_and_no_warning(tmp_path: Path) -> None:
    define(tmp_path, CORE)
    write(tmp_path / "root/.agents/core/README.md", "# Our agents\n")
    write(tmp_path / "root/.agents/core/claude.md", "---\ntitle: x\n---\n")

    reports, warnings = resolve(tmp_path)

    assert list(reports) == ["reviewer"]
    assert warnings == ()


def test_thousands_of_files_are_bounded(tmp_path: Path) -> None:
    for number in range(1100):
        write(tmp_path / f"root/.agents/core/a{number:04}.md", markdown(f"a{number:04}"))

    reports, warnings = resolve(tmp_path)

    assert list(reports) == [f"a{number:04}" for number in range(1000)]
    assert warnings == (".agents/core has more files than are looked at: only the first 1000 count",)


def test_what_is_read_in_time_counts(tmp_path: Path) -> None:
    define(tmp_path, CORE)

    definitions = agents.read_definitions(request_in(tmp_path), seconds=-1)
    reports, warnings = agents.resolve(definitions, config.AgentsConfig(), {})

    assert reports == {}
    assert warnings == (".agents/core: cut off; 1 files are not read",)


def test_what_is_read_of_one_folder_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "MAX_FOLDER_BYTES", 1024)
    for number in range(9):
        write(tmp_path / f"root/.agents/core/a{number}.md", markdown(f"a{number}") + "x" * 500)

    reports, warnings = resolve(tmp_path)

    assert list(reports) == ["a0", "a1"]
    assert warnings == (".agents/core has more than 1 KiB of definitions: 7 are not read",)


def test_what_does_not_fit_is_left_out_by_the_look(tmp_path: Path) -> None:
    """The user's own come first; a smaller one still fits, and the deployment takes the rest."""
    for number in range(18):
        write(tmp_path / f"home/.claude/agents/a{number:02}.md", markdown(f"a{number:02}") + "x" * 250_000)
    define(tmp_path, CORE)

    reports, warnings = resolve(tmp_path)

    left_out = [name for name, report in reports.items() if report.selected is None]
    assert left_out == ["a16", "a17"]
    assert "all agents together may hold 4 MiB" in str(reports["a17"].shadowed[0].problem)
    assert warnings == ("agents: 2 left out, since all together may hold 4 MiB: a16, a17",)
    assert len(texts(tmp_path, reports)) == 17


def test_two_names_with_one_id_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path / "root/.agents/core/a.md", markdown("Code Reviewer"))
    write(tmp_path / "root/.agents/core/b.md", markdown("code_reviewer"))

    reports, _ = resolve(tmp_path)

    report = reports["code-reviewer"]
    assert report.selected is not None
    assert report.selected.title == "Code Reviewer"
    (shadowed,) = report.shadowed
    assert shadowed.problem == "'code_reviewer' and 'Code Reviewer' are one id, code-reviewer; rename one of them"


def found(endpoint: str) -> ServiceReport:
    finding = Finding(Candidate("zen-mcp", Source.EXTERNAL, endpoint, "e"), Verdict.VERIFIED, "r")
    return ServiceReport(finding, (finding,))


def test_dependencies_resolve_against_the_report(tmp_path: Path) -> None:
    define(tmp_path, OWN, name="ai-engineer")
    text = """\
agents:
  ai-engineer:
    dependencies:
      services:
        qdrant: "192.168.1.16:6333"
        zen_mcp: auto_discover
        redis: auto_discover
        nobody-knows: auto_discover
"""

    reports, _ = resolve(tmp_path, text, {"zen-mcp": found("http://h:8000"), "redis": ServiceReport(None, ())})

    assert reports["ai-engineer"].dependencies == {
        "qdrant": "192.168.1.16:6333",
        "zen-mcp": "http://h:8000",
        "redis": None,
        "nobody-knows": None,
    }


def test_an_agent_that_only_the_configuration_knows_is_said(tmp_path: Path) -> None:
    reports, warnings = resolve(tmp_path, "agents: {ghost: {}}")

    assert reports["ghost"] == AgentReport(None)
    assert warnings == ("agent ghost is configured, but no file defines it",)


# --- the winning texts ---


def _become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def texts(tmp_path: Path, reports: dict[str, AgentReport]) -> dict[str, str]:
    return agents.read_texts(reports, tmp_path / "root", tmp_path / "home", {})


def test_the_winning_texts_are_read(tmp_path: Path) -> None:
    define(tmp_path, USER, CORE)
    write(tmp_path / "root/.agents/core/broken.md", "x")

    reports, _ = resolve(tmp_path)

    (text,) = texts(tmp_path, reports).values()
    assert json.loads(text)["prompt"] == "You review."


def test_texts_follow_claude_config_dir(tmp_path: Path) -> None:
    write(tmp_path / "home/moved/agents/a.md", markdown("a"))
    environment = {"CLAUDE_CONFIG_DIR": str(tmp_path / "home/moved")}
    definitions = agents.read_definitions(request_in(tmp_path, **environment))
    reports, _ = agents.resolve(definitions, config.AgentsConfig(), {})

    assert reports["a"].selected is not None
    assert reports["a"].selected.path == "$CLAUDE_CONFIG_DIR/agents/a.md"
    assert list(agents.read_texts(reports, tmp_path / "root", tmp_path / "home", environment)) == ["a"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.write_text(markdown("reviewer", "tools: Bash\n")), "has changed since discovery looked"),
        (lambda path: path.unlink(), "is gone since discovery looked"),
        (_become_a_pipe, "is a named pipe"),
    ],
)
def test_a_file_that_changed_since_the_look_is_an_error(
    tmp_path: Path, change: Callable[[Path], object], words: str
) -> None:
    define(tmp_path, CORE)
    reports, _ = resolve(tmp_path)
    change(tmp_path / "root/.agents/core/reviewer.md")

    with pytest.raises(ConfigError, match=rf"^\.agents/core/reviewer\.md:1: \(file\): {words}"):
        texts(tmp_path, reports)


@pytest.mark.parametrize(
    ("tier", "path"),
    [
        (CORE, ".agents/core/../../../secret.md"),
        (CORE, "/etc/passwd"),
        (CORE, ".agents/corex/a.md"),
        (USER, ".agents/core/a.md"),
        ("other", ".agents/core/a.md"),
    ],
)
def test_a_path_from_a_snapshot_stays_in_its_tier(tmp_path: Path, tier: str, path: str) -> None:
    write(tmp_path / "secret.md", "geheim")

    with pytest.raises(ConfigError, match="not where agents of its tier are"):
        texts(tmp_path, {"a": AgentReport(AgentDefinition("a", tier, path))})


def test_a_digest_goes_through_the_report_and_back(tmp_path: Path) -> None:
    define(tmp_path, CORE)
    reports, _ = resolve(tmp_path)
    report = Report("dev", 1.0, {}, reports)

    assert Report.from_json(report.to_json()) == replace(report, agents=dict(reports))


_FRONT = st.lists(
    st.tuples(
        st.sampled_from(["name", "model", "description", "prompt", "tools", "x"]),
        st.sampled_from(["a", "reviewer", "no", "[a]", "*a", "&a b", "'", "{", "|\n  text", "!!x y", "1"])
        | st.text(max_size=10),
    ).map(": ".join),
    max_size=5,
).map("\n".join)


@MANY
@given(st.sampled_from(["a.md", "a.yaml", "A b.yml"]), _FRONT | st.text(max_size=40))
def test_any_text_is_an_agent_or_a_warning(tmp_path: Path, name: str, front: str) -> None:
    text = f"---\n{front}\n---\nprompt" if name.endswith(".md") else front
    path = write(tmp_path / "root/.agents/core" / name, text.encode("utf-8", "surrogatepass"))

    reports, warnings = resolve(tmp_path)
    definitions = texts(tmp_path, reports)
    path.unlink()

    selected = [report.selected for report in reports.values() if report.selected is not None]
    assert bool(selected) != bool(warnings)
    assert len(definitions) == len(selected)
    assert all(warning.isprintable() for warning in warnings)
    for definition in selected:
        assert config.is_name(definition.name)
        assert definition.model is None or isinstance(definition.model, str)
