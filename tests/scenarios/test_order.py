"""The same machine gives the same report, whichever source of candidates answers first."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.warm import WarmPython

from .alterations import Alteration, altered
from .emulators import grafana, legacy_mcp, modern_mcp, qdrant
from .impostors import title_only_qdrant, yes_man
from .namespace import Namespace
from .outcome import Outcome
from .world import World

_RUNS = 20

# Sources are started in any order, and each answers when it likes.
_SHUFFLED = Alteration(
    "discovery/look.py",
    "running = {probe: in_thread(partial(probe.probe, request)) for probe in probes}",
    "import random, time\n"
    "    def late(probe):\n"
    "        time.sleep(random.random() / 5)\n"
    "        return probe.probe(request)\n"
    "    running = {probe: in_thread(partial(late, probe)) for probe in random.sample(list(probes), len(probes))}",
)


def _crowded(world: World) -> None:
    """Every service in several places, several agents, and things to warn about."""
    for port in (7001, 7002, 8000):
        world.serve(legacy_mcp("zen-mcp"), port)
    world.serve(modern_mcp("weather"), 8001)
    world.serve(modern_mcp("PAL"), 8002)
    world.serve(qdrant(), 6333)
    world.serve(qdrant(), 6333, "::1")
    world.serve(title_only_qdrant(), 7333)
    world.serve(grafana(), 3000)
    world.serve(yes_man(), 9090)
    world.lock("grafana", 3000, world.emulator("grafana", "11.0.0", 7030))
    world.lock("qdrant", 7333, -1)
    world.set(QDRANT_HOST="127.0.0.1", QDRANT_PORT="7333", GRAFANA_URL="http://127.0.0.1:7030")
    for file, port in (("home/.claude.json", 7001), ("home/.claude/mcp/a.json", 7002), ("root/.mcp.json", 8000)):
        servers = {
            name: {"type": "http", "url": f"http://127.0.0.1:{port}/mcp"} for name in ("zen-mcp", "weather", "x")
        }
        world.write(file, {"mcpServers": servers})
    for folder in ("home/.claude/agents", "root/.agents/core", "root/.agents/project"):
        world.write(f"{folder}/reviewer.md", "---\nname: reviewer\ndescription: Reviews.\n---\nYou review.\n")
        world.write(f"{folder}/broken.md", "---\nname: [\n---\n")


def _without_times(outcome: Outcome) -> str:
    document = json.dumps(outcome.report, indent=1)
    return re.sub(r'"(duration_ms|elapsed_ms)": [0-9.e-]+', r'"\1": 0', document)


def _in_a_crowded_world(look: Callable[[World], list[str]], code: Path) -> list[str]:
    def run() -> list[str]:
        warm = WarmPython("discovery.__main__")
        world = World(code=code, warm=warm)
        try:
            _crowded(world)
            return look(world)
        finally:
            world.close()
            warm.close()

    namespace = Namespace()
    try:
        return namespace.run(run)
    finally:
        namespace.close()


def test_twenty_runs_in_any_order_of_arrival_are_identical_but_for_times() -> None:
    def look(world: World) -> list[str]:
        # The pool's threads are born in this thread's namespace, and stay in it.
        with ThreadPoolExecutor(4) as pool:
            outcomes = pool.map(lambda _: world.run("dev", 5.0), range(_RUNS))
            return [_without_times(outcome) for outcome in outcomes]

    with altered(_SHUFFLED) as code:
        reports = _in_a_crowded_world(look, code)
    assert len(reports) == _RUNS
    assert set(reports) == {reports[0]}
    assert reports[0].count('"verified"') >= 10
