"""A plan as a picture: what of it is drawn, and how the names of others are written."""

from __future__ import annotations

from dataclasses import replace

from discovery.config import DiscoveryConfig
from discovery.report import Finding, HostLaunch, Launch, Reach, Source, Vantage, Verdict
from planning.decide import decide
from planning.plan import Plan
from rendering.stack_picture import stack_picture
from tests.builders import finding, report_of, settings_of


def plan_of(stack: str, *found: Finding, **config: object) -> Plan:
    return decide(report_of(found), settings_of(stack, {"GRAFANA_PASSWORD": "x"}, **config), DiscoveryConfig())


def lines_of(plan: Plan) -> list[str]:
    return [line.strip() for line in stack_picture(plan).splitlines()]


def startable(name: str, launch: Launch | HostLaunch) -> Finding:
    found = finding(name, Verdict.SKIPPED, source=Source.USER)
    return replace(found, candidate=replace(found.candidate, launch=launch))


def test_a_small_stack_as_it_is_drawn() -> None:
    plan = plan_of("dev", services=["promptcraft", "redis"], port_offset=10)
    expected = """\
flowchart LR
    loopback(["this host's loopback"])
    subgraph network["network promptcraft-dev-network"]
        redis_["redis<br>96 MiB, 0.2 CPU"]
        promptcraft_["promptcraft<br>384 MiB, 2 CPU"]
    end
    redis_ --- redis_data_[("redis-data")]
    loopback -->|"7870 → 7860, 7872 → 7862"| promptcraft_
    promptcraft_ --> redis_
"""
    assert stack_picture(plan) == expected


def test_replicas_the_edge_and_what_prometheus_reads() -> None:
    lines = lines_of(plan_of("production"))
    group = lines.index('subgraph promptcraft_["promptcraft"]')
    assert [line.partition("[")[0] for line in lines[group + 1 : group + 5]] == [
        "promptcraft_1_",
        "promptcraft_2_",
        "promptcraft_3_",
        "end",
    ]
    assert {
        'world -->|"80 → 8080"| nginx_',
        'loopback -->|"7860, 7862"| promptcraft_1_',
        "nginx_ --> promptcraft_",
        "promptcraft_ --> redis_",
        "redis_exporter_ --> redis_",
        "prometheus_ -.-> redis_exporter_",
        "prometheus_ -.-> promptcraft_",
        'prometheus_ --- prometheus_data_[("prometheus-data")]',
    } <= {*lines}


def test_what_runs_elsewhere_is_outside_and_named_by_its_address() -> None:
    network = Reach(Vantage.CONTAINER_NETWORK, "theirs", "http://qdrant:6333")
    loopback = Reach(Vantage.HOST_LOOPBACK)
    lines = lines_of(
        plan_of(
            "dev",
            finding("qdrant", endpoint="http://127.0.0.1:6333", reach=network),
            finding("zen-mcp", endpoint="http://127.0.0.1:8000/mcp", reach=loopback),
        )
    )
    assert lines[lines.index('subgraph host["this host\'s own network"]') + 1] == (
        'zen_mcp_relay_["zen-mcp-relay<br>32 MiB, 0.1 CPU"]'
    )
    elsewhere = lines.index('subgraph elsewhere["runs elsewhere"]')
    assert lines[elsewhere + 1 : elsewhere + 3] == [
        'zen_mcp_["Zen MCP<br>127.0.0.1:8000 on this host\'s loopback"]',
        'qdrant_["Qdrant<br>http://qdrant:6333<br>in the network theirs"]',
    ]
    assert {"promptcraft_ --> qdrant_", "promptcraft_ --> zen_mcp_relay_", "zen_mcp_relay_ --> zen_mcp_"} <= {*lines}
    assert "promptcraft_ --> zen_mcp_" not in lines and "qdrant_data_" not in "".join(lines)


def test_mcp_servers_of_the_runner_of_this_host_and_by_address() -> None:
    lines = lines_of(
        plan_of(
            "cloud",
            startable("context7", Launch("npx", "a@1.0.0")),
            startable("mine", HostLaunch("f")),
            startable("docs", Launch("docker", "acme/docs:1.2")),
            finding("end", source=Source.USER, endpoint='http://h/"<i>'),
            allow_host_commands=True,
            memory_budget_mb=1000,
        )
    )
    assert {
        'runner_["runner<br>64 MiB, 1 CPU"]',
        'egress_["egress<br>24 MiB, 0.2 CPU"]',
        'context7_stdio_["context7-stdio<br>128 MiB, 0.5 CPU<br>context7"]',
        'docs_stdio_["docs-stdio<br>128 MiB, 0.5 CPU<br>docs"]',
        "runner_ --> egress_",
        "runner_ --> docs_stdio_",
        'mine_["mine<br>a command of this host"]',
        # `end` is a word of Mermaid's.
        'end_["end<br>http://h/#34;#60;i#62;"]',
        "promptcraft_ --> runner_",
        "promptcraft_ --> mine_",
        "promptcraft_ --> end_",
    } <= {*lines}
