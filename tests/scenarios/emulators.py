"""Honest emulators: what each real server answers (docs/fingerprints.md), as far as anybody asks who it is."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Sequence

from .servers import NOT_FOUND, HttpRequest, Reply, Route, Server, Talk, http

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
_SERVER_INFO = "io.modelcontextprotocol/serverInfo"


def qdrant(
    version: str = "1.12.0", key: str | None = None, ready: bool = True, collections: Sequence[str] = ()
) -> Talk:
    """Qdrant. With a key, everything but identity and health asks for it."""
    listed = {"result": {"collections": [{"name": name} for name in collections]}, "status": "ok", "time": 0.0}
    open_paths = {
        "/": Reply({"title": "qdrant - vector search engine", "version": version, "commit": "0000000"}),
        "/healthz": Reply("healthz check passed"),
        "/livez": Reply("livez check passed"),
        "/readyz": Reply("all shards are ready") if ready else Reply("some shards are not ready", 503),
    }

    def route(request: HttpRequest) -> Reply:
        path = request.path.split("?")[0]
        if path in open_paths:
            return open_paths[path]
        given = request.headers.get("api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if key is not None and given != key:
            return Reply("Must provide an API key or an Authorization bearer token", 401)
        return Reply(listed) if path == "/collections" else NOT_FOUND

    return http(route)


def grafana(version: str = "11.3.0", database: str = "ok") -> Talk:
    """Grafana's health page, open to all; 503 when its database is gone."""
    body = {"database": database, "version": version, "commit": "0000000"}
    return http(_only({"/api/health": Reply(body, 200 if database == "ok" else 503), "/login": Reply("<html></html>")}))


def promptcraft(version: str = "1.0.0", service: str = "promptcraft") -> Talk:
    """The gateway's health page (docs/interface.md)."""
    return http(_only({"/health": Reply({"status": "ok", "service": service, "version": version})}))


def victoria_metrics() -> Talk:
    """Imitates Prometheus's build information, as VictoriaMetrics does, without the healthy text."""
    build = {"version": "2.24.0", "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "go1.22"}
    replies = {
        "/api/v1/status/buildinfo": Reply({"status": "success", "data": build}),
        "/-/healthy": Reply("VictoriaMetrics is Healthy.\n"),
        "/-/ready": Reply("OK"),
    }
    return http(_only(replies))


def prometheus_not_ready() -> Talk:
    """Prometheus that replays its log: alive, and not yet to be used."""
    build = {
        "version": "2.42.0",
        "revision": "1",
        "branch": "HEAD",
        "buildUser": "u",
        "buildDate": "d",
        "goVersion": "go",
    }
    replies = {
        "/api/v1/status/buildinfo": Reply({"status": "success", "data": build}),
        "/-/healthy": Reply("Prometheus Server is Healthy.\n"),
        "/-/ready": Reply("Service Unavailable", 503),
    }
    return http(_only(replies))


def _only(replies: dict[str, Reply]) -> Route:
    return lambda request: replies.get(request.path.split("?")[0], NOT_FOUND)


def modern_mcp(name: str, version: str = "9.8.2", in_meta: bool = True, supported: str = MODERN) -> Talk:
    """MCP of the era without sessions: `server/discover`, with `serverInfo` in either of its two places."""
    info = {"name": name, "version": version}

    def route(request: HttpRequest) -> Reply:
        if request.method != "POST" or request.path != "/mcp":
            return NOT_FOUND
        message = request.rpc
        asked = request.headers.get("mcp-protocol-version")
        if asked != supported:
            error = {"code": -32022, "message": "Unsupported protocol version", "data": {"supported": [supported]}}
            return Reply({"jsonrpc": "2.0", "id": message.get("id"), "error": error}, 400)
        if message.get("method") != "server/discover":
            return Reply({"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": -32601, "message": "no"}}, 404)
        result = {"supportedVersions": [supported], "capabilities": {}}
        result |= {"_meta": {_SERVER_INFO: info}} if in_meta else {"serverInfo": info}
        return Reply({"jsonrpc": "2.0", "id": message["id"], "result": result})

    return http(route)


def legacy_mcp(
    name: str, version: str = "5.8.2", as_events: bool = False, path: str = "/mcp", token: str | None = None
) -> Talk:
    """MCP of the era with `initialize` and sessions, answering in JSON or in one SSE frame."""
    return http(legacy_route(name, version, as_events, path, token))


