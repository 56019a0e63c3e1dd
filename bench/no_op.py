"""An `up` that changes nothing: ours, which looks and plans first, next to a program that declares the same constants.

Both run over one state on one engine, by turns. The constants are what the state holds after our own `up`: the same
resources by the same names below the same components, so that neither program changes anything.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

from bench.deployed import production
from bench.measure import Figure
from tests.engine.project import Project

_TURNS = 5
_LIMIT = 1.2
_SECRET_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"

# The same resources in the order of the state, which is one that their dependencies allow.
_PROGRAM = """
import json
import re
from pathlib import Path

import pulumi
import pulumi_command
import pulumi_docker

# Whoever writes the same program by hand writes it with these.
CLASSES = {
    "docker:index/container:Container": pulumi_docker.Container,
    "docker:index/network:Network": pulumi_docker.Network,
    "docker:index/remoteImage:RemoteImage": pulumi_docker.RemoteImage,
    "docker:index/volume:Volume": pulumi_docker.Volume,
    "command:local:Command": pulumi_command.local.Command,
}
made = {}
for entry in json.loads((Path(__file__).parent / "constants.json").read_text()):
    opts = pulumi.ResourceOptions(
        parent=made.get(entry["parent"]),
        depends_on=[made[urn] for urn in entry["depends_on"]],
        version=entry["version"],
        protect=entry["protect"],
        additional_secret_outputs=entry["secret_outputs"],
        ignore_changes=entry["ignore_changes"],
        retain_on_delete=entry["retain_on_delete"],
        delete_before_replace=entry["delete_before_replace"],
    )
    if entry["custom"]:
        inputs = {
            re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", name):
                pulumi.Output.secret(value) if name in entry["secret_inputs"] else value
            for name, value in entry["inputs"].items()
        }
        made[entry["urn"]] = CLASSES[entry["type"]](entry["name"], opts=opts, **inputs)
    else:
        component = pulumi.ComponentResource(entry["type"], entry["name"], None, opts)
        component.register_outputs(entry["outputs"])
        made[entry["urn"]] = component
for name, value in json.loads((Path(__file__).parent / "outputs.json").read_text()).items():
    pulumi.export(name, value)
"""


def figures() -> Iterator[Figure]:
    """Deploy production on an engine of its own, then change nothing, by turns with either program."""
    with production() as project:
        yield _compared(project)


def _compared(project: Project) -> Figure:
    program = project.root / "__main__.py"
    ours = program.read_text(encoding="utf-8")
    exported = json.loads(project.pulumi("stack", "export", "--show-secrets").text)
    resources = exported["deployment"]["resources"]
    (project.root / "constants.json").write_text(json.dumps(list(_constants(resources))), encoding="utf-8")
    (project.root / "outputs.json").write_text(json.dumps(resources[0]["outputs"]), encoding="utf-8")
    seconds: dict[str, list[float]] = {ours: [], _PROGRAM: []}
    for turn in range(_TURNS + 1):
        for text, taken in seconds.items():
            program.write_text(text, encoding="utf-8")
            started = time.monotonic()
            done = project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
            if done.code != 0:
                raise RuntimeError(f"a no-op up changed something or failed:\n{done.text}")
            # The first of each compiles, and tells the engine what the other left out.
            if turn:
                taken.append(time.monotonic() - started)
    own, constants = (statistics.median(taken) for taken in seconds.values())
    detail = f"{own:.1f} s next to {constants:.1f} s, medians of {_TURNS} each"
    return Figure("no-op up, next to constants", own / constants, _LIMIT, "times", detail)


def _constants(resources: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    versions = {one["urn"]: one["inputs"].get("version") for one in resources if one["type"].startswith("pulumi:prov")}
    for one in resources:
        if one["type"].startswith(("pulumi:providers:", "pulumi:pulumi:Stack")):
            continue
        inputs = {name: value for name, value in one.get("inputs", {}).items() if name != "__defaults"}
        secret = [name for name, value in inputs.items() if _is_secret(value)]
        yield {
            "urn": one["urn"],
            "type": one["type"],
            "name": one["urn"].rpartition("::")[2],
            "custom": one["custom"],
            "parent": one["parent"],
            "depends_on": [urn for urn in one.get("dependencies", []) if not urn.startswith("urn:pulumi:providers")],
            "version": versions.get(one.get("provider", "").rpartition("::")[0]),
            "protect": one.get("protect", False),
            "secret_outputs": one.get("additionalSecretOutputs", []),
            "ignore_changes": one.get("ignoreChanges", []),
            "retain_on_delete": one.get("retainOnDelete", False),
            "delete_before_replace": one.get("deleteBeforeReplace"),
            "secret_inputs": secret,
            "inputs": {name: _plain(value) for name, value in inputs.items()},
            "outputs": {name: _plain(value) for name, value in one.get("outputs", {}).items()},
        }


def _is_secret(value: Any) -> bool:
    return isinstance(value, dict) and value.get(_SECRET_SIGNATURE) == _SIGNATURE


def _plain(value: Any) -> Any:
    """A value of the state without the marks of secrets, and without the provider's own defaults."""
    if _is_secret(value):
        return json.loads(value["plaintext"])
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items() if name != "__defaults"}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
