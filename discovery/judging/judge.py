"""From what was seen and what was answered to findings: whose it is, what it is, from where it can be used. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from catalog import FINDABLE, Protocol
from discovery.config import DiscoveryConfig
from discovery.fingerprints.answer import Answer, quoted
from discovery.fingerprints.mcp import is_same_server
from discovery.judging.ownership import attributed, ownership_of, verdict_of_owner
from discovery.judging.reach import IN_PROCESS, reach_of
from discovery.judging.selection import Ranked
from discovery.judging.sightings import Sameness, Sighting, protocol_of, sameness_of
from discovery.judging.visit import Visit
from discovery.report import Candidate, Finding, HostLaunch, NamedBy, Source, Verdict
from discovery.request import Request
from discovery.wire import Place
from reading.text import one_line


@dataclass(frozen=True)
class Judge:
    """What a verdict depends on besides the answer.

    `has_npx`: whether npx can be run on this machine; `engine_is_here`: whether containers run on it.
    """

    request: Request
    config: DiscoveryConfig
    has_npx: bool
    engine_is_here: bool = True

    def findings(
        self, sightings: Sequence[Sighting], visits: Mapping[Place, Visit], services: Sequence[str]
    ) -> dict[str, list[Ranked]]:
        """All findings by service; what several probes saw of one container is one finding."""
        every = [*sightings, *self._under_other_names(sightings, visits, services)]
        found: dict[str, list[Ranked]] = defaultdict(list)
        seen: set[Sameness] = set()
        for sighting in sorted(every, key=_own_account_first):
            visit = visits[sighting.place] if sighting.place is not None else Visit()
            finding = self._finding(sighting, visit)
            key = _sameness(finding, sighting, visit)
            if key not in seen:
                seen.add(key)
                found[finding.candidate.service].append(Ranked(finding, sighting.rank))
        return found

    def _finding(self, sighting: Sighting, visit: Visit) -> Finding:
        candidate, place = sighting.candidate, sighting.place
        if isinstance(candidate.launch, HostLaunch) and not self.engine_is_here:
            problem = "a command of this host, which the stack's containers on another machine cannot reach"
            candidate = replace(candidate, launch=None, problem=problem)
        if candidate.problem is not None:
            return Finding(candidate, Verdict.SKIPPED, one_line(candidate.problem))
        if place is None:
            if self.has_npx:
                return Finding(candidate, Verdict.VERIFIED, "npx starts it when it is needed", reach=IN_PROCESS)
            reason = "npx is not on PATH; install Node.js or correct PATH"
            return Finding(candidate, Verdict.UNREACHABLE, reason, reach=IN_PROCESS)
        configured = sighting.probe.configured
        owner = verdict_of_owner(visit.whose, candidate.service, configured, self.request)
        if owner is not None:
            answer, elapsed = Answer(*owner), 0.0
        else:
            answer, elapsed = visit.answers[protocol_of(candidate.service)]
            answer = self._as_this_server(candidate, answer)
            if answer.verdict is Verdict.AUTH_REQUIRED and candidate.withheld:
                answer = replace(answer, reason=f"{answer.reason}; {candidate.withheld}")
        return Finding(
            attributed(candidate, configured, visit.whose),
            verdict=answer.verdict,
            reason=one_line(answer.reason),
            version=answer.version,
            elapsed_ms=elapsed,
            ownership=ownership_of(visit.whose.container, self.request),
            reach=reach_of(place, visit.addresses, visit.whose, engine_is_here=self.engine_is_here),
            holds=answer.holds,
            path=answer.path,
            title=answer.title,
        )

    def _as_this_server(self, candidate: Candidate, answer: Answer) -> Answer:
        """The answer, turned into an impostor's where an MCP server has to be another than it calls itself.

        Beyond the catalog, a name in somebody's file is a label and no identity: the server is the one at that address.
        """
        service = candidate.service
        is_label = service not in FINDABLE and candidate.named_by is not NamedBy.NOBODY
        identities = self._identities(service)
        if answer.identity is None or (is_label and not identities):
            return answer
        if is_same_server(answer.identity, service, identities):
            return answer
        return Answer(Verdict.IMPOSTOR, f"is another MCP server: it calls itself {quoted(answer.identity)}")

    def _under_other_names(
        self, sightings: Sequence[Sighting], visits: Mapping[Place, Visit], services: Sequence[str]
    ) -> Iterator[Sighting]:
        """MCP servers seen in the search for one service which turned out to be another one that is reported on."""
        off = {sighting.candidate.service for sighting in sightings if sighting.candidate.turned_off}
        servers = [name for name in services if protocol_of(name) is Protocol.MCP and name not in off - set(FINDABLE)]
        for sighting in sightings:
            if sighting.candidate.headers:
                continue  # what was told them is theirs alone
            answer = visits[sighting.place].answers.get(Protocol.MCP) if sighting.place is not None else None
            service = sighting.candidate.service
            if answer is None or answer[0].identity is None or protocol_of(service) is not Protocol.MCP:
                continue
            for other in servers:
                if other != service and is_same_server(answer[0].identity, other, self._identities(other)):
                    # Whoever wrote the address down meant another service.
                    candidate = replace(sighting.candidate, service=other, named_by=NamedBy.NOBODY)
                    yield replace(sighting, candidate=candidate)

    def _identities(self, service: str) -> tuple[str, ...]:
        configured = self.config.servers.get(service)
        if configured is not None and configured.identities:
            return tuple(configured.identities)
        return FINDABLE[service].identities if service in FINDABLE else ()


def _sameness(finding: Finding, sighting: Sighting, visit: Visit) -> Sameness:
    """Of a container its port counts, of others the endpoint."""
    candidate = finding.candidate
    if candidate.source is Source.DOCKER and candidate.container_id is not None:
        port = visit.whose.container_port or (sighting.place.port if sighting.place else "")
        return Sameness(candidate.service, candidate.source, candidate.container_id, str(port))
    return sameness_of(candidate)


def _own_account_first(sighting: Sighting) -> tuple[bool, int, str, str]:
    """What the engine itself says of a container comes before what a port or a process let us guess."""
    candidate = sighting.candidate
    return candidate.source is not Source.DOCKER, sighting.rank, candidate.evidence, candidate.endpoint
