"""One run from request to record: joined to an equal one, answered from the cache, or waited for and made."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gateway import logs
from gateway.agents import Definition, DefinitionError, runnable
from gateway.errors import ApiError
from gateway.metrics import Metrics
from gateway.plan import Plan
from gateway.runs.desk import Desk, QueueFull, WaitedTooLong
from gateway.runs.memory import resident_mib
from gateway.runs.record import RunRecord, Status, now
from gateway.runs.records import Records
from gateway.runs.results import Results, digest
from gateway.runs.sessions import Sessions, Turn, conversation
from gateway.runs.similar import SimilarRuns
from gateway.runs.stores import StoreError
from gateway.runs.tool import Progress, Tool, ToolCaller, ToolError
from gateway.tracing import tracer

log = logging.getLogger(__name__)

CANCEL_LOOK_SECONDS = 1.0
RETRY_AFTER_SECONDS = 2
REMEMBER_SECONDS = 1.0

Event = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Question:
    """What a caller wants of an agent. `arguments` go to the tool beside the gateway's own."""

    agent: str
    text: str
    session: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A question made ready: the tool, what it is called with, and the hash of all that makes the answer."""

    question: Question
    tool: Tool
    arguments: dict[str, Any]
    key: str


class Run:
    """A run under way in this process: its record as it changes, and the events that tell of it."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.refusal: ApiError | None = None
        self.task: asyncio.Task[None] | None = None
        self._has_begun = False
        self._stopped: tuple[Status, str] | None = None
        self._events: list[Event] = []
        self._changed = asyncio.Event()
        self._begun = time.perf_counter()

    def tell(self, name: str, **data: Any) -> None:
        self._events.append((name, data))
        self._changed.set()
        self._changed = asyncio.Event()

    def change(self, status: Status, **fields: Any) -> None:
        self.record = self.record.model_copy(update={"status": status, **fields})

    def stop(self, status: Status, why: str) -> None:
        """Ends the run as `status`, whatever its cancelled parts raise on their way out."""
        # Once only: a second cancellation would cut short what the first one makes it clear away.
        if self.task is None or self._stopped is not None:
            return
        self._stopped = (status, why)
        # A task that is cancelled before its first step never takes it, and would leave no record.
        if self._has_begun:
            self.task.cancel()

    def begin(self) -> None:
        self._has_begun = True
        self.go_on()

    def go_on(self) -> None:
        """Raises `CancelledError` where the run was stopped and a library kept its cancellation to itself."""
        if self._stopped is not None:
            raise asyncio.CancelledError

    def fail(self, error: BaseException) -> None:
        """Ends the run with what `error` means for it."""
        if self._stopped is not None:
            status, why = self._stopped
            self.end(status, error=why)
        elif isinstance(error, QueueFull | WaitedTooLong):
            self.refusal = busy("queue_full" if isinstance(error, QueueFull) else "queue_timeout", str(error))
            self.end("failed", error=str(error))
        elif isinstance(error, ToolError):
            self.end("failed", error=str(error))
        else:
            log.error("unexpected error in a run", exc_info=error)
            self.end("failed", error="unexpected error; the log has it under the run's id")

    def end(self, status: Status, **fields: Any) -> None:
        milliseconds = round((time.perf_counter() - self._begun) * 1000, 1)
        self.change(status, duration_ms=milliseconds, ended=now(), **fields)

    async def events(self) -> AsyncIterator[Event]:
        """Every event from the first on; ends after `done`."""
        told = 0
        while True:
            changed = self._changed
            for event in self._events[told:]:
                yield event
                told += 1
                if event[0] == "done":
                    return
            await changed.wait()

    async def ended(self) -> RunRecord:
        """The record at the end. Raises `ApiError` when the run was refused."""
        async for _ in self.events():
            pass
        if self.refusal is not None:
            raise self.refusal
        return self.record


