"""Which model an agent means, and that each provider is asked at its own address with its own key, by its own API."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelAuthenticationError

from gateway.models import wire
from gateway.models.names import UnknownModel, resolve
from gateway.models.problems import is_refused_key
from gateway.models.providers import ADDRESSES, ProviderError, Providers
from gateway.plan import Models

LOCAL = {"endpoint": "http://10.0.0.5:1234/v1", "title": "LM Studio 0.3", "names": ["gpt-oss:20b", "qwen/qwen3-8b"]}
NAMES = {"opus": "anthropic:claude-opus-5", "sonnet": "local:qwen/qwen3-8b", "default": "local:gpt-oss:20b"}


def models(*providers: str, folder: Path = Path("/nowhere"), **more: Any) -> Models:
    keys = {name: {"credential": str(folder / name)} for name in providers}
    return Models.model_validate({"local": LOCAL, "providers": keys, "names": NAMES, **more})


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("opus", "anthropic:claude-opus-5"),
        ("Opus", "anthropic:claude-opus-5"),
        ("opus[1m]", "anthropic:claude-opus-5"),
        ("sonnet", "local:qwen/qwen3-8b"),
        ("opusplan", "local:qwen/qwen3-8b"),
        (None, "local:gpt-oss:20b"),
        ("", "local:gpt-oss:20b"),
        ("inherit", "local:gpt-oss:20b"),
        ("claude-sonnet-5-20260203", "anthropic:claude-sonnet-5-20260203"),
        ("claude-sonnet-5[1m]", "anthropic:claude-sonnet-5"),
        ("gpt-6.1", "openai:gpt-6.1"),
        ("o5-mini", "openai:o5-mini"),
        ("gemini-3-pro", "google:gemini-3-pro"),
        ("grok-5", "xai:grok-5"),
        ("meta-llama/llama-5", "openrouter:meta-llama/llama-5"),
        # What the local server lists is the local server's, whatever it looks like.
        ("gpt-oss:20b", "local:gpt-oss:20b"),
        ("qwen/qwen3-8b", "local:qwen/qwen3-8b"),
        ("google:gemini-3-flash", "google:gemini-3-flash"),
    ],
)
def test_what_an_agent_says_means_a_model(said: str | None, meant: str) -> None:
    assert str(resolve(said, models("anthropic", "openai", "google", "xai", "openrouter"))) == meant


def test_what_the_stack_maps_comes_before_what_claude_code_means() -> None:
    given = models("anthropic", names={**NAMES, "fable": "anthropic:claude-fable-5-2"})
    assert str(resolve("best", given)) == "anthropic:claude-fable-5-2"
    given = models("anthropic", names={**given.names, "best": "local:gpt-oss:20b"})
    assert str(resolve("best", given)) == "local:gpt-oss:20b"


@pytest.mark.parametrize(
    ("said", "given", "error"),
    [
        ("opus", models(), "model 'opus' needs the key anthropicApiKey, which is not set. Names that agents can say: "),
        ("gpt-6", models(), "model 'gpt-6' needs the key openaiApiKey, which is not set."),
        ("llama9", models("xai"), "model 'llama9' is not known. Names that agents can say: default, opus, sonnet; "),
        ("llama9", models("xai"), "providers with a key: xai; LM Studio 0.3 has gpt-oss:20b, qwen/qwen3-8b"),
        ("local:llama9", models(), "model 'local:llama9' is local:llama9, which LM Studio 0.3 does not have."),
        ("sonnet", models("xai", local=None), "and no local model server was found."),
        (None, models("xai", names={}), "no default model is set; set models.default."),
        ("opus", Models(problem="set a key"), "set a key"),
        ("opus", Models(), "no model is configured"),
    ],
)
def test_a_model_that_is_not_to_be_had_is_one_sentence_with_those_that_are(
    said: str | None, given: Models, error: str
) -> None:
    with pytest.raises(UnknownModel) as raised:
        resolve(said, given)
    assert error in str(raised.value)


class Recorder(httpx2.AsyncBaseTransport):
    """Refuses every request as providers refuse a wrong key, and remembers them."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        self.requests.append(request)
        body = {
            "error": {"message": f"no: {request.headers}", "code": "invalid_api_key", "type": "authentication_error"}
        }
        return httpx2.Response(401, json=body, request=request)


