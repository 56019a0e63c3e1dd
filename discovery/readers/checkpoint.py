"""What a stack's Pulumi state says is ours. Read without Pulumi where the state is a file.

Layouts (Pulumi's `pkg/backend/diy`): `.pulumi/stacks/<project>/<stack>.json`, before projects existed
`.pulumi/stacks/<stack>.json`, either of them also gzipped as `.json.gz`. A state that is there but cannot be read is
not the same as none: then nothing can be proved ours, and the caller must not decide as if nothing were.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

from catalog import HOST_COMMAND
from discovery.report import Remembered
from discovery.request import Checkpoint
from reading import safe_files
from reading.text import one_line, shown

MAX_BYTES = 64 * 1024 * 1024
EXPORT_SECONDS = 20.0

_OWNED_TYPES = ("docker:index/container:Container", "docker:index/network:Network", "docker:index/service:Service")
_COMMAND_TYPE = "command:local:Command"
_STACK_TYPE = "pulumi:pulumi:Stack"
# Letters, digits, '-', '_' and '.' (Pulumi's `tokens.ParseStackName`); not '.' or '..', since it becomes a file's name.
_STACK_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,100}")
_MAX_RUN = 2**31


class _UnreadableError(Exception):
    """The state is there but cannot be read. The text continues "the state …"."""


def read_checkpoint(root: Path, project: str, stack: str, environ: Mapping[str, str]) -> Checkpoint:
    """The checkpoint of `stack` in the backend that Pulumi would use from `root`. Never raises for what it finds.

    No stack yet is known and empty; a state that cannot be read is not `known`, and `problem` says why.
    """
    owner = ""
    try:
        if _STACK_NAME.fullmatch(stack) is None or _STACK_NAME.fullmatch(project) is None:
            raise _UnreadableError("cannot be located: its name is none that Pulumi allows")
        backend = _backend(root, environ)
        owner = _owner(root, backend)
        if not backend:
            return Checkpoint(owner=owner)
        if backend.startswith("file://"):
            state = _read_state(_folder(root, backend, environ), project, stack)
        else:
            state = export_checkpoint(root, stack, environ)
        if state is None:
            return Checkpoint(owner=owner)
        resources = _resources(state, project, stack)
        return Checkpoint(
            ids=frozenset(_ids(resources)),
            owner=owner,
            previous=_previous(resources),
            host_runs=dict(_host_runs(resources)),
            pending=_pending(state),
        )
    except _UnreadableError as error:
        return Checkpoint(known=False, owner=owner, problem=f"the state of stack {one_line(stack, 60)} {error}")


def export_checkpoint(
    root: Path, stack: str, environ: Mapping[str, str], seconds: float = EXPORT_SECONDS
) -> Mapping[str, object] | None:
    """The state as `pulumi stack export` gives it, for backends that are no folder; None where there is no such stack.

    Raises `_UnreadableError` where Pulumi cannot be run, fails, or takes longer than `seconds`.
    """
    command = ["pulumi", "stack", "export", "--non-interactive", "--stack", stack]
    try:
        done = subprocess.run(
            command, cwd=root, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds
        )
    except OSError as error:
        raise _UnreadableError(f"is not in a file, and pulumi cannot be run ({error.strerror})") from error
    except subprocess.TimeoutExpired as error:
        raise _UnreadableError(f"is not in a file, and pulumi took longer than {seconds:g} s") from error
    if done.returncode != 0:
        message = done.stderr.decode("utf-8", "replace").strip()
        if "no stack named" in message:
            return None
        raise _UnreadableError(f"cannot be exported: {one_line(message.splitlines()[0] if message else '', 120)}")
    deployment = _object(_json(done.stdout), "the export").get("deployment")
    return {"checkpoint": {"latest": deployment}}


def state_folder(root: Path, environ: Mapping[str, str]) -> Path | None:
    """The folder below which a `file://` backend keeps its `.pulumi`; None for any other backend, or none."""
    try:
        backend = _backend(root, environ)
        return _folder(root, backend, environ) if backend.startswith("file://") else None
    except _UnreadableError:
        return None


def _backend(root: Path, environ: Mapping[str, str]) -> str:
    """The backend's URL: `PULUMI_BACKEND_URL`, else the project's own folder, else where one is logged in, else ""."""
    if url := environ.get("PULUMI_BACKEND_URL", ""):
        return url
    own = root / ".promptcraft" / "state"
    if own.is_dir():
        return f"file://{own.absolute()}"
    home = environ.get("PULUMI_HOME") or f"{environ.get('HOME') or Path.home()}/.pulumi"
    try:
        data = safe_files.read_file(Path(home) / "credentials.json", safe_files.Rules(max_bytes=1024 * 1024))
    except safe_files.UnsafeFile as error:
        raise _UnreadableError(f"cannot be located: ~/.pulumi/credentials.json {error}") from error
    if data is None:
        return ""
    current = _object(_json(data), "~/.pulumi/credentials.json").get("current", "")
    return current if isinstance(current, str) else ""


def _folder(root: Path, backend: str, environ: Mapping[str, str]) -> Path:
    """The folder of a `file://` backend: absolute, below the home folder (`file://~`), or relative to the project."""
    text = unquote(backend.removeprefix("file://").partition("?")[0])
    if "\0" in text:
        raise _UnreadableError("cannot be located: its backend has a NUL in its path")
    if text == "~" or text.startswith("~/"):
        return Path(environ.get("HOME") or Path.home()) / text[2:]
    return root / text


def _owner(root: Path, backend: str) -> str:
    """What marks this state's resources on an engine: the text `make` wrote once, or else the backend's digest."""
    try:
        data = safe_files.read_file(root / ".promptcraft" / "owner", safe_files.Rules(max_bytes=256))
    except safe_files.UnsafeFile as error:
        raise _UnreadableError(f"has no readable .promptcraft/owner: it {error}") from error
    if data is not None and (text := data.decode("ascii", "replace").strip()).isprintable() and text:
        return text
    return hashlib.sha256(backend.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _read_state(folder: Path, project: str, stack: str) -> Mapping[str, object] | None:
    stacks = folder / ".pulumi" / "stacks"
    rules = safe_files.Rules(max_bytes=MAX_BYTES)
    for base in (stacks / project / stack, stacks / stack):
        for suffix in (".json", ".json.gz"):
            try:
                data = safe_files.read_file(base.with_name(base.name + suffix), rules)
            except safe_files.UnsafeFile as error:
                raise _UnreadableError(str(error)) from error
            if data is not None:
                return _object(_json(_unzipped(data) if suffix == ".json.gz" else data), "the file")
    return None


def _unzipped(data: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=BytesIO(data)) as file:
            plain = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _UnreadableError(f"is not gzip ({one_line(str(error), 60)})") from error
    if len(plain) > MAX_BYTES:
        raise _UnreadableError(f"is larger than {safe_files.size(MAX_BYTES)}")
    return plain


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _UnreadableError(f"is not JSON ({one_line(str(error), 80)})") from error


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _UnreadableError(f"is broken: {what} holds {shown(value, 40)}, not an object")
    return value


def _resources(state: Mapping[str, object], project: str, stack: str) -> list[Mapping[str, object]]:
    """The resources of this project's stack; none where the stack has never been updated, or is another project's."""
    checkpoint = _object(state.get("checkpoint"), "checkpoint")
    latest = checkpoint.get("latest")
    if latest is None:
        return []
    resources = _object(latest, "checkpoint.latest").get("resources") or []
    if not isinstance(resources, list):
        raise _UnreadableError(f"is broken: its resources are {shown(resources, 40)}, not a list")
    ours = f"urn:pulumi:{stack}::{project}::"
    objects = [_object(resource, "a resource") for resource in resources]
    return [resource for resource in objects if str(resource.get("urn", "")).startswith(ours)]


def _pending(state: Mapping[str, object]) -> int:
    latest = _object(state.get("checkpoint"), "checkpoint").get("latest")
    operations = latest.get("pending_operations") if isinstance(latest, dict) else None
    return len(operations) if isinstance(operations, list) else 0


def _ids(resources: list[Mapping[str, object]]) -> Iterator[str]:
    for resource in resources:
        identity = resource.get("id")
        # `external` resources were only looked up by a program, never created by it.
        if resource.get("type") in _OWNED_TYPES and resource.get("external") is not True and isinstance(identity, str):
            yield identity


def _host_runs(resources: list[Mapping[str, object]]) -> Iterator[tuple[str, int]]:
    """The run of each command of this host, which is the first of its triggers."""
    for resource in resources:
        name = str(resource.get("urn", "")).rpartition("::")[2]
        inputs = resource.get("inputs")
        if resource.get("type") != _COMMAND_TYPE or not name.endswith(HOST_COMMAND) or resource.get("delete") is True:
            continue
        triggers = inputs.get("triggers") if isinstance(inputs, dict) else None
        run = triggers[0] if isinstance(triggers, list) and triggers else None
        if isinstance(run, int | float) and not isinstance(run, bool) and 0 < run < _MAX_RUN:
            yield name.removesuffix(HOST_COMMAND), int(run)


def _previous(resources: list[Mapping[str, object]]) -> dict[str, Remembered]:
    """The `plan` output of the last update. A secret in the state is an object with a ciphertext: not taken."""
    previous: dict[str, Remembered] = {}
    for resource in resources:
        outputs = resource.get("outputs") if resource.get("type") == _STACK_TYPE else None
        plan = outputs.get("plan") if isinstance(outputs, dict) else None
        for service, decision in plan.items() if isinstance(plan, dict) else ():
            if isinstance(decision, dict) and isinstance(decision.get("source"), str):
                texts = {key: text for key, text in decision.items() if isinstance(text, str)}
                previous[service] = Remembered.from_texts(texts)
    return previous
