"""Backups of a stack's data: a folder with one tar for each store and a manifest of what they are.

Each store is stopped for as long as its files are copied, and started again whatever happens. Redis and Qdrant are
copied one after the other: each is whole, of its own moment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

import docker
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catalog import PROJECT
from errors import ConfigError
from operate.data_stores import DataFolder, DataStore, StoreError, data_folder

MANIFEST = "manifest.json"
_CHUNK = 1024 * 1024


class StoredData(BaseModel):
    """One store's data. `file` lies beside the manifest; `version` and `stand_in` are the service's that wrote it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(pattern=r"^[a-z][a-z-]*\.tar$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    version: str = Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")
    stand_in: str | None


class Manifest(BaseModel):
    """What a backup holds, and of which stack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    project: str
    stack: str
    created: datetime
    services: dict[str, StoredData] = Field(min_length=1)


def default_folder(root: Path, stack: str) -> Path:
    """A folder in `root`/backups named after the stack and the time."""
    return root / "backups" / f"{stack}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def back_up(
    engine: docker.DockerClient, stores: Mapping[str, DataStore], stack: str, owner: str, folder: Path
) -> Manifest:
    """Write a backup of `stores` to `folder`, which appears only once it is complete: mode 0700, its files 0600.

    Raises `ConfigError` where the folder exists already or a store cannot be copied.
    """
    if folder.exists():
        raise ConfigError(f"{folder}: exists already; name another folder")
    draft = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    try:
        entries = {name: _copied(engine, store, stack, owner, draft) for name, store in stores.items()}
        manifest = Manifest(project=PROJECT, stack=stack, created=datetime.now(UTC), services=entries)
        with _new_file(draft / MANIFEST) as file:
            file.write(manifest.model_dump_json(indent=2).encode())
        draft.rename(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}); nothing was changed") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def _copied(engine: docker.DockerClient, store: DataStore, stack: str, owner: str, folder: Path) -> StoredData:
    name = store.service.name
    digest, size = hashlib.sha256(), 0
    try:
        with (
            data_folder(engine, store, stack, owner) as data,
            _stopped(store),
            _new_file(folder / f"{name}.tar") as tar,
        ):
            for chunk in data.read():
                tar.write(chunk)
                digest.update(chunk)
                size += len(chunk)
    except (StoreError, docker.errors.DockerException) as error:
        raise ConfigError(f"{name}: cannot be backed up: {error}") from error
    return StoredData(
        file=f"{name}.tar", sha256=digest.hexdigest(), bytes=size, version=store.version, stand_in=store.stand_in
    )


@contextmanager
def _stopped(store: DataStore) -> Iterator[None]:
    store.stop()
    try:
        yield
    finally:
        store.start()


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def read_backup(folder: Path) -> Manifest:
    """The manifest of a backup whose files are all what it says. Raises `ConfigError`."""
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}:1: file: {error.strerror}; name the folder that make backup wrote") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ConfigError(f"{path}:1: {where}: {first['msg']}; the backup is damaged, use another one") from error
    for entry in manifest.services.values():
        if _digest(folder / entry.file) != entry.sha256:
            raise ConfigError(
                f"{folder / entry.file}: is not what was backed up; the backup is damaged, use another one"
            )
    return manifest


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def restore(
    engine: docker.DockerClient, stores: Mapping[str, DataStore], stack: str, owner: str, folder: Path
) -> Manifest:
    """Put the data of a backup in the place of the stores'. Raises `ConfigError`, with their data as it was before.

    Everything is checked before the first store is stopped.
    """
    manifest = read_backup(folder)
    problems = [
        problem for name, entry in manifest.services.items() if (problem := _unfit(name, entry, stores.get(name)))
    ]
    if problems:
        raise ConfigError("\n".join(f"{folder / MANIFEST}:1: services.{problem}" for problem in problems))
    for name, entry in manifest.services.items():
        try:
            with data_folder(engine, stores[name], stack, owner) as data, (folder / entry.file).open("rb") as tar:
                _replace(stores[name], data, tar)
        except (StoreError, docker.errors.DockerException) as error:
            raise ConfigError(f"{name}: cannot be restored: {error}") from error
    return manifest


def _unfit(name: str, entry: StoredData, store: DataStore | None) -> str | None:
    """Why this data is not for this store, or None."""
    if store is None:
        return f"{name}: this stack runs no {name} of its own; leave it out, or deploy one first: make up"
    if entry.stand_in != store.stand_in:
        written, running = (it or f"the real {store.service.title}" for it in (entry.stand_in, store.stand_in))
        return f"{name}: was written by {written}, and {running} runs here, which cannot read it"
    written_by, reads = (tuple(map(int, version.split("."))) for version in (entry.version, store.version))
    if reads[0] != written_by[0] or reads[:2] < written_by[:2]:
        return (
            f"{name}: was written by {store.service.title} {entry.version}, and {store.version} runs here, which may "
            f"not read it; run {'.'.join(entry.version.split('.')[:2])} or a later minor version of it (images.{name})"
        )
    return None


def _replace(store: DataStore, data: DataFolder, tar: BinaryIO) -> None:
    store.stop()
    try:
        data.replace(tar)
        store.start()
    except BaseException as error:
        # An interruption as well: whatever ends a restore half-way, the earlier data comes back.
        store.stop()
        data.undo()
        store.start()
        if isinstance(error, StoreError | docker.errors.DockerException | OSError):
            raise ConfigError(
                f"{store.service.name}: cannot be restored: {error}; its data is as it was before"
            ) from error
        raise
    data.settle()
