"""Model servers prove themselves by their list of models; whoever only looks like one does not, and learns no key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.fingerprints import openai
from discovery.fingerprints.answer import Answer
from discovery.report import Verdict
from discovery.request import Credential
from discovery.wire import Response
from tests.unit.asking import JSON_VALUES, MANY
from tests.unit.peers import Page, asked, page, pages

KEY = "s3cret-value"
SECRET = Credential(secret=KEY)


def models(*names: str, owner: str = "library", **other: Any) -> Page:
    data = [{"id": name, "object": "model", "created": 1, "owned_by": owner} | other for name in names]
    return page({"object": "list", "data": data})


PLAIN: dict[str, Page] = {"GET /v1/models": models("tiny", owner="me")}
OLLAMA: dict[str, Page] = {
    "GET /v1/models": models("llama3.2:latest", "nomic-embed-text:latest"),
    "GET /api/version": page({"version": "0.12.6"}),
}
LM_STUDIO: dict[str, Page] = {
    "GET /v1/models": models("qwen2-vl-7b-instruct", owner="organization_owner"),
    "GET /api/v0/models": models("qwen2-vl-7b-instruct", type="vlm", compatibility_type="mlx", state="not-loaded"),
}
LLAMA_CPP: dict[str, Page] = {
    "GET /v1/models": models("qwen.gguf", owner="llamacpp"),
    "GET /props": page({"build_info": "b8681-Debian", "total_slots": 4}),
}
VLLM: dict[str, Page] = {
    "GET /v1/models": models("Qwen/Qwen3-8B", owner="vllm"),
    "GET /version": page({"version": "0.21.0"}),
}
LITELLM: dict[str, Page] = {
    "GET /v1/models": models("gpt-mini", owner="openai"),
    "GET /health/liveliness": page("I'm alive!"),
}


def ask(site: Mapping[str, Page], credential: Credential | None = None, seen: list[str] | None = None) -> Answer:
    return asyncio.run(asked(openai.identify, pages(site, seen), path="/v1", credential=credential))


@pytest.mark.parametrize(
    ("site", "title", "version"),
    [
        (PLAIN, "a model server", None),
        (OLLAMA, "Ollama", "0.12.6"),
        (LM_STUDIO, "LM Studio", None),
        (LLAMA_CPP, "llama.cpp", "b8681-Debian"),
        (VLLM, "vLLM", "0.21.0"),
        (LITELLM, "LiteLLM", None),
    ],
)
def test_each_server_is_told_by_its_marks(site: Mapping[str, Page], title: str, version: str | None) -> None:
    answer = ask(site)
    assert (answer.verdict, answer.title, answer.version) == (Verdict.VERIFIED, title, version)


def test_the_models_are_listed_in_the_servers_order() -> None:
    answer = ask(OLLAMA)
    assert answer.holds == ("llama3.2:latest", "nomic-embed-text:latest")
    assert answer.reason == "Ollama 0.12.6 with llama3.2:latest, nomic-embed-text:latest"


@pytest.mark.parametrize("data", [None, []])
def test_a_server_without_a_model_is_of_no_use_yet(data: object) -> None:
    # Ollama before its first pull: null.
    answer = ask(OLLAMA | {"GET /v1/models": page({"object": "list", "data": data})})
    assert answer.verdict is Verdict.UNHEALTHY
    assert "no model yet" in answer.reason


@pytest.mark.parametrize(
    "listed",
    [
        (404, {}, ""),
        (200, {"Content-Type": "text/html"}, "<html>models</html>"),
        (302, {"Location": "/login"}, ""),
        page([]),
        page({"object": "list"}),
        page({"data": [{"id": "tiny", "object": "model"}]}),
        page({"object": "list", "data": {"tiny": {}}}),
        page({"object": "list", "data": ["tiny"]}),
        page({"object": "list", "data": [{"object": "model"}]}),
        page({"object": "list", "data": [{"id": 1, "object": "model"}]}),
        page({"object": "list", "data": [{"id": "file-1", "object": "file"}]}),
        page({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "Bad Request"}}),
    ],
)
def test_a_list_of_something_else_is_an_impostors(listed: Page) -> None:
    assert ask(OLLAMA | {"GET /v1/models": listed}).verdict is Verdict.IMPOSTOR


def test_who_lists_models_on_every_page_has_proved_nothing() -> None:
    everywhere = models("tiny")
    answer = asyncio.run(asked(openai.identify, pages({}, missing=everywhere), path="/v1"))
    assert answer.verdict is Verdict.IMPOSTOR


def test_a_name_that_cannot_be_written_down_is_left_out() -> None:
    names = ("openai/*", "a,b", "a\x1b[2J", " a", "", "x" * 201, "hf.co/bartowski/Llama-3.2:Q4", "Llama 3.2 1B")
    answer = ask({"GET /v1/models": models(*names)})
    assert answer.holds == ("hf.co/bartowski/Llama-3.2:Q4", "Llama 3.2 1B")


def test_of_more_than_a_thousand_the_rest_is_told() -> None:
    answer = ask({"GET /v1/models": models(*map(str, range(1200)))})
    assert len(answer.holds or ()) == 1000
    assert "1000 of its 1200 models are kept" in answer.reason


def test_a_key_goes_to_whose_marks_are_known_and_opens_the_list() -> None:
    guarded = VLLM | {"GET /v1/models": page({"error": "Unauthorized"}, 401)}
    seen: list[str] = []
    assert ask(guarded, SECRET, seen).reason == "vLLM 0.21.0 refused the configured key"
    keyed = [head for head in seen if KEY in head]
    assert [head.split("\r\n")[0] for head in keyed] == ["GET /v1/models HTTP/1.1"]
    assert "set modelsKey" in ask(guarded).reason


def test_a_key_does_not_go_to_who_says_nothing_before_it() -> None:
    seen: list[str] = []
    answer = ask({"GET /v1/models": page({"error": "Unauthorized"}, 401)}, SECRET, seen)
    assert answer.verdict is Verdict.AUTH_REQUIRED
    assert not any(KEY in head for head in seen)


def test_what_hangs_up_on_a_question_of_anothers_is_still_itself() -> None:
    # A server that drops the connection on paths it does not know.
    answer = ask(PLAIN | {"GET /api/version": (200, {"Content-Length": "x"}, "")})
    assert answer.verdict is Verdict.VERIFIED


@MANY
@given(st.builds(lambda document: page(document), JSON_VALUES))
def test_any_document_is_a_list_of_names_or_none(listed: Page) -> None:
    names = openai.models_of(Response(listed[0], (), listed[2].encode()))
    assert names is None or all(isinstance(name, str) for name in names)
