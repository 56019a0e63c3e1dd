"""What the operator of somebody else's Prometheus or Grafana pastes there, to have this stack in it."""

from __future__ import annotations

from typing import Any

from catalog import SERVICES, container_name
from planning.plan import Decision, Deploy, Plan, Relay, Reuse
from rendering.alert_rules import rule_groups
from rendering.grafana_provisioning import datasource, datasources
from rendering.prometheus_config import jobs, scrape_configs


def monitoring_to_paste(plan: Plan) -> dict[str, dict[str, Any]]:
    """The stack output `monitoring`, by the one it is for; empty where the stack runs its own or none.

    What ends in `File` is a whole document, as Prometheus and Grafana read it from a file. One in a container of this
    engine is to be connected to `network`, where it finds everything by name. Any other must run on this host, where it
    reaches what is published on loopback: of several replicas the first.
    """
    pastes = {"prometheus": _for_prometheus(plan), "grafana": _for_grafana(plan)}
    return {name: paste for name, paste in pastes.items() if paste}


def _for_prometheus(plan: Plan) -> dict[str, Any]:
    match plan.decisions["prometheus"]:
        case Reuse(network=str()):
            return {
                **_on_the_network(plan),
                "scrapeFile": {"scrape_configs": scrape_configs(plan, None)},
                "ruleFile": {"groups": rule_groups(plan)},
            }
        case Reuse() | Relay():
            published = {name: address for name, port in jobs(plan).items() if (address := _on_host(plan, name, port))}
            static = [
                {"job_name": name, "static_configs": [{"targets": [address]}]} for name, address in published.items()
            ]
            return {**_ON_THIS_HOST, "scrapeFile": {"scrape_configs": static}}
        case _:
            return {}


def _for_grafana(plan: Plan) -> dict[str, Any]:
    match plan.decisions["grafana"]:
        case Reuse(network=str()):
            where, address = _on_the_network(plan), _for_containers(plan.decisions["prometheus"])
        case Reuse() | Relay():
            where, address = _ON_THIS_HOST, _for_this_host(plan, plan.decisions["prometheus"])
        case _:
            return {}
    if address is None:
        return {"note": "its Prometheus is on this host's loopback, where no container reaches it"}
    # Its own sources keep their names, and one of them is the default: Grafana does not start with a second.
    source = datasource(f"PromptCraft ({plan.stack})", address, is_default=False)
    return {**where, "datasourceFile": datasources(source)}


_ON_THIS_HOST = {"note": "for one on this host: the addresses are on its loopback, and nobody else reaches them"}


def _on_the_network(plan: Plan) -> dict[str, Any]:
    network = container_name(plan.stack, "network")
    return {"note": f"connect its container first: docker network connect {network} CONTAINER", "network": network}


def _for_containers(prometheus: Decision) -> str | None:
    match prometheus:
        case Deploy(endpoint=endpoint) | Reuse(endpoint=endpoint):
            return endpoint
        case _:
            return None


def _for_this_host(plan: Plan, prometheus: Decision) -> str | None:
    match prometheus:
        case Reuse(host_endpoint=endpoint) | Relay(host_endpoint=endpoint):
            return endpoint
        case _:
            address = _on_host(plan, "prometheus", SERVICES["prometheus"].port)
            return f"http://{address}" if address else None


def _on_host(plan: Plan, service: str, port: int) -> str | None:
    """Where the host reaches this port of a service of ours, as `address:port`; None where it is not published."""
    decision = plan.decisions.get(service)
    ports = decision.workload.replicas[0].ports if isinstance(decision, Deploy) else ()
    return next((f"127.0.0.1:{one.external}" for one in ports if one.internal == port), None)
