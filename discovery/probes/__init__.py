"""One file a source of candidates. `PROBES`, the tuple of them, is the order of trust.

Another source is another file and another line here.
"""

from __future__ import annotations

from dataclasses import dataclass

from discovery.probes.docker_engine import docker_engine
from discovery.probes.environment import environment
from discovery.probes.lock_files import lock_files
from discovery.probes.npx import npx
from discovery.probes.other_tools import other_tools
from discovery.probes.ports import ports
from discovery.probes.processes import processes
from discovery.probes.project_files import project_files
from discovery.probes.user_files import user_files
from discovery.request import Probe


@dataclass(frozen=True)
class NamedProbe:
    """A probe and what its candidates may claim.

    `configured`: somebody wrote the endpoint down, so it keeps its source even where it leads to a container.
    `names_services`: a server it names is reported under its own name, not only what is known otherwise.
    `entitled`: its endpoints may be shown the stack's credentials. Only what the operator of this stack sets is; a
    file in the project or of another program may come from a stranger.
    """

    name: str
    probe: Probe
    configured: bool = False
    names_services: bool = False
    entitled: bool = False


PROBES: tuple[NamedProbe, ...] = (
    NamedProbe("environment", environment, configured=True, entitled=True),
    NamedProbe("user_files", user_files, configured=True, names_services=True),
    NamedProbe("other_tools", other_tools, configured=True, names_services=True),
    NamedProbe("project_files", project_files, configured=True, names_services=True),
    NamedProbe("lock_files", lock_files),
    NamedProbe("processes", processes),
    NamedProbe("ports", ports),
    NamedProbe("docker_engine", docker_engine),
    NamedProbe("npx", npx, configured=True),
)
