"""Configuration of ours is read strictly: `file:line: key: what is wrong; what to do`, exit 2, nothing on stdout."""

from __future__ import annotations

import os

from ..emulators import qdrant
from ..scenario import EXTERNAL, Table, fails, selects
from ..world import World

scenario = Table()

_FILE = "root/.mcp/discovery-config.yaml"

# What a person might write, what is wrong with it, and what the message must name.
BROKEN = (
    ("an unknown key", "servers:\n  zen-mcp:\n    prioritory_order: [npx_cloud]\n", r":3: .*prioritory_order"),
    ("an unknown key at the top", "severs: {}\n", r":1: .*severs"),
    (
        "a source that does not exist",
        "servers:\n  zen-mcp:\n    priority_order:\n      1: kubernetes\n",
        r":4: .*kubernetes",
    ),
    ("a source named twice", "servers:\n  zen-mcp:\n    priority_order: [npx_cloud, npx_cloud]\n", r":3: .*npx_cloud"),
    ("YAML's own booleans", "servers:\n  zen-mcp:\n    priority_order: [no]\n", r":3: .*priority_order"),
    (
        "an octal number",
        "servers:\n  zen-mcp:\n    resource_requirements:\n      memory_mb: 0777\n",
        r":4: .*memory_mb",
    ),
    (
        "a sexagesimal number",
        "servers:\n  zen-mcp:\n    resource_requirements:\n      memory_mb: 22:22\n",
        r":4: .*memory_mb",
    ),
    ("text for a number", "servers:\n  zen-mcp:\n    resource_requirements: {memory_mb: plenty}\n", r":3: .*memory_mb"),
    ("a boolean for a number", "resource_limits:\n  total_memory_mb: true\n", r":2: .*total_memory_mb"),
    ("no number at all", "resource_limits:\n  total_memory_mb: .nan\n", r":2: .*total_memory_mb"),
    ("endless memory", "servers:\n  zen-mcp:\n    resource_requirements: {cpu_cores: .inf}\n", r":3: .*cpu_cores"),
    ("less than nothing", "servers:\n  zen-mcp:\n    resource_requirements: {memory_mb: -1}\n", r":3: .*memory_mb"),
    ("a key twice", "servers:\n  zen-mcp: {}\n  zen-mcp: {}\n", r":3: .*zen-mcp"),
    ("an alias", "a: &a [x]\nservers: *a\n", r":[12]: "),
    ("a merge key", "servers:\n  zen-mcp: &a {}\n  qdrant:\n    <<: *a\n", r":[24]: "),
    ("a tag that would run something", "servers: !!python/object/apply:os.system ['true']\n", r":1: "),
    ("a tag of its own", "servers: !secret x\n", r":1: "),
    ("a list for a map", "servers: [zen-mcp]\n", r":1: .*servers"),
    ("a name that leaves the folder", "servers:\n  ../../etc/cron.d/x: {}\n", r":2: .*etc"),
    ("a name that is too long", f"servers:\n  {'x' * 64}: {{}}\n", r":2: "),
    ("a number for a name", "servers:\n  8000: {}\n", r":2: "),
    ("two documents", "servers: {}\n---\nservers: {}\n", r":[123]: "),
    ("a tab", "servers:\n\tzen-mcp: {}\n", r":2: "),
    ("a bracket left open", "servers: {zen-mcp: {\n", r":[123]: "),
    ("deep nesting", "servers: " + "[" * 3000, r":1: "),
    ("deep nesting by indent", "".join(" " * i + "a:\n" for i in range(60)), r":\d+: "),
    ("a control character", "servers:\n  zen-mcp: {} # \x1b[2J\n", r":2: "),
    (
        "a date for a name of a source",
        "servers:\n  zen-mcp:\n    priority_order: [2026-01-01]\n",
        r":3: .*priority_order",
    ),
    ("model limits for no model", "resource_limits:\n  model_limits: {gpt: 1}\n", r":2: .*gpt"),
)

