"""A run that is stopped ends as what it was stopped for, whatever comes out of the parts that were cancelled."""

from __future__ import annotations

import asyncio

import pytest

from gateway.runs.record import RunRecord, now
from gateway.runs.run import Run
from gateway.runs.tool import ToolError


def made() -> Run:
    return Run(
        RunRecord(id="1", agent="a", status="queued", model="m", server="s", tool="t", replica="r", created=now()),
        "anybody",
    )


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        # As anyio words it.
        asyncio.CancelledError("Cancelled via cancel scope 7f0; reason: deadline exceeded"),
        BaseExceptionGroup("unhandled errors in a TaskGroup", [asyncio.CancelledError()]),
        ExceptionGroup("unhandled errors in a TaskGroup", [ConnectionResetError()]),
        ToolError("zen-mcp: connection closed"),
    ],
)
@pytest.mark.parametrize(("status", "why"), [("cancelled", "on request"), ("failed", "the gateway stopped")])
def test_what_a_stopped_run_raises_does_not_change_its_end(error: BaseException, status: str, why: str) -> None:
    async def check() -> None:
        run = made()
        run.task = asyncio.create_task(asyncio.sleep(60))
        run.begin()
        run.stop(status, why)  # type: ignore[arg-type]
        run.fail(error)
        assert (run.record.status, run.record.error) == (status, why)
        with pytest.raises(asyncio.CancelledError):
            await run.task

    asyncio.run(check())


def test_a_run_that_is_stopped_before_its_first_step_takes_it_and_ends() -> None:
    async def carry_out(run: Run) -> None:
        try:
            run.begin()
        except asyncio.CancelledError as error:
            run.fail(error)

    async def check() -> None:
        run = made()
        run.task = asyncio.create_task(carry_out(run))
        run.stop("cancelled", "on request")
        await run.task
        assert run.record.status == "cancelled"

    asyncio.run(check())


def test_the_first_stop_counts() -> None:
    async def check() -> None:
        run = made()
        run.task = asyncio.create_task(asyncio.sleep(60))
        run.begin()
        run.stop("cancelled", "on request")
        run.stop("failed", "the gateway stopped")
        assert run.task.cancelling() == 1
        run.fail(asyncio.CancelledError())
        assert run.record.status == "cancelled"
        with pytest.raises(asyncio.CancelledError):
            await run.task

    asyncio.run(check())
