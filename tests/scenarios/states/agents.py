"""The cascade of agent definitions, and what each agent needs."""

from __future__ import annotations

import os

from ..emulators import legacy_mcp, qdrant
from ..scenario import Table, agent, depends, ends_within, says, says_nothing, selects
from ..world import World

scenario = Table()

USER, CORE, OWN, BUNDLED = "user_override", "project_core", "project_specific", "bundled_default"
CLAUDE_PROJECT, CLAUDE_PLUGIN = "claude_project", "claude_plugin"
_FOLDERS = {
    USER: "home/.claude/agents",
    CORE: "root/.agents/core",
    OWN: "root/.agents/project",
    BUNDLED: "root/.agents/defaults",
}


def _markdown(name: str, extra: str = "") -> str:
    return f"---\nname: {name}\ndescription: Reviews things.\nmodel: sonnet\n{extra}---\n\nYou review things.\n"


def _define(world: World, name: str, *tiers: str) -> None:
    for tier in tiers:
        world.write(f"{_FOLDERS[tier]}/{name}.md", _markdown(name))


@scenario(
    "a user's own agent wins over all, and those it shadows are listed", agent("reviewer", USER, (CORE, OWN, BUNDLED))
)
def _(world: World) -> None:
    _define(world, "reviewer", USER, CORE, OWN, BUNDLED)


@scenario("core agents win over the project's", agent("reviewer", CORE, (OWN,)))
def _(world: World) -> None:
    _define(world, "reviewer", CORE, OWN)


@scenario("a default is used where there is nothing else", agent("reviewer", BUNDLED))
def _(world: World) -> None:
    _define(world, "reviewer", BUNDLED)


@scenario(
    "an agent's name is in its front matter, not in the file's name",
    agent("reviewer", CORE, (OWN,)),
    agent("one", None),
)
def _(world: World) -> None:
    world.write("root/.agents/core/one.md", _markdown("reviewer"))
    world.write("root/.agents/project/two.md", _markdown("reviewer"))


@scenario("agents in folders below count", agent("reviewer", USER))
def _(world: World) -> None:
    world.write("home/.claude/agents/team/deep/reviewer.md", _markdown("reviewer"))


@scenario("an agent may be YAML", agent("reviewer", OWN, (BUNDLED,)))
def _(world: World) -> None:
    world.write(
        "root/.agents/project/reviewer.yaml",
        "name: reviewer\ndescription: Reviews.\nmodel: opus\nprompt: You review.\n",
    )
    _define(world, "reviewer", BUNDLED)


@scenario("an agent's own order replaces the default", agent("ai-engineer", OWN, (USER,)))
def _(world: World) -> None:
    _define(world, "ai-engineer", USER, OWN)
    world.write(
        "root/.agents/discovery-config.yaml",
        "agents:\n  ai-engineer:\n    priority_order: [project_specific, user_override]\n",
    )


@scenario(
    "an agent's dependencies resolve against the report",
    selects("zen-mcp", 8001),
    depends("ai-engineer", "zen-mcp", 8001),
    depends("ai-engineer", "qdrant", 7333),
)
def _(world: World) -> None:
    _define(world, "ai-engineer", OWN)
    world.serve(legacy_mcp("zen-mcp"), 8001)
    world.serve(qdrant(), 7333)
    world.write(
        "root/.agents/discovery-config.yaml",
        "agents:\n  ai-engineer:\n    dependencies:\n      services:\n"
        '        qdrant: "127.0.0.1:7333"\n        zen_mcp: "auto_discover"\n',
    )


@scenario("a dependency that nothing meets is met by nothing", depends("ai-engineer", "zen-mcp", None))
def _(world: World) -> None:
    _define(world, "ai-engineer", OWN)
    world.write(
        "root/.agents/discovery-config.yaml",
        'agents:\n  ai-engineer:\n    dependencies:\n      services:\n        zen_mcp: "auto_discover"\n',
    )


