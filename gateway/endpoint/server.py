"""The endpoint as the official SDK serves it: both eras of the protocol, without sessions.

Nothing that a server says outside of an answer is passed on but progress: its connection is shared, and a log line or a
question of its own would reach callers that it is not for.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any, TypeVar

from mcp.client.client import Client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    CompleteRequestParams,
    CompleteResult,
    EmbeddedResource,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    PromptReference,
    ReadResourceRequestParams,
    ReadResourceResult,
    ResourceLink,
)
from starlette.types import Receive, Scope, Send

from gateway import VERSION
from gateway.access import CALLER, CALLER_NAME
from gateway.endpoint import audit
from gateway.endpoint.agents import AgentTools
from gateway.endpoint.audit import Audit, BlockedError, RefusedError, UnknownOutcomeError
from gateway.endpoint.catalogue import Catalogue, Entry, Seen, page
from gateway.endpoint.names import exposed_uri
from gateway.endpoint.transport import is_lost
from gateway.endpoint.upstream import Kind, Upstream
from gateway.errors import error_response
from gateway.mcp_client import MCP_ERRORS
from gateway.middleware import HOLD, MAX_BODY_BYTES
from gateway.outbound import error_line
from gateway.rights import AGENTS, NOTHING, RIGHTS, Rights
from gateway.runs.way import AnswerError

log = logging.getLogger(__name__)

NAME = "promptcraft"
PAGE = 250

Context = ServerRequestContext[Any, Any]
Reply = TypeVar("Reply")


class Endpoint:
    """Serves all `upstreams` and the agents, or `only` one of the upstreams under its own names."""

    def __init__(
        self, upstreams: Mapping[str, Upstream], agents: AgentTools | None, audit: Audit, only: str | None = None
    ) -> None:
        self._agents = agents
        self._audit = audit
        self._only = only
        self._catalogue = Catalogue(upstreams, only)
        server: Server[Any] = Server(
            NAME if only is None else f"{NAME}/{only}",
            version=VERSION,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
            on_completion=self._complete,
        )
        self._manager = StreamableHTTPSessionManager(
            server,
            stateless=True,
            # KnownHost and BodyLimit have seen to both.
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            max_request_body_size=MAX_BODY_BYTES,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Requests are answered meanwhile."""
        async with self._manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._manager.handle_request(scope, receive, send)

    # Lists

    async def _list_tools(self, context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        seen = await self._seen(Kind.TOOLS, context, params)
        own = self._agents.listed(_rights(context)) if self._agents is not None else {}
        tools = {name: entry.item.model_copy(update={"name": name}) for name, entry in seen.entries.items()} | own
        part, cursor = page(dict(sorted(tools.items())), _cursor(params), PAGE)
        return ListToolsResult(tools=[tool for _, tool in part], next_cursor=cursor)

    async def _list_prompts(self, context: Context, params: PaginatedRequestParams | None) -> ListPromptsResult:
        part, cursor = await self._page(Kind.PROMPTS, context, params)
        prompts = [entry.item.model_copy(update={"name": name}) for name, entry in part]
        return ListPromptsResult(prompts=prompts, next_cursor=cursor)

    async def _list_resources(self, context: Context, params: PaginatedRequestParams | None) -> ListResourcesResult:
        part, cursor = await self._page(Kind.RESOURCES, context, params)
        found = [entry.item.model_copy(update={"uri": self._uri(entry, entry.item.uri)}) for _, entry in part]
        return ListResourcesResult(resources=found, next_cursor=cursor)

    async def _list_templates(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        part, cursor = await self._page(Kind.TEMPLATES, context, params)
        found = [
            entry.item.model_copy(update={"uri_template": self._uri(entry, entry.item.uri_template)})
            for _, entry in part
        ]
        return ListResourceTemplatesResult(resource_templates=found, next_cursor=cursor)

    async def _page(
        self, kind: Kind, context: Context, params: PaginatedRequestParams | None
    ) -> tuple[list[tuple[str, Entry]], str | None]:
        return page((await self._seen(kind, context, params)).entries, _cursor(params), PAGE)

    async def _seen(self, kind: Kind, context: Context, params: PaginatedRequestParams | None) -> Seen:
        seen = await self._catalogue.seen(kind, _rights(context))
        # Once, and not with each page.
        for problem in seen.problems if _cursor(params) is None else ():
            await context.session.send_log_message(
                "warning", problem, logger=NAME, related_request_id=context.request_id
            )
        return seen

    # Calls

    async def _call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        rights, state = _rights(context), _state(context)
        agent = self._agents.find(params.name, rights) if self._agents is not None else None
        kind: audit.Kind = "tool" if agent is None else "agent"
        with self._audit.call(state[CALLER_NAME], kind, params.name, params.arguments) as call:
            if agent is not None and self._agents is not None:
                call.at(AGENTS, agent)
                progress = context.session.report_progress
                ran = await self._agents.call(agent, params.arguments or {}, state[CALLER], state[HOLD], progress)
                call.answered(ran, is_error=ran.is_error)
                return ran
            try:
                entry = await self._found(Kind.TOOLS, params.name, rights)
            except RefusedError as error:
                withheld = self._catalogue.withheld(params.name, rights)
                if withheld is None:
                    raise
                upstream, tool, why = withheld
                call.at(upstream.name, tool)
                raise BlockedError(INVALID_PARAMS, why) from error
            call.at(entry.upstream.name, entry.item.name)
            request = CallToolRequest(params=CallToolRequestParams(name=entry.item.name, arguments=params.arguments))
            result = await self._asked(
                entry.upstream,
                # Not by `call_tool`, which judges an answer by its schema: that is for who asked.
                lambda client: client.session.send_request(
                    request, CallToolResult, progress_callback=context.session.report_progress
                ),
            )
            call.answered(result, is_error=result.is_error)
        return result.model_copy(update={"content": [self._told(entry.upstream, part) for part in result.content]})

    async def _get_prompt(self, context: Context, params: GetPromptRequestParams) -> GetPromptResult:
        with self._audit.call(_state(context)[CALLER_NAME], "prompt", params.name, params.arguments) as call:
            entry = await self._found(Kind.PROMPTS, params.name, _rights(context))
            call.at(entry.upstream.name, entry.item.name)
            result = await self._asked(
                entry.upstream, lambda client: client.session.get_prompt(entry.item.name, params.arguments)
            )
            call.answered(result)
        messages = [
            message.model_copy(update={"content": self._told(entry.upstream, message.content)})
            for message in result.messages
        ]
        return result.model_copy(update={"messages": messages})

    async def _read_resource(self, context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        with self._audit.call(_state(context)[CALLER_NAME], "resource", params.uri, None) as call:
            upstream, uri = self._owner(params.uri, _rights(context))
            call.at(upstream.name, uri)
            result = await self._asked(upstream, lambda client: client.session.read_resource(uri))
            call.answered(result)
        contents = [part.model_copy(update={"uri": self._named(upstream, part.uri)}) for part in result.contents]
        return result.model_copy(update={"contents": contents})

    async def _complete(self, context: Context, params: CompleteRequestParams) -> CompleteResult:
        rights, reference = _rights(context), params.ref
        asked = reference.name if isinstance(reference, PromptReference) else reference.uri
        with self._audit.call(_state(context)[CALLER_NAME], "completion", asked, None) as call:
            if isinstance(reference, PromptReference):
                entry = await self._found(Kind.PROMPTS, reference.name, rights)
                upstream, update = entry.upstream, {"name": entry.item.name}
            else:
                upstream, uri = self._owner(reference.uri, rights)
                update = {"uri": uri}
            call.at(upstream.name, asked)
            own = reference.model_copy(update=update)
            argument = {"name": params.argument.name, "value": params.argument.value}
            given = params.context.arguments if params.context else None
            result = await self._asked(upstream, lambda client: client.complete(own, argument, given))
            call.answered(result)
        return result

    async def _asked(self, upstream: Upstream, send: Callable[[Client], Awaitable[Reply]]) -> Reply:
        """What the server answers. Raises `MCPError`: its own as it is, or what went wrong on the way."""
        try:
            with self._audit.limits.call("server", upstream.name):
                return await upstream.ask(send)
        except MCPError as error:
            if is_lost(error):
                raise UnknownOutcomeError(INTERNAL_ERROR, f"{upstream.name}: {error.error.message}") from error
            raise
        except AnswerError as error:
            raise MCPError(INTERNAL_ERROR, f"{error}; nothing was called") from error
        except (*MCP_ERRORS, BaseExceptionGroup) as error:
            raise UnknownOutcomeError(
                INTERNAL_ERROR, f"{upstream.name}: {error_line(error)}; it may have been called"
            ) from error

    async def _found(self, kind: Kind, name: str, rights: Rights) -> Entry:
        try:
            entry = await self._catalogue.find(kind, name, rights)
        except AnswerError as error:
            raise MCPError(INTERNAL_ERROR, f"{error}; nothing was called") from error
        if entry is None:
            # What may not be seen is not told from what does not exist.
            raise RefusedError(INVALID_PARAMS, f"unknown {kind.value.removesuffix('s')}: {name[:200]}")
        return entry

    def _owner(self, uri: str, rights: Rights) -> tuple[Upstream, str]:
        owner = self._catalogue.owner(uri, rights)
        if owner is None:
            raise RefusedError(INVALID_PARAMS, f"unknown resource: {uri[:200]}")
        return owner

    # Names of resources

    def _uri(self, entry: Entry, uri: str) -> str:
        return self._named(entry.upstream, uri)

    def _named(self, upstream: Upstream, uri: str) -> str:
        return uri if self._only is not None else exposed_uri(upstream.name, uri)

    def _told(self, upstream: Upstream, part: Any) -> Any:
        """A part of an answer; what it says of a resource can be asked for here."""
        if isinstance(part, ResourceLink):
            return part.model_copy(update={"uri": self._named(upstream, part.uri)})
        if isinstance(part, EmbeddedResource):
            resource = part.resource.model_copy(update={"uri": self._named(upstream, part.resource.uri)})
            return part.model_copy(update={"resource": resource})
        return part


class Endpoints:
    """`/mcp` for all servers, `/mcp/SERVER` for one."""

    def __init__(self, upstreams: Mapping[str, Upstream], agents: AgentTools, audit: Audit) -> None:
        self._upstreams = upstreams
        self._audit = audit
        self._all = Endpoint(upstreams, agents, audit)
        self._one = {name: Endpoint(upstreams, None, audit, name) for name in upstreams}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for endpoint in (self._all, *self._one.values()):
                await stack.enter_async_context(endpoint.running())
            yield
        await self._audit.flush()
        for upstream in self._upstreams.values():
            await upstream.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = scope.get("path_params", {}).get("server")
        # By which the log and the metrics call it, as they call FastAPI's own routes.
        scope["route"] = SimpleNamespace(path="/mcp" if server is None else "/mcp/{server}")
        endpoint = self._all if server is None else self._one.get(server)
        if endpoint is None or not _may_know(scope, server):
            await error_response(404, "unknown_server", "there is no such server")(scope, receive, send)
            return
        await endpoint(scope, receive, send)


def _may_know(scope: Scope, server: str | None) -> bool:
    # Whether there is a server that one may not see is not told.
    rights: Rights = scope["state"].get(RIGHTS, NOTHING)
    return server is None or rights.allows_some_of(server)


def _state(context: Context) -> dict[str, Any]:
    assert context.request is not None, "the endpoint is served over HTTP only"
    state: dict[str, Any] = context.request.scope["state"]
    return state


def _rights(context: Context) -> Rights:
    rights: Rights = _state(context).get(RIGHTS, NOTHING)
    return rights


def _cursor(params: PaginatedRequestParams | None) -> str | None:
    return params.cursor if params is not None else None
