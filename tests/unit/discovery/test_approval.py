"""What approves an entry of a project's files, what that gives it, and where the operator's word is kept."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from discovery import approve
from discovery.approval import Approval, Approver, Entry, is_loopback
from discovery.config import DiscoveryConfig
from discovery.deploy_look import DeployLook
from discovery.probes.npx import npx
from discovery.probes.project_files import project_files
from discovery.readers import approval_records
from discovery.readers.mcp_files import McpFile, candidates
from discovery.report import Candidate, Launch, NamedBy, Source, Verdict
from discovery.request import Gathered
from errors import ConfigError
from tests.builders import finding, report_of
from tests.unit.asking import request_in, write

APPROVER = Approver(project="/srv/project")


def entry(approver: Approver = APPROVER, written: object = "it", variables: tuple[str, ...] = ("A",)) -> Entry:
    return approver.entry("docs", ".mcp.json: mcpServers.docs", written, "start npx docs", variables)


def approval_of(approved: Entry) -> Approval:
    return Approval(approved.service, approved.evidence, approved.fingerprint)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.9.9.9:1/mcp", True),
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("http://[::ffff:127.0.0.1]:1", True),
        ("http://[::ffff:10.0.0.1]:1", False),
        ("http://[fe80::1]:1", False),
        ("http://127.0.0.1.evil:1", False),
        ("http://localhost.evil:1", False),
        ("http://evil.localhost:1", False),
        ("http://localhost.localdomain:1", False),
        ("http://evil:1/localhost", False),
        ("http://10.0.0.1:1", False),
    ],
)
def test_the_loopback_is_told_without_asking_anybody(endpoint: str, expected: bool) -> None:
    assert is_loopback(endpoint) is expected


def test_nothing_is_approved_by_itself() -> None:
    assert not APPROVER.grant(entry()).approved
    assert not replace(APPROVER, variables={"docs": ("A",)}).grant(entry()).approved


def test_the_operators_word_gives_exactly_the_variables_of_the_entry() -> None:
    grant = replace(APPROVER, approvals=(approval_of(entry(variables=("B", "A"))),)).grant(entry(variables=("A", "B")))
    assert grant.approved and grant.variables == {"A", "B"}


@pytest.mark.parametrize(
    "other",
    [
        entry(written="another"),
        entry(variables=("A", "MORE")),
        entry(Approver(project="/srv/another")),
        APPROVER.entry("notes", ".mcp.json: mcpServers.docs", "it", "start npx docs", ("A",)),
    ],
)
def test_an_approval_is_for_this_entry_of_this_project_only(other: Entry) -> None:
    assert not replace(APPROVER, approvals=(approval_of(entry()),)).grant(other).approved


def test_the_stack_file_approves_by_name_and_gives_what_it_names_for_that_server() -> None:
    stack = replace(APPROVER, servers=frozenset({"docs"}), variables={"docs": ("A",), "notes": ("SECRET",)})
    assert stack.grant(entry()).approved and stack.grant(entry()).variables == {"A"}


# --- what an entry is given ---

SERVER: Mapping[str, object] = {"command": "npx", "args": ["docs@1.2.3", "${A}"], "env": {"OWN": "${B:-default}"}}


def launch_of(approver: Approver, server: Mapping[str, object] = SERVER) -> Launch | None:
    file = McpFile(Path("f"), "file", Source.PROJECT, approver=approver)
    gathered = candidates(file, {"docs": server}, {"A": "value-a", "B": "value-b"})
    (candidate,) = gathered.candidates
    assert "value" not in repr(gathered)
    assert candidate.launch is None or isinstance(candidate.launch, Launch)
    return candidate.launch


@pytest.mark.parametrize(
    ("named", "arguments", "own"),
    [(("A", "B"), ("value-a",), "value-b"), (("A",), ("value-a",), "default")],
)
def test_a_text_is_given_what_is_named_and_its_default_otherwise(
    named: tuple[str, ...], arguments: tuple[str, ...], own: str
) -> None:
    launch = launch_of(Approver(servers=frozenset({"docs"}), variables={"docs": named}))
    assert launch is not None
    assert (launch.arguments, launch.environment) == (arguments, {"OWN": own})


@pytest.mark.parametrize("named", [(), ("B",), ("a",)])
def test_without_a_variable_that_it_needs_nothing_is_started(named: tuple[str, ...]) -> None:
    assert launch_of(Approver(servers=frozenset({"docs"}), variables={"docs": named})) is None


@pytest.mark.parametrize(
    "server",
    [
        {"command": "npx", "args": ["${A}"]},
        {"command": "npx", "args": ["docs@${A}"]},
        {"command": "${A}", "args": ["docs"]},
        {"command": "npx", "args": ["docs"], "env": {"${A}": "x"}},
        {"command": "npx", "args": ["-y", "--package=${A}", "docs"]},
        {"type": "http", "url": "http://${A}/mcp", "headers": {"X": "${B}"}},
    ],
)
def test_no_variable_names_a_command_a_package_or_a_place(server: Mapping[str, object]) -> None:
    assert launch_of(Approver(servers=frozenset({"docs"}), variables={"docs": ("A", "B")}), server) is None


@pytest.mark.parametrize(
    "references", ["".join(f"${{V{number}:-}}" for number in range(65)), "${A B}", "${\x1b[2J:-}", "${A:B}"]
)
def test_an_entry_whose_variables_nobody_can_read_is_never_approved(references: str) -> None:
    file = McpFile(Path("f"), "file", Source.PROJECT, approver=APPROVER)
    gathered = candidates(file, {"docs": {**SERVER, "args": ["docs@1.2.3", references]}}, {})
    assert gathered.entries == () and str(gathered.candidates[0].problem).startswith("refers to more than 64 variables")


def test_what_is_nested_too_deeply_costs_only_itself() -> None:
    deep: object = []
    for _ in range(100_000):
        deep = [deep]
    file = McpFile(Path("f"), "file", Source.PROJECT, approver=APPROVER)
    (candidate,) = candidates(file, {"docs": {"url": "http://h:1", "extra": deep}}, {}).candidates
    assert candidate.problem == "nested too deeply"


def _npx(tmp_path: Path, approver: Approver, text: str) -> Candidate:
    request = request_in(tmp_path, PERPLEXITY_API_KEY="geheim", PATH="/nowhere")
    write(request.root / ".mcp/discovery-config.yaml", text)
    (candidate,) = npx(replace(request, approver=approver)).candidates
    return candidate


@pytest.mark.parametrize("package", ["@perplexity-ai/mcp-server-evil", "@perplexity-ai/mcp-server.evil@1.2.1"])
def test_a_package_that_begins_like_a_known_one_is_given_nothing_of_its(tmp_path: Path, package: str) -> None:
    stack = Approver(servers=frozenset({"perplexity"}), variables={"perplexity": ("PERPLEXITY_API_KEY",)})
    launch = _npx(tmp_path, stack, f"servers: {{perplexity: {{package: '{package}'}}}}").launch
    assert isinstance(launch, Launch) and launch.environment == {} and launch.takes == ()


def test_another_version_of_a_known_package_is_given_its_key_where_that_is_named(tmp_path: Path) -> None:
    text = "servers: {perplexity: {package: '@perplexity-ai/mcp-server@9.9.9'}}"
    stack = Approver(servers=frozenset({"perplexity"}))
    assert _npx(tmp_path, stack, text).launch is None
    launch = _npx(tmp_path, replace(stack, variables={"perplexity": ("PERPLEXITY_API_KEY",)}), text).launch
    assert isinstance(launch, Launch) and launch.environment == {"PERPLEXITY_API_KEY": "geheim"}


def test_what_the_stack_names_is_the_operators_and_what_a_file_configures_the_projects(tmp_path: Path) -> None:
    stack = Approver(servers=frozenset({"context7"}))
    assert _npx(tmp_path, stack, "servers: {context7: {}}").named_by is NamedBy.PROJECT
    (tmp_path / "other").mkdir()
    request = request_in(tmp_path / "other")
    (candidate,) = npx(replace(request, servers=("context7",), approver=stack)).candidates
    assert candidate.named_by is NamedBy.OPERATOR


# --- what was previewed is what is started ---

STARTED = Launch("npx", "docs@1.2.3", takes=("A",))


@pytest.mark.parametrize("now", [{}, {("docs", "file"): replace(STARTED, package="evil@1.2.3")}])
def test_a_launch_that_is_another_since_the_preview_is_refused(now: Mapping[tuple[str, str], Launch]) -> None:
    found = finding("docs", Verdict.SKIPPED, evidence="file")
    seen = report_of([replace(found, candidate=replace(found.candidate, launch=STARTED))])
    DeployLook(seen, DiscoveryConfig(), {}, {("docs", "file"): STARTED}).confirm_started({"docs": "file"})
    look = DeployLook(seen, DiscoveryConfig(), {}, now)
    with pytest.raises(ConfigError, match=r"^docs: file is gone, another, or not approved any more"):
        look.confirm_started({"docs": "file"})
    look.confirm_started({})


@pytest.mark.parametrize("now", [(), (("Other", "x"),), (("X-Key", "x"), ("More", "y"))])
def test_headers_that_are_others_since_the_preview_are_refused(now: tuple[tuple[str, str], ...]) -> None:
    wanted = {"docs": ("file", ("X-Key",))}
    report = report_of([finding("docs")])
    kept = {("docs", "file"): (("X-Key", "geheim"),)}
    look = DeployLook(report, DiscoveryConfig(), {}, asked_with=kept)
    look.confirm_headers(wanted)
    assert look.headers == {("docs", "file"): '{"X-Key": "geheim"}'} and "geheim" not in repr(look)
    with pytest.raises(ConfigError, match=r"^docs: the headers of file are gone, others, or not approved any more"):
        DeployLook(report, DiscoveryConfig(), {}, asked_with={("docs", "file"): now}).confirm_headers(wanted)


# --- where approvals are kept ---

RECORD = Approval("docs", ".mcp.json: mcpServers.docs", "f" * 64)


def test_the_place_is_the_users_state_folder() -> None:
    home = Path("/home/me")
    default = home / ".local/state/promptcraft/approvals.json"
    assert approval_records.path_of({}, home) == default
    assert approval_records.path_of({"XDG_STATE_HOME": "relative"}, home) == default
    assert approval_records.path_of({"XDG_STATE_HOME": "/s"}, home) == Path("/s/promptcraft/approvals.json")


def test_an_approval_is_kept_for_its_project_and_replaces_the_one_before(tmp_path: Path) -> None:
    path, project = tmp_path / "state" / "approvals.json", tmp_path / "project"
    approval_records.add(path, project, [RECORD])
    approval_records.add(path, tmp_path / "other", [replace(RECORD, fingerprint="0" * 64)])
    approval_records.add(path, project, [replace(RECORD, fingerprint="1" * 64)])
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert approval_records.read(path, project) == ((replace(RECORD, fingerprint="1" * 64),), None)
    assert sorted(each.name for each in path.parent.iterdir()) == ["approvals.json", "approvals.lock"]


def test_approvals_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "state" / "approvals.json"
    records = [replace(RECORD, service=f"s{number}") for number in range(8)]
    threads = [threading.Thread(target=approval_records.add, args=(path, tmp_path / "p", [each])) for each in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(approval_records.read(path, tmp_path / "p")[0]) == set(records)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not a list of approvals"),
        ("[]", "is not a list of approvals"),
        ('{"version": 2, "approvals": []}', "is not a list of approvals"),
        ('{"version": 1, "approvals": [{"project": 5}]}', "is not a list of approvals"),
        ("[" * 100_000, "is not a list of approvals"),
    ],
)
def test_a_damaged_file_approves_nothing_and_is_not_overwritten(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path / "approvals.json", text)
    found, problem = approval_records.read(path, tmp_path / "project")
    assert found == () and words in str(problem)
    with pytest.raises(ConfigError, match=words):
        approval_records.add(path, tmp_path / "project", [RECORD])
    assert path.read_text() == text


def test_a_file_in_the_project_or_a_link_to_one_approves_nothing(tmp_path: Path) -> None:
    project = tmp_path / "project"
    real = tmp_path / "approvals.json"
    approval_records.add(real, project, [RECORD])
    inside = write(project / "state/approvals.json", real.read_text())
    link = tmp_path / "link.json"
    link.symlink_to(real)
    assert "lies in the project itself" in str(approval_records.read(inside, project)[1])
    assert "symbolic link" in str(approval_records.read(link, project)[1])


# --- the command ---


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    write(tmp_path / "root/.mcp.json", {"mcpServers": {"Docs": SERVER, "sh": {"command": "sh", "args": ["-c", "x"]}}})
    return tmp_path / "root"


def gathered(root: Path) -> Gathered:
    path = approval_records.path_of(os.environ, Path.home())
    approver = Approver(project=str(root), approvals=approval_records.read(path, root)[0])
    return project_files(replace(request_in(root.parent, A="a", B="b"), approver=approver))


@pytest.mark.parametrize("name", ["docs", "Docs"])
def test_approve_says_what_it_allows_and_that_counts(root: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gathered(root).candidates[0].launch is None
    assert approve.main(["--root", str(root), name]) == 0
    said = capsys.readouterr().out
    assert said == "approved .mcp.json: mcpServers.Docs: it may start npx docs@1.2.3 with A, B\n"
    assert isinstance(gathered(root).candidates[0].launch, Launch)
    written = json.dumps({"mcpServers": {"Docs": {**SERVER, "args": ["docs@1.2.3", "${A}", "--new"]}}})
    write(root / ".mcp.json", written)
    assert "has changed since it was approved" in str(gathered(root).candidates[0].problem)


def test_of_two_names_that_are_alike_the_one_that_is_written_is_approved(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root / ".mcp.json", {"mcpServers": {"foo-bar": SERVER, "foo_bar": {**SERVER, "args": ["other@1.0.0"]}}})
    assert approve.main(["--root", str(root), "foo_bar"]) == 0
    assert capsys.readouterr().out.startswith("approved .mcp.json: mcpServers.foo_bar: it may start npx other@1.0.0")
    launches = {candidate.key: candidate.launch for candidate in gathered(root).candidates}
    assert launches[".mcp.json: mcpServers.foo-bar"] is None
    assert launches[".mcp.json: mcpServers.foo_bar"] is not None


@pytest.mark.parametrize("name", ["sh", "nothing", "../x\x1b"])
def test_what_cannot_be_approved_is_one_line_and_exit_2(
    root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert approve.main(["--root", str(root), name]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("command line:1: approve: ") and printed.err.endswith("what can be approved: docs\n")
    assert printed.err.count("\n") == 1 and "\x1b" not in printed.err
    assert not (root.parent / "state").exists()
