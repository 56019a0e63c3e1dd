"""Ask every place once in every protocol that is hoped for there: bounded in number, time and what is revealed."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from catalog import Protocol
from discovery.fingerprints import FINGERPRINTS
from discovery.fingerprints.answer import Answer
from discovery.judging.ownership import Whose, named_container, verdict_of_owner, whose
from discovery.judging.sightings import Sighting, protocol_of
from discovery.judging.visit import Visit
from discovery.report import Verdict
from discovery.request import Credential, Request
from discovery.wire import GarbledError, Place, RefusedError, Resolver, UnreachableError, Wire
from discovery.world import World
from reading.addresses import is_inside, plain_address
from reading.endpoints import HTTP

VISIT_SECONDS = 2.0  # the most that one place may take
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")
CONCURRENCY = 256  # places asked at the same time, each over one or two sockets


class Asker:
    """The visits of one look. `deadline` is in the event loop's own time, in seconds."""

    def __init__(self, request: Request, world: World, deadline: float, resolver: Resolver) -> None:
        self._request = request
        self._world = world
        self._deadline = deadline
        self._resolver = resolver
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._waiting = 0
        self._running = 0

    async def visit_all(self, sightings: Sequence[Sighting]) -> dict[Place, Visit]:
        """Visit every place of the sightings; those cut off have that as their answer."""
        by_place: dict[Place, list[Sighting]] = defaultdict(list)
        for sighting in sightings:
            if sighting.place is not None:
                by_place[sighting.place].append(sighting)
        self._waiting = len(by_place)
        visits = await asyncio.gather(*(self._queue(place, here) for place, here in by_place.items()))
        return dict(zip(by_place, visits, strict=True))

    async def _queue(self, place: Place, here: Sequence[Sighting]) -> Visit:
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._slots.acquire()
        except TimeoutError:
            return _same_for_all(here, _skipped("not asked: the time for the whole look was used up before its turn"))
        self._waiting -= 1
        self._running += 1
        try:
            return await self._visit(asyncio.get_running_loop().time() + self._fair_share(), place, here)
        finally:
            self._running -= 1
            self._slots.release()

    def _fair_share(self) -> float:
        """Seconds for the visit that starts now, so that all those still waiting get their turn before the deadline."""
        remaining = max(0.0, self._deadline - asyncio.get_running_loop().time())
        queued = max(0, self._waiting - (CONCURRENCY - self._running))
        return min(VISIT_SECONDS, remaining / (1 + -(-queued // CONCURRENCY)))

    async def _visit(self, until: float, place: Place, here: Sequence[Sighting]) -> Visit:
        """Resolve, see whose it is, and ask on behalf of the sightings for which that does not settle it."""
        named = named_container(place.host, self._request, self._world)
        if named is not None and not any(sighting.probe.configured for sighting in here):
            # A name of the containers' own network, which means nothing to this machine's resolver.
            return Visit(
                whose=Whose(named, place.port), answers=_answers(here, _unreachable("answers containers only"))
            )
        try:
            async with asyncio.timeout_at(until):
                resolved = await self._resolver.addresses(place.host)
        except TimeoutError:
            return _same_for_all(here, _unreachable("its name was not resolved in time"))
        except UnreachableError as error:
            return _same_for_all(here, _unreachable(str(error)))
        except RefusedError as error:
            return _same_for_all(here, _skipped(str(error)))
        addresses = tuple(address for text in resolved if (address := plain_address(text)) is not None)
        found = whose(addresses, place.port, self._world)
        hoping: dict[Protocol, list[Sighting]] = defaultdict(list)
        for sighting in here:
            service, configured = sighting.candidate.service, sighting.probe.configured
            if verdict_of_owner(found, service, configured, self._request) is None:
                hoping[protocol_of(service)].append(sighting)
        answers = {
            protocol: await self._ask(until, place, resolved, protocol, askers) for protocol, askers in hoping.items()
        }
        return Visit(addresses, found, answers)

    async def _ask(
        self, until: float, place: Place, resolved: Sequence[str], protocol: Protocol, askers: Sequence[Sighting]
    ) -> tuple[Answer, float]:
        credential, withheld = self._credential(place, resolved, askers)
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout_at(until):
                answer = await FINGERPRINTS[protocol, place.scheme](
                    Wire(place, resolved, self._request.authorities), credential
                )
        except TimeoutError:
            answer = _unreachable("cut off: gave no answer in time")
        except UnreachableError as error:
            answer = _unreachable(str(error))
        except RefusedError as error:
            answer = _skipped(str(error))
        except GarbledError as error:
            answer = Answer(Verdict.IMPOSTOR, str(error))
        if answer.verdict is Verdict.AUTH_REQUIRED and withheld:
            answer = replace(answer, reason=f"{answer.reason}; {withheld}")
        return answer, (loop.time() - started) * 1000

    def _credential(
        self, place: Place, resolved: Sequence[str], askers: Sequence[Sighting]
    ) -> tuple[Credential | None, str]:
        """What may be shown there once it has proved what it is; or why a configured secret is withheld."""
        if place.headers:
            if place.secure or all(_is_loopback(address) for address in resolved):
                return Credential(headers=place.headers), ""
            return None, "its headers are sent over https or to the loopback only"
        withheld = ""
        for sighting in askers:
            service = sighting.candidate.service
            name = "upstash" if service == "redis" and place.scheme in HTTP else service
            credential = self._request.credentials.get(name)
            if credential is None:
                continue
            if place.scheme in HTTP and not _HEADER_VALUE.fullmatch(credential.secret or ""):
                withheld = "the configured one has characters that no HTTP header can carry"
            elif not sighting.probe.entitled:
                withheld = "the configured one goes only to what the environment or a pin names"
            elif not place.secure and not all(is_inside(address) for address in resolved):
                withheld = "the configured one is not sent in the clear to a public address"
            else:
                return credential, ""
        return None, withheld


def _is_loopback(text: str) -> bool:
    address = plain_address(text)
    return address is not None and address.is_loopback


def _answers(here: Sequence[Sighting], answer: Answer) -> dict[Protocol, tuple[Answer, float]]:
    return {protocol_of(sighting.candidate.service): (answer, 0.0) for sighting in here}


def _same_for_all(here: Sequence[Sighting], answer: Answer) -> Visit:
    return Visit(answers=_answers(here, answer))


def _unreachable(reason: str) -> Answer:
    return Answer(Verdict.UNREACHABLE, reason)


def _skipped(reason: str) -> Answer:
    return Answer(Verdict.SKIPPED, reason)
