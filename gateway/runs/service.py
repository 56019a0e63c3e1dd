"""One run from request to record: joined to an equal one, answered from the cache, or waited for and made."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from gateway import logs
from gateway.agents import Definition, DefinitionError, runnable
from gateway.errors import ApiError
from gateway.metrics import Metrics
from gateway.plan import Plan
from gateway.room import RETRY_AFTER_SECONDS, Hold
from gateway.runs.day_tokens import DayTokens
from gateway.runs.desk import PATIENCE_SECONDS, Desk
from gateway.runs.keys import Claim, KeyReused, Keys
from gateway.runs.record import RunRecord, Step, Usage, now
from gateway.runs.records import Records, lost
from gateway.runs.results import Results, digest
from gateway.runs.run import Call, Flown, Question, Run
from gateway.runs.sessions import Sessions, Turn
from gateway.runs.similar import SimilarRuns
from gateway.runs.stores import StoreError
from gateway.runs.way import Answer, Way
from gateway.runs.ways import Unanswerable, Ways
from gateway.tracing import tracer

log = logging.getLogger(__name__)

CANCEL_LOOK_SECONDS = 1.0
BEAT_SECONDS = 4.0
# Between two looks at what became of the run of a key.
LOOK_AGAIN_SECONDS = 0.2
# So long a replica may be missed before its run is given up: after a pause of Redis it has to catch up first.
LOST_SECONDS = 2 * BEAT_SECONDS
REMEMBER_SECONDS = 1.0

Reply = TypeVar("Reply")


class RunService:
    def __init__(
        self,
        *,
        plan: Plan,
        ways: Ways,
        desk: Desk,
        records: Records,
        keys: Keys,
        results: Results,
        sessions: Sessions,
        similar: SimilarRuns,
        day_tokens: DayTokens,
        metrics: Metrics,
        replica: str,
    ) -> None:
        self._plan = plan
        self._ways = ways
        self._desk = desk
        self._records = records
        self._keys = keys
        self._results = results
        self._sessions = sessions
        self._similar = similar
        self._day_tokens = day_tokens
        self._metrics = metrics
        self._replica = replica
        self._live: dict[str, Run] = {}
        self._flights: dict[Flown, Run] = {}

    async def start(self, question: Question, hold: Hold) -> Run | RunRecord:
        """A run of the agent, or the record of the one that the question's key stands for. The run shares `hold`.

        Raises `ApiError`: 404 unknown agent, 409 agent unavailable or the key was used with another input,
        422 an argument that is not the caller's, 503 no Redis for the session or the key.
        """
        definition, way = self._ready(question)
        if question.key is None:
            return await self._run(question, definition, way, hold)
        claimed = await self._claimed(question, question.key)
        if not isinstance(claimed, Claim):
            return claimed
        try:
            run = await self._run(question, definition, way, hold)
        except BaseException:
            await asyncio.shield(self._keys.release(claimed))
            raise
        run.claims.append(claimed)
        if run.is_spent:
            await self._keys.keep_soon(claimed, run.record)
        return run

    async def _claimed(self, question: Question, key: str) -> Claim | Run | RunRecord:
        """The key for this request alone, or what it stands for already; waits while another request has it."""
        asked = digest(question.agent, question.text, question.session, dict(question.arguments))
        claim = self._keys.draft(question.caller, question.agent, key, asked)
        missed_from: float | None = None
        while True:
            try:
                found = await _patiently(lambda: self._keys.claim(claim))
            except KeyReused as error:
                reused = "this Idempotency-Key was used with another input"
                raise ApiError(409, "idempotency_key_reused", reused) from error
            if found is True:
                return claim
            if isinstance(found, RunRecord):
                if (live := self._live.get(found.id)) is not None:
                    return live
                if found.has_ended:
                    return found
                if not await self._records.is_lost(found):
                    missed_from = None
                elif time.monotonic() - (missed_from := missed_from or time.monotonic()) > LOST_SECONDS:
                    return lost(found)
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _run(self, question: Question, definition: Definition, way: Way, hold: Hold) -> Run:
        turns = await self._turns(question)
        prepared = way.prepare(definition, turns, question.text, question.arguments)
        key = digest(*prepared.makes)
        flown = (key, question.caller if question.session else "", question.session)
        if (flight := self._flights.get(flown)) is not None:
            self._metrics.cache("joined")
            return flight
        record = RunRecord(
            id=uuid.uuid4().hex,
            agent=question.agent,
            status="queued",
            model=definition.model,
            answered_by=way.answered_by,
            server=way.server,
            tool=way.tool,
            replica=self._replica,
            session=question.session,
            created=now(),
        )
        made = Run(record, question.caller)
        hold.share()
        self._live[record.id] = self._flights[flown] = made
        made.task = asyncio.create_task(
            self._carry_out(made, Call(question, prepared, way.answered_by is not None, key, flown))
        )
        made.task.add_done_callback(lambda _: hold.release())
        return made

    def _ready(self, question: Question) -> tuple[Definition, Way]:
        planned = self._plan.agents.get(question.agent)
        if planned is None:
            listed = "/api/agents/available lists them"
            raise ApiError(404, "unknown_agent", f"there is no agent {question.agent!r}; {listed}")
        try:
            definition = runnable(self._plan, planned)
            way = self._ways.choose(question.agent, definition)
        except (DefinitionError, Unanswerable) as error:
            raise ApiError(409, "agent_unavailable", str(error)) from error
        if (refusal := way.refusal(question.arguments)) is not None:
            raise ApiError(422, "fixed_argument", f"arguments: {refusal}")
        return definition, way

    async def _turns(self, question: Question) -> list[Turn]:
        if question.session is None:
            return []
        try:
            return await self._sessions.get(question.caller, question.session)
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
            group.create_task(self._beat())
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

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await self._records.beat()
            await self._keys.beat()

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
                self._flights.pop(call.flown, None)
                await asyncio.shield(self._conclude(run))
                span.set_attributes(
                    {
                        "promptcraft.outcome": run.record.status,
                        "promptcraft.cached": run.record.cached,
                        "promptcraft.model": run.record.model,
                        "promptcraft.answered_by": run.record.answered_by or "",
                        "promptcraft.input_tokens": run.record.usage.input_tokens,
                        "promptcraft.output_tokens": run.record.usage.output_tokens,
                        "promptcraft.tool_calls": run.record.usage.tool_calls,
                    }
                )
                logs.run_id.reset(token)

    async def _answer(self, run: Run, call: Call) -> None:
        answer, is_cached = await self._output(run, call)
        lost_turn = await self._keep_turn(run, call.question, answer.output)
        note = "; ".join(one for one in (answer.note, lost_turn) if one) or None
        run.end("succeeded", output=answer.output, cached=is_cached, note=note)
        if not is_cached:
            self._similar.remember(run.record, call.question.text)

    async def _output(self, run: Run, call: Call) -> tuple[Answer, bool]:
        if (known := await self._results.get(call.key)) is not None:
            self._metrics.cache("hit")
            return Answer(known), True
        if call.is_metered:
            await self._day_tokens.check(run.caller)
        run.tell("queued", id=run.record.id)
        await self._records.save(run.record, run.caller)
        async with self._results.flight(call.key, run.record.id) as made_elsewhere:
            if made_elsewhere is not None:
                self._metrics.cache("joined")
                return Answer(made_elsewhere), True
            self._metrics.cache("miss")
            async with self._desk.slot(run.record.id, run.record.model):
                run.change("running", started=now())
                run.tell("started", id=run.record.id)
                await self._records.save(run.record, run.caller)
                await self._spend(run)
                answer = await call.prepared.carry_out(_Told(run, self._metrics, self._day_tokens))
            if answer.note is None:
                await self._results.put(call.key, answer.output)
            return answer, False

    async def _spend(self, run: Run) -> None:
        """From here on the keys stand for this run, whatever becomes of it. Raises `ApiError` 503 where one can't."""
        kept: set[Claim] = set()
        # Others may join meanwhile.
        while waiting := [claim for claim in run.claims if claim not in kept]:
            for claim in waiting:
                if not await _patiently(partial(self._keys.keep, claim, run.record)):
                    raise _no_keys("it was away while this run waited, and another run has the key by now")
                kept.add(claim)
        run.is_spent = True

    async def _keep_turn(self, run: Run, question: Question, output: str) -> str | None:
        if question.session is None:
            return None
        turn = Turn(run=run.record.id, agent=question.agent, at=now(), input=question.text, output=output)
        try:
            await self._sessions.add(question.caller, question.session, turn)
        except StoreError as error:
            # The answer is there and was paid for: it is given, and the caller told what is lost.
            self._metrics.session_turn("failed")
            return f"the session does not have this turn: {error}"
        self._metrics.session_turn("kept")
        return None

    async def _conclude(self, run: Run) -> None:
        record = run.record
        assert record.duration_ms is not None
        await self._records.save(record, run.caller)
        for claim in run.claims:
            if run.is_spent or record.status == "succeeded":
                await self._keys.keep_soon(claim, record)
            else:
                await self._keys.release(claim)
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


