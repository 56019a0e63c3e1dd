"""The ways in which people write how a server is started: read for the package, or refused with what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..emulators import legacy_mcp
from ..scenario import Table, says, selects, starts, starts_nothing
from ..world import World

scenario = Table()


def _entry(world: World, command: object, args: object = None, env: object = None, name: str = "docs") -> None:
    """An entry of the user's own."""
    server: Mapping[str, object] = {"command": command, "args": args, "env": env}
    written = {key: value for key, value in server.items() if value is not None}
    world.write("home/.claude.json", {"mcpServers": {name: written}})


_STARTED: Sequence[tuple[str, object, object, str]] = (
    ("uvx with @latest", "uvx", ["acme.docs-mcp-server@latest"], "acme.docs-mcp-server@latest"),
    ("uvx --from with another program", "uvx", ["--from", "acme-docs[sse]>=1,<2", "docs"], "acme-docs[sse]>=1,<2"),
    ("uvx --python --with", "uvx", ["--python", "3.11", "--with", "rich", "acme-docs"], "acme-docs"),
    ("uv tool run", "uv", ["tool", "run", "acme-docs", "--stdio"], "acme-docs"),
    ("uv run --with", "uv", ["run", "--with", "acme-docs", "acme-docs"], "acme-docs"),
    ("pipx run", "pipx", ["run", "acme-docs==1.2"], "acme-docs==1.2"),
    ("npx with a range", "npx", ["--yes=true", "@acme/docs@>=1 <2"], "@acme/docs@>=1 <2"),
    ("npx -yp", "npx", ["-yp", "@acme/docs", "docs"], "@acme/docs"),
    ("npx with --", "npx", ["--prefer-offline", "-y", "--", "@acme/docs@~1.2"], "@acme/docs@~1.2"),
    ("npm exec", "npm", ["exec", "--package=@acme/docs", "--", "docs"], "@acme/docs"),
    ("bunx", "bunx", ["-y", "@acme/docs@next"], "@acme/docs@next"),
    ("pnpm dlx", "pnpm", ["dlx", "@acme/docs@1.2.3"], "@acme/docs@1.2.3"),
    ("yarn dlx", "yarn", ["dlx", "@acme/docs"], "@acme/docs"),
    ("cmd /c", r"C:\Windows\System32\cmd.exe", ["/c", "npx", "-y", "@acme/docs"], "@acme/docs"),
    ("powershell -Command", "powershell", ["-NoProfile", "-Command", "npx -y @acme/docs"], "@acme/docs"),
    ("bash -lc", "bash", ["-lc", "npx -y @acme/docs"], "@acme/docs"),
    ("env", "/usr/bin/env", ["npx", "-y", "@acme/docs"], "@acme/docs"),
    ("one text", "npx -y @acme/docs", None, "@acme/docs"),
    ("one list", ["npx", "-y", "@acme/docs"], None, "@acme/docs"),
    ("numbers among the words", "npx", ["-y", "@acme/docs", "--port", 3000, "--rate", 1.5, "--on", True], "@acme/docs"),
)  # fmt: skip

for _how, _command, _args, _package in _STARTED:

    def _start(world: World, command: object = _command, args: object = _args) -> None:
        _entry(world, command, args)

    scenario(f"a package is known however it is started: {_how}", starts("docs", _package))(_start)


@scenario(
    "what a package is started with besides takes what it names of this machine",
    starts("docs", "@acme/docs", "DOCS_TOKEN"),
)
def _(world: World) -> None:
    world.set(DOCS_TOKEN=world.secret())
    _entry(world, "env", ["TOKEN=${DOCS_TOKEN}", "npx -y @acme/docs --token ${DOCS_TOKEN}"])


@scenario("a variable that env sets is taken from this machine", starts("docs", "@acme/docs", "DOCS_TOKEN"))
def _(world: World) -> None:
    world.set(DOCS_TOKEN=world.secret())
    _entry(world, "env", ["TOKEN=${DOCS_TOKEN}", "npx", "-y", "@acme/docs"])


@scenario(
    "another registry is not asked",
    starts_nothing("docs"),
    says("npx --registry chooses another npm registry; set npmRegistry of the stack instead"),
)
def _(world: World) -> None:
    _entry(world, "npx", [f"--registry=https://user:{world.secret()}@npm.acme.example/", "-y", "@acme/docs"])


@scenario(
    "another index is not asked",
    starts_nothing("docs"),
    says("uvx --index chooses another Python index; set pythonIndex of the stack instead"),
)
def _(world: World) -> None:
    _entry(world, "uvx", ["--index", f"https://user:{world.secret()}@pypi.acme.example/", "acme-docs"])


@scenario(
    "nor by a variable that would choose it",
    starts_nothing("docs"),
    says(r"chooses another registry \(NPM_CONFIG_REGISTRY\); set npmRegistry"),
)
def _(world: World) -> None:
    url = f"https://user:{world.secret()}@npm.acme.example/"
    _entry(world, "npx", ["-y", "@acme/docs"], {"NPM_CONFIG_REGISTRY": url})


