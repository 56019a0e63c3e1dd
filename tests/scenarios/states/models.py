"""Model servers: whoever speaks OpenAI's chat API, told apart by their marks, and by protocol from all else."""

from __future__ import annotations

import sys
from typing import Any

from ..emulators import legacy_mcp, litellm, llama_cpp, lm_studio, models, ollama, vllm
from ..impostors import dripping_body, endless, gzip_bomb, json_body, redirector, yes_man
from ..outcome import Outcome
from ..scenario import EXTERNAL, Table, lists, lists_nothing, selects, selects_nothing
from ..servers import HttpRequest, Reply, http
from ..world import Check, World

scenario = Table()


@scenario("models: a gateway's list of half a megabyte is one, too", selects("models", 4000, title="LiteLLM"))
def _(world: World) -> None:
    world.serve(litellm(*(f"provider/{'x' * 150}-{number}" for number in range(2500))), 4000)


_LIST = {"object": "list", "data": [{"id": "tiny", "object": "model", "owned_by": "me"}]}


def ends_in_v1(outcome: Outcome) -> None:
    """Every endpoint of a model server is what a client of OpenAI's is given."""
    for candidate in outcome.candidates("models"):
        assert candidate["endpoint"].endswith("/v1"), candidate


def _found(port: int, title: str, *names: str, version: str | None = None, **other: Any) -> tuple[Check, Check]:
    return selects("models", port, EXTERNAL, version, title=title, holds=list(names), **other), ends_in_v1


@scenario(
    "models: Ollama on its port is found with its models, and no configuration at all",
    *_found(11434, "Ollama", "llama3.2:latest", "nomic-embed-text:latest", version="0.12.6"),
)
def _(world: World) -> None:
    world.serve(ollama("llama3.2:latest", "nomic-embed-text:latest"), 11434)


@scenario("models: LM Studio on its port is found", *_found(1234, "LM Studio", "qwen3-8b"))
def _(world: World) -> None:
    world.serve(lm_studio("qwen3-8b"), 1234)


@scenario("models: llama.cpp on its port is found", *_found(8080, "llama.cpp", "qwen.gguf", version="b8681"))
def _(world: World) -> None:
    world.serve(llama_cpp("qwen.gguf"), 8080)


@scenario("models: LiteLLM on its port is found", *_found(4000, "LiteLLM", "gpt-mini", "claude-mini"))
def _(world: World) -> None:
    world.serve(litellm("gpt-mini", "claude-mini"), 4000)


@scenario(
    "models: vLLM on 8000 and Zen MCP on 8001 are told apart by protocol",
    *_found(8000, "vLLM", "Qwen/Qwen3-8B", version="0.21.0"),
    selects("zen-mcp", 8001, EXTERNAL),
    lists("zen-mcp", 8000, "impostor"),
)
def _(world: World) -> None:
    world.serve(vllm("Qwen/Qwen3-8B"), 8000)
    world.serve(legacy_mcp("PAL"), 8001)


@scenario(
    "models: Zen MCP on 8000 serves no models, and vLLM elsewhere is found by its process",
    *_found(18000, "vLLM", "tiny"),
    selects("zen-mcp", 8000, EXTERNAL),
    lists("models", 8000, "impostor"),
    lists("models", 18000, "verified", evidence="process"),
)
def _(world: World) -> None:
    world.serve(legacy_mcp("PAL"), 8000)
    script = world.write("home/bin/vllm", "from scenarios.emulators import main\nmain()\n")
    world.process(sys.executable, script, "vllm", "tiny", "--port", "18000", port=18000)


@scenario("models: a server that nobody knows is believed for its list", *_found(4000, "a model server", "tiny"))
def _(world: World) -> None:
    world.serve(models("tiny"), 4000)


@scenario(
    "models: a server without a model is of no use yet",
    selects_nothing("models"),
    lists("models", 11434, "unhealthy", reason="Ollama 0.12.6 has no model yet"),
)
def _(world: World) -> None:
    world.serve(ollama(), 11434)


@scenario(
    "models: whoever merely answers is an impostor",
    selects_nothing("models"),
    *(lists("models", port, "impostor") for port in (11434, 1234, 8080, 8000, 4000)),
)
def _(world: World) -> None:
    world.serve(yes_man("<html><body>welcome</body></html>"), 11434)
    world.serve(yes_man(_LIST), 1234)
    world.serve(models("file-1", kind="file"), 8080)
    world.serve(json_body(b'{"object": "list", "data": [' + b"[" * 60_000), 8000)
    world.serve(redirector("http://127.0.0.1:11434"), 4000)


