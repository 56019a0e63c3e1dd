"""Whose it is: ports, processes and locks are matched to containers, and every doubt is settled against reuse."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from catalog import LABEL_OWNER, LABEL_PROJECT, LABEL_SERVICE, LABEL_STACK
from discovery.judging.ownership import Whose, attributed, named_container, ownership_of, verdict_of_owner, whose
from discovery.judging.reach import reach_of
from discovery.report import Candidate, Ownership, Reach, Source, Vantage, Verdict
from discovery.request import Checkpoint, Request
from discovery.wire import Place, place_of
from discovery.world import Attachment, Binding, Container, EngineState, Inventory, Listener, World
from reading.addresses import Address, plain_address

ID = "a" * 64
OWNER = "0123456789abcdef"
REQUEST = Request(
    root=Path(),
    home=Path(),
    stack="dev",
    project="promptcraft-hybrid",
    environment={},
    checkpoint=Checkpoint(ids=frozenset({ID}), owner=OWNER),
)
OURS = {LABEL_PROJECT: "promptcraft-hybrid", LABEL_STACK: "dev", LABEL_OWNER: OWNER}
QDRANT = Container(
    id=ID,
    name="promptcraft-dev-qdrant",
    image="qdrant/qdrant:v1.12.4",
    networks={"promptcraft-dev-network": Attachment("172.20.0.3", "172.20.0.1", "fd00::3")},
    bindings=(Binding(6333, "127.0.0.1", 6333), Binding(6334)),
)


def at(text: str) -> Address:
    address = plain_address(text)
    assert address is not None
    return address


def world(*containers: Container, state: EngineState = EngineState.ANSWERED, **changes: object) -> World:
    base = World(Inventory(state, containers), addresses=frozenset({at("192.168.1.5"), at("172.17.0.1")}))
    return replace(base, **changes)  # type: ignore[arg-type]


def published(host_ip: str) -> Container:
    return replace(QDRANT, bindings=(Binding(6333, host_ip, 6333),))


@pytest.mark.parametrize(
    ("host_ip", "address", "leads_there"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "::1", False),
        ("127.0.0.1", "192.168.1.5", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "127.9.9.9", True),
        ("0.0.0.0", "192.168.1.5", True),
        ("0.0.0.0", "::ffff:127.0.0.1", True),
        ("0.0.0.0", "::1", False),
        ("0.0.0.0", "10.0.0.9", False),
        ("::", "::1", True),
        ("::", "127.0.0.1", True),
        ("192.168.1.5", "192.168.1.5", True),
        ("192.168.1.5", "127.0.0.1", False),
    ],
)
def test_published_port_leads_to_its_container(host_ip: str, address: str, leads_there: bool) -> None:
    found = whose([at(address)], 6333, world(published(host_ip)))
    assert (found.container is not None) is leads_there


def test_other_port_leads_nowhere() -> None:
    assert whose([at("127.0.0.1")], 6334, world(QDRANT)) == Whose()


@pytest.mark.parametrize("address", ["172.20.0.3", "fd00::3", "::ffff:172.20.0.3"])
def test_containers_own_address_leads_to_it(address: str) -> None:
    assert whose([at(address)], 6334, world(QDRANT)) == Whose(QDRANT, 6334)


def test_any_of_a_names_addresses_is_enough() -> None:
    assert whose([at("::1"), at("127.0.0.1")], 6333, world(QDRANT)).container == QDRANT


def test_port_is_translated_to_the_one_inside() -> None:
    container = replace(QDRANT, bindings=(Binding(6333, "127.0.0.1", 16333),))
    assert whose([at("127.0.0.1")], 16333, world(container)).container_port == 6333


def test_stopped_container_holds_no_port() -> None:
    assert whose([at("127.0.0.1")], 6333, world(replace(QDRANT, status="exited"))) == Whose()


def test_process_of_the_host_network_is_its_container() -> None:
    container = replace(QDRANT, networks={"host": Attachment("")}, bindings=())
    listener = Listener(at("0.0.0.0"), 6333, 7, "qdrant", ID)
    assert whose([at("127.0.0.1")], 6333, world(container, listeners=(listener,))) == Whose(container, 6333)


@pytest.mark.parametrize(
    ("process", "pid", "leads_there"),
    [
        ("docker-proxy", 7, True),
        ("rootlesskit", 7, True),
        ("com.docker.backend", 7, True),
        ("", None, True),
        ("qdrant", 7, False),
    ],
)
def test_port_held_by_a_plain_process_is_not_the_containers(process: str, pid: int | None, leads_there: bool) -> None:
    listener = Listener(at("127.0.0.1"), 6333, pid, process)
    found = whose([at("127.0.0.1")], 6333, world(QDRANT, listeners=(listener,)))
    assert (found.container is not None) is leads_there


def test_published_ports_of_an_engine_elsewhere_are_not_this_machines() -> None:
    elsewhere = World(Inventory(EngineState.ANSWERED, (published("0.0.0.0"),), host="10.0.0.7", local=False))
    assert whose([at("127.0.0.1")], 6333, elsewhere).container is None
    assert whose([at("10.0.0.7")], 6333, elsewhere).container is not None


@pytest.mark.parametrize(
    ("address", "listener", "doubtful"),
    [
        ("127.0.0.1", None, True),
        ("127.0.0.1", Listener(at("127.0.0.1"), 6333, 7, "qdrant"), False),
        ("127.0.0.1", Listener(at("0.0.0.0"), 6333, 7, "qdrant"), False),
        ("127.0.0.1", Listener(at("0.0.0.0"), 6333, 7, "docker-proxy"), True),
        ("127.0.0.1", Listener(at("0.0.0.0"), 6333, None), True),
        ("127.0.0.1", Listener(at("0.0.0.0"), 6333, 7, "qdrant", ID), True),
        ("192.168.1.5", None, True),
        ("172.17.0.9", None, True),
        ("10.0.0.9", None, False),
    ],
)
def test_engine_that_does_not_say_leaves_doubt(address: str, listener: Listener | None, doubtful: bool) -> None:
    silent = world(
        state=EngineState.BROKEN,
        listeners=(listener,) if listener else (),
        bridges=(IPv4Network("172.17.0.0/16"),),
    )
    assert (whose([at(address)], 6333, silent).doubt is not None) is doubtful


def test_no_engine_leaves_no_doubt() -> None:
    assert whose([at("127.0.0.1")], 6333, world(state=EngineState.ABSENT)).doubt is None


@pytest.mark.parametrize(
    ("configured", "checkpoint", "asked"),
    [
        (True, Checkpoint(), True),
        (True, Checkpoint(ids=frozenset({ID})), False),
        (True, Checkpoint(known=False), False),
        (False, Checkpoint(), False),
    ],
)
def test_doubt_is_settled_against_reuse(configured: bool, checkpoint: Checkpoint, asked: bool) -> None:
    verdict = verdict_of_owner(Whose(doubt="who knows"), "qdrant", configured, replace(REQUEST, checkpoint=checkpoint))
    assert (verdict is None) is asked


@pytest.mark.parametrize(
    ("labels", "identifier", "expected"),
    [
        (OURS, ID, Ownership.OURS),
        (OURS, "b" * 64, Ownership.ORPHAN),
        ({**OURS, LABEL_STACK: "production"}, ID, Ownership.FOREIGN_CLAIM),
        ({**OURS, LABEL_PROJECT: "other"}, ID, Ownership.FOREIGN_CLAIM),
        ({LABEL_STACK: "dev"}, ID, Ownership.FOREIGN_CLAIM),
        ({**OURS, LABEL_OWNER: "somebody-elses"}, "b" * 64, Ownership.FOREIGN_CLAIM),
        ({LABEL_SERVICE: "qdrant"}, "b" * 64, Ownership.EXTERNAL),
        ({}, ID, Ownership.EXTERNAL),
        ({**OURS, "com.docker.swarm.service.id": ID}, "b" * 64, Ownership.OURS),
    ],
)
def test_ownership_takes_labels_and_state(labels: dict[str, str], identifier: str, expected: Ownership) -> None:
    assert ownership_of(replace(QDRANT, labels=labels, id=identifier), REQUEST) is expected


def test_without_a_readable_state_nothing_is_ours() -> None:
    request = replace(REQUEST, checkpoint=Checkpoint(known=False, ids=frozenset({ID})))
    assert ownership_of(replace(QDRANT, labels=OURS), request) is Ownership.ORPHAN


def test_the_bridge_to_a_command_of_this_host_is_ours() -> None:
    bridged = world(QDRANT, host_commands={(at("172.20.0.1"), 27001): "notes"})
    found = whose([at("172.20.0.1")], 27001, bridged)
    assert found == Whose(host_command="notes")
    verdict = verdict_of_owner(found, "notes", False, REQUEST)
    assert verdict is not None and verdict[0] is Verdict.OWNED
    assert whose([at("172.20.0.1")], 27002, bridged) == Whose()


def test_no_container_is_external() -> None:
    assert ownership_of(None, REQUEST) is Ownership.EXTERNAL


@pytest.mark.parametrize(
    ("labels", "identifier", "share", "expected"),
    [
        (OURS, ID, (), Verdict.OWNED),
        (OURS, ID, ("qdrant",), Verdict.OWNED),
        (OURS, "b" * 64, ("qdrant",), Verdict.SKIPPED),
        ({**OURS, LABEL_STACK: "production"}, ID, (), Verdict.SKIPPED),
        ({**OURS, LABEL_STACK: "production"}, ID, ("redis",), Verdict.SKIPPED),
        ({**OURS, LABEL_STACK: "production"}, ID, ("qdrant",), None),
        ({}, ID, (), None),
    ],
)
@pytest.mark.parametrize("configured", [True, False])
def test_only_what_is_nobodys_or_shared_has_to_prove_itself(
    labels: dict[str, str], identifier: str, share: tuple[str, ...], expected: Verdict | None, configured: bool
) -> None:
    found = Whose(replace(QDRANT, labels=labels, id=identifier), 6333)
    verdict = verdict_of_owner(found, "qdrant", configured, replace(REQUEST, share=frozenset(share)))
    assert (verdict[0] if verdict else None) is expected


def test_hostile_names_stay_on_one_line() -> None:
    container = replace(QDRANT, name="x\n[OK] redis ours\x1b[2J", labels={**OURS, LABEL_STACK: "y\n" * 300})
    verdict = verdict_of_owner(Whose(container, 6333), "qdrant", False, REQUEST)
    assert verdict is not None
    assert verdict[1].isprintable()
    assert len(verdict[1]) <= 250


FOUND = Candidate("qdrant", Source.EXTERNAL, "http://127.0.0.1:6333", "port 6333")


def test_finding_of_a_port_becomes_the_containers() -> None:
    candidate = attributed(FOUND, False, Whose(QDRANT, 6333))
    assert (candidate.source, candidate.container_id) == (Source.DOCKER, ID)
    assert "promptcraft-dev-qdrant" in candidate.evidence


def test_configured_endpoint_keeps_its_source() -> None:
    candidate = attributed(FOUND, True, Whose(QDRANT, 6333))
    assert (candidate.source, candidate.container_id, candidate.evidence) == (Source.EXTERNAL, ID, "port 6333")


def test_finding_without_a_container_stays_as_it_is() -> None:
    assert attributed(FOUND, False, Whose()) == FOUND


def test_alias_means_this_stacks_container_first() -> None:
    labels = {**OURS, LABEL_SERVICE: "redis"}
    other = replace(QDRANT, id="b" * 64, name="promptcraft-a-redis", labels={**labels, LABEL_STACK: "a"})
    ours = replace(QDRANT, name="promptcraft-dev-redis", labels=labels)
    assert named_container("redis", REQUEST, world(other, ours)) == ours
    assert named_container("promptcraft-a-redis", REQUEST, world(other, ours)) == other
    assert named_container("elsewhere", REQUEST, world(other, ours)) is None


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        (
            {"bridge": Attachment("172.17.0.2"), "shop": Attachment("172.21.0.2")},
            Reach(Vantage.CONTAINER_NETWORK, "shop", "http://promptcraft-dev-qdrant:6333/base"),
        ),
        (
            {"b": Attachment("172.21.0.2"), "a": Attachment("172.22.0.2")},
            Reach(Vantage.CONTAINER_NETWORK, "a", "http://promptcraft-dev-qdrant:6333/base"),
        ),
        (
            {"bridge": Attachment("172.17.0.2")},
            Reach(Vantage.CONTAINER_NETWORK, "bridge", "http://172.17.0.2:6333/base"),
        ),
        ({"host": Attachment("")}, Reach(Vantage.HOST_LOOPBACK)),
        ({}, Reach(Vantage.HOST_LOOPBACK)),
    ],
)
def test_container_is_reached_over_its_network(networks: dict[str, Attachment], expected: Reach) -> None:
    place = place_of("http://127.0.0.1:16333/base")
    found = Whose(replace(QDRANT, networks=networks), 6333)
    assert reach_of(place, (at("127.0.0.1"),), found, engine_is_here=True) == expected


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (("127.0.0.1",), Vantage.HOST_LOOPBACK),
        (("::1", "127.0.0.1"), Vantage.HOST_LOOPBACK),
        (("172.17.0.1",), Vantage.ANYWHERE),
        (("10.0.0.5",), Vantage.ANYWHERE),
        ((), Vantage.ANYWHERE),
    ],
)
def test_vantage_of_an_address(addresses: tuple[str, ...], expected: Vantage) -> None:
    place = Place("http", "name", 6333)
    assert reach_of(place, tuple(map(at, addresses)), Whose(), engine_is_here=True).vantage is expected


def test_a_loopback_is_not_the_containers_host_where_the_engine_is_elsewhere() -> None:
    place = Place("http", "name", 6333)
    assert reach_of(place, (at("127.0.0.1"),), Whose(), engine_is_here=False).vantage is Vantage.OTHER_LOOPBACK
