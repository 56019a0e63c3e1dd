"""The hardening of every container of a stack, by docs/reliability.md, 1: one row a rule, one place for exceptions.

The rules are stricter than docker-bench's: what it passes and should not (its blind spots) breaks a row here.
`test_hardening_rows.py` shows each row red for its blind spots; the engine tests call `broken_rows` on their stacks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from catalog import LABEL_SERVICE, SERVICES
from tests.engine.project import Project


@dataclass(frozen=True)
class Facts:
    """A container as the engine describes it, and, where it runs, its first process as the kernel does.

    `status` is /proc/PID/status by key, `root` the options of the mount at `/`, `processes` the commands of all of its
    processes, `options` the driver options of its volumes; `apparmor` whether the engine has it.
    """

    service: str
    attributes: Mapping[str, Any]
    apparmor: bool = False
    options: Sequence[Mapping[str, str]] = ()
    status: Mapping[str, str] = field(default_factory=dict)
    root: Sequence[str] = ()
    processes: Sequence[str] = ()

    @property
    def host(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.attributes["HostConfig"]
        return found

    @property
    def config(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.attributes["Config"]
        return found

    @property
    def mounts(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.attributes["Mounts"]
        return found

    @property
    def networks(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.attributes["NetworkSettings"]["Networks"]
        return found


@dataclass(frozen=True)
class Row:
    """A rule: its number in the CIS benchmark (`+`: beyond it), what it says, and whether a container keeps it."""

    number: str
    rule: str
    kept: Callable[[Facts], bool]


def _user(facts: Facts) -> bool:
    match = re.fullmatch(r"([0-9]+):([0-9]+)", facts.config["User"])
    return match is not None and int(match[1]) >= 1 and int(match[2]) >= 1


def _bindings(facts: Facts) -> list[tuple[int, str, str]]:
    """Each published port: inside, address, outside."""
    return [
        (int(inside.split("/")[0]), binding["HostIp"], binding["HostPort"])
        for inside, bound in (facts.host["PortBindings"] or {}).items()
        for binding in bound
    ]


def _ports(facts: Facts) -> bool:
    service = SERVICES.get(facts.service)
    ports = service.ports if service else ()
    allowed = {port.container for port in ports if port.published or facts.service == "nginx"}
    return not facts.host["PublishAllPorts"] and all(
        inside in allowed and (facts.service == "nginx" or int(outside) >= 1024)
        for inside, _, outside in _bindings(facts)
    )


def _ulimits(facts: Facts) -> bool:
    limits = {limit["Name"]: limit["Hard"] for limit in facts.host["Ulimits"] or ()}
    return limits.get("core") == 0 and limits.get("nofile", 0) > 0 and limits.get("nproc", 0) > 0


def _security(facts: Facts) -> bool:
    options = set(facts.host["SecurityOpt"] or ())
    return bool(options) and options <= {"no-new-privileges", "no-new-privileges:true"}


def _apparmor(facts: Facts) -> bool:
    return not facts.apparmor or facts.attributes["AppArmorProfile"] == "docker-default"


def _namespaces(facts: Facts) -> bool:
    modes = [facts.host[name] for name in ("PidMode", "IpcMode", "UTSMode", "UsernsMode")]
    return not any(mode == "host" or mode == "shareable" or mode.startswith("container:") for mode in modes)


def _tmpfs(facts: Facts) -> bool:
    wanted = ("noexec", "nosuid", "size=")
    # One that is declared as a mount has no such options.
    return not any(mount["Type"] == "tmpfs" for mount in facts.mounts) and all(
        all(word in options for word in wanted) for options in (facts.host.get("Tmpfs") or {}).values()
    )


def _healthy(facts: Facts) -> bool:
    test: list[str] = (facts.config.get("Healthcheck") or {}).get("Test") or ["NONE"]
    return test[0] != "NONE" and bool(facts.attributes["State"].get("Health", {}).get("Status") == "healthy")


def _mounts(facts: Facts) -> bool:
    """Volumes and tmpfs only: nothing of the host's, so neither its folders nor its sockets.

    A volume with options can be a bind in disguise: `o=bind,device=/var/run`.
    """
    of_the_host = [mount for mount in facts.mounts if mount["Type"] not in ("volume", "tmpfs")]
    return not of_the_host and not any(facts.options)


_SECRET_NAME = re.compile(r"(?i)(password|passwd|secret|token|api_?key|credential)(?!.*_?FILE=)[^=]*=.")


def _network(facts: Facts) -> bool:
    names = set(facts.networks)
    # Servers that speak stdio have none, and reach the runner by a socket.
    return bool(names) and (names == {"none"} or not names & {"bridge", "host", "none"})


ROWS = (
    Row("4.1", "runs as a numeric user and group that are not root", _user),
    Row("5.2", "has the engine's AppArmor profile, where the engine has AppArmor", _apparmor),
    Row("5.3", "has security options, none of them unconfined; no new privileges (5.22, 5.26)", _security),
    Row("5.4", "has no capability", lambda it: it.host["CapDrop"] == ["ALL"] and not it.host["CapAdd"]),
    Row(
        "5.4+",
        "has none by the kernel's account",
        lambda it: all(int(it.status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")),
    ),
    Row("5.5", "is not privileged", lambda it: it.host["Privileged"] is False),
    Row("5.6", "mounts nothing of the host's (5.32: no socket)", _mounts),
    Row("5.7", "runs no sshd", lambda it: "sshd" not in it.processes),
    Row("5.8", "publishes only its catalog's ports; only nginx one below 1024", _ports),
    Row("5.10", "is on the stack's networks only, or on none (5.30: not on bridge)", _network),
    Row("5.11", "has a limit on memory, and no swap", lambda it: it.host["Memory"] == it.host["MemorySwap"] > 0),
    Row("5.12", "has a limit on CPU, not only shares", lambda it: it.host["NanoCpus"] > 0 or it.host["CpuQuota"] > 0),
    Row(
        "5.13",
        "has a read-only root, and no program runs from its tmpfs",
        lambda it: it.host["ReadonlyRootfs"] is True and _tmpfs(it),
    ),
    Row("5.13+", "has one by the kernel's account", lambda it: "ro" in it.root),
    Row("5.14", "publishes on the loopback only", lambda it: {ip for _, ip, _ in _bindings(it)} <= {"127.0.0.1"}),
    Row(
        "5.15", "comes back after the engine restarts", lambda it: it.host["RestartPolicy"]["Name"] == "unless-stopped"
    ),
    Row("5.16", "shares no namespace with the host or another container (5.17, 5.21, 5.31)", _namespaces),
    Row("5.18", "has no device", lambda it: not it.host["Devices"] and not it.host["DeviceRequests"]),
    Row("5.19", "has limits on files and processes, and dumps no core", _ulimits),
    Row(
        "5.20",
        "mounts with private propagation",
        lambda it: not {mount.get("Propagation") for mount in it.mounts} & {"shared", "rshared"},
    ),
    Row(
        "5.22+",
        "can gain no privilege, and has system calls filtered, by the kernel's account",
        lambda it: (it.status["NoNewPrivs"], it.status["Seccomp"]) == ("1", "2"),
    ),
    Row("5.25", "has the engine's own cgroup parent", lambda it: not it.host["CgroupParent"]),
    Row("5.27", "has a health check, and is healthy", _healthy),
    Row(
        "5.28",
        "runs an image by its digest",
        lambda it: re.fullmatch(r"sha256:[0-9a-f]{64}", it.config["Image"]) is not None,
    ),
    Row("5.29", "has a limit on processes", lambda it: 1 <= (it.host["PidsLimit"] or 0) <= 4096),
    Row("2.13+", "has limits on its log", lambda it: {"max-size", "max-file"} <= it.host["LogConfig"]["Config"].keys()),
    Row(
        "secrets",
        "has no secret in its environment",
        lambda it: not any(_SECRET_NAME.search(variable) for variable in it.config["Env"] or ()),
    ),
)

_NEVER_RUNS = "is created and never started: there is no process to hold to it"
EXCEPTIONS: Mapping[str, Mapping[str, str]] = {
    "nginx": {"5.14": "is the one service for the world: `publicPort` on all interfaces, in production only"},
    # Of the relays and the files containers, whatever their service.
    "relay": {"5.10": "is on the host's own network: nobody else reaches the host's loopback"},
    "files": {
        "5.13": "takes uploads, which the engine refuses for a read-only root",
        "5.15": "must not start, not even with the engine",
        **dict.fromkeys(("5.4+", "5.13+", "5.19", "5.22+", "5.27", "5.29"), _NEVER_RUNS),
    },
}


def facts_of(container: Container, engine: docker.DockerClient, *, apparmor: bool = False) -> Facts:
    """What the engine and the kernel say of a container, on the engine's own machine."""
    attributes, pid = container.attrs, container.attrs["State"]["Pid"]
    service = attributes["Config"]["Labels"][LABEL_SERVICE]
    volumes = [mount["Name"] for mount in attributes["Mounts"] if mount["Type"] == "volume"]
    options = [engine.volumes.get(name).attrs["Options"] or {} for name in volumes]
    if not pid:
        return Facts(service, attributes, apparmor, options)
    lines = (line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    # 36 35 98:0 /mnt1 / ro,noatime master:1 - overlay overlay rw  (proc(5): the fifth and sixth are what counts here)
    mounts = (line.split(" ") for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines())
    root = next(mount[5] for mount in mounts if mount[4] == "/")
    top = container.top()
    processes = [Path(row[-1].split(" ")[0]).name for row in top["Processes"]]
    status = {key: value.strip() for key, value in lines}
    return Facts(service, attributes, apparmor, options, status, root.split(","), processes)


def broken(facts: Facts) -> list[Row]:
    """The rows that a container does not keep and has no exception from."""
    kind = next((kind for kind in ("files", "relay") if facts.service.endswith(f"-{kind}")), facts.service)
    excepted = EXCEPTIONS.get(kind, {})
    return [row for row in ROWS if row.number not in excepted and not row.kept(facts)]


def broken_rows(project: Project) -> list[str]:
    """`service: number: rule` for everything that a container of the deployed stack does not keep."""
    engine = project.engine.client
    apparmor = any("apparmor" in option for option in engine.info()["SecurityOptions"])
    every = [facts_of(container, engine, apparmor=apparmor) for container in project.containers()]
    assert any(facts.status for facts in every), "no container runs"
    return [f"{facts.service}: {row.number}: {row.rule}" for facts in every for row in broken(facts)]
