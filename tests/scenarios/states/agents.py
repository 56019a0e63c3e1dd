"""The cascade of agent definitions, and what each agent needs."""

from __future__ import annotations

import os

from ..emulators import legacy_mcp, qdrant
from ..scenario import Table, agent, depends, ends_within, says, selects
from ..world import World

scenario = Table()

USER, CORE, OWN, BUNDLED = "user_override", "project_core", "project_specific", "bundled_default"
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