@scenario(
    "a repository is no package of a registry",
    starts_nothing("docs"),
    says("runs uvx from a repository, and a runner takes packages of a registry; name its published package"),
)
def _(world: World) -> None:
    _entry(world, "uvx", ["--from", "git+https://git.acme.example/docs", "docs"])


@scenario(
    "a path of this host is no package of a registry",
    starts_nothing("docs"),
    says("runs npx from a path of this host, which a runner does not have"),
)
def _(world: World) -> None:
    _entry(world, "npx", ["-y", "./tools/docs"])


@scenario("what only a shell could read is started by nobody", starts_nothing("docs"), says("through 'bash'"))
def _(world: World) -> None:
    proof = world.folder / "was-run"
    _entry(world, "bash", ["-c", f"npx -y @acme/docs && touch {proof}"])
    world.must_not_exist(proof)


@scenario("a script of this host's is no package", starts_nothing("docs"), says("through 'uv'"))
def _(world: World) -> None:
    script = world.write("home/docs.py", "open('was-run', 'w')\n")
    _entry(world, "uv", ["run", "--with", "mcp[cli]", "mcp", "run", str(script)])


@scenario(
    "what is no text among the words is told, and nothing of the rest is started",
    starts_nothing("docs"),
    says("has null as word 4 of its command; write a text"),
)
def _(world: World) -> None:
    _entry(world, "npx", ["-y", "@acme/docs", None, "--verbose"])


@scenario(
    "words in one text are told, and not taken apart",
    starts_nothing("docs"),
    says("has args that are one text, not a list"),
)
def _(world: World) -> None:
    _entry(world, "npx", "-y @acme/docs")


@scenario(
    "more words than are read are told with their number",
    starts_nothing("docs"),
    says("has 302 words, of which 256 are read"),
)
def _(world: World) -> None:
    _entry(world, "npx", ["@acme/docs", *(f"--flag-{number}" for number in range(300))])


@scenario("as many words as people have are read", starts("docs", "@acme/docs"))
def _(world: World) -> None:
    _entry(world, "npx", ["@acme/docs", *(f"--flag-{number}" for number in range(200))])


@scenario(
    "a folder that only Claude Code names is named as that",
    starts_nothing("docs"),
    says("needs CLAUDE_PLUGIN_ROOT, a folder that only Claude Code names"),
)
def _(world: World) -> None:
    _entry(world, "node", ["${CLAUDE_PLUGIN_ROOT}/server.js"])


@scenario("a bridge's address needs no scheme", selects("docs", 7000))
def _(world: World) -> None:
    world.serve(legacy_mcp("docs"), 7000)
    _entry(world, "npx", ["-y", "mcp-remote@0.1.29", "--debug", "127.0.0.1:7000/mcp", "--header", "X-Team: docs"])


@scenario(
    "a project's package waits for approval however it is started",
    starts_nothing("docs"),
    says(r"docs waits for approval: .* \(it would start npx @acme/docs and rich with DOCS_TOKEN"),
)
def _(world: World) -> None:
    world.set(DOCS_TOKEN=world.secret())
    words = ["--package=@acme/docs", "--package=rich", "dlx", "docs", "--token=${DOCS_TOKEN}"]
    world.write("root/.mcp.json", {"mcpServers": {"docs": {"command": "pnpm", "args": words}}})


@scenario(
    "a container is known by its image, and by what it takes of this machine",
    starts("docs", "ghcr.io/acme/docs:1.2", "DOCS_TOKEN"),
)
def _(world: World) -> None:
    world.set(DOCS_TOKEN=world.secret())
    _entry(world, "docker", ["run", "-i", "--rm", "-e", "DOCS_TOKEN", "ghcr.io/acme/docs:1.2", "stdio"])


@scenario(
    "a container's image needs an exact version",
    starts_nothing("docs"),
    says("runs the image ghcr.io/acme/docs in no exact version; write ghcr.io/acme/docs:TAG"),
)
def _(world: World) -> None:
    _entry(world, "docker", ["run", "-i", "--rm", "-e", f"TOKEN={world.secret()}", "ghcr.io/acme/docs"])


@scenario(
    "a container mounts nothing of this host",
    starts_nothing("docs"),
    says("docker run --mount mounts something of this host, which no container of the stack's does; take it out"),
)
def _(world: World) -> None:
    _entry(world, "docker", ["run", "-i", "--mount", "type=bind,src=/etc,dst=/etc", "acme/docs:1.2"])


@scenario(
    "a container has no rights over this host",
    starts_nothing("docs"),
    says("docker run --privileged would give it rights over this host; take it out"),
)
def _(world: World) -> None:
    _entry(world, "docker", ["run", "-i", "--privileged", "acme/docs:1.2"])


@scenario(
    "a project's container waits for approval, with what it would be given",
    starts_nothing("docs"),
    says(r"docs waits for approval: .* \(it would start docker acme/docs:1.2 with DOCS_TOKEN"),
)
def _(world: World) -> None:
    world.set(DOCS_TOKEN=world.secret())
    words = ["run", "-i", "-e", "DOCS_TOKEN", "acme/docs:1.2"]
    world.write("root/.mcp.json", {"mcpServers": {"docs": {"command": "docker", "args": words}}})