async def _patiently(ask: Callable[[], Awaitable[Reply]]) -> Reply:
    """What Redis answers, however often it has to be asked. Raises `ApiError` 503 after `PATIENCE_SECONDS`."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await ask()
        except StoreError as error:
            if time.monotonic() > until:
                raise _no_keys(str(error)) from error
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


def _no_keys(why: str) -> ApiError:
    message = f"Idempotency-Keys are kept in Redis, which does not answer: {why}; ask again, or without a key"
    return ApiError(503, "keys_unavailable", message, {"Retry-After": str(RETRY_AFTER_SECONDS)})


class _Told:
    """Writes what a run is told into its record, its events, the metrics and its caller's count."""

    def __init__(self, run: Run, metrics: Metrics, day_tokens: DayTokens) -> None:
        self._run = run
        self._metrics = metrics
        self._day_tokens = day_tokens

    def attempted(self) -> None:
        self._run.go_on()
        self._run.change("running", attempts=self._run.record.attempts + 1)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        self._run.tell("progress", progress=progress, total=total, message=message)

    def text(self, more: str) -> None:
        self._run.tell("text", text=more)

    def step(self, step: Step) -> None:
        self._run.tell("step", **step.model_dump())
        if step.outcome is not None:
            self._run.change("running", steps=[*self._run.record.steps, step])
            self._metrics.tool_call(step.server, step.tool, step.outcome)

    async def used(self, usage: Usage) -> None:
        record = self._run.record
        more_in = usage.input_tokens - record.usage.input_tokens
        more_out = usage.output_tokens - record.usage.output_tokens
        self._run.change("running", usage=usage)
        if more_in or more_out:
            self._metrics.tokens(record.agent, record.answered_by or "", more_in, more_out)
            await self._day_tokens.add(self._run.caller, more_in + more_out)
