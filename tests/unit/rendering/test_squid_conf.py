"""Where each container of servers may go, as squid reads it: by the ports that are its own."""

from __future__ import annotations

import json
import re

import pytest

from discovery.config import parse_discovery_config
from discovery.report import Launch, Source, Verdict
from planning.decide import decide
from planning.plan import Plan
from rendering.doors import doors
from rendering.squid_conf import squid_conf
from tests.builders import finding, report_of, settings_of
from tests.unit.planning.test_mcp_servers import launchable

PUBLIC = Launch("npx", "a@1.0.0", told=("-y", "a@1.0.0"))
KEYED = Launch("npx", "a@1.0.0", sets=("KEY",))
IMAGE = Launch("docker", "acme/docs:1.2")


def plan_of(egress: str, launch: Launch = KEYED, **config: str) -> Plan:
    """A plan with `one`, whose way out is `egress`, and `other`, who may go everywhere."""
    found = [launchable("one", launch, Source.USER), launchable("other", PUBLIC, Source.USER)]
    file = parse_discovery_config(f"servers: {{one: {{egress: {egress}}}}}".encode())
    return decide(report_of(found), settings_of("dev", None, **config), file)


def rules(plan: Plan) -> list[str]:
    return [line for line in squid_conf(plan).splitlines() if line.startswith(("acl", "http_access"))]


def test_an_exact_name_is_one_and_a_star_is_what_lies_below() -> None:
    plan = plan_of("[api.example.com, '*.example.org']")
    one = next(cell for cell in plan.cells if cell.servers == ("one",))
    lines = rules(plan)
    assert f"acl from_{one.port} localport {one.port} {one.installing_port}" in lines
    assert f"acl names_{one.port} dstdomain -n api.example.com" in lines
    (below,) = [line.split()[-1] for line in lines if "dstdom_regex" in line]
    names = ("a.example.org", "a.b.example.org", "example.org", "a.example.org.evil.net", "aXexample.org")
    assert [bool(re.search(below, name)) for name in names] == [True, True, False, False, False]
    # Nobody is let through by the port alone.
    assert f"http_access allow from_{one.port}" not in lines


def test_none_has_no_rule_and_no_port() -> None:
    plan = plan_of("none")
    one = next(cell for cell in plan.cells if cell.servers == ("one",))
    assert not [line for line in rules(plan) if f"from_{one.port}" in line]
    told = json.loads(doors(plan))["containers"]
    assert (told["one-stdio"]["port"], told["one-stdio"]["installing_port"]) == (None, one.installing_port)
    assert told["one-stdio"]["once"] is not None and told["runner-servers"]["once"] is None


def test_everything_that_is_refused_comes_before_what_is_allowed_and_after_the_registries() -> None:
    order = [line for line in rules(plan_of("internet")) if line.startswith("http_access")]
    refused = ["!web", "tunnel !tls", "special", "!resolved"]
    first = order.index("http_access deny !web")
    assert order[first : first + 4] == [f"http_access deny {what}" for what in refused]
    assert all(line.startswith("http_access allow installing ") for line in order[1:first])
    assert order[-1] == "http_access deny all"


@pytest.mark.parametrize(
    ("registry", "host", "port"),
    [
        ("https://npm.example.com/", "npm.example.com", "80 443"),
        ("http://10.0.0.5:4873/npm/", "10.0.0.5", "4873"),
        ("http://[fd00::5]:4873/", "fd00::5", "4873"),
    ],
)
def test_a_registry_of_ones_own_is_reached_wherever_it_is(registry: str, host: str, port: str) -> None:
    lines = rules(plan_of("none", npm_registry=registry))
    assert f"acl registry_0 dstdomain -n {host}" in lines and f"acl registry_port_0 port {port}" in lines


def test_an_image_installs_nothing() -> None:
    plan = plan_of("none", IMAGE)
    one = next(cell for cell in plan.cells if cell.is_image)
    (installing,) = [line for line in rules(plan) if line.startswith("acl installing ")]
    assert str(one.installing_port) not in installing
    assert json.loads(doors(plan))["containers"]["one-stdio"]["installing_port"] is None


def test_without_servers_nobody_goes_out() -> None:
    plan = decide(report_of([finding("redis", Verdict.UNREACHABLE)]), settings_of("dev"), parse_discovery_config(b"{}"))
    assert [line for line in rules(plan) if " allow " in line] == []
