"""What `access` gives to whom in the plan, and what of it preview says has no effect."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from discovery.config import DiscoveryConfig
from discovery.report import AgentReport
from errors import ConfigError
from gateway.plan import Plan as GatewayPlan
from planning.decide import decide
from planning.plan import Plan
from rendering.plan_document import plan_document
from settings import OAuth
from tests.builders import finding, report_of, settings_of

TOKEN = "only-for-tests-0123456789"
AGENTS = {"code-reviewer": AgentReport(None, ())}


def planned(access: dict[str, list[str]] | None, tokens: str = f"ci:{TOKEN}", **config: Any) -> Plan:
    """The plan of dev with Zen MCP and `context7`."""
    report = replace(report_of([finding("zen-mcp"), finding("context7")]), agents=AGENTS)
    settings = settings_of("dev", {"GATEWAY_TOKENS": tokens}, access=access, mcp_servers=["context7"], **config)
    return decide(report, settings, DiscoveryConfig())


def told(plan: Plan) -> list[str]:
    return [notice for notice in plan.notices if notice.startswith(("access", "gatewayTokens"))]


@pytest.mark.parametrize(
    "glob",
    [
        "*",
        "context7__*",
        "context7__get-docs",
        "con*",
        "*__get",
        "zen-[a-z]*__x",
        "agent__*",
        "agent__code-reviewer",
        "*-reviewer",
    ],
)
def test_a_glob_that_a_tool_can_match_is_not_spoken_of(glob: str) -> None:
    assert told(planned({"ci": [glob]})) == []


@pytest.mark.parametrize(
    "glob", ["contxt7__*", "context7__", "Context7__*", "agent__reviewer", "redis__*", "mcp__context7__x"]
)
def test_a_glob_that_nothing_matches_is_a_notice(glob: str) -> None:
    (notice,) = told(planned({"ci": [glob]}))
    assert notice.startswith(f"access.ci: {glob} matches no MCP server and no agent of this stack; ")


def test_a_caller_that_no_token_has_is_a_notice() -> None:
    assert told(planned({"ci": ["*"], "cd": ["*"]})) == [
        "access.cd: no token has that name; add cd:TOKEN to gatewayTokens, or remove it"
    ]


def test_a_token_without_a_name_is_named_by_its_number_where_access_gives_it_nothing() -> None:
    tokens = f"ci:{TOKEN} {TOKEN}zzq"
    (notice,) = told(planned({"ci": ["*"]}, tokens))
    assert notice.startswith("gatewayTokens: token 2 of 2 has no name")
    assert TOKEN not in notice
    assert told(planned({"ci": ["*"], "unnamed": ["*"]}, tokens)) == []
    assert told(planned(None, tokens)) == []


def test_where_there_are_no_tokens_everybody_is_anybody() -> None:
    (notice,) = told(planned({}, ""))
    assert notice.startswith("access: no token is set, so everybody is `anybody`, who may do nothing; ")
    assert told(planned({"anybody": ["*"]}, "")) == []


@pytest.mark.parametrize("access", [None, {}, {"ci": ["context7__*", "agent__*"], "x|y": []}])
def test_access_changes_its_own_part_of_the_plan_document_and_nothing_else(access: dict[str, list[str]] | None) -> None:
    plan, before = planned(access), planned(None)
    assert replace(plan, access=None, notices=()) == replace(before, notices=())
    document, without = json.loads(plan_document(plan, ())), json.loads(plan_document(before, ()))
    read = GatewayPlan.model_validate(document).access
    assert read == (None if access is None else {caller: tuple(globs) for caller, globs in access.items()})
    assert document | {"access": None} == without


OAUTH = {"issuer": "https://login.example.com/", "audience": "https://craft.example.com/mcp"}


def test_an_issuer_is_part_of_the_plan_document_and_knows_its_callers_itself() -> None:
    oauth = OAuth.model_validate(OAUTH | {"scopes": ["mcp"], "callerClaim": "azp"})
    plan = planned({"somebody": ["*"]}, "", oauth=oauth)
    assert told(plan) == []
    read = GatewayPlan.model_validate_json(plan_document(plan, ())).oauth
    assert read is not None
    assert read.model_dump() == {**OAUTH, "scopes": ("mcp",), "caller_claim": "azp"}
    assert GatewayPlan.model_validate_json(plan_document(planned(None), ())).oauth is None


def in_production(oauth: dict[str, Any]) -> Plan:
    settings = settings_of("production", {"GRAFANA_PASSWORD": "only-for-tests"}, oauth=OAuth.model_validate(oauth))
    return decide(report_of(), settings, DiscoveryConfig())


def test_in_production_an_issuer_is_reached_by_tls_and_stands_for_tokens() -> None:
    assert not any("gatewayTokens" in notice for notice in in_production(OAUTH).notices)
    with pytest.raises(ConfigError, match=r"^Pulumi\.production\.yaml: oauth\.issuer: 'http://login:8080/': .*https$"):
        in_production(OAUTH | {"issuer": "http://login:8080/"})
