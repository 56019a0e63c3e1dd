"""squid's configuration: where the containers of MCP servers may go. Its reader checks it (`squid -k parse`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from catalog import EGRESS
from planning.plan import Cell, Plan
from rendering.template import TEMPLATES, Template

CONF = "squid.conf"
_CONF = Template(TEMPLATES / "squid.conf")


def squid_conf(plan: Plan) -> str:
    """Two ports for each container of servers: one for what runs in it, one for as long as packages are installed."""
    return _CONF.fill(
        OWN_PORT=EGRESS.port,
        PORTS="\n".join(f"http_port {port}" for cell in plan.cells for port in (cell.port, cell.installing_port)),
        REGISTRIES="\n".join(_registries(plan)),
        RULES="\n".join(line for cell in plan.cells for line in _rules(cell)),
    )


def _registries(plan: Plan) -> Iterator[str]:
    """Whoever installs may go to these wherever they are: the operator named them."""
    if installing := [str(cell.installing_port) for cell in plan.cells if not cell.is_image]:
        yield f"acl installing localport {' '.join(installing)}"
        for number, registry in enumerate(plan.registries):
            host, _, port = registry.rpartition(":") if re.search(r":[0-9]+$", registry) else (registry, "", "")
            yield f"acl registry_{number} dstdomain -n {host.strip('[]')}"
            yield f"acl registry_port_{number} port {port or '80 443'}"
            yield f"http_access allow installing registry_{number} registry_port_{number}"


def _rules(cell: Cell) -> Iterator[str]:
    if cell.egress == ():
        return
    yield f"acl from_{cell.port} localport {cell.port} {cell.installing_port}"
    if cell.egress is None:
        yield f"http_access allow from_{cell.port}"
    else:
        yield from _named(cell.port, cell.egress)


def _named(port: int, names: Sequence[str]) -> Iterator[str]:
    """An exact name is one, and `*.example.com` is every name below, without `example.com` itself."""
    exact = [name for name in names if not name.startswith("*.")]
    below = [re.escape(name.removeprefix("*")) for name in names if name.startswith("*.")]
    if exact:
        yield f"acl names_{port} dstdomain -n {' '.join(exact)}"
        yield f"http_access allow from_{port} names_{port}"
    if below:
        yield f"acl below_{port} dstdom_regex -n -i {' '.join(f'{name}$' for name in below)}"
        yield f"http_access allow from_{port} below_{port}"
