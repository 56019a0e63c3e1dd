"""What a project's files name is left alone until somebody on this machine, or the stack file, approves it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from ..emulators import legacy_mcp
from ..impostors import redirector
from ..namespace import another_host
from ..outcome import LOOPBACK, Outcome
from ..scenario import (
    PROJECT,
    USER,
    Table,
    lists,
    lists_nothing,
    says,
    selects,
    selects_nothing,
    starts,
    starts_nothing,
)
from ..world import World

scenario = Table()

_ELSEWHERE = "10.9.8.7"
_FAR = frozenset({_ELSEWHERE})
_COMMAND = "python -m discovery approve docs"
_PACKAGE = "@acme/docs-mcp@1.2.3"


def _stranger(world: World, port: int = 7000) -> None:
    """Somebody's server on another host, whom nobody may call."""
    another_host(_ELSEWHERE)
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), port, _ELSEWHERE))


def _http(url: str) -> Mapping[str, object]:
    return {"mcpServers": {"docs": {"type": "http", "url": url}}}


def _npx(*words: str, **variables: str) -> Mapping[str, object]:
    return {"mcpServers": {"docs": {"command": "npx", "args": ["-y", _PACKAGE, *words], "env": variables}}}


@scenario(
    "a project's address beyond the loopback is not called before it is approved",
    lists("docs", 7000, "skipped", PROJECT, reason=_COMMAND, hosts=_FAR, named_by="project", awaits_approval=True),
    says(rf"docs waits for approval: {_COMMAND}"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    _stranger(world)
    world.write("root/.mcp.json", _http(f"http://{_ELSEWHERE}:7000/mcp"))


@scenario(
    "in none of a project's files an address is called before it is approved",
    says(r"docs waits for approval"),
    says(r"notes waits for approval"),
    says(r"bridged waits for approval"),
    selects_nothing("docs", "notes", "bridged"),
)
def _(world: World) -> None:
    _stranger(world)
    url = f"http://{_ELSEWHERE}:7000/mcp"
    world.write("root/.mcp/servers/notes.json", {"type": "http", "url": url})
    world.write("root/.mcp/discovery-config.yaml", f"servers:\n  docs:\n    url: {url}\n")
    world.write("root/.mcp.json", {"mcpServers": {"bridged": {"command": "npx", "args": ["-y", "mcp-remote", url]}}})
    world.write(
        "root/.agents/discovery-config.yaml",
        f'agents:\n  a:\n    dependencies:\n      services:\n        docs: "{_ELSEWHERE}:7000"\n',
    )


@scenario("what the operator has approved is asked and used", selects("docs", 7000, PROJECT, hosts=_FAR))
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    world.serve(legacy_mcp("docs"), 7000, _ELSEWHERE)
    world.write("root/.mcp.json", _http(f"http://{_ELSEWHERE}:7000/mcp"))
    world.approve("docs")


@scenario("what the stack file names is approved by it", selects("docs", 7000, PROJECT, hosts=_FAR))
def _(world: World) -> None:
    another_host(_ELSEWHERE)
    world.serve(legacy_mcp("docs"), 7000, _ELSEWHERE)
    world.write("root/.mcp.json", _http(f"http://{_ELSEWHERE}:7000/mcp"))
    world.configure("mcpServers", ["docs"])


@scenario(
    "an entry that has changed waits again",
    says(rf"docs has changed since it was approved: {_COMMAND}"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    _stranger(world)
    world.write("root/.mcp.json", _http(f"http://{_ELSEWHERE}:7000/mcp"))
    world.approve("docs")
    world.write("root/.mcp.json", _http(f"http://{_ELSEWHERE}:7000/other"))


@scenario("what was approved in one project is not approved in another", says(_COMMAND), selects_nothing("docs"))
def _(world: World) -> None:
    _stranger(world)
    world.write("root/.mcp.json", _http(f"http://{_ELSEWHERE}:7000/mcp"))
    elsewhere = world.folder / "another-clone"
    shutil.copytree(world.root, elsewhere)
    world.approve("docs", elsewhere)


@scenario(
    "no URL of a project's carries a variable of this machine, approved or not",
    says("its url needs DATABASE_URL of this machine"),
    says("its url would carry API_KEY"),
    selects_nothing("docs", "notes", "team"),
)
def _(world: World) -> None:
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000))
    for name in ("DATABASE_URL", "API_KEY", "lower_case"):
        world.set(**{name: world.secret()})
    urls = {"docs": "${DATABASE_URL}", "notes": "${API_KEY}", "team": "${lower_case}/${DATABASE_URL:-${API_KEY}}"}
    entries = {name: {"type": "http", "url": f"http://127.0.0.1:7000/{path}"} for name, path in urls.items()}
    world.write("root/.mcp.json", {"mcpServers": entries})
    world.configure("mcpServers", list(entries))
    world.configure("mcpVariables", {name: ["DATABASE_URL", "API_KEY", "lower_case"] for name in entries})


@scenario("a default in a project's URL is what it says, whatever the variable holds", selects("docs", 7000, PROJECT))
def _(world: World) -> None:
    world.serve(legacy_mcp("docs"), 7000)
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7444))
    world.write("root/.mcp.json", _http("http://127.0.0.1:${DOCS_PORT:-7000}/mcp"))
    world.set(DOCS_PORT="7444")


