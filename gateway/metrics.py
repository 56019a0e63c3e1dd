"""The metrics (docs/interface.md). Label values are bounded: names come from the plan and from route templates only."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest

from gateway.health import Look

# A second series for every counter, which nothing here reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

# From an answer out of the cache to a run of five minutes.
RUN_BUCKETS = (0.005, 0.02, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
HTTP_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 1, 5, 30, 120, 300)


# Models by their full names, and tools of all servers together, that get a label of their own.
MAX_MODELS = 50
MAX_TOOLS = 500


class _Few:
    """Names that others make up, as labels: the first `most` of them, then `other`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def label(self, name: str) -> str:
        if name in self._known or len(self._known) < self._most:
            self._known.add(name)
            return name
        return "other"


class Metrics:
    """One registry a gateway, so that tests can have several."""

    def __init__(self, models: Collection[str]) -> None:
        self._models = frozenset(models)
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._run_seconds = Histogram(
            "promptcraft_agent_run_seconds",
            "From the request to the end of a run, waiting included.",
            ("agent", "model", "outcome"),
            buckets=RUN_BUCKETS,
            registry=self.registry,
        )
        self._slots = Gauge(
            "promptcraft_agent_slots",
            "Runs over all replicas (state running, waiting) and how many may run (state limit), by model.",
            ("model", "state"),
            registry=self.registry,
        )
        self._mcp_requests = Counter(
            "promptcraft_mcp_requests_total",
            "Calls of MCP tools.",
            ("server", "tool", "outcome"),
            registry=self.registry,
        )
        self._mcp_seconds = Histogram(
            "promptcraft_mcp_request_seconds",
            "How long calls of MCP tools took, connecting included.",
            ("server", "tool", "outcome"),
            buckets=RUN_BUCKETS,
            registry=self.registry,
        )
        self._http_requests = Counter(
            "promptcraft_http_requests_total",
            "Requests answered, on both ports.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._http_seconds = Histogram(
            "promptcraft_http_request_seconds",
            "From the request to the end of its answer.",
            ("route", "method", "status"),
            buckets=HTTP_BUCKETS,
            registry=self.registry,
        )
        self._cache_requests = Counter(
            "promptcraft_cache_requests_total",
            "Runs by how the cache served them: hit, miss, joined (to an equal run under way).",
            ("outcome",),
            registry=self.registry,
        )

        self._service_info = Gauge(
            "promptcraft_service_info",
            "1 for each service: where it comes from, and what was decided about it.",
            ("service", "source", "decision"),
            registry=self.registry,
        )
        self._service_healthy = Gauge(
            "promptcraft_service_healthy",
            "Whether a service answers as it should: 1 or 0.",
            ("service",),
            registry=self.registry,
        )
        self._similar = Counter(
            "promptcraft_similar_runs_total",
            "Succeeded runs by what became of their vector: stored, failed, dropped (too many waited).",
            ("outcome",),
            registry=self.registry,
        )
        self._session_turns = Counter(
            "promptcraft_session_turns_total",
            "Turns of sessions by what became of them: kept, failed.",
            ("outcome",),
            registry=self.registry,
        )
        self._tokens = Counter(
            "promptcraft_tokens_total",
            "Tokens of models that runs used, by direction: input, output.",
            ("agent", "model", "direction"),
            registry=self.registry,
        )
        self._tool_calls = Counter(
            "promptcraft_tool_calls_total",
            "Calls of MCP tools by models in runs.",
            ("server", "tool", "outcome"),
            registry=self.registry,
        )
        self._answering, self._tools = _Few(MAX_MODELS), _Few(MAX_TOOLS)
        self._forgotten = Counter(
            "promptcraft_forgotten_total",
            "What was forgotten before its time, to make room for newer of the same kind and caller: results, records, "
            "sessions, keys.",
            ("kind",),
            registry=self.registry,
        )

    def model(self, name: str) -> str:
        """The model as a label; one without a limit of its own counts as `other`."""
        return name if name in self._models else "other"

    def run(self, agent: str, model: str, outcome: str, seconds: float) -> None:
        self._run_seconds.labels(agent, self.model(model), outcome).observe(seconds)

    def slots(self, running: Mapping[str, int], limits: Mapping[str, int], waiting: int) -> None:
        for model, limit in limits.items():
            self._slots.labels(model, "limit").set(limit)
            self._slots.labels(model, "running").set(running.get(model, 0))
        other = sum(count for model, count in running.items() if model not in self._models)
        self._slots.labels("other", "running").set(other)
        self._slots.labels("all", "waiting").set(waiting)

    def mcp_request(self, server: str, tool: str, outcome: str, seconds: float) -> None:
        labels = (server, self.tool(server, tool), outcome)
        self._mcp_requests.labels(*labels).inc()
        self._mcp_seconds.labels(*labels).observe(seconds)

    def tokens(self, agent: str, model: str, more_in: int, more_out: int) -> None:
        label = self._answering.label(model)
        self._tokens.labels(agent, label, "input").inc(more_in)
        self._tokens.labels(agent, label, "output").inc(more_out)

    def tool_call(self, server: str, tool: str, outcome: str) -> None:
        self._tool_calls.labels(server, self.tool(server, tool), outcome).inc()

    def tool(self, server: str, tool: str) -> str:
        """The tool as a label; a server that names ever new ones ends with `other`."""
        return tool if self._tools.label(f"{server}\0{tool}") != "other" else "other"

    def http_request(self, route: str, method: str, status: int, seconds: float) -> None:
        labels = (route, method if method in METHODS else "OTHER", str(status))
        self._http_requests.labels(*labels).inc()
        self._http_seconds.labels(*labels).observe(seconds)

    def cache(self, outcome: str) -> None:
        self._cache_requests.labels(outcome).inc()

    def services(self, look: Look) -> None:
        """What each service is and whether it answers, as one look found it."""
        for name, health in look.services.items():
            self._service_info.labels(name, health.source or "", health.action).set(1)
            if health.status != "omitted":
                self._service_healthy.labels(name).set(health.status in ("ok", "unknown"))

    def similar(self, outcome: str) -> None:
        self._similar.labels(outcome).inc()

    def session_turn(self, outcome: str) -> None:
        self._session_turns.labels(outcome).inc()

    def forgotten(self, kind: str, count: int) -> None:
        self._forgotten.labels(kind).inc(count)

    def text(self) -> bytes:
        return generate_latest(self.registry)


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
