"""`python -m gateway`: read the settings and the plan, then serve until told to stop."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import Mapping
from functools import partial

from gateway import logs, tracing
from gateway.apps import Parts, build_api, build_page
from gateway.callers import ISSUER_SHELVES, Callers, TokensError, load_callers
from gateway.endpoint.agents import AgentTools
from gateway.endpoint.audit import Audit
from gateway.endpoint.limits import Limits, Most
from gateway.endpoint.routes import call_routes
from gateway.endpoint.server import Endpoints
from gateway.endpoint.upstream import upstreams
from gateway.health import HealthBoard
from gateway.issuer import Issuer
from gateway.metrics import Metrics
from gateway.models.providers import Providers
from gateway.past_routes import session_routes, similar_routes
from gateway.pins.guard import ToolGuard, load_pins
from gateway.pins.tool_set import PinError, ToolSet
from gateway.plan import Plan, PlanError, load_plan
from gateway.protected_resource import metadata_routes
from gateway.rights import Access, Rights
from gateway.room import Room, container_limit
from gateway.routes import look_at, read_routes
from gateway.run_routes import run_routes
from gateway.runs.day_tokens import DayTokens
from gateway.runs.desk import Desk
from gateway.runs.embedding import choose_embedder
from gateway.runs.keys import Keys
from gateway.runs.model_way import ModelRunner
from gateway.runs.records import Records
from gateway.runs.results import Results
from gateway.runs.service import RunService
from gateway.runs.sessions import Sessions
from gateway.runs.shared import Shared, connect
from gateway.runs.shelves import Shelf, shares
from gateway.runs.similar import SimilarRuns
from gateway.runs.slots import RedisLedger, SlotLimits
from gateway.runs.tool import ToolCaller
from gateway.runs.ways import Ways
from gateway.serve import serve
from gateway.servers import ServerBoard
from gateway.settings import Settings, SettingsError, load_settings
from gateway.tool_routes import tool_routes


async def run(settings: Settings, plan: Plan, callers: Callers, pins: Mapping[str, ToolSet]) -> None:
    stopping = asyncio.Event()
    replica = uuid.uuid4().hex
    end_traces = tracing.start(replica) if settings.traces_endpoint else None
    metrics = Metrics(plan.limits.models)
    shared = connect(plan)
    limits = SlotLimits(plan.limits.max_concurrent_agents, plan.limits.models, settings.queue_limit)
    ledger = RedisLedger(shared.redis, shared.prefix, limits) if shared.redis else None
    desk = Desk(limits, ledger, settings.queue_seconds)
    room = Room(min(container_limit() or sys.maxsize, plan.limits.agent_memory_mb * 2**20))
    known = len(callers) + (ISSUER_SHELVES if plan.oauth is not None else 0)
    share = shares(settings.store_mib * 2**20, callers=max(1, known))
    shelf = partial(Shelf, shared, forgotten=metrics.forgotten)
    sessions = Sessions(
        shared,
        shelf("sessions", share.sessions),
        settings.session_turns,
        settings.session_bytes,
        settings.session_seconds,
    )
    similar = SimilarRuns(plan, choose_embedder(settings), settings.similar_days, metrics)
    providers = Providers(plan.models, settings.run_seconds)
    guard = ToolGuard(plan, shared, pins)
    runner = ModelRunner(plan, settings, metrics, providers, guard)
    ways = Ways(runner, ToolCaller(settings.run_seconds, metrics, guard))
    service = RunService(
        plan=plan,
        ways=ways,
        desk=desk,
        records=Records(shared, shelf("records", share.records), replica),
        keys=Keys(shared, shelf("keys", share.keys)),
        results=Results(shared, shelf("results", share.results), settings.cache_seconds),
        sessions=sessions,
        similar=similar,
        day_tokens=DayTokens(shared, settings.day_tokens),
        metrics=metrics,
        replica=replica,
    )
    issuer = Issuer(plan.oauth) if plan.oauth is not None else None
    board, servers = HealthBoard(plan, settings.check_seconds), ServerBoard(plan, settings.check_seconds, guard)
    audit = Audit(shared, metrics, _limits(settings, shared))
    routers = [
        read_routes(
            plan=plan,
            board=board,
            servers=servers,
            desk=desk,
            shared=shared,
            similar=similar,
            service=service,
            ways=ways,
            providers=providers,
            issuer=issuer,
            stopping=stopping,
        ),
        tool_routes(servers),
        call_routes(audit),
        # Before the runs by their id: `similar` is none.
        similar_routes(similar, plan.agents.keys()),
        run_routes(service),
        session_routes(sessions),
        *([metadata_routes(plan.oauth)] if plan.oauth is not None else []),
    ]
    servers_asked = upstreams(plan.used("mcp"), settings.run_seconds, settings.answer_mib * 2**20, guard)
    endpoints = Endpoints(servers_asked, AgentTools(plan, service, partial(look_at, plan, ways, {})), audit)
    parts = Parts(settings, routers, metrics, board, callers, _access(settings, plan), issuer, room, endpoints)

    working = asyncio.create_task(_work(service, issuer, audit))
    tidying = asyncio.create_task(shared.tidy())
    apps = {settings.page_port: build_page(parts), settings.api_port: build_api(parts)}
    async with endpoints.running():
        serving = asyncio.create_task(serve(settings.host, apps, stopping))
        # The work beside the requests never ends by itself: if it does, that is a fault, and the process goes with it.
        await asyncio.wait({working, serving}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            working.result()
        await serving
    await service.close()
    working.cancel()
    tidying.cancel()
    # With an end, since a cancellation can get lost inside Redis's client; `asyncio.run` cancels once more.
    await asyncio.wait({working}, timeout=1)
    await similar.close()
    await providers.close()
    await shared.close()
    if end_traces is not None:
        end_traces()


async def _work(service: RunService, issuer: Issuer | None, audit: Audit) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(service.work())
        group.create_task(audit.work())
        if issuer is not None:
            group.create_task(issuer.work())


def _limits(settings: Settings, shared: Shared) -> Limits:
    caller = Most(settings.caller_calls, settings.caller_at_once)
    return Limits(shared, caller, Most(settings.server_calls, settings.server_at_once))


def _access(settings: Settings, plan: Plan) -> Access:
    given = None if plan.access is None else {name: Rights(globs) for name, globs in plan.access.items()}
    return Access(given, settings.environment == "production")


def main() -> int:
    try:
        settings = load_settings(os.environ)
        plan = load_plan(settings.plan_file)
        callers = load_callers(settings.tokens_file)
        pins = load_pins(plan)
    except (SettingsError, PlanError, TokensError, PinError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure(settings.log_level_number)
    asyncio.run(run(settings, plan, callers, pins))
    return 0


if __name__ == "__main__":
    sys.exit(main())