@scenario("so is a default in the URL of a bridge's arguments", selects("docs", 7000, PROJECT))
def _(world: World) -> None:
    world.serve(legacy_mcp("docs"), 7000)
    words = ["-y", "mcp-remote", "http://127.0.0.1:${DOCS_PORT:-7000}/mcp", "--header", "Authorization: ${TOKEN}"]
    world.write("root/.mcp.json", {"mcpServers": {"docs": {"command": "npx", "args": words}}})
    world.set(DOCS_PORT="7444", TOKEN=world.secret())


_LOOKALIKES = (
    "http://127.0.0.1.evil:7000/mcp",
    "http://localhost.evil:7000/mcp",
    "http://evil.localhost:7000/mcp",
    "http://my-laptop:7000/mcp",
    "http://localhost@evil:7000/mcp",
    "http://127.0.0.1:7000@evil:7000/mcp",
    "http://[::ffff:10.9.8.7]:7000/mcp",
    "http://[::ffff:a09:807]:7000/mcp",
    "http://127.1:7000/mcp",
    "http://0x7f000001:7000/mcp",
    "http://evil:7000/127.0.0.1",
    "http://evil#localhost:7000/",
    "http://evil\\@localhost:7000/mcp",
)


@scenario("what only looks like the loopback waits for approval, or is no address at all")
def _(world: World) -> None:
    _stranger(world)
    # A name that resolves to the loopback does not count either: to resolve it is to call somebody.
    world.must_not_be_asked(world.serve(legacy_mcp("docs"), 7000))
    far = "127.0.0.1.evil localhost.evil evil.localhost evil"
    hosts = world.write("hosts", f"127.0.0.1 localhost my-laptop\n{_ELSEWHERE} {far}\n", mode=0o644)
    world.mount(hosts, "/etc/hosts")
    entries = {f"docs-{number}": {"type": "http", "url": url} for number, url in enumerate(_LOOKALIKES)}
    world.write("root/.mcp.json", {"mcpServers": entries})

    def check(outcome: Outcome) -> None:
        for name in entries:
            (candidate,) = outcome.candidates(name)
            assert candidate["verdict"] == "skipped", candidate

    world.checks.append(check)


