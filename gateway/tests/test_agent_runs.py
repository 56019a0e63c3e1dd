"""Agents answered by a model with tools: a gateway beside a scripted model server and an MCP server that counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.tests.conftest import (
    Gateway,
    ModelServer,
    Plan,
    agent,
    as_json,
    counting_mcp,
    counts,
    events_of,
    free_port,
    gateway,
    in_background,
    model_server,
    plan_of,
    redis_server,
    run,
    service,
    wait_until,
)


@dataclass
class Stage:
    gateway: Gateway
    models: ModelServer
    mcp_url: str
    plan: Plan
    folder: Path


def define(folder: Path, name: str, *front: str, prompt: str | None = None) -> dict[str, Any]:
    file = folder / f"{name}.json"
    matter = "\n".join((f"name: {name}", "description: x", *front))
    file.write_text(as_json(f"---\n{matter}\n---\n{prompt or f'You are {name}.'}\n"))
    return agent(file)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("agents")
    with ExitStack() as stack:
        port, _ = stack.enter_context(redis_server(folder))
        models = stack.enter_context(model_server(folder))
        url, _ = stack.enter_context(counting_mcp(folder))
        services = {"redis": service("redis", f"redis://127.0.0.1:{port}"), "context7": service("mcp", url)}
        agents = {
            "plain": define(folder, "plain", "model: sonnet"),
            "reader": define(
                folder, "reader", "tools: Read, mcp__context7__look_up, mcp__context7__nothing, mcp__gone"
            ),
            "brief": define(folder, "brief", "tools: mcp__context7__*", "maxTurns: 3"),
            "chatty": define(folder, "chatty", "mcpServers: [context7]"),
        }
        plan = plan_of(services, agents, models)
        running = stack.enter_context(gateway(folder, plan, LOG_LEVEL="DEBUG"))
        yield Stage(running, models, url, plan, folder)


def test_a_run_is_answered_by_the_model_with_its_tokens_counted(stage: Stage) -> None:
    stage.models.plays({"text": "It is a loan of time.", "usage": {"input": 120, "output": 7}})
    record = run(stage.gateway, "plain", "What is a lease?").json()
    assert (record["status"], record["output"]) == ("succeeded", "It is a loan of time."), record
    assert record["answered_by"] == "local:scripted"
    assert record["model"] == "sonnet"
    assert record["usage"] == {
        "input_tokens": 120,
        "output_tokens": 7,
        "requests": 1,
        "tool_calls": 0,
        "price_usd": None,
    }
    (asked,) = stage.models.requests()
    assert asked["body"]["messages"] == [
        {"role": "system", "content": "You are plain."},
        {"role": "user", "content": "What is a lease?"},
    ]
    assert "authorization" not in asked["headers"]
    assert stage.gateway.api.get(f"/api/runs/{record['id']}").json() == record


def calling(name: str, arguments: Any = None, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": {} if arguments is None else arguments}], **more}


LOOK_UP = "mcp__context7__look_up"
FITTING = {"topic": "leases", "library": "redis"}


def test_the_tools_an_agent_may_use_are_called_and_told_as_they_are(stage: Stage) -> None:
    stage.models.plays(
        calling(LOOK_UP, FITTING, usage={"input": 10, "output": 2}),
        {"text": "Redis has leases.", "usage": {"input": 20, "output": 3}},
    )
    events = events_of(run(stage.gateway, "reader", "Look it up", Accept="text/event-stream"))
    done = events[-1][1]
    assert (done["status"], done["output"]) == ("succeeded", "Redis has leases."), done
    (step,) = done["steps"]
    assert {**step, "duration_ms": 0} == {
        "kind": "tool",
        "server": "context7",
        "tool": "look_up",
        "outcome": "ok",
        "duration_ms": 0,
    }
    assert step["duration_ms"] > 0
    assert [data["outcome"] for name, data in events if name == "step"] == [None, "ok"]
    assert "".join(data["text"] for name, data in events if name == "text") == "Redis has leases."
    assert done["usage"] == {
        "input_tokens": 30,
        "output_tokens": 5,
        "requests": 2,
        "tool_calls": 1,
        "price_usd": None,
    }
    first, second = (one["body"] for one in stage.models.requests())
    assert [tool["function"]["name"] for tool in first["tools"]] == [LOOK_UP]
    assert second["messages"][-1]["content"] == "redis on leases"
    text = stage.gateway.api.get("/metrics").text
    assert 'promptcraft_tool_calls_total{outcome="ok",server="context7",tool="look_up"} 1.0' in text
    assert 'promptcraft_tokens_total{agent="reader",direction="input",model="local:scripted"} 30.0' in text
    assert 'promptcraft_tokens_total{agent="reader",direction="output",model="local:scripted"} 5.0' in text


def test_agents_say_which_of_their_tools_are_missing(stage: Stage) -> None:
    agents = {one["id"]: one for one in stage.gateway.api.get("/api/agents/available").json()["agents"]}
    assert agents["reader"]["missing_tools"] == ["Read", "mcp__gone", "mcp__context7__nothing"]
    assert agents["reader"]["available"] is True
    assert agents["reader"]["answered_by"] == "local:scripted"
    assert agents["plain"]["missing_tools"] == []


def test_an_agent_that_names_no_tools_is_given_none(stage: Stage) -> None:
    stage.models.plays({"text": "Without."})
    assert run(stage.gateway, "plain", "Which tools?").json()["output"] == "Without."
    assert "tools" not in stage.models.requests()[0]["body"]


def test_arguments_that_do_not_fit_are_told_to_the_model_and_never_sent(stage: Stage) -> None:
    stage.models.plays(calling(LOOK_UP, {"topic": 7}), calling(LOOK_UP, FITTING), {"text": "Found."})
    record = run(stage.gateway, "reader", "Look it up wrongly").json()
    assert record["output"] == "Found."
    assert [step["outcome"] for step in record["steps"]] == ["invalid", "ok"]
    assert record["usage"]["tool_calls"] == 1
    assert "missing arguments: library; nothing was called" in json.dumps(stage.models.requests()[1]["body"])


@pytest.mark.parametrize("arguments", [{"topic": 7, "library": "x"}, "{no json", {"nothing": 1}])
def test_a_model_that_goes_on_with_wrong_arguments_ends_its_run(stage: Stage, arguments: Any) -> None:
    stage.models.plays({**calling(LOOK_UP, arguments), "repeat": True})
    record = run(stage.gateway, "reader", f"Wrong for ever {arguments}").json()
    assert record["status"] == "failed"
    assert "arguments that do not fit" in record["error"] or "gave no usable answer" in record["error"], record["error"]
    assert record["usage"]["tool_calls"] == 0
    assert len(stage.models.requests()) <= 4


def test_a_tool_that_does_not_exist_is_told_to_the_model(stage: Stage) -> None:
    stage.models.plays(calling("Read", {"file": "/etc/passwd"}), {"text": "I can't."})
    record = run(stage.gateway, "reader", "Read a file").json()
    assert (record["output"], record["steps"]) == ("I can't.", [])


def test_a_tool_that_reports_a_failure_is_told_to_the_model_and_not_called_again(stage: Stage) -> None:
    before = counts(stage.mcp_url)["calls"].get("all", 0)
    stage.models.plays(calling("mcp__context7__chat", {"prompt": "FAIL", "model": "m"}), {"text": "It failed."})
    record = run(stage.gateway, "chatty", "Let it fail").json()
    assert record["output"] == "It failed."
    assert [step["outcome"] for step in record["steps"]] == ["error"]
    assert counts(stage.mcp_url)["calls"]["all"] == before + 1
    assert "asked to fail" in json.dumps(stage.models.requests()[1]["body"])


def test_a_tool_whose_server_dies_in_the_call_is_called_once_and_ends_the_run(tmp_path: Path, stage: Stage) -> None:
    with counting_mcp(tmp_path) as (url, _):
        agents = {"chatty": define(tmp_path, "chatty", "mcpServers: [context7]")}
        plan = plan_of({"context7": service("mcp", url)}, agents, stage.models)
        with gateway(tmp_path, plan) as running:
            stage.models.plays({**calling("mcp__context7__chat", {"prompt": "DIE", "model": "m"}), "repeat": True})
            record = run(running, "chatty", "Die").json()
    assert record["status"] == "failed"
    assert record["error"].startswith("context7: chat may have acted, and its outcome is unknown")
    assert [step["outcome"] for step in record["steps"]] == ["unknown"]
    assert len(stage.models.requests()) == 1


def test_a_server_that_is_down_costs_its_tools_and_is_noted_and_not_cached(tmp_path: Path, stage: Stage) -> None:
    agents = {"reader": define(tmp_path, "reader", "mcpServers: context7")}
    services = {"context7": service("mcp", f"http://127.0.0.1:{free_port()}"), "redis": stage.plan["services"]["redis"]}
    with gateway(tmp_path, plan_of(services, agents, stage.models)) as running:
        for _ in range(2):
            stage.models.plays({"text": "Without docs."})
            record = run(running, "reader", "Anyway").json()
            assert (record["output"], record["cached"]) == ("Without docs.", False)
            assert record["note"].startswith("without the tools of context7: ")


def test_turns_are_bounded_by_the_definition(stage: Stage) -> None:
    stage.models.plays({**calling(LOOK_UP, FITTING), "repeat": True})
    record = run(stage.gateway, "brief", "For ever").json()
    assert record["error"] == "the model did not come to an end in 3 turns (maxTurns)"
    assert record["usage"]["requests"] == len(stage.models.requests()) == 3
    assert record["usage"]["input_tokens"] > 0


def test_tokens_of_a_run_are_bounded(tmp_path: Path, stage: Stage) -> None:
    plan = {**stage.plan, "stack": "thrifty"}
    with gateway(tmp_path, plan, PROMPTCRAFT_RUN_TOKENS="1000") as thrifty:
        stage.models.plays({**calling(LOOK_UP, FITTING, usage={"input": 600, "output": 1}), "repeat": True})
        record = run(thrifty, "reader", "Spend").json()
    assert record["error"] == "the run has used 1202 tokens, of 1000 (PROMPTCRAFT_RUN_TOKENS)"
    assert record["usage"]["input_tokens"] == 1200


def test_tokens_of_a_day_are_bounded_for_each_caller_over_all_replicas(tmp_path: Path, stage: Stage) -> None:
    tokens = tmp_path / "tokens"
    names = ("alice", "bob")
    tokens.write_text("".join(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in names))
    plan = {**stage.plan, "stack": "daily"}
    more = {"PROMPTCRAFT_TOKENS_FILE": str(tokens), "PROMPTCRAFT_DAY_TOKENS": "100"}
    alice, bob = ({"Authorization": f"Bearer {name}"} for name in names)
    with gateway(tmp_path, plan, "one", **more) as one, gateway(tmp_path, plan, "two", **more) as two:
        stage.models.plays({"text": "Much.", "usage": {"input": 90, "output": 10}, "repeat": True})
        assert run(one, "plain", "First", **alice).json()["status"] == "succeeded"
        refused = run(two, "plain", "Second", **alice)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "day_tokens_used"
        assert 0 < int(refused.headers["Retry-After"]) <= 86_401
        # What is known already costs nothing.
        assert run(two, "plain", "First", **alice).json()["cached"] is True
        assert run(two, "plain", "Second", **bob).json()["status"] == "succeeded"


def test_a_session_goes_on_as_a_conversation(stage: Stage) -> None:
    stage.models.plays({"text": "Ada."}, {"text": "You said Ada."})
    assert run(stage.gateway, "plain", "Who wrote it?", {"session": "talk"}).json()["output"] == "Ada."
    assert run(stage.gateway, "plain", "What did you say?", {"session": "talk"}).json()["output"] == "You said Ada."
    messages = stage.models.requests()[1]["body"]["messages"]
    assert [(one["role"], one["content"]) for one in messages[1:]] == [
        ("user", "Who wrote it?"),
        ("assistant", "Ada."),
        ("user", "What did you say?"),
    ]


def test_equal_runs_are_made_once_and_then_come_from_the_cache(stage: Stage) -> None:
    stage.models.plays({"text": "Once.", "delay": 0.3, "repeat": True})
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: run(stage.gateway, "plain", "All together").json(), range(20)))
    assert {one["output"] for one in answers} == {"Once."}
    assert len(stage.models.requests()) == 1
    again = run(stage.gateway, "plain", "All together").json()
    assert again["cached"] is True
    assert again["usage"]["requests"] == 0


def test_runs_wait_for_slots_by_what_the_agent_says(tmp_path: Path, stage: Stage) -> None:
    agents = {"wide": define(tmp_path, "wide", "model: opus[1m]")}
    plan = plan_of(stage.plan["services"], agents, stage.models, models={"opus": 2})
    plan["models"]["names"]["opus"] = "local:other"
    with gateway(tmp_path, {**plan, "stack": "slots"}) as running, ThreadPoolExecutor(8) as pool:
        stage.models.plays({"text": "Yes.", "delay": 0.2, "repeat": True}, model="other")
        records = list(pool.map(lambda n: run(running, "wide", f"number {n}").json(), range(8)))
    assert {(one["status"], one["model"]) for one in records} == {("succeeded", "opus")}
    assert stage.models.peak("other") == 2


def test_an_idempotency_key_stands_for_one_run_of_a_model(stage: Stage) -> None:
    stage.models.plays({"status": 500})
    first = run(stage.gateway, "plain", "Once only", **{"Idempotency-Key": "m1"}).json()
    assert first["status"] == "failed"
    assert run(stage.gateway, "plain", "Once only", **{"Idempotency-Key": "m1"}).json() == first
    assert len(stage.models.requests()) == 1


def test_a_run_can_be_cancelled_while_the_model_answers(stage: Stage) -> None:
    stage.models.plays({"endless": "and on ", "pause": 0.05})
    with in_background(stage.gateway, "plain", "Never end") as record:
        wait_until(lambda: len(stage.models.requests()) == 1, "the model is asked")
        stage.gateway.api.post(f"/api/runs/{record['id']}/cancel")
    assert record["answers"][0].json()["status"] == "cancelled"


ERROR = {"error": {"message": "This model's maximum context length is 8 tokens", "code": "context_length_exceeded"}}
SPAM = 'data: {"choices": "no"}\n\ndata: {{{\n\n'


@pytest.mark.parametrize(
    ("turn", "error"),
    [
        ({"status": 500, "body": {"error": {"message": "boom"}}}, "local:scripted: answered 500 (boom)"),
        ({"status": 500}, "local:scripted: answered 500 (without a reason)"),
        ({"status": 400, "body": ERROR}, "local:scripted: the conversation is too long for this model"),
        (
            {"status": 400, "body": {"error": "input exceeds n_ctx"}},
            "local:scripted: the conversation is too long for this model",
        ),
        ({"status": 404, "body": {"error": {"message": "no such model"}}}, "the provider does not have this model"),
        ({"status": 401, "body": {"error": {"message": "no"}}}, "local refuses the configured key"),
        (
            {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}},
            "local:scripted: the request failed (Error code: 302)",
        ),
        ({"raw": SPAM}, "local:scripted: "),
        ({"raw": "data: {}\n\ndata: [DONE]\n\n"}, "local:scripted: "),
        ({"raw": "<html>hello</html>", "type": "text/html"}, "local:scripted: "),
        ({"raw": "", "type": "text/event-stream"}, "local:scripted: "),
        ({"raw": "\x00\x01\x02", "type": "application/json"}, "local:scripted: "),
        ({"text": "one two three", "cut": 1}, "local:scripted: "),
        ({"text": ""}, "local:scripted: gave no usable answer"),
        ({"endless": "and on " * 1000}, "the model's answer is longer than"),
    ],
)
def test_what_goes_wrong_with_a_model_is_one_clear_error_of_that_run(
    stage: Stage, turn: dict[str, Any], error: str
) -> None:
    stage.models.plays({**turn, "repeat": True})
    record = run(stage.gateway, "plain", f"Bad {turn}").json()
    assert record["status"] == "failed"
    assert error in record["error"], record["error"]
    assert "unexpected error" not in record["error"]
    assert len(record["error"]) < 600
    # Nothing else is touched, and nothing of it is kept.
    stage.models.plays({"text": "Well again."})
    assert run(stage.gateway, "plain", f"Bad {turn}").json()["output"] == "Well again."
    assert stage.gateway.api.get("/api/health/detailed").json()["models"]["problem"] is None


def test_a_provider_that_asks_for_patience_gets_it_once(stage: Stage) -> None:
    busy = {"status": 429, "headers": {"Retry-After": "1"}, "body": {"error": {"message": "slow down"}}}
    stage.models.plays(busy, {"text": "Now."})
    record = run(stage.gateway, "plain", "Patience").json()
    assert record["output"] == "Now."
    first, second = stage.models.requests()
    assert second["at"] - first["at"] >= 1
    stage.models.plays({**busy, "repeat": True})
    record = run(stage.gateway, "plain", "Patience for ever").json()
    assert record["error"] == "local:scripted: too many requests (429); ask again in 1 s (slow down)"
    assert len(stage.models.requests()) == 2
    stage.models.plays({**busy, "headers": {"Retry-After": "9000"}, "repeat": True})
    record = run(stage.gateway, "plain", "Patience beyond the run").json()
    assert record["error"] == "local:scripted: too many requests (429); ask again in 9000 s (slow down)"
    assert len(stage.models.requests()) == 1


def test_a_slow_model_is_a_failed_run_and_frees_its_slot(tmp_path: Path, stage: Stage) -> None:
    with gateway(tmp_path, {**stage.plan, "stack": "slow"}, PROMPTCRAFT_RUN_SECONDS="1") as running:
        # Its libraries are loaded with the first run, which counts.
        stage.models.plays({"text": "Warm."})
        wait_until(lambda: run(running, "plain", "Warm up").json()["status"] == "succeeded", "it has loaded all")
        stage.models.plays({"text": "Late.", "delay": 30})
        record = run(running, "plain", "Hurry").json()
        assert record["error"] == "local:scripted did not come to an end within 1 s"
        wait_until(
            lambda: running.api.get("/api/health/detailed").json()["limits"]["total"]["running"] == 0, "it is free"
        )


def test_a_local_server_that_is_gone_is_one_clear_error(tmp_path: Path, stage: Stage) -> None:
    plan = {**stage.plan, "stack": "gone"}
    plan["models"] = stage.models.models(endpoint=f"http://127.0.0.1:{free_port()}/v1")
    with gateway(tmp_path, plan) as running:
        record = run(running, "plain", "Anybody?").json()
    assert record["error"].startswith("local:scripted: does not answer (")


def test_a_key_and_a_host_reach_the_local_server_and_a_refused_key_is_said_once_and_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "modelsKey"
    secret.write_text("sk-wrong-8f3a91c7\n")
    with model_server(tmp_path, KEY="sk-right-1b2c3d4e", HOST_NAME="127.0.0.1:11434") as models:
        agents = {"plain": define(tmp_path, "plain")}
        plan = plan_of({"models": service("openai", models.endpoint, host="127.0.0.1:11434")}, agents)
        plan["models"] = models.models(credential=str(secret), host="127.0.0.1:11434")
        with gateway(tmp_path, plan, LOG_LEVEL="DEBUG") as running:
            record = run(running, "plain", "Open up").json()
            assert record["error"] == "local refuses the configured key; set a valid one and deploy again"
            health = running.api.get("/api/health/detailed").json()
            assert health["models"]["problem"] == record["error"]
            secret.write_text("sk-right-1b2c3d4e\n")
            assert run(running, "plain", "Open up").json()["output"] == "answer to: Open up"
            assert running.api.get("/api/health/detailed").json()["models"]["problem"] is None
            said = json.dumps([record, health]) + running.log.read_text()
            assert "8f3a91c7" not in said and "1b2c3d4e" not in said


def test_without_any_model_agents_say_what_to_do(tmp_path: Path) -> None:
    plan = plan_of({}, {"plain": define(tmp_path, "plain", "model: sonnet")})
    plan["models"] = {"problem": "start Ollama or set anthropicApiKey"}
    with gateway(tmp_path, plan) as running:
        (found,) = running.api.get("/api/agents/available").json()["agents"]
        assert (found["available"], found["reason"]) == (False, "start Ollama or set anthropicApiKey")
        answer = run(running, "plain", "x")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "agent_unavailable")
        health = running.api.get("/api/health/detailed").json()
        assert health["models"]["problem"] == "start Ollama or set anthropicApiKey"
        assert health["status"] == "ok"


def test_a_model_that_nobody_has_is_said_before_a_run(tmp_path: Path, stage: Stage) -> None:
    agents = {
        "lost": define(tmp_path, "lost", "model: claude-opus-9"),
        "typo": define(tmp_path, "typo", "model: llama9"),
        "exact": define(tmp_path, "exact", "model: other"),
    }
    with gateway(tmp_path, plan_of({}, agents, stage.models)) as running:
        found = {one["id"]: one for one in running.api.get("/api/agents/available").json()["agents"]}
    assert found["lost"]["reason"].startswith("model 'claude-opus-9' needs the key anthropicApiKey, which is not set.")
    assert found["typo"]["reason"].endswith("Scripted has scripted, other")
    assert found["exact"]["answered_by"] == "local:other"


def test_arguments_are_for_tools_and_refused_where_a_model_answers(stage: Stage) -> None:
    answer = run(stage.gateway, "plain", "x", {"arguments": {"topic": "y"}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "fixed_argument")