for what, text, pattern in BROKEN:

    def _start(world: World, text: str = text) -> None:
        world.write(_FILE, text)

    scenario(
        f"in the discovery configuration, {what} is an error with its line", fails(rf"discovery-config\.yaml{pattern}")
    )(_start)


@scenario("an alias bomb is an error, at once", fails(r"discovery-config\.yaml:\d+: "))
def _(world: World) -> None:
    rows = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    rows += [f"a{i}: &a{i} [" + ",".join([f"*a{i - 1}"] * 9) + "]" for i in range(1, 10)]
    world.write(_FILE, "\n".join(rows) + "\nservers: *a9\n")


@scenario("a discovery configuration beyond 64 KiB is an error", fails(r"discovery-config\.yaml:\d+: "))
def _(world: World) -> None:
    world.write(_FILE, "servers: {}\n" + "# padding\n" * 10_000)


@scenario(
    "a FIFO in the place of the discovery configuration is an error, at once", fails(r"discovery-config\.yaml:\d+: ")
)
def _(world: World) -> None:
    (world.root / ".mcp").mkdir()
    os.mkfifo(world.root / ".mcp/discovery-config.yaml")


@scenario("a folder in the place of the discovery configuration is an error", fails(r"discovery-config\.yaml:\d+: "))
def _(world: World) -> None:
    (world.root / ".mcp/discovery-config.yaml").mkdir(parents=True)


@scenario("a discovery configuration that is no UTF-8 is an error", fails(r"discovery-config\.yaml:\d+: "))
def _(world: World) -> None:
    world.write(_FILE, b"servers:\n  zen-mcp: {} # \xff\xfe\n")


@scenario("NUL bytes in the discovery configuration are an error", fails(r"discovery-config\.yaml:\d+: "))
def _(world: World) -> None:
    world.write(_FILE, b"servers:\0 {}\n")


@scenario("an empty discovery configuration says nothing, and is no error", selects("qdrant", 6333, EXTERNAL))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.write(_FILE, "# nothing yet\n")


@scenario("the guide's own configuration files are good", selects("qdrant", 6333, EXTERNAL))
def _(world: World) -> None:
    world.serve(qdrant(), 6333)
    world.write(
        _FILE,
        "servers:\n"
        "  zen-mcp:\n"
        "    priority_order:\n"
        "      1: external_deployment    # Your existing server\n"
        "      2: user_installation      # ~/dev/zen-mcp-server\n"
        "      3: docker_sidecar         # Docker container\n"
        "\n"
        "    resource_requirements:\n"
        "      memory_mb: 512\n"
        "      cpu_cores: 0.5\n"
        "  context7:\n"
        "    priority_order:\n"
        "      1: npx_cloud  # Always prefer cloud\n"
        "resource_limits:\n"
        "  total_memory_mb: 2048\n"
        "  max_concurrent_agents: 10\n"
        "  model_limits:\n"
        "    opus: 3\n"
        "    sonnet: 8\n"
        "    haiku: 15\n",
    )
    world.write(
        "root/.agents/discovery-config.yaml",
        "agents:\n"
        "  ai-engineer:\n"
        "    priority_order:\n"
        "      - project_specific   # Use project implementation\n"
        "      - user_override      # Allow user customization\n"
        "    \n"
        "    dependencies:\n"
        "      services:\n"
        '        qdrant: "192.168.1.16:6333"\n'
        '        zen_mcp: "auto_discover"\n',
    )


@scenario(
    "an unknown key in the agents' configuration is an error with its line",
    fails(r"\.agents/discovery-config\.yaml:3: .*prio"),
)
def _(world: World) -> None:
    world.write("root/.agents/discovery-config.yaml", "agents:\n  ai-engineer:\n    prio: [user_override]\n")


@scenario("a stack file with an unknown key of ours is an error", fails(r"Pulumi\.dev\.yaml:\d+: .*colour"))
def _(world: World) -> None:
    world.configure("colour", "blue")


@scenario("every problem of a file is named in one go", fails(r"(?s)yaml:3: .*yaml:5: "))
def _(world: World) -> None:
    world.write(_FILE, "servers:\n  zen-mcp:\n    colour: blue\n  qdrant:\n    shape: round\n")