@scenario(
    "localhost is the loopback, or it is not asked",
    lists("docs", 7000, "skipped", PROJECT, reason="not this machine's loopback"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    _stranger(world)
    world.mount(world.write("hosts", f"{_ELSEWHERE} localhost\n", mode=0o644), "/etc/hosts")
    world.write("root/.mcp.json", _http("http://localhost:7000/mcp"))


@scenario("the loopback of IPv6 is asked like that of IPv4", selects("docs", 7000, PROJECT, hosts=LOOPBACK))
def _(world: World) -> None:
    world.serve(legacy_mcp("docs"), 7000, "::1")
    world.write("root/.mcp.json", _http("http://[0:0:0:0:0:0:0:1]:7000/mcp"))


@scenario("a project's server on the loopback leads nobody elsewhere", selects_nothing("docs"))
def _(world: World) -> None:
    _stranger(world, 7444)
    world.serve(redirector(f"http://{_ELSEWHERE}:7444/mcp", 307), 7000)
    world.write("root/.mcp.json", _http("http://127.0.0.1:7000/mcp"))


@scenario(
    "a project's package is not started before it is approved, and what it would be given is told by name",
    starts_nothing("docs"),
    says(rf"docs waits for approval: {_COMMAND} \(it would start npx {_PACKAGE} with AWS_SECRET_ACCESS_KEY"),
)
def _(world: World) -> None:
    world.set(AWS_SECRET_ACCESS_KEY=world.secret())
    world.write("root/.mcp.json", _npx("--key=${AWS_SECRET_ACCESS_KEY}", OWN="${AWS_SECRET_ACCESS_KEY:-none}"))


@scenario("a package that is approved is started with the variables of its entry", starts("docs", _PACKAGE, "TEAM"))
def _(world: World) -> None:
    world.set(TEAM=world.secret())
    world.write("root/.mcp.json", _npx(OWN="${TEAM}"))
    world.approve("docs")


@scenario(
    "a package that the stack names is given no variable by that alone",
    starts_nothing("docs"),
    says(rf"needs TEAM, which nobody names for it; add it to mcpVariables\.docs, or {_COMMAND}"),
)
def _(world: World) -> None:
    world.set(TEAM=world.secret())
    world.write("root/.mcp.json", _npx(OWN="${TEAM}"))
    world.configure("mcpServers", ["docs"])


@scenario("a package is given the variables that the stack file names for it", starts("docs", _PACKAGE, "TEAM"))
def _(world: World) -> None:
    world.set(TEAM=world.secret())
    world.write("root/.mcp.json", _npx(OWN="${TEAM}"))
    world.configure("mcpServers", ["docs"])
    world.configure("mcpVariables", {"docs": ["TEAM"], "others": ["OTHER"]})


@scenario("a package is given the variables that .env names for it", starts("docs", _PACKAGE, "TEAM"))
def _(world: World) -> None:
    world.write("root/.env", f"TEAM={world.secret()}\nMCP_VARIABLES=docs:TEAM,MORE others:OTHER\n")
    world.write("root/.mcp.json", _npx(OWN="${TEAM}"))
    world.configure("mcpServers", ["docs"])


@scenario(
    "what is named for one server is not given to another",
    starts_nothing("docs"),
    says("needs TEAM, which nobody names for it"),
)
def _(world: World) -> None:
    world.set(TEAM=world.secret())
    world.write("root/.mcp.json", _npx(OWN="${TEAM}"))
    world.configure("mcpServers", ["docs"])
    world.configure("mcpVariables", {"others": ["TEAM"]})


@scenario(
    "a package of the discovery configuration is not started, nor given its key, before it is approved",
    starts_nothing("docs"),
    says(rf"docs waits for approval: {_COMMAND} \(it would start npx {_PACKAGE} with AWS_SECRET_ACCESS_KEY"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    world.set(AWS_SECRET_ACCESS_KEY=world.secret())
    lines = f"servers:\n  docs:\n    package: '{_PACKAGE}'\n    key_variable: AWS_SECRET_ACCESS_KEY\n"
    world.write("root/.mcp/discovery-config.yaml", lines)


@scenario(
    "a known package with a project's arguments is given its key only where that is named for it",
    starts_nothing("sentry"),
    says("needs SENTRY_AUTH_TOKEN, which nobody names for it"),
    stack="cloud",
)
def _(world: World) -> None:
    world.set(SENTRY_AUTH_TOKEN=world.secret())
    world.write("root/.mcp/discovery-config.yaml", "servers:\n  sentry:\n    arguments: ['--host=evil.example']\n")


@scenario(
    "a project's .env moves neither the approvals nor the user's own files",
    says(_COMMAND),
    selects_nothing("docs"),
    lists_nothing("theirs", source=USER),
)
def _(world: World) -> None:
    _stranger(world)
    url = f"http://{_ELSEWHERE}:7000/mcp"
    world.write("root/.mcp.json", {"mcpServers": {**_http(url)["mcpServers"], "theirs": {"url": url}}})  # type: ignore[dict-item]
    forged = world.folder / "forged"
    world.approve("docs", XDG_STATE_HOME=str(forged))
    world.write("root/claude/.claude.json", {"mcpServers": {"theirs": {"type": "http", "url": url}}})
    world.write("root/claude/mcp/theirs.json", {"type": "http", "url": url})
    world.write("root/.env", f"XDG_STATE_HOME={forged}\nCLAUDE_CONFIG_DIR={world.root}/claude\n")


@scenario(
    "approvals that others may have written count for nothing",
    says(r"approvals: the file .* is writable by its group or by others: nothing counts as approved"),
    selects_nothing("docs"),
)
def _(world: World) -> None:
    _stranger(world)
    world.write("root/.mcp.json", _http(f"http://{_ELSEWHERE}:7000/mcp"))
    world.approve("docs")
    (world.home / ".local/state/promptcraft/approvals.json").chmod(0o666)