def legacy_route(
    name: str, version: str = "5.8.2", as_events: bool = False, path: str = "/mcp", token: str | None = None
) -> Callable[[HttpRequest], Reply]:
    """What such a server answers to one request."""

    def route(request: HttpRequest) -> Reply:
        if request.path != path:
            return NOT_FOUND
        if token is not None and request.headers.get("authorization") != f"Bearer {token}":
            return Reply({"error": "unauthorized"}, 401, {"WWW-Authenticate": 'Bearer realm="mcp"'})
        if request.method == "DELETE":
            return Reply()
        if request.method != "POST":
            return Reply("Method Not Allowed", 405)
        message = request.rpc
        if message.get("method") != "initialize":
            # What servers of that era say to any first message that is not `initialize`.
            return Reply("Bad Request: Missing session ID", 400)
        result = {"protocolVersion": LEGACY, "capabilities": {}, "serverInfo": {"name": name, "version": version}}
        reply = Reply({"jsonrpc": "2.0", "id": message["id"], "result": result}, 200, {"Mcp-Session-Id": "s-1"})
        if not as_events:
            return reply
        text = "event: message\r\ndata: " + reply.encoded().partition(b"\r\n\r\n")[2].decode() + "\r\n\r\n"
        return Reply(text, 200, {"Content-Type": "text/event-stream", "Mcp-Session-Id": "s-1"})

    return route


def models(
    *names: str,
    owner: str = "me",
    kind: str = "model",
    key: str | None = None,
    marks: dict[str, object] | None = None,
) -> Talk:
    """A server of OpenAI's chat API with these models; `marks` are the pages of its own, which no key guards."""
    listed = {"object": "list", "data": [{"id": name, "object": kind, "owned_by": owner} for name in names] or None}
    pages = {path: Reply(body) for path, body in (marks or {}).items()}

    def route(request: HttpRequest) -> Reply:
        if request.path in pages:
            return pages[request.path]
        if key is not None and request.headers.get("authorization") != f"Bearer {key}":
            return Reply({"error": "Unauthorized"}, 401)
        return Reply(listed) if request.path == "/v1/models" else NOT_FOUND

    return http(route)


def ollama(*names: str, version: str = "0.12.6") -> Talk:
    """Ollama: without any model, its list is null."""
    return models(*names, owner="library", marks={"/api/version": {"version": version}})


def lm_studio(*names: str) -> Talk:
    """LM Studio, with its own API beside OpenAI's."""
    data = [{"id": name, "object": "model", "type": "llm", "compatibility_type": "gguf"} for name in names]
    return models(*names, owner="organization_owner", marks={"/api/v0/models": {"object": "list", "data": data}})


def llama_cpp(name: str, build: str = "b8681") -> Talk:
    """llama.cpp's `llama-server`, which serves one model."""
    return models(name, owner="llamacpp", marks={"/props": {"build_info": build, "total_slots": 4}})


def vllm(name: str, version: str = "0.21.0", key: str | None = None) -> Talk:
    """vLLM. Its key guards `/v1` only."""
    return models(name, owner="vllm", key=key, marks={"/version": {"version": version}})


def litellm(*names: str, key: str | None = None) -> Talk:
    """LiteLLM's proxy (seen: 1.110.2). Its key guards everything but its health."""
    return models(*names, owner="openai", key=key, marks={"/health/liveliness": '"I\'m alive!"'})


EMULATORS: dict[str, Callable[[str], Talk]] = {
    "qdrant": lambda version: qdrant(version),
    "grafana": lambda version: grafana(version),
    "mcp": lambda name: legacy_mcp(name),
    "promptcraft": lambda version: promptcraft(version),
    "vllm": lambda name: vllm(name),
    "victoria-metrics": lambda _: victoria_metrics(),
}


def main() -> None:
    """Serve one emulator as a process or in a container, until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("emulator", choices=sorted(EMULATORS))
    parser.add_argument("value", help="a version, or an MCP server's name")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    Server(EMULATORS[arguments.emulator](arguments.value), arguments.port, arguments.host)
    threading.Event().wait()


if __name__ == "__main__":
    main()