_BROKEN = {
    "front matter that does not end": "---\nname: broken\n",
    "front matter that is no YAML": "---\nname: [broken\n---\ntext\n",
    "no front matter": "You are an agent.\n",
    "no name": "---\ndescription: x\n---\ntext\n",
    "a name that leaves the folder": _markdown("../../etc/passwd"),
    "an alias bomb": "---\nname: broken\ndescription: &a [x]\ntools: [*a, *a]\n---\ntext\n",
    "a tag that would run something": "---\nname: !!python/object/apply:os.system ['true']\n---\ntext\n",
    "deep nesting": "---\nname: broken\nhooks: " + "[" * 3000 + "\n---\ntext\n",
    "a list for a name": "---\nname: [a]\ndescription: x\n---\ntext\n",
    "NUL bytes": "---\nname: bro\0ken\ndescription: x\n---\ntext\n",
    "a terminal's escapes": '---\nname: "x\\e[2J\\n[OK]"\ndescription: x\n---\ntext\n',
}


@scenario(
    "a broken agent costs only itself, with a warning",
    agent("reviewer", CORE),
    *(says(f"broken-{number}") for number in range(len(_BROKEN))),
)
def _(world: World) -> None:
    _define(world, "reviewer", CORE)
    for number, text in enumerate(_BROKEN.values()):
        world.write(f"root/.agents/project/broken-{number}.md", text)


@scenario("a FIFO among the agents blocks nobody", agent("reviewer", CORE), ends_within(4.0))
def _(world: World) -> None:
    _define(world, "reviewer", CORE)
    os.mkfifo(world.root / ".agents/core/pipe.md")


@scenario("an agent of a gigabyte is not read", agent("reviewer", CORE), says("huge"), ends_within(4.0))
def _(world: World) -> None:
    _define(world, "reviewer", CORE)
    os.truncate(world.write("root/.agents/project/huge.md", "---\nname: huge\n"), 1 << 30)


@scenario("an agent's tools may be text or a list, and unknown keys are no error", agent("a", USER), agent("b", USER))
def _(world: World) -> None:
    world.write("home/.claude/agents/a.md", _markdown("a", "tools: Read, Grep\ncolor: red\nfuture: {x: 1}\n"))
    world.write("home/.claude/agents/b.md", _markdown("b", "tools: [Read, Grep]\n"))


_LENIENT = {
    "a-colon": "description: Use this. It includes: style, tests",
    "a-bracket": "description: [BETA] reviews code",
    "an-at": "description: @codebase expert",
    "a-backtick": "description: `git` expert",
    "stars": "description: **Expert** reviewer: always",
    "a-percent": "description: 100% sure: always",
    "quotes-within": 'description: "Use when the user says "review" to you"',
    "all-tools": "description: x\ntools: *",
    "tabs": "description: x\ntools:\n\t- Read",
    "a-date": "description: 2025-01-01",
    "a-yes": "description: yes",
    "twice": "description: one\ndescription: two",
    "an-alias": "description: x\ntools: &t [Read]\nothers: *t",
    "a-tag": "description: x\nhooks: !include hooks.yml",
    "a-line-of-dashes-within": "description: |\n  a\n  ---\n  b",
    "a-window": "description: x\nmodel: opus[1m]",
    "another-products-model": "description: x\nmodel: Claude Sonnet 4.5 (copilot)",
}


@scenario(
    "front matter that is no strict YAML is read as its author meant it", *(agent(name, USER) for name in _LENIENT)
)
def _(world: World) -> None:
    for name, lines in _LENIENT.items():
        world.write(f"home/.claude/agents/{name}.md", f"---\nname: {name}\n{lines}\n---\n\nYou help.\n")


@scenario(
    "text that goes on without indentation makes an agent of nobody's",
    agent("goes-on", None),
    says("goes-on.md: line 5: '<example>' is neither"),
)
def _(world: World) -> None:
    text = "---\nname: goes-on\ndescription: Use this: always.\n\n<example>\nuser: hello\n</example>\n---\nYou help.\n"
    world.write("home/.claude/agents/goes-on.md", text)


@scenario("an agent without a description is none", agent("short", None), says("short.md: has no description"))
def _(world: World) -> None:
    world.write("home/.claude/agents/short.md", "---\nname: short\n---\nYou help.\n")


@scenario(
    "a name for people becomes an id",
    agent("frontend-developer", USER),
    agent("code-reviewer", USER),
    agent("agent-e38ce824", USER),
)
def _(world: World) -> None:
    for number, name in enumerate(("Frontend Developer", "code_reviewer", "コードレビュー")):
        world.write(f"home/.claude/agents/{number}.md", _markdown(name))