@scenario(
    "models: a list without an end, one by drops, and one that unpacks to more cost no more than their time",
    selects_nothing("models"),
    lists("models", 11434, ("impostor", "unreachable")),
    lists("models", 1234, ("impostor", "unreachable")),
    lists("models", 8080, ("impostor", "unreachable")),
)
def _(world: World) -> None:
    world.serve(endless(b'{"id": "tiny", "object": "model"},' * 1000), 11434)
    world.serve(dripping_body(), 1234)
    world.serve(gzip_bomb(), 8080)


@scenario(
    "models: OPENAI_BASE_URL names a server, before any that merely runs here",
    *_found(7777, "a model server", "named", evidence="OPENAI_BASE_URL", named_by="operator"),
)
def _(world: World) -> None:
    world.serve(ollama("unnamed"), 11434)
    world.serve(models("named"), 7777)
    world.set(OPENAI_BASE_URL="http://127.0.0.1:7777/v1")


@scenario(
    "models: OLLAMA_HOST is read as Ollama reads it",
    *_found(7434, "Ollama", "tiny", evidence="OLLAMA_HOST", named_by="operator"),
)
def _(world: World) -> None:
    world.serve(ollama("tiny"), 7434)
    world.set(OLLAMA_HOST="0.0.0.0:7434")


@scenario("models: CUSTOM_API_URL names a server", *_found(7777, "LiteLLM", "tiny", evidence="CUSTOM_API_URL"))
def _(world: World) -> None:
    world.serve(litellm("tiny"), 7777)
    world.set(CUSTOM_API_URL="http://127.0.0.1:7777")


@scenario(
    "models: a named address that is none is not asked, and says why",
    lists_nothing("models", 7777),
    selects("models", 11434, EXTERNAL),
)
def _(world: World) -> None:
    world.serve(ollama("tiny"), 11434)
    world.set(OLLAMA_HOST="127.0.0.1:77777")


@scenario("models: a pin needs no /v1", *_found(7777, "a model server", "tiny", evidence="pin"))
def _(world: World) -> None:
    world.serve(ollama("other"), 11434)
    world.serve(models("tiny"), 7777)
    world.configure("pin", {"models": "http://127.0.0.1:7777"})


@scenario("models: no provider's key is told to anybody", selects("models", 7777, EXTERNAL))
def _(world: World) -> None:
    keys = {name: world.secret() for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "XAI_API_KEY")}
    servers = [world.serve(models("tiny"), 7777), world.serve(vllm("tiny", key="x"), 8000)]
    servers += [world.serve(litellm("tiny", key="x"), 4000), world.serve(ollama("tiny"), 11434)]
    for server in servers:
        for key in keys.values():
            world.must_not_learn(server, key)
    world.set(**keys, OPENAI_BASE_URL="http://127.0.0.1:7777/v1")


@scenario("models: a key opens the server that was named with it", *_found(7777, "vLLM", "tiny", version="0.21.0"))
def _(world: World) -> None:
    key = world.secret()
    world.serve(vllm("tiny", key=key), 7777)
    world.set(OPENAI_BASE_URL="http://127.0.0.1:7777/v1", CUSTOM_API_KEY=key)


@scenario(
    "models: a key is told to nobody whom nobody named, nor before somebody said who he is",
    selects_nothing("models"),
    lists("models", 4000, "auth_required"),
    lists("models", 7777, "auth_required", reason="before it says who it is"),
)
def _(world: World) -> None:
    key = world.secret()
    world.must_not_learn(world.serve(litellm("tiny", key=key), 4000), key)
    world.must_not_learn(world.serve(http(_locked), 7777), key)
    world.set(OPENAI_BASE_URL="http://127.0.0.1:7777/v1", CUSTOM_API_KEY=key)


def _locked(_: HttpRequest) -> Reply:
    return Reply({"error": "Unauthorized"}, 401)


@scenario(
    "models: production offers a server that nobody named, and does not take it",
    selects_nothing("models"),
    lists("models", 11434, "skipped", reason=r"to take it, pin\.models: http://127\.0\.0\.1:11434/v1", offered=True),
    stack="production",
)
def _(world: World) -> None:
    world.serve(ollama("tiny"), 11434)


@scenario("models: production takes a server that its operator named", selects("models", 11434), stack="production")
def _(world: World) -> None:
    world.serve(ollama("tiny"), 11434)
    world.set(OLLAMA_HOST="127.0.0.1")
