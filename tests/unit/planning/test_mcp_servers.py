"""Servers beyond the catalog: what the runner starts, what is used where it is, what is left out and why."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from catalog import host_port
from discovery.config import DiscoveryConfig, parse_discovery_config
from discovery.report import Finding, HostLaunch, Launch, NamedBy, Obstacle, Reach, Source, Vantage, Verdict
from errors import ConfigError
from gateway.plan import mcp_url
from planning.decide import decide
from planning.plan import EntryHeaders, HostCommand, InRunner, Omit, Plan, Relay, Reuse
from rendering.mcp_config import mcp_config, mcp_config_each
from rendering.plan_document import plan_document
from tests.builders import finding, report_of, settings_of

CONTEXT7 = Launch("npx", "@upstash/context7-mcp@4.1.1", told=("-y", "@upstash/context7-mcp@4.1.1"))


def launchable(
    name: str, launch: Launch | None = CONTEXT7, source: Source = Source.NPX, reason: str = "stdio"
) -> Finding:
    found = finding(name, Verdict.SKIPPED, source=source, endpoint="npx:a", evidence=f"entry of {name}")
    return replace(found, candidate=replace(found.candidate, launch=launch), reason=reason)


def plan_of(*found: Finding, stack: str = "cloud", file: str = "{}", **config: Any) -> Plan:
    return decide(report_of(found), settings_of(stack, **config), parse_discovery_config(file.encode()))


def test_a_package_is_started_by_the_runner() -> None:
    plan = plan_of(launchable("context7"))
    decision = plan.decisions["context7"]
    assert isinstance(decision, InRunner)
    assert decision.endpoint == "http://runner:8000/servers/context7/mcp"
    assert decision.source == "npx_cloud"
    assert plan.runner is not None and plan.budget.memory_mb == 496 <= plan.budget.limit_mb
    assert [notice for notice in plan.notices if "context7" in notice] == [
        "context7: the runner starts npx @upstash/context7-mcp@4.1.1 (entry of context7), given no variable"
    ]


def test_what_is_started_is_told_with_package_version_and_names_of_variables() -> None:
    launch = Launch("uvx", "a==1.2.3", sets=("MODE", "OWN"), takes=("KEY",), environment={"OWN": "geheim", "MODE": "x"})
    notices = plan_of(launchable("context7", launch)).notices
    assert (
        "context7: the runner starts uvx a==1.2.3 (entry of context7), given MODE, OWN, taken from this machine's KEY"
        in notices
    )
    assert "geheim" not in "".join(notices)


def test_without_its_key_a_server_is_left_out_with_the_variable_to_set() -> None:
    plan = plan_of(launchable("perplexity", None, reason="PERPLEXITY_API_KEY is not set; set it"))
    assert plan.decisions["perplexity"] == Omit("PERPLEXITY_API_KEY is not set; set it")
    assert plan.runner is None


def test_what_speaks_http_is_used_where_it_is() -> None:
    plan = plan_of(launchable("mine"), finding("mine", source=Source.USER, endpoint="http://10.0.0.5:9000/mcp"))
    assert isinstance(plan.decisions["mine"], InRunner)
    plan = plan_of(finding("mine", source=Source.USER, endpoint="http://10.0.0.5:9000/mcp"), launchable("mine"))
    decision = plan.decisions["mine"]
    assert isinstance(decision, Reuse) and decision.endpoint == "http://10.0.0.5:9000/mcp"


def test_what_serves_on_the_hosts_loopback_comes_through_a_relay_where_it_was_asked_for() -> None:
    reach = Reach(Vantage.HOST_LOOPBACK)
    found = [finding(name, endpoint="http://127.0.0.1:9000/mcp", reach=reach) for name in ("context7", "mine")]
    plan = plan_of(*found)
    decision = plan.decisions["context7"]
    assert isinstance(decision, Relay) and decision.endpoint == f"http://context7-relay:{decision.port}/mcp"
    (application,) = plan.deployments
    assert application.workload.relays == ("context7-relay",)
    assert "mine" not in plan.decisions


def test_what_serves_on_anothers_loopback_says_why_it_is_not_used() -> None:
    found = finding("context7", endpoint="http://127.0.0.1:9000/mcp", reach=Reach(Vantage.OTHER_LOOPBACK))
    decision = plan_of(found).decisions["context7"]
    assert isinstance(decision, Omit) and "loopback" in decision.reason


def test_the_application_joins_the_network_of_a_server_it_uses() -> None:
    plan = plan_of(finding("mine", reach=Reach(Vantage.CONTAINER_NETWORK, "theirs", "http://mine:9000/mcp")))
    (application,) = plan.deployments
    assert application.workload.join == ("theirs",)


def test_a_service_of_the_catalog_is_never_hosted() -> None:
    plan = plan_of(launchable("zen-mcp", source=Source.USER), stack="dev")
    assert plan.runner is None


def test_memory_goes_first_to_what_was_asked_for() -> None:
    plan = plan_of(*(launchable(name, source=Source.USER) for name in ("a", "b", "c", "context7", "perplexity")))
    assert set(plan.in_runner) == {"a", "context7", "perplexity"}
    # What nobody asked for is not listed either; discovery reports it.
    assert "b" not in plan.decisions


def test_what_nobody_asked_for_never_breaks_the_budget() -> None:
    assert plan_of(launchable("mine"), memory_budget_mb=300).runner is None


@pytest.mark.parametrize("file", ["servers: {mine: {}}"])
def test_a_runner_turned_off_is_the_reason(file: str) -> None:
    decision = plan_of(launchable("mine"), file=file, runner=False).decisions["mine"]
    assert isinstance(decision, Omit) and "turns off" in decision.reason


def test_an_order_of_its_own_leaves_sources_out() -> None:
    plan = plan_of(launchable("mine", source=Source.USER), file="servers: {mine: {priority_order: [npx_cloud]}}")
    assert isinstance(plan.decisions["mine"], Omit)


@pytest.mark.parametrize(
    ("package", "loose"),
    [("a", True), ("a@latest", True), ("a@1", True), ("a@1.2.3", False), ("@s/a@1.2.3-rc.1", False), ("a==1.2", False)],
)
def test_a_package_without_an_exact_version_is_warned_about(package: str, loose: bool) -> None:
    plan = plan_of(launchable("context7", Launch("npx", package)))
    assert any("no exact version" in notice for notice in plan.notices) is loose


def test_where_packages_come_from_reaches_who_installs_them() -> None:
    plan = plan_of(launchable("context7"), npm_registry="https://npm.example/", package_certificates="/etc/own.pem")
    (cell,) = plan.cells
    assert cell.workload.environment["NPM_CONFIG_REGISTRY"] == "https://npm.example/"
    assert cell.workload.environment["NODE_EXTRA_CA_CERTS"] == "/run/promptcraft/certificates.pem"
    assert plan.registries == ("npm.example", "pypi.org", "files.pythonhosted.org")


def test_the_document_to_paste_names_variables_and_no_secret() -> None:
    told = ("-y", "@upstash/context7-mcp@4.1.1", "--transport", "stdio")
    launch = replace(CONTEXT7, told=told, variables=(("OWN", "MACHINES"),), environment={"OWN": "geheim"})
    secretive = Launch("uvx", "a==1.0", arguments=("--key", "geheim"))
    plan = plan_of(launchable("context7", launch), launchable("mine", secretive, Source.USER))
    assert set(plan.in_runner) == {"context7", "mine"}
    assert mcp_config_each(plan)["mcpServers"] == {
        "context7": {"type": "stdio", "command": "npx", "args": list(told), "env": {"OWN": "${MACHINES}"}}
    }


@pytest.mark.parametrize(
    ("endpoint", "path", "kind", "url"),
    [
        ("http://10.0.0.5:9000", "/mcp", "http", "http://10.0.0.5:9000/mcp"),
        ("http://10.0.0.5:9000/", "/mcp", "http", "http://10.0.0.5:9000/mcp"),
        ("http://10.0.0.5:9000", "/mcp/", "http", "http://10.0.0.5:9000/mcp/"),
        ("http://10.0.0.5:9000", "/", "http", "http://10.0.0.5:9000/"),
        ("http://10.0.0.5:9000", "/sse", "sse", "http://10.0.0.5:9000/sse"),
        ("http://10.0.0.5:9000/tools", "/tools/", "http", "http://10.0.0.5:9000/tools/"),
        ("http://10.0.0.5:9000/servers/a/mcp", "/servers/a/mcp", "http", "http://10.0.0.5:9000/servers/a/mcp"),
        ("http://10.0.0.5:9000/sse", "/sse", "sse", "http://10.0.0.5:9000/sse"),
    ],
)
def test_a_server_is_asked_where_it_proved_itself(endpoint: str, path: str, kind: str, url: str) -> None:
    plan = plan_of(replace(finding("mine", source=Source.USER, endpoint=endpoint), path=path))
    assert mcp_config_each(plan)["mcpServers"]["mine"] == {"type": kind, "url": url}
    decision = plan.decisions["mine"]
    assert isinstance(decision, Reuse)
    assert mcp_url(decision.endpoint) == url
    assert decision.host_endpoint == endpoint


def test_a_relay_leads_to_where_a_server_proved_itself() -> None:
    reach = Reach(Vantage.HOST_LOOPBACK)
    plan = plan_of(replace(finding("context7", endpoint="http://127.0.0.1:9000", reach=reach), path="/sse"))
    relay = plan.decisions["context7"]
    assert isinstance(relay, Relay)
    assert relay.endpoint == f"http://context7-relay:{relay.port}/sse"
    assert mcp_config_each(plan)["mcpServers"]["context7"] == {"type": "sse", "url": "http://127.0.0.1:9000/sse"}


def test_the_document_to_paste_has_the_header_that_a_token_asks_for() -> None:
    settings = settings_of("dev", {"ZEN_MCP_TOKEN": "geheim"})
    zen = mcp_config_each(decide(report_of(), settings, DiscoveryConfig()))["mcpServers"]["zen-mcp"]
    assert zen["headers"] == {"Authorization": "Bearer ${ZEN_MCP_TOKEN}"}
    assert (
        "headers"
        not in mcp_config_each(decide(report_of(), settings_of("dev"), DiscoveryConfig()))["mcpServers"]["zen-mcp"]
    )


def test_the_stack_is_one_entry_at_its_own_door() -> None:
    dev = mcp_config(plan_of())["mcpServers"]
    assert dev == {"promptcraft": {"type": "http", "url": "http://127.0.0.1:7862/mcp"}}
    locked = mcp_config(
        decide(report_of(), settings_of("dev", {"GATEWAY_TOKENS": "a-token-of-24-characters"}), DiscoveryConfig())
    )
    headers = locked["mcpServers"]["promptcraft"]["headers"]
    assert headers == {"Authorization": "Bearer ${PROMPTCRAFT_TOKEN}"}
    secrets = {"GRAFANA_PASSWORD": "geheim", "GATEWAY_TOKENS": "a-token-of-24-characters"}
    production = mcp_config(decide(report_of(), settings_of("production", secrets), DiscoveryConfig()))
    assert production["mcpServers"]["promptcraft"]["url"] == "http://127.0.0.1:80/mcp"


def on_this_host(name: str = "notes", **launch: Any) -> Finding:
    made = HostLaunch(**({"fingerprint": "0123456789abcdef"} | launch))
    found = finding(name, Verdict.SKIPPED, source=Source.USER, evidence=f"~/.claude.json: mcpServers.{name}")
    return replace(found, candidate=replace(found.candidate, endpoint="", launch=made), reason="a command")


def test_a_command_of_the_users_runs_on_this_host_where_the_stack_allows_it() -> None:
    plan = plan_of(on_this_host(run=3), allow_host_commands=True)
    port = host_port("notes", 0)
    assert plan.decisions["notes"] == HostCommand(
        service="notes",
        port=port,
        endpoint=f"http://notes-host:{port}/mcp",
        source="user_installation",
        reason="~/.claude.json: mcpServers.notes: its command runs on this host, by allowHostCommands",
        evidence="~/.claude.json: mcpServers.notes",
        key="~/.claude.json: mcpServers.notes",
        fingerprint="0123456789abcdef",
        run=3,
    )
    (application,) = plan.deployments
    assert application.workload.relays == ("notes-host",)
    assert plan.budget == plan_of().budget and plan.runner is None
    assert (
        "notes: the command in ~/.claude.json: mcpServers.notes runs on this host (allowHostCommands)" in plan.notices
    )
    server = json.loads(plan_document(plan, ()))["services"]["notes"]
    assert (server["protocol"], server["action"], server["source"]) == ("mcp", "deploy", "user_installation")
    assert "notes" not in mcp_config_each(plan)["mcpServers"]


def test_a_command_that_has_ended_is_announced() -> None:
    plan = plan_of(on_this_host(run=4, ended="process 7 has ended"), allow_host_commands=True)
    assert [line for line in plan.notices if line.endswith("; process 7 has ended, so it is started again")]


def test_without_leave_a_command_is_left_out_whatever_a_snapshot_says() -> None:
    assert "notes" not in plan_of(on_this_host()).decisions
    plan = plan_of(on_this_host(), file="servers: {notes: {}}")
    assert plan.decisions["notes"] == Omit("a command")
    plan = plan_of(finding("notes", Verdict.OWNED), on_this_host(), file="servers: {notes: {}}")
    assert plan.decisions["notes"] == Omit("a command")


def test_a_command_is_passed_over_for_what_comes_before_it() -> None:
    there = finding("notes", source=Source.EXTERNAL, endpoint="http://10.0.0.5:9000/mcp")
    assert isinstance(plan_of(there, on_this_host(), allow_host_commands=True).decisions["notes"], Reuse)
    assert isinstance(
        plan_of(launchable("notes"), on_this_host(), allow_host_commands=True).decisions["notes"], InRunner
    )


def test_a_port_beyond_the_last_costs_the_command_alone() -> None:
    decision = plan_of(on_this_host(), allow_host_commands=True, mcp_servers=["notes"], port_offset=50000).decisions[
        "notes"
    ]
    assert isinstance(decision, Omit) and "beyond 65535; lower portOffset" in decision.reason


def test_a_port_that_is_taken_leaves_a_command_out_and_breaks_nothing() -> None:
    obstacle = Obstacle("port", str(host_port("notes", 0)), "squid (pid 7)", "stop it")
    report = report_of([on_this_host()], obstacles=(obstacle,))
    settings = settings_of("cloud", allow_host_commands=True, mcp_servers=["notes"])
    decision = decide(report, settings, DiscoveryConfig()).decisions["notes"]
    assert isinstance(decision, Omit) and "squid (pid 7)" in decision.reason


def test_of_two_commands_whose_names_lead_to_one_port_the_first_runs() -> None:
    one, other = next(
        (first, second)
        for number in range(10_000)
        for first, second in [("a", f"b{number}")]
        if host_port(first, 0) == host_port(second, 0)
    )
    plan = plan_of(on_this_host(one), on_this_host(other), allow_host_commands=True, mcp_servers=[one, other])
    assert isinstance(plan.decisions[one], HostCommand)
    decision = plan.decisions[other]
    assert isinstance(decision, Omit) and f"is {one}'s" in decision.reason


UPSTASH = "https://upstash.example:443"


def test_redis_over_rest_is_used_where_it_is_named_and_opened_by_its_token() -> None:
    found = finding("redis", endpoint=UPSTASH, evidence="UPSTASH_REDIS_REST_URL", named_by=NamedBy.OPERATOR)
    settings = settings_of("cloud", {"UPSTASH_REDIS_REST_TOKEN": "geheim"})
    plan = decide(report_of([found]), settings, DiscoveryConfig())
    (application,) = plan.deployments
    redis = json.loads(plan_document(plan, application.workload.secrets))["services"]["redis"]
    assert (redis["action"], redis["endpoint"]) == ("reuse", UPSTASH)
    assert redis["credential"] == "/run/promptcraft/secrets/upstash"
    assert "geheim" not in repr(plan)


def test_a_redis_that_merely_runs_nearby_is_not_the_clouds() -> None:
    plan = plan_of(finding("redis", endpoint="redis://10.0.0.5:6379", evidence="port 6379"))
    decision = plan.decisions["redis"]
    assert isinstance(decision, Omit) and "REDIS_URL" in decision.reason
    assert plan.notices == (plan.models.problem,)


def test_a_named_redis_that_wants_a_token_is_an_error_before_anything_is_declared() -> None:
    found = finding(
        "redis", Verdict.AUTH_REQUIRED, endpoint=UPSTASH, evidence="UPSTASH_REDIS_REST_URL", named_by=NamedBy.OPERATOR
    )
    with pytest.raises(ConfigError, match="UPSTASH_REDIS_REST_URL"):
        plan_of(found)


def test_the_application_finds_hosted_servers_in_its_plan() -> None:
    plan = plan_of(launchable("context7"))
    server = json.loads(plan_document(plan, ()))["services"]["context7"]
    assert (server["protocol"], server["action"]) == ("mcp", "deploy")
    assert server["endpoint"] == "http://runner:8000/servers/context7/mcp"


def _with_headers(found: Finding) -> Finding:
    return replace(found, candidate=replace(found.candidate, header_names=("X-API-Key",)))


def test_a_server_is_asked_with_the_headers_of_its_entry() -> None:
    mine = _with_headers(finding("mine", endpoint="https://10.0.0.5:9000/mcp", evidence="~/.claude.json: mine"))
    near = finding("context7", endpoint="http://127.0.0.1:9000/mcp", reach=Reach(Vantage.HOST_LOOPBACK))
    plan = plan_of(mine, _with_headers(near), finding("plain"))
    assert plan.headers["mine"] == EntryHeaders(("X-API-Key",), "~/.claude.json: mine")
    assert plan.headers.keys() == {"mine", "context7"}
    assert "mine: agents send it X-API-Key, as ~/.claude.json: mine says" in plan.notices
    services = json.loads(plan_document(plan, ()))["services"]
    for name in ("mine", "context7"):
        assert services[name]["headers"] == f"/run/promptcraft/secrets/headers-{name}.json"
    assert "headers" not in services["plain"]


@pytest.mark.parametrize("found", [finding("docs"), launchable("docs")])
def test_an_entrys_timeout_reaches_the_application(found: Finding) -> None:
    timed = replace(found, candidate=replace(found.candidate, answer_seconds=2.5))
    document = json.loads(plan_document(plan_of(timed), ()))
    assert document["services"]["docs"]["answer_seconds"] == 2.5
    assert "answer_seconds" not in json.loads(plan_document(plan_of(found), ()))["services"]["docs"]


def test_what_comes_along_with_a_package_is_told_as_well() -> None:
    launch = Launch("uvx", "a==1.2.3", beside=("rich>=1", "b==1"), python="3.12")
    notices = plan_of(launchable("context7", launch)).notices
    assert "context7: the runner starts uvx a==1.2.3 and rich>=1 and b==1 (entry of context7), given no variable" in (
        notices
    )
    (loose,) = [notice for notice in notices if "no exact version" in notice]
    assert "uvx rich>=1 names" in loose and "write rich==1.2.3, with" in loose
    assert any("asks for Python 3.12, and is started with the runner's own" in notice for notice in notices)


@pytest.mark.parametrize("package", ["a==1.*", "a@1.2.x", "@s/a@^1.2.3", "a@>=1.2.3 <2", "a@1.2.3 - 1.2.5"])
def test_a_range_is_no_exact_version(package: str) -> None:
    (loose,) = [line for line in plan_of(launchable("context7", Launch("npx", package))).notices if "no exact" in line]
    assert f"write {'@s/a' if '@s' in package else 'a'}@1.2.3," in loose


IN_AN_IMAGE = Launch("docker", "acme/docs:1.2", sets=("TOKEN",), environment={"TOKEN": "geheim"})


def test_a_server_in_an_image_of_its_own_has_a_container_and_its_memory() -> None:
    own: dict[str, Any] = {"memory_budget_mb": 2000, "memory_limits": {"docs-stdio": 96}}
    plan = plan_of(launchable("docs", IN_AN_IMAGE, Source.USER), **own)
    (cell,) = plan.cells
    workload = cell.workload
    assert (workload.service, workload.image.reference, workload.memory_mb) == ("docs-stdio", "acme/docs:1.2", 96)
    assert workload.replicas[0].ports == () and workload.volume is None and not workload.join
    assert plan.runner is not None and plan.egress is not None
    together = plan.runner.memory_mb + plan.egress.memory_mb + 96
    assert plan.budget.memory_mb == plan_of(**own).budget.memory_mb + together
    assert "docs: a container of its own runs docker acme/docs:1.2 (entry of docs), given TOKEN" in plan.notices
    assert plan.decisions["docs"].reason == "entry of docs: a container of its own runs docker acme/docs:1.2"
    assert "geheim" not in repr(plan)


def test_a_container_that_nobody_asked_for_never_breaks_the_budget() -> None:
    found = (launchable("docs", IN_AN_IMAGE, Source.USER), launchable("context7"))
    needed = plan_of(launchable("context7")).budget.memory_mb
    plan = plan_of(*found, memory_budget_mb=needed + 127)
    assert set(plan.in_runner) == {"context7"} and "docs" not in plan.decisions
    assert set(plan_of(*found, memory_budget_mb=needed + 128).in_runner) == {"context7", "docs"}


def test_a_container_that_was_asked_for_and_does_not_fit_is_an_error() -> None:
    with pytest.raises(ConfigError, match="docs-stdio 1 x 128"):
        plan_of(launchable("docs", IN_AN_IMAGE, Source.USER), mcp_servers=["docs"], memory_budget_mb=400)


SECRET = replace(CONTEXT7, sets=("TOKEN",))


def where(plan: Plan) -> dict[str, str]:
    """The container of each server that speaks stdio."""
    return {name: server.container.service for name, server in plan.in_runner.items()}


def test_a_server_with_a_secret_has_a_container_of_its_own_where_the_budget_allows() -> None:
    found = [launchable(name, launch, Source.USER) for name, launch in (("a", SECRET), ("b", CONTEXT7), ("c", SECRET))]
    plan = plan_of(*found, memory_budget_mb=496 + 2 * 128)
    assert where(plan) == {"a": "a-stdio", "b": "runner-servers", "c": "c-stdio"}
    assert plan.budget.memory_mb == 496 + 2 * 128
    assert plan.decisions["a"].reason.endswith(f"starts npx {SECRET.package} in a container of its own")
    assert not any("shares the runner" in notice for notice in plan.notices)


def test_where_the_budget_ends_the_plan_says_who_shares_with_whom() -> None:
    found = [launchable(name, launch, Source.USER) for name, launch in (("a", SECRET), ("b", CONTEXT7), ("c", SECRET))]
    plan = plan_of(*found, memory_budget_mb=496 + 2 * 128 - 1)
    assert where(plan) == {"a": "a-stdio", "b": "runner-servers", "c": "runner-servers"}
    reason = plan.decisions["c"].reason
    assert reason.endswith("; shares the runner with b, because the budget leaves 127 MiB") and len(reason) <= 200
    assert any(line.startswith("c: shares the runner with b,") for line in plan.notices)
    # What was asked for comes first, whatever its name.
    plan = plan_of(*found, memory_budget_mb=496 + 2 * 128 - 1, mcp_servers=["c"])
    assert where(plan) == {"a": "runner-servers", "b": "runner-servers", "c": "c-stdio"}


def test_without_anybody_in_it_the_shared_container_is_not_there() -> None:
    plan = plan_of(launchable("context7", SECRET))
    assert where(plan) == {"context7": "context7-stdio"}
    assert plan.budget.memory_mb == 224 + 64 + 24 + 128


def test_who_is_alone_in_the_shared_container_shares_with_nobody() -> None:
    own: dict[str, Any] = {"memory_limits": {"promptcraft": 224, "context7-stdio": 400}}
    plan = plan_of(launchable("context7", SECRET), **own)
    assert where(plan) == {"context7": "runner-servers"} and "shares" not in plan.decisions["context7"].reason


@pytest.mark.parametrize(
    ("launch", "is_secret"),
    [
        (CONTEXT7, False),
        (SECRET, True),
        (replace(CONTEXT7, takes=("KEY",)), True),
        # Arguments that only the file may know can be keys.
        (replace(CONTEXT7, told=None), True),
    ],
)
def test_a_variable_and_a_hidden_argument_count_as_secrets(launch: Launch, *, is_secret: bool) -> None:
    plan = plan_of(launchable("context7", launch), launchable("z", source=Source.USER), memory_budget_mb=2000)
    assert (where(plan)["context7"] == "context7-stdio") is is_secret


@pytest.mark.parametrize(
    ("written", "egress", "told"),
    [
        ("none", (), "; it may reach nothing"),
        ("[api.example.com, '*.example.org']", ("api.example.com", "*.example.org"), "api.example.com, *.example.org"),
    ],
)
def test_a_narrower_way_out_is_a_container_of_its_own(written: str, egress: tuple[str, ...], told: str) -> None:
    plan = plan_of(launchable("context7"), file=f"servers: {{context7: {{egress: {written}}}}}")
    (cell,) = plan.cells
    assert (cell.workload.service, cell.egress) == ("context7-stdio", egress)
    assert ("HTTPS_PROXY" in cell.workload.environment) is bool(egress)
    assert any(notice.endswith(told) for notice in plan.notices)
    # It is asked for, so a budget without room is an error and no wider way out.
    with pytest.raises(ConfigError, match="context7-stdio 1 x 128"):
        plan_of(launchable("context7"), file=f"servers: {{context7: {{egress: {written}}}}}", memory_budget_mb=400)


def test_each_container_goes_out_by_ports_of_its_own() -> None:
    found = [launchable(name, SECRET, Source.USER) for name in ("a", "b", "c")]
    plan = plan_of(*found, memory_budget_mb=2000)
    ports = [port for cell in plan.cells for port in (cell.port, cell.installing_port)]
    assert len({*ports}) == 6
