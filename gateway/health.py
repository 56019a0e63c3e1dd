"""The health of everything the plan names: all asked at once, each within its own time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from gateway import VERSION
from gateway.checks import CHECKS, Answer, Check
from gateway.plan import Plan, PlannedService

log = logging.getLogger(__name__)

# Callers within this many seconds share one look, so that a crowd at the page is no load on the services.
FRESH_SECONDS = 1.0

Overall = Literal["ok", "degraded", "down"]
ServiceStatus = Literal["ok", "degraded", "down", "omitted", "unknown"]


@dataclass(frozen=True)
class ServiceHealth:
    """One service as it is now.

    `reason` is why it was chosen, `problem` what is wrong with it, `differs` what about it is not as planned.
    """

    status: ServiceStatus
    source: str | None
    endpoint: str | None
    latency_ms: float | None
    version: str | None
    action: str
    reason: str
    stand_in: str | None
    problem: str | None
    differs: str | None
    since: str


@dataclass(frozen=True)
class Look:
    """What one look at all services found; `at` is when it ended."""

    status: Overall
    at: str
    services: Mapping[str, ServiceHealth]

    def to_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "service": "promptcraft",
            "version": VERSION,
            "at": self.at,
            "services": {name: asdict(service) for name, service in self.services.items()},
        }


class HealthBoard:
    """Asks the services and remembers since when each is as it is."""

    def __init__(self, plan: Plan, seconds: float, checks: Mapping[str, Check] = CHECKS) -> None:
        self._plan = plan
        self._seconds = seconds
        self._checks = checks
        self._lock = asyncio.Lock()
        self._last: Look | None = None
        self._last_at = 0.0
        self._since: dict[str, tuple[ServiceStatus, str]] = {}

    async def look(self) -> Look:
        """The health of every service, at most `FRESH_SECONDS` old."""
        async with self._lock:
            if self._last is None or time.monotonic() - self._last_at > FRESH_SECONDS:
                names = list(self._plan.services)
                found = await asyncio.gather(*(self._ask(name, self._plan.services[name]) for name in names))
                services = dict(zip(names, found, strict=True))
                self._last = Look(overall(self._plan, services), _now(), services)
                self._last_at = time.monotonic()
            return self._last

    async def _ask(self, name: str, service: PlannedService) -> ServiceHealth:
        if not service.is_used:
            return self._seen(name, service, "omitted", None, None)
        if service.protocol == "promptcraft":
            # That is this process, and it is answering.
            return self._seen(name, service, "ok", 0.0, Answer("ok", VERSION))
        check = self._checks.get(service.protocol)
        if check is None:
            unknown = f"this gateway can't ask a service that speaks {service.protocol}"
            return self._seen(name, service, "unknown", None, Answer("down", problem=unknown))
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._seconds):
                answer = await check(service, self._seconds)
        except TimeoutError:
            answer = Answer("down", problem=f"no answer within {self._seconds:g} s")
        return self._seen(name, service, answer.status, round((time.perf_counter() - started) * 1000, 1), answer)

    def _seen(
        self, name: str, service: PlannedService, status: ServiceStatus, latency_ms: float | None, answer: Answer | None
    ) -> ServiceHealth:
        previous = self._since.get(name)
        if previous is None or previous[0] != status:
            self._since[name] = (status, _now())
            if previous is not None:
                log.warning("%s: %s, was %s", name, status, previous[0], extra={"server": name})
        return ServiceHealth(
            status=status,
            source=service.source,
            endpoint=service.endpoint,
            latency_ms=latency_ms,
            version=answer.version if answer else None,
            action=service.action,
            reason=service.reason,
            stand_in=service.stand_in,
            problem=answer.problem if answer else None,
            differs=difference(service, status, answer),
            since=self._since[name][1],
        )


def difference(service: PlannedService, status: ServiceStatus, answer: Answer | None) -> str | None:
    """What is not as the plan says, in one line; None when all is."""
    if status == "down":
        return f"planned as {service.action}, and does not answer"
    if answer is None or answer.stand_in is None:
        return None
    if answer.stand_in and service.stand_in is None:
        return "planned as the real service, and a stand-in answers"
    if not answer.stand_in and service.stand_in is not None:
        return "planned as a stand-in, and the real service answers"
    return None


def overall(plan: Plan, services: Mapping[str, ServiceHealth]) -> Overall:
    """`down` when no agent can run (what answers for them is all down), `degraded` when anything else is not well."""
    used = {name: health for name, health in services.items() if health.status != "omitted"}
    answering = [used[name].status for protocol in ("mcp", "openai") for name in plan.used(protocol)]
    # A provider is no service of the stack, and nobody asks it how it is.
    if answering and not plan.models.providers and all(status == "down" for status in answering):
        return "down"
    return "ok" if all(health.status in ("ok", "unknown") for health in used.values()) else "degraded"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
