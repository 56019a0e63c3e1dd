"""What the user's and the project's files name; and how any file is read."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.approval import Approver
from discovery.probes.npx import npx
from discovery.probes.project_files import project_files
from discovery.probes.user_files import user_files
from discovery.readers import mcp_files
from discovery.readers.mcp_files import McpFile
from discovery.readers.server_names import service_name
from discovery.report import Candidate, Launch, NamedBy, Source
from discovery.request import ConfigError, Credential, Gathered, Request
from reading import safe_files
from reading.safe_files import Rules, UnsafeFile
from tests.unit.asking import JSON_VALUES, MANY, request_in, write

HTTP = {"type": "http", "url": "http://h:1/mcp"}


def one(gathered: Gathered) -> Candidate:
    (candidate,) = gathered.candidates
    return candidate


def from_servers(servers: object, **environment: str) -> Gathered:
    return mcp_files.candidates(McpFile(Path("f"), "file", Source.USER), servers, environment)


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("zen", "zen-mcp"),
        ("ZEN", "zen-mcp"),
        ("zen_mcp", "zen-mcp"),
        ("zen-mcp-server", "zen-mcp"),
        ("pal", "zen-mcp"),
        ("pal-mcp-server", "zen-mcp"),
        ("redis", "redis-mcp"),
        ("Qdrant", "qdrant-mcp"),
        ("promptcraft", "promptcraft-mcp"),
        ("nginx", "nginx-mcp"),
        ("Agent", "agent-mcp"),
        ("docs search", "docs-search"),
        ("../../etc/cron.d/x", "etc-cron-d-x"),
        ("io.github/x", "io-github-x"),
        ("CON", "con"),
        (".", None),
        ("", None),
        ("\0", None),
        ("x" * 300, f"{'x' * 48}-0d4e2c"),
        ("é", "server-4a9955"),
        ("天气", "server-4d9473"),
        ("天气 api", "api-4671f6"),
    ],
)
def test_a_servers_name_names_a_service(name: str, service: str | None) -> None:
    assert service_name(name) == service


@pytest.mark.parametrize(
    "server",
    [
        HTTP,
        {"type": "sse", "url": "http://h:1/mcp"},
        {"type": "streamable-http", "url": "http://h:1/mcp", "headers": {"Authorization": "Bearer geheim"}},
        {"url": "HTTP://H:1/mcp"},
        {"url": "http://${ZEN_HOST}:${ZEN_PORT:-1}/mcp"},
        {"command": "npx", "args": ["-y", "mcp-remote", "http://h:1/mcp"]},
    ],
)
def test_a_url_is_an_endpoint(server: dict[str, object]) -> None:
    candidate = one(from_servers({"zen": server}, ZEN_HOST="h"))

    assert (candidate.service, candidate.endpoint, candidate.problem) == ("zen-mcp", "http://h:1/mcp", None)
    assert candidate.evidence == "file: mcpServers.zen"


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(2500, 2.5), (1000, 1.0), (999, None), (True, None), ("2500", None), (-1, None), (float("inf"), None)],
)
def test_a_timeout_counts_from_a_second_on(timeout: object, seconds: float | None) -> None:
    assert one(from_servers({"a": {**HTTP, "timeout": timeout}})).answer_seconds == seconds


@pytest.mark.parametrize(
    ("server", "package"),
    [
        ({"command": "npx", "args": ["-y", "@upstash/context7-mcp@1.2.3"]}, "@upstash/context7-mcp@1.2.3"),
        ({"command": "/usr/bin/npx", "args": ["pkg", "--flag", "x"]}, "pkg"),
        ({"command": "npx.cmd", "args": ["--package=pkg", "bin"]}, "pkg"),
        ({"type": "stdio", "command": "npx", "args": ["-p", "pkg", "bin"]}, "pkg"),
        ({"command": "cmd", "args": ["/c", "npx", "-y", "pkg"]}, "pkg"),
    ],
)
def test_npx_is_known_by_its_package_and_not_started(server: dict[str, object], package: str) -> None:
    candidate = one(from_servers({"a": server}))

    assert candidate.endpoint == f"npx:{package}"
    assert candidate.problem == "stdio: not started during discovery"


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({"command": "uvx", "args": ["geheim"]}, "'uvx': commands found in files are never run"),
        ({"command": "sh", "args": ["-c", "touch geheim"], "env": {"K": "geheim"}}, "never run"),
        ({"command": "npx", "args": ["-c", "geheim; rm"]}, "a line for a shell"),
        ({"command": "npx", "args": ["$(geheim)"]}, "without a package"),
        ({"command": "npx"}, "without a package"),
        ({"command": "npx", "args": {"a": 1}}, "args that are no list"),
        ({"url": "http://h:${MISSING}/"}, "needs MISSING, which is not set"),
        ({"url": "http://h/${API_KEY}/mcp"}, "would carry API_KEY, a secret"),
        ({"url": "http://u:geheim@h"}, "user name or password"),
        ({"url": "http://h/mcp?key=geheim"}, "query"),
        ({"url": "file:///etc/passwd"}, "wrong scheme"),
        ({"url": "http://169.254.169.254"}, "cannot be asked"),
        ({"type": "http"}, "neither a url"),
        ({"type": "ws", "url": "ws://h"}, "over WebSocket"),
        ({"type": "http", "command": "x"}, "neither a url"),
        ({"type": 5, "url": "http://h"}, "neither a url"),
        ({"url": 5}, "neither a url"),
        ({}, "neither a url"),
        ({**HTTP, "disabled": True}, "disabled"),
    ],
)
def test_what_cannot_be_asked_says_why(server: dict[str, object], words: str) -> None:
    candidate = one(from_servers({"a": server}, API_KEY="geheim"))

    assert candidate.problem is not None
    assert words in candidate.problem
    assert "geheim" not in repr(candidate)


@pytest.mark.parametrize("servers", [1, None, [], "x", [HTTP]])
def test_servers_that_are_no_map_are_a_warning(servers: object) -> None:
    gathered = from_servers(servers)

    assert gathered.candidates == ()
    assert "not a map of servers" in gathered.warnings[0]


def test_bad_entries_cost_only_themselves() -> None:
    gathered = from_servers({"a": 1, "b": None, "c": [], "": {}, "zen": HTTP})

    assert one(gathered).service == "zen-mcp"
    assert len(gathered.warnings) == 4


def test_ten_thousand_servers_are_cut_and_two_thousand_are_quick() -> None:
    start = time.process_time()
    gathered = from_servers({f"s{number}": HTTP for number in range(10_000)})

    assert len(gathered.candidates) == 2000
    assert "10000 servers" in gathered.warnings[0]
    assert time.process_time() - start < 4


@MANY
@given(
    st.dictionaries(
        st.text(max_size=10) | st.sampled_from(["zen", "redis"]),
        JSON_VALUES
        | st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from(["http", "stdio", "x"]) | JSON_VALUES,
                "url": st.text(max_size=20) | st.sampled_from(["http://h:1", "http://${A:-x}"]) | JSON_VALUES,
                "command": st.sampled_from(["npx", "cmd", "sh", ""]) | JSON_VALUES,
                "args": st.lists(st.text(max_size=8) | st.sampled_from(["-y", "pkg", "/c", "npx"])) | JSON_VALUES,
            },
        ),
        max_size=4,
    )
    | JSON_VALUES
)
def test_any_document_is_candidates_and_warnings(servers: object) -> None:
    gathered = from_servers(servers)

    for candidate in gathered.candidates:
        assert candidate.problem is not None or candidate.endpoint.startswith(("http://", "https://"))
        assert f"{candidate.problem}{candidate.evidence}{candidate.endpoint}".isprintable()
        assert service_name(candidate.service) is not None
    assert all(warning.isprintable() for warning in gathered.warnings)


@MANY
@given(st.binary(max_size=60) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_document_or_a_warning(tmp_path: Path, data: bytes) -> None:
    document, warnings = mcp_files.read_document(McpFile(write(tmp_path / "f.json", data), "f.json", Source.USER))

    assert (document is None) == bool(warnings)
    assert all(warning.isprintable() for warning in warnings)


# --- the user's files ---


def user(tmp_path: Path, files: dict[str, object], **environment: str) -> Gathered:
    request = request_in(tmp_path, **environment)
    for name, content in files.items():
        write(request.home / name, content)
    return user_files(request)


@pytest.mark.parametrize(
    ("files", "evidence"),
    [
        ({".claude.json": {"mcpServers": {"zen": HTTP}, "numStartups": 3}}, "~/.claude.json: mcpServers.zen"),
        ({".claude/mcp/zen.json": HTTP}, "~/.claude/mcp/zen.json: mcpServers.zen"),
        ({".claude/mcp/all.json": {"zen": HTTP}}, "~/.claude/mcp/all.json: mcpServers.zen"),
        ({".claude/mcp/all.json": {"mcpServers": {"zen": HTTP}}}, "~/.claude/mcp/all.json: mcpServers.zen"),
        ({".claude/mcp/zen/config.json": {"zen": HTTP}}, "~/.claude/mcp/zen/config.json: mcpServers.zen"),
    ],
)
def test_user_files_are_user_installations(tmp_path: Path, files: dict[str, object], evidence: str) -> None:
    gathered = user(tmp_path, files)

    candidate = one(gathered)
    assert (candidate.source, candidate.endpoint) == (Source.USER, "http://h:1/mcp")
    assert candidate.evidence == evidence
    assert gathered.warnings == ()


def test_this_projects_servers_come_before_and_shadow_the_global_ones(tmp_path: Path) -> None:
    projects = {
        str(tmp_path / "root"): {"mcpServers": {"zen": HTTP}},
        "/somewhere/else": {"mcpServers": {"other": HTTP}},
    }
    everywhere = {"zen": {"url": "http://g:1"}, "docs": {"url": "http://g:2"}}

    here, shadowed, docs = user(tmp_path, {".claude.json": {"mcpServers": everywhere, "projects": projects}}).candidates

    assert (here.endpoint, here.problem) == ("http://h:1/mcp", None)
    assert (shadowed.endpoint, shadowed.problem is None) == ("http://g:1", False)
    assert (docs.endpoint, docs.problem) == ("http://g:2", None)


def test_claude_config_dir_moves_all_of_it(tmp_path: Path) -> None:
    files: dict[str, object] = {
        ".claude.json": {"mcpServers": {"old": HTTP}},
        "moved/.claude.json": {"mcpServers": {"zen": HTTP}},
        "moved/mcp/docs.json": HTTP,
    }

    gathered = user(tmp_path, files, CLAUDE_CONFIG_DIR=str(tmp_path / "home" / "moved"))

    assert [candidate.evidence for candidate in gathered.candidates] == [
        "$CLAUDE_CONFIG_DIR/.claude.json: mcpServers.zen",
        "$CLAUDE_CONFIG_DIR/mcp/docs.json: mcpServers.docs",
    ]


def test_what_claude_code_ignores_is_said(tmp_path: Path) -> None:
    gathered = user(tmp_path, {".claude/settings.json": {"mcpServers": {"zen": HTTP}}})

    assert gathered.candidates == ()
    assert "found, but Claude Code ignores it" in gathered.warnings[0]


@pytest.mark.parametrize("folder", ["dev/zen-mcp-server", "zen-mcp-server", "dev/pal-mcp-server"])
def test_a_checkout_of_zen_is_told_of_but_not_run(tmp_path: Path, folder: str) -> None:
    candidate = one(user(tmp_path, {f"{folder}/server.py": "raise SystemExit"}))

    assert (candidate.service, candidate.source, candidate.endpoint) == ("zen-mcp", Source.USER, "")
    assert candidate.evidence == f"~/{folder}"
    assert "speaks stdio" in str(candidate.problem)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b'{"mcpServers": {', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1]", "not a map"),
        (b"1" * 5000, "not JSON"),
        (b'{"mcpServers": 5}', "not a map"),
    ],
)
def test_a_broken_file_is_a_warning_and_costs_nothing_else(tmp_path: Path, content: bytes, words: str) -> None:
    gathered = user(tmp_path, {".claude.json": content, ".claude/mcp/zen.json": HTTP})

    assert one(gathered).service == "zen-mcp"
    assert len(gathered.warnings) == 1
    assert gathered.warnings[0].startswith("~/.claude.json")
    assert words in gathered.warnings[0]


def hostile(path: Path, make: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    match make:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "endless":
            path.symlink_to("/dev/zero")
        case "gigabyte":
            os.truncate(write(path, "{"), 1 << 30)
        case "anybody's":
            write(path, {"mcpServers": {"zen": HTTP}}, mode=0o666)
        case "another user's":
            os.chown(write(path, {"mcpServers": {"zen": HTTP}}), 12345, 12345)


HOSTILE = ["fifo", "folder", "endless", "gigabyte", "anybody's", "another user's"]


@pytest.mark.parametrize("make", HOSTILE)
def test_a_hostile_file_is_a_warning_at_once(tmp_path: Path, make: str) -> None:
    request = request_in(tmp_path)
    hostile(request.home / ".claude.json", make)
    start = time.monotonic()

    gathered = user_files(request)

    assert gathered.candidates == ()
    assert gathered.warnings[0].startswith("~/.claude.json ")
    assert time.monotonic() - start < 4


def test_linked_dotfiles_are_followed_and_loops_end(tmp_path: Path) -> None:
    request = request_in(tmp_path)
    write(request.home / "dotfiles/claude.json", {"mcpServers": {"zen": HTTP}})
    (request.home / ".claude.json").symlink_to("dotfiles/claude.json")
    write(request.home / ".claude/mcp/docs.json", HTTP)
    (request.home / ".claude/mcp/loop").symlink_to(request.home / ".claude/mcp")

    gathered = user_files(request)

    assert [candidate.service for candidate in gathered.candidates] == ["zen-mcp", "docs"]
    assert gathered.warnings == ()


def test_names_in_files_reach_no_terminal(tmp_path: Path) -> None:
    evil = "zen\n[OK] redis ours\x1b[2J"

    gathered = user(tmp_path, {".claude.json": {"mcpServers": {evil: HTTP, "\x1b": 5}}})

    assert all(candidate.evidence.isprintable() for candidate in gathered.candidates)
    assert all(warning.isprintable() for warning in gathered.warnings)


# --- the project's files ---


def project(tmp_path: Path, files: dict[str, object]) -> Gathered:
    request = request_in(tmp_path)
    for name, content in files.items():
        write(request.root / name, content)
    return project_files(request)


@pytest.mark.parametrize(
    ("files", "evidence"),
    [
        ({".mcp.json": {"mcpServers": {"zen": HTTP}}}, ".mcp.json: mcpServers.zen"),
        ({".mcp.json": {"zen": HTTP}}, ".mcp.json: mcpServers.zen"),
        ({".mcp/servers/zen.json": HTTP}, ".mcp/servers/zen.json: mcpServers.zen"),
        (
            {".mcp/discovery-config.yaml": "servers: {zen-mcp: {url: 'http://h:1/mcp'}}"},
            ".mcp/discovery-config.yaml: servers.zen-mcp.url",
        ),
    ],
)
def test_project_files_are_project_configuration(tmp_path: Path, files: dict[str, object], evidence: str) -> None:
    candidate = one(project(tmp_path, files))

    assert (candidate.service, candidate.source, candidate.named_by) == ("zen-mcp", Source.PROJECT, NamedBy.PROJECT)
    assert (candidate.endpoint, candidate.evidence) == ("http://h:1/mcp", evidence)


def test_our_own_file_is_read_strictly(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        project(tmp_path, {".mcp/discovery-config.yaml": "servers: no"})


@pytest.mark.parametrize("make", ["fifo", "folder", "endless", "gigabyte"])
def test_a_hostile_project_file_is_a_warning_at_once(tmp_path: Path, make: str) -> None:
    request = request_in(tmp_path)
    hostile(request.root / ".mcp.json", make)

    gathered = project_files(request)

    assert gathered.candidates == ()
    assert gathered.warnings[0].startswith(".mcp.json ")


# --- npx ---

APPROVED = Approver(
    servers=frozenset({"context7", "perplexity", "sentry", "mine"}), variables={"mine": ("K",), "perplexity": ("K",)}
)


def with_npx(
    tmp_path: Path, servers: str, environment: dict[str, str] | None = None, mode: int = 0o755
) -> tuple[Request, Path]:
    proof = tmp_path / "was-run"
    write(tmp_path / "bin" / "npx", f"#!/bin/sh\ntouch {proof}\n", mode=mode)
    request = request_in(tmp_path, PATH=str(tmp_path / "bin"), **(environment or {}))
    write(request.root / ".mcp/discovery-config.yaml", servers)
    return replace(request, approver=APPROVED), proof


@pytest.mark.parametrize(
    ("servers", "environment", "endpoint"),
    [
        ("servers: {context7: {}}", {}, "npx:@upstash/context7-mcp"),
        ("servers: {context7: {package: '@upstash/context7-mcp@1.0.0'}}", {}, "npx:@upstash/context7-mcp@1.0.0"),
        ("servers: {perplexity: {}}", {"PERPLEXITY_API_KEY": "k"}, "npx:@perplexity-ai/mcp-server"),
        ("servers: {sentry: {}}", {"SENTRY_AUTH_TOKEN": "k"}, "npx:@sentry/mcp-server"),
        ("servers: {mine: {package: mine}}", {}, "npx:mine"),
        ("servers: {perplexity: {package: other}}", {}, "npx:other"),
        ("servers: {mine: {package: mine, key_variable: K}}", {"K": "k"}, "npx:mine"),
    ],
)
def test_a_known_package_is_a_candidate_and_not_run(
    tmp_path: Path, servers: str, environment: dict[str, str], endpoint: str
) -> None:
    request, proof = with_npx(tmp_path, servers, environment)

    candidate = one(npx(request))

    assert (candidate.source, candidate.endpoint, candidate.problem) == (Source.NPX, endpoint, None)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("servers", "mode", "environment", "words"),
    [
        ("servers: {context7: {}}", 0o644, {}, "npx is not on PATH"),
        ("servers: {perplexity: {}}", 0o755, {}, "PERPLEXITY_API_KEY is not set"),
        ("servers: {perplexity: {}}", 0o755, {"PERPLEXITY_API_KEY": "your_key"}, "PERPLEXITY_API_KEY is not set"),
        ("servers: {sentry: {}}", 0o755, {"SENTRY_AUTH_TOKEN": "  "}, "SENTRY_AUTH_TOKEN is not set"),
        ("servers: {mine: {package: a, key_variable: K}}", 0o755, {}, "K is not set"),
    ],
)
def test_what_npx_lacks_is_said(
    tmp_path: Path, servers: str, mode: int, environment: dict[str, str], words: str
) -> None:
    request, _ = with_npx(tmp_path, servers, environment, mode)

    assert words in str(one(npx(request)).problem)


def test_without_a_path_there_is_no_npx(tmp_path: Path) -> None:
    request, _ = with_npx(tmp_path, "servers: {context7: {}}")

    assert "PATH" in str(one(npx(replace(request, environment={}))).problem)


def test_a_server_that_the_stack_names_is_a_candidate_with_the_version_that_was_tried(tmp_path: Path) -> None:
    request, _ = with_npx(tmp_path, "servers: {}")

    launch = one(npx(replace(request, servers=("context7",)))).launch

    assert isinstance(launch, Launch) and re.fullmatch(r"@upstash/context7-mcp@\d+\.\d+\.\d+", launch.package)


def test_a_key_that_the_stack_keeps_as_a_secret_is_a_key(tmp_path: Path) -> None:
    request, _ = with_npx(tmp_path, "servers: {sentry: {}}")
    request = replace(request, credentials={"sentryAuthToken": Credential(secret="geheim")})

    candidate = one(npx(request))

    assert candidate.problem is None and isinstance(candidate.launch, Launch)
    assert candidate.launch.environment == {"SENTRY_ACCESS_TOKEN": "geheim"}
    assert candidate.launch.told == ("-y", candidate.launch.package)
    assert candidate.launch.variables == (("SENTRY_ACCESS_TOKEN", "SENTRY_AUTH_TOKEN"),)
    assert "geheim" not in repr(candidate)


def test_a_runner_needs_no_npx_of_this_machine_but_the_key(tmp_path: Path) -> None:
    request, _ = with_npx(tmp_path, "servers: {context7: {}, sentry: {}}", mode=0o644)

    found = {candidate.service: candidate for candidate in npx(request).candidates}

    assert found["context7"].launch is not None and "npx is not on PATH" in str(found["context7"].problem)
    assert found["sentry"].launch is None and "SENTRY_AUTH_TOKEN" in str(found["sentry"].problem)


def test_a_stdio_server_in_a_file_may_be_launched_with_what_its_entry_says() -> None:
    server = {"command": "uvx", "args": ["mcp-server-time@2026.1.1", "--key", "geheim"], "env": {"K": "${OWN}"}}

    candidate = one(from_servers({"time": server}, OWN="also-geheim"))

    assert isinstance(candidate.launch, Launch)
    assert (candidate.launch.program, candidate.launch.package) == ("uvx", "mcp-server-time@2026.1.1")
    assert candidate.launch.arguments == ("--key", "geheim") and candidate.launch.environment == {"K": "also-geheim"}
    assert "geheim" not in repr(candidate)


def test_a_server_nobody_knows_has_no_package(tmp_path: Path) -> None:
    request, _ = with_npx(tmp_path, "servers: {my-own: {}}")

    assert npx(request) == Gathered()


# --- any file ---

ANY = Rules(max_bytes=100)
OURS = frozenset({os.geteuid()})


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("make", "rules", "words"),
    [
        (lambda path: os.mkfifo(path), ANY, "named pipe"),
        (lambda path: path.mkdir(), ANY, "directory"),
        (_socket, ANY, "socket"),
        (lambda path: path.symlink_to("/dev/null"), ANY, "device"),
        (lambda path: path.symlink_to(path), ANY, "symbolic link"),
        (lambda path: write(path, "x" * 101), ANY, "larger"),
        (lambda path: path.symlink_to("/proc/self/environ"), Rules(max_bytes=0), "larger"),
        (lambda path: path.symlink_to(write(path.with_name("t"), "x")), Rules(100, follow=False), "symbolic link"),
        (lambda path: os.link(write(path.with_name("t"), "x"), path), Rules(100, private=True), "2 hard links"),
        (lambda path: write(path, "x", mode=0o620), Rules(100, private=True), "writable"),
        (lambda path: write(path, "x", mode=0o602), Rules(100, private=True), "writable"),
        (lambda path: write(path, "x", mode=0o602), Rules(100, closed=True), "writable by everybody"),
        (lambda path: os.chown(write(path, "x"), 12345, 12345), Rules(100, owners=OURS), "another user"),
    ],
)
def test_unsafe_files_are_refused(tmp_path: Path, make: Callable[[Path], object], rules: Rules, words: str) -> None:
    make(tmp_path / "file")

    with pytest.raises(UnsafeFile, match=words):
        safe_files.read_file(tmp_path / "file", rules)


def test_plain_files_are_read_and_absent_ones_are_none(tmp_path: Path) -> None:
    private = Rules(max_bytes=100, owners=OURS, follow=False, private=True, closed=True)

    assert safe_files.read_file(write(tmp_path / "file", "x" * 100), private) == b"x" * 100
    assert safe_files.read_file(tmp_path / "absent", private) is None
    assert safe_files.read_file(tmp_path / "file" / "below", private) is None


def test_a_fifo_with_a_writer_does_not_lose_what_was_written(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"for somebody else"))
    writer.start()

    with pytest.raises(UnsafeFile):
        safe_files.read_file(pipe, ANY)

    received.append(pipe.read_bytes())
    writer.join(5)
    assert received == [b"for somebody else"]


def test_a_walk_is_sorted_and_bounded(tmp_path: Path) -> None:
    for name in ("c.md", "a.md", "b/x.md", "note.txt", "d.md"):
        write(tmp_path / name, "")

    everything, cut = safe_files.walk_files(tmp_path, (".md",), 10)
    some, some_cut = safe_files.walk_files(tmp_path, (".md",), 2)

    assert [path.relative_to(tmp_path).as_posix() for path in everything] == ["a.md", "b/x.md", "c.md", "d.md"]
    assert not cut
    assert len(some) == 2
    assert some_cut
