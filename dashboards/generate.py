"""`python -m dashboards.generate`: write the project's dashboards; a test fails while they are out of date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import AxisPlacement, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef, DynamicConfigValue
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards import SOURCE

_WIDTH, _HEIGHT = 12, 9
_RATE = "1m"

_RUNS = "promptcraft_agent_run_seconds"
_MCP = "promptcraft_mcp_requests_total"
_MCP_SECONDS = "promptcraft_mcp_request_seconds"
_NOT_MADE = ("refused", "blocked", "limited")
_HTTP = "promptcraft_http_requests_total"
_TOKENS = "promptcraft_tokens_total"
_TOOLS = "promptcraft_tool_calls_total"


@dataclass(frozen=True)
class Query:
    """A PromQL expression and its legend; with a `right` unit it has the axis on the right."""

    expression: str
    legend: str
    right: str | None = None


@dataclass(frozen=True)
class Panel:
    """A panel over time. `unit` is Grafana's name of a unit."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]


def _quantile(quantile: float, by: str, metric: str = _RUNS) -> Query:
    buckets = f"sum by (le, {by}) (rate({metric}_bucket[{_RATE}]))"
    return Query(f"histogram_quantile({quantile}, {buckets})", f"{{{{{by}}}}} p{int(quantile * 100)}")


def _rate(metric: str, *by: str) -> Query:
    return Query(f"sum by ({', '.join(by)}) (rate({metric}[{_RATE}]))", " ".join(f"{{{{{label}}}}}" for label in by))


def _amount(metric: str, condition: str, what: str, by: str) -> Query:
    """How much of `metric` meets `condition`: 0, and not nothing, while none does."""
    some = f"sum by ({by}) (rate({metric}{{{condition}}}[{_RATE}]))"
    return Query(f"{some} or 0 * sum by ({by}) (rate({metric}[{_RATE}]))", f"{{{{{by}}}}} {what}")


def _share(metric: str, condition: str, what: str, by: str = "instance") -> Query:
    """The share of `metric` that meets `condition`: 0, and not nothing, while none does."""
    every = f"sum by ({by}) (rate({metric}[{_RATE}]))"
    some = f"sum by ({by}) (rate({metric}{{{condition}}}[{_RATE}]))"
    return Query(f"({some} or 0 * {every}) / {every}", f"{{{{{by}}}}} {what}")