class RunService:
    def __init__(
        self,
        plan: Plan,
        choose: Callable[[Definition], Tool | None],
        desk: Desk,
        records: Records,
        results: Results,
        sessions: Sessions,
        similar: SimilarRuns,
        caller: ToolCaller,
        metrics: Metrics,
        replica: str,
    ) -> None:
        self._plan = plan
        self._choose = choose
        self._desk = desk
        self._records = records
        self._results = results
        self._sessions = sessions
        self._similar = similar
        self._caller = caller
        self._metrics = metrics
        self._replica = replica
        self._live: dict[str, Run] = {}
        self._flights: dict[tuple[str, str | None], Run] = {}

    async def start(self, question: Question, idempotency_key: str | None) -> Run | RunRecord:
        """A run of the agent, or the record of the one that `idempotency_key` stands for.

        Raises `ApiError`: 404 unknown agent, 409 agent unavailable or the key was used with another input,
        422 an argument that is not the caller's, 429 memory, 503 no MCP server to ask or no Redis for the session.
        """
        definition, tool = self._ready(question)
        run = uuid.uuid4().hex
        if idempotency_key is not None:
            asked = digest(question.agent, question.text, question.session, dict(question.arguments))
            name = hashlib.sha256(f"{question.agent}\0{idempotency_key}".encode()).hexdigest()
            # The run's id carries the question's hash, so that a key used twice with different ones is noticed.
            run = f"{run[:16]}{asked[:16]}"
            first = await self._records.remember_key(name, run)
            if first != run:
                return await self._earlier(first, asked)
        turns = await self._turns(question)
        prompt = conversation(definition.prompt, turns, question.text)
        arguments = tool.arguments(prompt, definition.model, question.arguments)
        key = digest(tool.server, tool.service.endpoint, tool.name, definition.model, arguments)
        if (flight := self._flights.get((key, question.session))) is not None:
            self._metrics.cache("joined")
            return flight
        record = RunRecord(
            id=run,
            agent=question.agent,
            status="queued",
            model=definition.model,
            server=tool.server,
            tool=tool.name,
            replica=self._replica,
            session=question.session,
            created=now(),
        )
        made = Run(record)
        self._live[run] = self._flights[key, question.session] = made
        made.task = asyncio.create_task(self._carry_out(made, Call(question, tool, arguments, key)))
        return made

    def _ready(self, question: Question) -> tuple[Definition, Tool]:
        planned = self._plan.agents.get(question.agent)
        if planned is None:
            listed = "/api/agents/available lists them"
            raise ApiError(404, "unknown_agent", f"there is no agent {question.agent!r}; {listed}")
        try:
            definition = runnable(self._plan, planned)
        except DefinitionError as error:
            raise ApiError(409, "agent_unavailable", str(error)) from error
        tool = self._choose(definition)
        if tool is None:
            raise ApiError(503, "no_mcp_server", "the plan has no MCP server that could answer")
        if fixed := sorted(tool.own_arguments & question.arguments.keys()):
            raise ApiError(422, "fixed_argument", f"arguments: {fixed[0]!r} is given by the gateway; leave it out")
        if resident_mib() > self._plan.limits.agent_memory_mb:
            raise busy("memory_limit", f"this replica is above its {self._plan.limits.agent_memory_mb} MiB")
        return definition, tool

    async def _turns(self, question: Question) -> list[Turn]:
        if question.session is None:
            return []
        try:
            return await self._sessions.get(question.session)
        except StoreError as error:
            message = f"sessions are kept in Redis, which does not answer: {error}; run without a session meanwhile"
            raise ApiError(503, "sessions_unavailable", message) from error

    async def get(self, run: str) -> RunRecord:
        """Raises `ApiError` 404."""
        if (live := self._live.get(run)) is not None:
            return live.record
        record = await self._records.get(run)
        if record is None:
            raise ApiError(404, "unknown_run", "there is no such run, or it is older than a day")
        return record

    async def recent(self) -> list[RunRecord]:
        return await self._records.recent()

    async def cancel(self, run: str) -> RunRecord:
        """Ends a run wherever it is; one that has ended stays as it is. Raises `ApiError` 404."""
        if (live := self._live.get(run)) is not None and live.task is not None:
            live.stop("cancelled", "cancelled on request")
            with suppress(asyncio.CancelledError):
                await asyncio.shield(live.task)
            return live.record
        record = await self.get(run)
        if not record.has_ended:
            await self._records.ask_to_cancel(run)
        return record

    async def work(self) -> None:
        """What goes on beside the requests: leases, signs of life, cancellations from other replicas, gauges."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._desk.work())
            group.create_task(self._records.beat())
            group.create_task(self._similar.work())
            group.create_task(self._watch())

    async def close(self) -> None:
        """Ends what is still running, with a record of each."""
        runs = list(self._live.values())
        for run in runs:
            run.stop("failed", "the gateway stopped")
        await asyncio.gather(*(run.task for run in runs if run.task is not None), return_exceptions=True)
        await self._similar.finish(REMEMBER_SECONDS)

    async def _watch(self) -> None:
        while True:
            for run in await self._records.asked_to_cancel(self._live):
                if (live := self._live.get(run)) is not None:
                    live.stop("cancelled", "cancelled on request")
            standing = self._desk.standing
            self._metrics.slots(standing.running, self._desk.limits.models, standing.waiting)
            await asyncio.sleep(CANCEL_LOOK_SECONDS)

    async def _earlier(self, run: str, asked: str) -> Run | RunRecord:
        if run[16:] != asked[:16]:
            raise ApiError(409, "idempotency_key_reused", "this Idempotency-Key was used with another input")
        if (live := self._live.get(run)) is not None:
            return live
        return await self.get(run)

    async def _carry_out(self, run: Run, call: Call) -> None:
        token = logs.run_id.set(run.record.id)
        labels = {"promptcraft.run": run.record.id, "promptcraft.agent": run.record.agent}
        with tracer.start_as_current_span(f"run {run.record.agent}", attributes=labels) as span:
            try:
                run.begin()
                await self._answer(run, call)
            # Nobody awaits this task, and the MCP client's task groups raise a cancellation in groups and with words
            # of their own: what is not caught here would end without a record.
            except (Exception, asyncio.CancelledError, BaseExceptionGroup) as error:  # noqa: BLE001
                run.fail(error)
            finally:
                # Out of the tables first: whoever comes now starts anew or finds the saved result.
                self._flights.pop((call.key, run.record.session), None)
                await asyncio.shield(self._conclude(run))
                span.set_attributes(
                    {
                        "promptcraft.outcome": run.record.status,
                        "promptcraft.cached": run.record.cached,
                        "promptcraft.model": run.record.model,
                    }
                )
                logs.run_id.reset(token)

    async def _answer(self, run: Run, call: Call) -> None:
        output, is_cached = await self._output(run, call)
        note = await self._keep_turn(run, call.question, output)
        run.end("succeeded", output=output, cached=is_cached, note=note)
        if not is_cached:
            self._similar.remember(run.record, call.question.text)

    async def _output(self, run: Run, call: Call) -> tuple[str, bool]:
        if (known := await self._results.get(call.key)) is not None:
            self._metrics.cache("hit")
            return known, True
        run.tell("queued", id=run.record.id)
        await self._records.save(run.record)
        async with self._results.flight(call.key, run.record.id) as made_elsewhere:
            if made_elsewhere is not None:
                self._metrics.cache("joined")
                return made_elsewhere, True
            self._metrics.cache("miss")
            async with self._desk.slot(run.record.id, run.record.model):
                run.change("running", started=now())
                run.tell("started", id=run.record.id)
                await self._records.save(run.record)
                output = await self._caller.call(call.tool, call.arguments, _progress(run), _attempt(run))
            await self._results.put(call.key, output)
            return output, False

    async def _keep_turn(self, run: Run, question: Question, output: str) -> str | None:
        if question.session is None:
            return None
        turn = Turn(run=run.record.id, agent=question.agent, at=now(), input=question.text, output=output)
        try:
            await self._sessions.add(question.session, turn)
        except StoreError as error:
            # The answer is there and was paid for: it is given, and the caller told what is lost.
            self._metrics.session_turn("failed")
            return f"the session does not have this turn: {error}"
        self._metrics.session_turn("kept")
        return None

    async def _conclude(self, run: Run) -> None:
        record = run.record
        assert record.duration_ms is not None
        await self._records.save(record)
        self._live.pop(record.id, None)
        outcome = "refused" if run.refusal else record.status
        self._metrics.run(record.agent, record.model, outcome, record.duration_ms / 1000)
        log.info(
            "run ended",
            extra={
                "agent": record.agent,
                "model": record.model,
                "server": record.server,
                "outcome": outcome,
                "duration_ms": record.duration_ms,
            },
        )
        if record.output is not None:
            run.tell("output", text=record.output)
        run.tell("done", **record.model_dump())


def busy(code: str, message: str) -> ApiError:
    return ApiError(429, code, message, {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _attempt(run: Run) -> Callable[[], None]:
    def attempted() -> None:
        run.go_on()
        run.change("running", attempts=run.record.attempts + 1)

    return attempted


def _progress(run: Run) -> Progress:
    async def tell(progress: float, total: float | None, message: str | None) -> None:
        run.tell("progress", progress=progress, total=total, message=message)

    return tell
