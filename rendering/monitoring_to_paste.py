"""What the operator of somebody else's Prometheus or Grafana pastes there, to have this stack in it."""

from __future__ import annotations

from typing import Any

from catalog import SERVICES, container_name
from plan import Decision, Deploy, Plan, Reuse
from rendering.alert_rules import rule_groups
from rendering.grafana_provisioning import datasources
from rendering.prometheus_config import jobs, scrape_configs


def monitoring_to_paste(plan: Plan) -> dict[str, Any]:
    """The stack output `monitoring`; empty where the stack runs its own or none.

    One in a container of this engine (it has a network) is to be connected to `network`, where it finds everything by
    name. Any other must run on this host, where it reaches what is published on loopback: of several replicas the
    first.
    """
    return _for_prometheus(plan, plan.decisions["prometheus"]) | _for_grafana(plan, plan.decisions["grafana"])


def _for_prometheus(plan: Plan, prometheus: Decision) -> dict[str, Any]:
    match prometheus:
        case Reuse(network=None):
            published = {name: address for name, port in jobs(plan).items() if (address := _on_host(plan, name, port))}
            static = [
                {"job_name": name, "static_configs": [{"targets": [address]}]} for name, address in published.items()
            ]
            return {"scrapeConfigs": static}
        case Reuse():
            return {
                "network": _network(plan),
                "scrapeConfigs": scrape_configs(plan, None),
                "ruleGroups": rule_groups(plan),
            }
        case _:
            return {}


def _for_grafana(plan: Plan, grafana: Decision) -> dict[str, Any]:
    match grafana:
        case Reuse(network=None):
            address = _on_host(plan, "prometheus", SERVICES["prometheus"].port)
            return {"datasources": datasources(plan, f"http://{address}" if address else None)}
        case Reuse():
            return {"network": _network(plan), "datasources": datasources(plan)}
        case _:
            return {}


def _network(plan: Plan) -> str:
    return container_name(plan.stack, "network")


def _on_host(plan: Plan, service: str, port: int) -> str | None:
    """Where the host reaches this port of a service of ours, as `address:port`; None where it is not published."""
    decision = plan.decisions.get(service)
    ports = decision.workload.replicas[0].ports if isinstance(decision, Deploy) else ()
    return next((f"127.0.0.1:{one.external}" for one in ports if one.internal == port), None)