@pytest.mark.parametrize(
    ("provider", "header", "value", "path"),
    [
        ("anthropic", "authorization", "Bearer the-key", "/v1/messages"),
        ("openai", "authorization", "Bearer the-key", "/v1/responses"),
        ("google", "x-goog-api-key", "the-key", "/v1beta/models/the-model:streamGenerateContent"),
        ("openrouter", "authorization", "Bearer the-key", "/api/v1/chat/completions"),
        ("xai", "authorization", "Bearer the-key", "/v1/chat/completions"),
    ],
)
def test_a_provider_is_asked_at_its_own_address_with_the_key_of_its_file(
    provider: str, header: str, value: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a library would take from the environment leads elsewhere.
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, "another-key")
    (tmp_path / provider).write_text("the-key\n")
    recorder = Recorder()
    monkeypatch.setattr(httpx2, "AsyncHTTPTransport", lambda **_: recorder)
    plan = models(provider, folder=tmp_path)

    async def ask() -> BaseException:
        providers = Providers(plan, 60)
        model = await providers.model(
            resolve(f"{provider}:the/model" if provider == "openrouter" else f"{provider}:the-model", plan)
        )
        try:
            async with Agent(model).run_stream("hello") as streamed:
                await streamed.get_output()
        except ModelAuthenticationError as error:
            return error
        finally:
            await providers.close()
        raise AssertionError("it was not refused")

    error = asyncio.run(ask())
    assert is_refused_key(error)
    (request,) = recorder.requests
    address = httpx2.URL(ADDRESSES[provider])
    assert (request.url.scheme, request.url.host, request.url.path) == ("https", address.host, path)
    assert request.headers[header] == value
    sent = json.dumps([*request.headers.items()]) + request.content.decode() + str(request.url)
    assert sent.count("the-key") == 1
    assert "another-key" not in sent


def test_a_key_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    providers = Providers(models("xai", folder=tmp_path), 5)
    with pytest.raises(ProviderError, match=r"the key to xai can't be read: .*No such file"):
        providers.key("xai")
    (tmp_path / "xai").write_text("\n")
    with pytest.raises(ProviderError, match="the key to xai is empty; set xaiApiKey and deploy again"):
        providers.key("xai")


def test_a_model_that_a_provider_can_not_have_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "openrouter").write_text("the-key")
    plan = models("openrouter", folder=tmp_path)
    with pytest.raises(ProviderError, match="openrouter:bare: OpenRouter model names must be prefixed"):
        asyncio.run(Providers(plan, 60).model(resolve("openrouter:bare", plan)))


def answer_of(response: httpx2.Response, url: str = "https://api.x.ai/v1/models") -> httpx2.Response:
    class Inner(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            return response

    async def ask() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=wire.Wire(ADDRESSES["xai"], has_key=True, inner=Inner())) as client:
            return await client.get(url)

    return asyncio.run(ask())


@pytest.mark.parametrize("url", ["https://api.y.ai/v1", "http://api.x.ai/v1", "https://api.x.ai:8443/v1"])
def test_no_other_address_is_ever_asked(url: str) -> None:
    with pytest.raises(httpx2.UnsupportedProtocol, match="another address"):
        answer_of(httpx2.Response(200), url)


def test_an_answer_without_end_is_cut_off() -> None:
    class Endless(httpx2.AsyncByteStream):
        async def __aiter__(self) -> Any:
            while True:
                yield b"x" * 2**20

    with pytest.raises(httpx2.ReadError, match="more than 32 MiB"):
        answer_of(httpx2.Response(200, stream=Endless()))