@scenario(
    "two names with one id: the second is listed, with the reason",
    agent("code-reviewer", USER, (USER,)),
    says("'code_reviewer' and 'Code Reviewer' are one id, code-reviewer"),
)
def _(world: World) -> None:
    world.write("home/.claude/agents/1.md", _markdown("Code Reviewer"))
    world.write("home/.claude/agents/2.md", _markdown("code_reviewer"))


@scenario(
    "agents that do not fit are left out by the look, by name",
    agent("a00", USER),
    agent("a16", None),
    agent("reviewer", CORE),
    says("agents: 2 left out, since all together may hold 4 MiB: a16, a17"),
)
def _(world: World) -> None:
    for number in range(18):
        world.write(f"home/.claude/agents/a{number:02}.md", _markdown(f"a{number:02}") + "x" * 250_000)
    _define(world, "reviewer", CORE)


@scenario(
    "more files than are looked at are said with the number",
    agent("a0999", USER),
    agent("a1000", None),
    says("~/.claude/agents has more files than are looked at: only the first 1000 count"),
)
def _(world: World) -> None:
    for number in range(1001):
        world.write(f"home/.claude/agents/a{number:04}.md", _markdown(f"a{number:04}"))


@scenario("what lies beside agents is none", says_nothing("README"), agent("reviewer", USER))
def _(world: World) -> None:
    _define(world, "reviewer", USER)
    world.write("home/.claude/agents/README.md", "# My agents\n")


@scenario(
    "the project's .claude/agents come behind .agents and the user's, the nearest first",
    agent("reviewer", USER, (CLAUDE_PROJECT,)),
    agent("planner", CORE, (CLAUDE_PROJECT,)),
    agent("writer", CLAUDE_PROJECT, (CLAUDE_PROJECT, BUNDLED)),
    agent("from-above", CLAUDE_PROJECT),
)
def _(world: World) -> None:
    (world.root.parent / ".git").mkdir()
    _define(world, "reviewer", USER)
    _define(world, "planner", CORE)
    _define(world, "writer", BUNDLED)
    for name in ("reviewer", "planner", "writer"):
        world.write(f"root/.claude/agents/{name}.md", _markdown(name))
    for name in ("writer", "from-above"):
        world.write(f".claude/agents/{name}.md", _markdown(name))


@scenario("what lies above the repository's root is nobody's agent", agent("from-above", None))
def _(world: World) -> None:
    (world.root / ".git").mkdir()
    world.write(".claude/agents/from-above.md", _markdown("from-above"))


@scenario(
    "a plugin's agents count where its user switched it on",
    agent("linter", CLAUDE_PLUGIN),
    agent("reviewer", USER, (CLAUDE_PLUGIN,)),
    agent("sleeper", None),
    agent("stranger", None),
)
def _(world: World) -> None:
    _define(world, "reviewer", USER)
    records = {}
    for plugin, names in (("on", ("linter", "reviewer")), ("off", ("sleeper",)), ("pushed", ("stranger",))):
        place = world.home / f".claude/plugins/cache/market/{plugin}/1.0.0"
        records[f"{plugin}@market"] = [{"scope": "user", "installPath": str(place), "version": "1.0.0"}]
        for name in names:
            world.write(f"home/.claude/plugins/cache/market/{plugin}/1.0.0/agents/{name}.md", _markdown(name))
    world.write("home/.claude/plugins/installed_plugins.json", {"version": 2, "plugins": records})
    world.write("home/.claude/settings.json", {"enabledPlugins": {"on@market": True, "off@market": False}})
    # A repository switches on nothing.
    world.write("root/.claude/settings.json", {"enabledPlugins": {"off@market": True, "pushed@market": True}})


@scenario("links among agents are followed as far as they lead", agent("linked", USER), agent("reviewer", USER))
def _(world: World) -> None:
    world.write("home/dotfiles/claude/agents/reviewer.md", _markdown("reviewer"))
    world.write("home/dotfiles/linked.md", _markdown("linked"))
    folder = world.home / "dotfiles/claude/agents"
    (folder / "linked.md").symlink_to("../../linked.md")
    (folder / "dangling.md").symlink_to("nowhere.md")
    (folder / "loop").symlink_to(".")
    (world.home / ".claude").symlink_to("dotfiles/claude")
