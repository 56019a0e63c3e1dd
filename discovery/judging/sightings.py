"""Candidates put into one form: endpoints normalised, the same one only once, pins among them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from catalog import FINDABLE, MODELS, Protocol
from discovery.config import DiscoveryConfig, is_name
from discovery.judging.selection import Pin, PinError
from discovery.probes import PROBES, NamedProbe
from discovery.report import DEPLOYED, Candidate, NamedBy, Source
from discovery.request import Gathered, Request
from discovery.wire import Place, place_of
from reading.endpoints import HTTP, REDIS, EndpointError, is_package, normalise_endpoint
from reading.text import one_line, shown

NPX = "npx:"
MAX_EVIDENCE = 120
_PIN = NamedProbe("pin", lambda request: Gathered(), configured=True, entitled=True)


@dataclass(frozen=True)
class Sighting:
    """A candidate in normal form, the probe it comes from, and that probe's place in the order of trust.

    `place` is None where there is nothing to connect to: an npx package, or a candidate with a `problem`.
    """

    candidate: Candidate
    probe: NamedProbe
    rank: int
    place: Place | None = None


def protocol_of(service: str) -> Protocol:
    """What a service must answer in; a server that is not in the catalog is an MCP server."""
    return FINDABLE[service].protocol if service in FINDABLE else Protocol.MCP


def schemes_of(service: str) -> tuple[str, ...]:
    """The schemes an endpoint of the service may have."""
    return (*REDIS, *HTTP) if protocol_of(service) is Protocol.REDIS else HTTP


def endpoint_of(service: str, text: str) -> str:
    """`text` as an endpoint of the service in normal form. Raises `EndpointError`.

    A model server's ends in `/v1`, whether it was written so or not: clients want it there.
    """
    endpoint = normalise_endpoint(text, schemes_of(service))
    if protocol_of(service) is not Protocol.OPENAI:
        return endpoint
    return f"{endpoint.rstrip('/').removesuffix(MODELS.path)}{MODELS.path}"


def rank_of(probe: NamedProbe) -> int:
    """The probe's place in the order of trust, whatever order it was started in."""
    names = [known.name for known in PROBES]
    return names.index(probe.name) if probe.name in names else len(names)


def pins_of(request: Request, services: Sequence[str]) -> dict[str, Pin]:
    """What each pinned service is pinned to. Raises `PinError` with one line for each bad pin."""
    pins: dict[str, Pin] = {}
    problems = []
    for service, text in sorted(request.pins.items()):
        try:
            if service not in services:
                raise EndpointError(f"pins no service; the services are {', '.join(services)}")
            pins[service] = _pin(service, text)
        except EndpointError as error:
            problems.append(f"Pulumi.{request.stack}.yaml:1: pin.{one_line(service, 60)}: {shown(text)} {error}")
    if problems:
        raise PinError("\n".join(problems))
    return pins


def services_of(
    gathered: Mapping[NamedProbe, Gathered], config: DiscoveryConfig, wanted: Iterable[str] = ()
) -> tuple[str, ...]:
    """All services to report on: the catalog's, the configuration's, the stack's, and those that files name."""
    named = {
        candidate.service
        for probe, found in gathered.items()
        if probe.names_services
        for candidate in found.candidates
        if is_name(candidate.service)
    }
    return (*FINDABLE, *sorted({*config.servers, *named, *wanted} - set(FINDABLE)))


@dataclass(frozen=True)
class Sameness:
    """What two sightings have in common that are one: `what` is seen, an endpoint or a container, and a `detail`."""

    service: str
    source: Source
    what: str
    detail: str


def sameness_of(candidate: Candidate) -> Sameness:
    """Of what has no endpoint, since something is wrong with it, the evidence counts."""
    detail = "" if candidate.problem is None else candidate.evidence
    return Sameness(candidate.service, candidate.source, candidate.endpoint, detail)


def sightings_of(
    gathered: Mapping[NamedProbe, Gathered], pins: Mapping[str, Pin], services: Iterable[str]
) -> tuple[Sighting, ...]:
    """Every candidate of a reported service in normal form; the same one once, from the most trusted probe."""
    reported = frozenset(services)
    every = [*_pinned(pins), *_gathered(gathered)]
    kept: dict[Sameness, Sighting] = {}
    for sighting in sorted(map(_normalised, every), key=lambda item: (item.rank, item.candidate.evidence)):
        candidate = sighting.candidate
        if candidate.service in reported:
            kept.setdefault(sameness_of(candidate), sighting)
    return tuple(kept.values())


def _pin(service: str, text: str) -> Pin:
    if text == DEPLOYED:
        return Pin(text)
    if text in tuple(Source):
        return Pin(text, source=Source(text))
    if text.startswith(NPX) and is_package(text.removeprefix(NPX)):
        return Pin(text, endpoint=text)
    try:
        return Pin(shown(text), endpoint=endpoint_of(service, text))
    except EndpointError as error:
        raise EndpointError(f"{error}, or name a source: {', '.join((*Source, DEPLOYED))}") from error


def _pinned(pins: Mapping[str, Pin]) -> Iterator[Sighting]:
    for service, pin in pins.items():
        if pin.endpoint is not None:
            source = Source.NPX if pin.endpoint.startswith(NPX) else Source.EXTERNAL
            yield Sighting(Candidate(service, source, pin.endpoint, "pin", named_by=NamedBy.OPERATOR), _PIN, -1)


def _gathered(gathered: Mapping[NamedProbe, Gathered]) -> Iterator[Sighting]:
    for probe, found in gathered.items():
        yield from (Sighting(candidate, probe, rank_of(probe)) for candidate in found.candidates)


def _normalised(sighting: Sighting) -> Sighting:
    """The sighting with its endpoint in normal form and its place; with a `problem` where it has none."""
    candidate = replace(sighting.candidate, evidence=one_line(sighting.candidate.evidence, MAX_EVIDENCE))
    if candidate.problem is not None:
        return replace(sighting, candidate=candidate)
    try:
        if candidate.endpoint.startswith(NPX):
            if not is_package(candidate.endpoint.removeprefix(NPX)):
                raise EndpointError("names no npm package; correct it")
            return replace(sighting, candidate=candidate)
        endpoint = endpoint_of(candidate.service, candidate.endpoint)
    except EndpointError as error:
        problem = f"{shown(candidate.endpoint)} {error}"
        return replace(sighting, candidate=replace(candidate, endpoint="", problem=problem))
    place = replace(place_of(endpoint), headers=candidate.headers)
    return replace(sighting, candidate=replace(candidate, endpoint=endpoint), place=place)
