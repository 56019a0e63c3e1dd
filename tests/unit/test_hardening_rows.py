"""Each row of the hardening table goes red for what it forbids, docker-bench's blind spots first among it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.hardening import ROWS, Facts, broken

IMAGE = "sha256:" + "0" * 64
HARDENED: dict[str, Any] = {
    "AppArmorProfile": "docker-default",
    "Config": {
        "User": "999:999",
        "Image": IMAGE,
        "Env": ["PATH=/bin", "GF_SECURITY_ADMIN_PASSWORD__FILE=/run/promptcraft/secrets/grafana"],
        "Healthcheck": {"Test": ["CMD", "true"]},
    },
    "HostConfig": {
        "SecurityOpt": ["no-new-privileges:true"],
        "CapDrop": ["ALL"],
        "CapAdd": None,
        "Privileged": False,
        "PublishAllPorts": False,
        "PortBindings": {"6333/tcp": [{"HostIp": "127.0.0.1", "HostPort": "6333"}]},
        "Memory": 1,
        "MemorySwap": 1,
        "NanoCpus": 1,
        "CpuQuota": 0,
        "ReadonlyRootfs": True,
        "Tmpfs": {"/tmp": "rw,noexec,nosuid,size=1m"},
        "RestartPolicy": {"Name": "unless-stopped"},
        "PidMode": "",
        "IpcMode": "private",
        "UTSMode": "",
        "UsernsMode": "",
        "Devices": None,
        "DeviceRequests": None,
        "Ulimits": [{"Name": name, "Hard": hard} for name, hard in (("core", 0), ("nofile", 9), ("nproc", 9))],
        "CgroupParent": "",
        "PidsLimit": 64,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
    },
    "Mounts": [{"Type": "volume", "Name": "v", "Propagation": ""}],
    "NetworkSettings": {"Networks": {"promptcraft-dev-network": {}}},
    "State": {"Health": {"Status": "healthy"}},
}
ZERO = "0000000000000000"
STATUS = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), ZERO) | {"NoNewPrivs": "1", "Seccomp": "2"}
FACTS = Facts("qdrant", HARDENED, True, [{}], STATUS, ["ro", "relatime"], ["qdrant"])


def with_changed(section: str, values: Mapping[str, object]) -> Facts:
    attributes = copy.deepcopy(HARDENED)
    (attributes[section] if section else attributes).update(values)
    return replace(FACTS, attributes=attributes)


def bound(ip: str, inside: str = "6333/tcp", outside: str = "6333") -> Facts:
    return with_changed("HostConfig", {"PortBindings": {inside: [{"HostIp": ip, "HostPort": outside}]}})


def host(**values: object) -> Facts:
    return with_changed("HostConfig", values)


NETWORKS: tuple[dict[str, object], ...] = ({}, {"bridge": {}}, {"host": {}})
RED = [
    *(("4.1", with_changed("Config", {"User": user})) for user in ("", "0:0", "root:root", "redis", "999", "999:0")),
    ("5.2", with_changed("", {"AppArmorProfile": "unconfined"})),
    *(
        ("5.3", host(SecurityOpt=options))
        for options in (None, ["no-new-privileges:false"], ["no-new-privileges", "seccomp=unconfined"])
    ),
    ("5.4", host(CapDrop=None)),
    ("5.4", host(CapAdd=["NET_RAW"])),
    ("5.4+", replace(FACTS, status=STATUS | {"CapBnd": "00000000a80425fb"})),
    ("5.5", host(Privileged=True)),
    ("5.6", with_changed("", {"Mounts": [{"Type": "bind", "Source": "/root", "Propagation": "rprivate"}]})),
    ("5.6", replace(FACTS, options=[{"o": "bind", "device": "/var/run"}])),
    ("5.7", replace(FACTS, processes=["qdrant", "sshd"])),
    ("5.8", bound("127.0.0.1", "6334/tcp")),
    ("5.8", bound("127.0.0.1", outside="80")),
    ("5.8", host(PublishAllPorts=True)),
    *(("5.14", bound(ip)) for ip in ("", "0.0.0.0", "::", "10.0.0.1")),
    *(("5.10", with_changed("NetworkSettings", {"Networks": names})) for names in NETWORKS),
    ("5.11", host(MemorySwap=2)),
    ("5.11", host(Memory=0, MemorySwap=0)),
    ("5.12", host(NanoCpus=0, CpuShares=2)),
    ("5.13", host(ReadonlyRootfs=False)),
    ("5.13", host(Tmpfs={"/tmp": "rw,nosuid,size=1m"})),
    ("5.13", with_changed("", {"Mounts": [{"Type": "tmpfs", "Propagation": ""}]})),
    ("5.13+", replace(FACTS, root=["rw"])),
    *(("5.15", host(RestartPolicy={"Name": name})) for name in ("always", "no", "on-failure")),
    ("5.16", host(PidMode="container:redis")),
    ("5.16", host(IpcMode="shareable")),
    ("5.18", host(DeviceRequests=[{"Count": -1}])),
    ("5.19", host(Ulimits=[{"Name": "core", "Hard": 1}, {"Name": "nofile", "Hard": 9}, {"Name": "nproc", "Hard": 9}])),
    ("5.20", with_changed("", {"Mounts": [{"Type": "volume", "Propagation": "rshared"}]})),
    ("5.22+", replace(FACTS, status=STATUS | {"Seccomp": "0"})),
    ("5.25", host(CgroupParent="/other")),
    ("5.27", with_changed("State", {"Health": {"Status": "unhealthy"}})),
    ("5.27", with_changed("Config", {"Healthcheck": {"Test": ["NONE"]}})),
    ("5.28", with_changed("Config", {"Image": "qdrant/qdrant:v1.17.0"})),
    *(("5.29", host(PidsLimit=limit)) for limit in (None, 0, -1)),
    ("2.13+", host(LogConfig={"Type": "json-file", "Config": {}})),
    *(
        ("secrets", with_changed("Config", {"Env": [variable]}))
        for variable in ("QDRANT__SERVICE__API_KEY=x", "POSTGRES_PASSWORD=x", "ZEN_TOKEN=x")
    ),
]


@pytest.mark.parametrize(("number", "facts"), RED)
def test_a_row_goes_red_for_what_it_forbids_and_no_other_does(number: str, facts: Facts) -> None:
    assert [row.number for row in broken(facts)] == [number]


def test_a_hardened_container_keeps_every_row_and_each_row_was_seen_red() -> None:
    assert broken(FACTS) == []
    assert {number for number, _ in RED} == {row.number for row in ROWS}
