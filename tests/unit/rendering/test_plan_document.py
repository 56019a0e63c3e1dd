"""The plan as the application reads it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from discovery import agents
from discovery.config import AgentsConfig, DiscoveryConfig
from discovery.report import Finding, Reach, Vantage
from gateway.agents import read_definition
from gateway.plan import Plan as GatewayPlan
from planning.decide import decide
from rendering.plan_document import plan_document
from tests.builders import finding, report_of, settings_of
from tests.unit.asking import request_in, write

LOOPBACK = Reach(Vantage.HOST_LOOPBACK)
JOINED = Reach(Vantage.CONTAINER_NETWORK, "theirs", "http://theirs-zen:8000/mcp")


@pytest.mark.parametrize(
    ("found", "action", "endpoint", "host"),
    [
        (finding("zen-mcp", endpoint="http://10.0.0.5:8000/mcp"), "reuse", "http://10.0.0.5:8000/mcp", None),
        (
            finding("zen-mcp", endpoint="http://127.0.0.1:8000/mcp", reach=LOOPBACK),
            "relay",
            "http://zen-mcp-relay:23000/mcp",
            "127.0.0.1:8000",
        ),
        (
            finding("zen-mcp", endpoint="http://127.0.0.1:8000/mcp", reach=JOINED),
            "reuse",
            "http://theirs-zen:8000/mcp",
            "127.0.0.1:8000",
        ),
    ],
)
def test_a_service_is_asked_for_under_the_name_it_proved_itself_by(
    found: Finding, action: str, endpoint: str, host: str | None
) -> None:
    plan = decide(report_of([found]), settings_of("dev"), DiscoveryConfig())
    document: dict[str, Any] = json.loads(plan_document(plan, ()))
    told = document["services"]["zen-mcp"]
    assert (told["action"], told["endpoint"], told["host"]) == (action, endpoint, host)
    read = GatewayPlan.model_validate(document).services["zen-mcp"]
    assert read.headers() == ({"Host": host} if host else {})


def test_the_application_reads_every_agent_that_the_look_accepted(tmp_path: Path) -> None:
    """From the files as people write them to what the application is told before it is asked."""
    fronts = {
        "colon": "description: Use this. It includes: style",
        "no-tools": "description: x\ntools:",
        "a-map": "description: x\ntools:\n  read: true\n  write: false",
        "dashes": "description: |\n  a\n  ---\n  b\ntools: Read",
        "ours-misused": "description: x\ntool: [a]\nserver: [x]",
        "Two Words": "description: x\nmodel: opus[1m]",
    }
    for number, (name, front) in enumerate(fronts.items()):
        write(tmp_path / f"home/.claude/agents/{number}.md", f"---\nname: {name}\n{front}\n---\nYou help.\n")
    write(tmp_path / "home/.claude/agents/z.md", "---\nname: two_words\ndescription: x\n---\n")
    write(tmp_path / "root/.agents/core/broken.md", "---\nname: broken\n---\n")
    found, _ = agents.resolve(agents.read_definitions(request_in(tmp_path)), AgentsConfig(), {})
    texts = agents.read_texts(found, tmp_path / "root", tmp_path / "home", {})
    plan = decide(replace(report_of([]), agents=found), settings_of("dev"), DiscoveryConfig())

    document = json.loads(plan_document(plan, ()))
    for planned in document["agents"].values():
        if planned["file"]:
            inner = PurePosixPath(planned["file"])
            planned["file"] = str(write(tmp_path / "mounted" / inner.name, texts[inner.stem]))
    deployed = GatewayPlan.model_validate(document).agents

    assert set(deployed) == {"colon", "no-tools", "a-map", "dashes", "ours-misused", "two-words", "broken"}
    assert deployed["broken"].problem == "has no description; say in it when to use the agent"
    assert "are one id, two-words" in str(deployed["two-words"].shadowed[0].problem)
    read = {name: read_definition(agent) for name, agent in deployed.items() if name != "broken"}
    assert {definition.prompt for definition in read.values()} == {"You help."}
    assert read["colon"].description == "Use this. It includes: style"
    assert read["no-tools"].tools is None
    assert read["a-map"].tools == ("read",)
    assert (read["dashes"].description, read["dashes"].tools) == ("a\n---\nb", ("Read",))
    assert (read["ours-misused"].tool, read["ours-misused"].server) == (None, None)
    assert (read["two-words"].name, read["two-words"].model) == ("Two Words", "opus")
