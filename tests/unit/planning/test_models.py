"""Models: what serves them, which stands for what an agent says, and who is given whose key."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from catalog import PROVIDER_KEYS, PROVIDERS
from discovery.config import DiscoveryConfig
from discovery.report import Finding, NamedBy, Reach, Source, Vantage, Verdict
from errors import ConfigError
from planning.decide import decide
from planning.models import DEFAULTS
from planning.plan import Omit, Plan, Relay, Reuse
from rendering.plan_document import plan_document
from settings import Secret, StackSettings
from tests.builders import finding, report_of, settings_of

LOOPBACK = Reach(Vantage.HOST_LOOPBACK)
OLLAMA = replace(
    finding("models", endpoint="http://127.0.0.1:11434/v1", evidence="port 11434", reach=LOOPBACK),
    title="Ollama",
    version="0.12.6",
    holds=("nomic-embed-text:latest", "llama3.2:latest"),
)
NAMED = replace(
    finding("models", endpoint="http://10.0.0.5:8000/v1", evidence="OPENAI_BASE_URL", named_by=NamedBy.OPERATOR),
    title="vLLM",
    holds=("tiny",),
)


def settings_with(*keys: str, stack: str = "dev", environment: dict[str, str] | None = None, **config: Any) -> Any:
    settings = settings_of(stack, environment, **config)
    return replace(settings, secrets={key: Secret(f"the-{key}") for key in keys})


def planned(settings: StackSettings, *found: Finding, previous: Any = None) -> Plan:
    return decide(report_of(found, previous=previous), settings, DiscoveryConfig())


def environment_of(plan: Plan, service: str) -> dict[str, str]:
    (workload,) = (one.workload for one in plan.deployments if one.workload.service == service)
    return {name: value for name, value in workload.environment.items() if name.startswith("PROMPTCRAFT_MODELS")}


def test_a_server_on_this_hosts_loopback_is_used_through_a_relay_with_no_configuration_at_all() -> None:
    plan = planned(settings_of("dev"), OLLAMA)
    decision = plan.decisions["models"]
    assert isinstance(decision, Relay)
    assert decision.reason.startswith("port 11434: proved to be Ollama 0.12.6; on this host's loopback")
    assert decision.endpoint == f"http://models-relay:{decision.port}/v1"
    assert plan.models.problem is None
    # The application and Zen MCP reach it, and nobody else.
    joined = {one.workload.service for one in plan.deployments if "models-relay" in one.workload.relays}
    assert joined == {"promptcraft", "zen-mcp"}
    assert environment_of(plan, "zen-mcp") == {
        "PROMPTCRAFT_MODELS": "nomic-embed-text:latest,llama3.2:latest",
        "PROMPTCRAFT_MODELS_HOST": "127.0.0.1:11434",
        "PROMPTCRAFT_MODELS_URL": decision.endpoint,
    }


def test_with_a_server_alone_its_first_model_that_chats_stands_for_every_name() -> None:
    names = planned(settings_of("dev"), OLLAMA).models.names
    assert names == dict.fromkeys(("fable", "opus", "sonnet", "haiku", "default"), "local:llama3.2:latest")


def test_the_default_that_the_stack_names_stands_for_every_name_that_it_does_not() -> None:
    configured = {"default": "local:nomic-embed-text:latest", "opus": "local:llama3.2:latest"}
    names = planned(settings_of("dev", models=configured), OLLAMA).models.names
    assert names["haiku"] == "local:nomic-embed-text:latest"
    assert names["opus"] == "local:llama3.2:latest"


def test_inherit_is_the_default_unless_both_are_named() -> None:
    inherited = settings_of("dev", models={"inherit": "local:nomic-embed-text:latest"})
    assert planned(inherited, OLLAMA).models.names["default"] == "local:nomic-embed-text:latest"
    both = settings_of("dev", models={"inherit": "xai:grok-4.7", "default": "local:llama3.2:latest"})
    assert planned(both, OLLAMA).models.names["default"] == "local:llama3.2:latest"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_with_a_key_has_a_model_for_every_name(provider: str) -> None:
    plan = planned(settings_with(PROVIDERS[provider].secret_key), OLLAMA)
    assert plan.models.names == {word: f"{provider}:{model}" for word, model in DEFAULTS[provider].items()}
    assert plan.models.names.keys() == DEFAULTS["anthropic"].keys()


def test_of_several_providers_the_first_has_the_defaults_and_the_stack_the_last_word() -> None:
    settings = settings_with("xaiApiKey", "anthropicApiKey", models={"haiku": "xai:grok-4.7"})
    models = planned(settings).models
    assert models.providers == {"anthropic": "anthropicApiKey", "xai": "xaiApiKey"}
    assert (models.names["opus"], models.names["haiku"]) == ("anthropic:claude-opus-5-5", "xai:grok-4.7")


def test_a_model_that_the_server_does_not_have_is_refused_with_those_it_has() -> None:
    settings = settings_of("dev", models={"opus": "local:gpt-oss"})
    with pytest.raises(ConfigError, match=r"models\.opus: 'local:gpt-oss': Ollama 0\.12\.6 .*nomic.*llama3\.2:latest"):
        planned(settings, OLLAMA)


@pytest.mark.parametrize(
    ("target", "words"), [("local:tiny", "no model server was found"), ("xai:grok-4.7", "set XAI_API_KEY")]
)
def test_a_model_that_nobody_serves_is_told_and_stops_nothing(target: str, words: str) -> None:
    plan = planned(settings_of("dev", models={"opus": target}))
    assert any(line.startswith(f"models.opus: {target}") and words in line for line in plan.notices)
    assert plan.models.problem is not None


@pytest.mark.parametrize(
    ("found", "stack", "words"),
    [
        ((), "dev", "set ANTHROPIC_API_KEY (or one of OPENAI_API_KEY, GEMINI_API_KEY"),
        ((), "dev", "start a model server such as Ollama"),
        ((), "cloud", "OPENAI_BASE_URL to where a model server runs"),
        ((replace(OLLAMA, verdict=Verdict.UNHEALTHY, reason="Ollama has no model yet"),), "dev", "has no model yet"),
        ((replace(OLLAMA, verdict=Verdict.AUTH_REQUIRED),), "dev", "is auth_required"),
        (
            (replace(OLLAMA, verdict=Verdict.SKIPPED, offered=True),),
            "production",
            "'pin.models' http://127.0.0.1:11434",
        ),
    ],
)
def test_without_any_model_one_sentence_says_what_to_do(found: tuple[Finding, ...], stack: str, words: str) -> None:
    settings = settings_with("grafana", "gatewayTokens", stack=stack)
    plan = planned(settings, *found)
    assert isinstance(plan.decisions["models"], Omit)
    assert plan.models.problem is not None
    assert words in plan.models.problem
    assert plan.models.problem in plan.notices


def test_a_named_server_that_wants_a_key_stops_nothing() -> None:
    wanting = replace(NAMED, verdict=Verdict.AUTH_REQUIRED, reason="wants a key")
    plan = planned(settings_of("dev"), wanting, OLLAMA)
    assert isinstance(plan.decisions["models"], Relay)
    assert any("OPENAI_BASE_URL" in line and "wants a key; not used" in line for line in plan.notices)


def test_a_named_address_that_is_none_stops_the_plan() -> None:
    bad = finding("models", Verdict.SKIPPED, evidence="OLLAMA_HOST", named_by=NamedBy.OPERATOR)
    bad = replace(bad, candidate=replace(bad.candidate, endpoint=""), reason="OLLAMA_HOST: 'x y' is not host:port")
    with pytest.raises(ConfigError, match="OLLAMA_HOST: 'x y'"):
        planned(settings_of("dev"), bad)


def test_it_is_never_deployed() -> None:
    with pytest.raises(ConfigError, match=r"pin\.models: 'deployed' cannot be honoured: it is only ever found"):
        planned(settings_of("dev", pin={"models": "deployed"}), OLLAMA)


def test_the_cloud_stack_uses_only_a_server_that_was_named() -> None:
    assert isinstance(planned(settings_of("cloud"), OLLAMA).decisions["models"], Omit)
    decision = planned(settings_of("cloud"), NAMED).decisions["models"]
    assert isinstance(decision, Reuse)
    assert decision.endpoint == "http://10.0.0.5:8000/v1"


def test_a_server_that_changed_its_models_is_announced_and_stops_nothing() -> None:
    before = planned(settings_of("dev"), OLLAMA).summary()
    plan = planned(settings_of("dev"), replace(OLLAMA, holds=("qwen3:latest",)), previous=before)
    assert any(line.startswith("models: ") and "no longer holds llama3.2:latest" in line for line in plan.notices)


def test_a_server_that_is_gone_is_announced_and_stops_nothing() -> None:
    before = planned(settings_of("dev"), OLLAMA).summary()
    plan = planned(settings_of("dev"), previous=before)
    assert isinstance(plan.decisions["models"], Omit)
    assert any(line.startswith("models: was external_deployment") for line in plan.notices)


def test_a_server_in_a_container_is_reached_on_its_network() -> None:
    reach = Reach(Vantage.CONTAINER_NETWORK, "theirs", "http://ollama:11434/v1", "id")
    plan = planned(
        settings_of("dev"), replace(OLLAMA, reach=reach, candidate=replace(OLLAMA.candidate, source=Source.DOCKER))
    )
    (zen,) = (one.workload for one in plan.deployments if one.workload.service == "zen-mcp")
    assert zen.join == ("theirs",)
    assert environment_of(plan, "zen-mcp")["PROMPTCRAFT_MODELS_URL"] == "http://ollama:11434/v1"


def test_keys_reach_the_application_and_zen_mcp_and_nobody_else() -> None:
    settings = settings_with(*PROVIDER_KEYS, "modelsKey", "grafana", "gatewayTokens", stack="production")
    plan = planned(settings, NAMED)
    given = {
        one.workload.service: set(one.workload.secrets) & {*PROVIDER_KEYS, "modelsKey"} for one in plan.deployments
    }
    assert {name for name, keys in given.items() if keys} == {"promptcraft", "zen-mcp"}
    assert given["promptcraft"] == given["zen-mcp"] == {*PROVIDER_KEYS, "modelsKey"}


def test_a_server_that_nobody_named_is_shown_no_key() -> None:
    plan = planned(settings_with("modelsKey"), OLLAMA)
    assert not any("modelsKey" in one.workload.secrets for one in plan.deployments)
    assert plan.models.local is not None
    assert plan.models.local.secret is None


def test_the_application_reads_of_its_models_in_the_plan() -> None:
    plan = planned(settings_with("anthropicApiKey", "modelsKey"), NAMED)
    (application,) = (one.workload for one in plan.deployments if one.workload.service == "promptcraft")
    document = json.loads(plan_document(plan, application.secrets))
    assert document["models"] == {
        "local": {
            "endpoint": "http://10.0.0.5:8000/v1",
            "host": None,
            "title": "vLLM",
            "names": ["tiny"],
            "credential": "/run/promptcraft/secrets/modelsKey",
        },
        "providers": {"anthropic": {"credential": "/run/promptcraft/secrets/anthropicApiKey"}},
        "names": {word: f"anthropic:{model}" for word, model in DEFAULTS["anthropic"].items()},
        "problem": None,
    }
    service = document["services"]["models"]
    assert (service["protocol"], service["action"]) == ("openai", "reuse")
    assert service["credential"] == "/run/promptcraft/secrets/modelsKey"


def test_openais_key_beside_another_servers_address_is_said_to_go_nowhere() -> None:
    environment = {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "http://10.0.0.5:8000/v1"}
    plan = planned(settings_of("dev", environment), NAMED)
    assert plan.models.providers == {}
    assert any("OPENAI_API_KEY is shown to nobody" in line for line in plan.notices)