PANELS = (
    Panel(
        "Agent execution times",
        "How long runs take, waiting included: half and 95 of 100 are quicker. By agent, and by replica.",
        "s",
        (
            _quantile(0.5, "agent"),
            _quantile(0.95, "agent"),
            _quantile(0.95, "instance"),
            Query(f"sum by (agent, outcome) (rate({_RUNS}_count[{_RATE}]))", "{{agent}} {{outcome}} runs", "reqps"),
        ),
    ),
    Panel(
        "MCP response rates",
        "Answers of MCP servers to the application, by outcome, and by the replica that asked.",
        "reqps",
        (_rate(_MCP, "server", "outcome"), _rate(_MCP, "instance")),
    ),
    Panel(
        "Calls that were not made",
        "What the application kept from MCP servers: refused (no right, or no such tool), blocked (not what was "
        "accepted), limited (too many).",
        "reqps",
        tuple(_amount(_MCP, f'outcome="{outcome}"', outcome, by="server") for outcome in _NOT_MADE),
    ),
    Panel(
        "MCP response times",
        "How long calls of MCP servers take: half and 95 of 100 are quicker. By server, the way there included.",
        "s",
        (_quantile(0.5, "server", _MCP_SECONDS), _quantile(0.95, "server", _MCP_SECONDS)),
    ),
    Panel(
        "Tokens and tool calls",
        "What runs use of models, by agent and model, and the tools that models call.",
        "none",
        (
            _rate(_TOKENS, "agent", "model", "direction"),
            Query(
                f"sum by (server, tool, outcome) (rate({_TOOLS}[{_RATE}]))", "{{server}} {{tool}} {{outcome}}", "reqps"
            ),
        ),
    ),
    Panel(
        "Memory and CPU",
        "What each process says of itself; Redis by its exporter. Qdrant does not tell its CPU time.",
        "bytes",
        (
            Query("process_resident_memory_bytes", "{{job}} {{instance}} memory"),
            Query("redis_memory_used_rss_bytes", "redis memory"),
            Query("memory_resident_bytes", "{{job}} memory"),
            Query(f"rate(process_cpu_seconds_total[{_RATE}])", "{{job}} {{instance}} CPU", "none"),
            Query(
                f"rate(redis_cpu_sys_seconds_total[{_RATE}]) + rate(redis_cpu_user_seconds_total[{_RATE}])",
                "redis CPU",
                "none",
            ),
        ),
    ),
    Panel(
        "Request throughput",
        "What comes in through nginx, and what each replica answers on both ports, health checks included.",
        "reqps",
        (
            Query(f"rate(nginx_http_requests_total[{_RATE}])", "nginx"),
            _rate(_HTTP, "instance"),
            _rate(_HTTP, "route"),
        ),
    ),
    Panel(
        "Error rates",
        "The share of requests refused (4xx) and failed (5xx), of runs and of MCP calls that did not succeed.",
        "percentunit",
        (
            _share(_HTTP, 'status=~"5.."', "failed"),
            _share(_HTTP, 'status=~"4.."', "refused"),
            _share(f"{_RUNS}_count", 'outcome!="succeeded"', "runs"),
            _share(_MCP, 'outcome!="ok"', "MCP calls", by="server"),
        ),
    ),
)

# As the application sees them: where each service comes from, and whether it answers.
SOURCES = 'group by (service, source, decision) (promptcraft_service_info{decision!="omit"})'
HEALTH = Panel(
    "Services that answer",
    "1 while the application gets a healthy answer, 0 while not.",
    "bool_yes_no",
    (Query("min by (service) (promptcraft_service_healthy)", "{{service}}"),),
)


def _target(query: Query, reference: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expression).legend_format(query.legend).ref_id(reference).range()


def _over_time(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(_SOURCE)
        .unit(panel.unit)
        .min(0)
        .span(_WIDTH)
        .height(_HEIGHT)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
        )
    )
    for number, query in enumerate(panel.queries):
        reference = chr(ord("A") + number)
        built = built.with_target(_target(query, reference))
        if query.right:
            right = DynamicConfigValue("custom.axisPlacement", AxisPlacement.RIGHT)
            built = built.override_by_query(reference, [DynamicConfigValue("unit", query.right), right])
    return built


def _sources() -> table.Panel:
    return (
        table.Panel()
        .title("Where each service comes from")
        .description("What discovery chose when the stack was deployed.")
        .datasource(_SOURCE)
        .span(_WIDTH)
        .height(_HEIGHT)
        .with_target(prometheus.Dataquery().expr(SOURCES).ref_id("A").instant().format(PromQueryFormat.TABLE))
    )


_SOURCE = DataSourceRef(type_val="prometheus", uid=SOURCE)


def _dashboard(uid: str, title: str, panels: Iterable[timeseries.Panel | table.Panel]) -> str:
    built = dashboard.Dashboard(title).uid(uid).tags(["promptcraft"]).readonly().refresh("10s").time("now-15m", "now")
    for panel in panels:
        built = built.with_panel(panel)
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def dashboards() -> Mapping[str, str]:
    """The text of each dashboard by its file's name."""
    return {
        "promptcraft.json": _dashboard("promptcraft", "PromptCraft", map(_over_time, PANELS)),
        "discovery.json": _dashboard(
            "promptcraft-discovery", "PromptCraft: discovery", (_sources(), _over_time(HEALTH))
        ),
    }


def main() -> None:
    for name, text in dashboards().items():
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
