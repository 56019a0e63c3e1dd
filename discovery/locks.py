"""Claim and release the lock files of what this program deploys: `python -m discovery.locks claim|release …`.

Exit status: 0 done, 1 held by somebody else or unsafe (0 with `--yield`), 2 wrong arguments. Run by the deployment
itself, so nothing secret is ever an argument.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from discovery.readers import lock_format
from discovery.readers.lock_format import Lock, LockError
from reading import endpoints, safe_files
from reading.safe_files import UnsafeFile
from reading.text import one_line

# A container is claimed for before it answers: so long its claim stands without an endpoint.
START_GRACE_SECONDS = 180.0
CONNECT_SECONDS = 1.0
_ATTEMPTS = 100

Answers = Callable[[str], bool]


class LockHeldError(Exception):
    """Somebody else holds the lock, or what lies in its place must not be touched; the message says who and what."""


def answers(endpoint: str) -> bool:
    """Whether anybody accepts a connection at `endpoint`."""
    url = urlsplit(endpoint)
    try:
        with socket.create_connection((url.hostname or "", url.port or 0), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False


def claim(folder: Path, lock: Lock, answering: Answers = answers) -> Path:
    """Put `lock` in its place, all of it at once; a stale lock or an earlier one of the same stack is replaced.

    Raises `LockHeldError` where another holder lives or the file cannot be ours, `LockError` for a bad service name.
    """
    path = lock_format.lock_path(folder, lock.service)
    draft = _write_draft(folder, lock)
    try:
        for _ in range(_ATTEMPTS):
            with suppress(FileExistsError):
                os.link(draft, path, follow_symlinks=False)
                return path
            if _replace(path, draft, lock, answering):
                return path
        raise LockHeldError(f"{path} changes faster than it can be claimed; try again")
    except OSError as error:
        raise LockHeldError(f"{path} cannot be claimed ({error.strerror}); remove it or set MCP_LOCK_DIR") from error
    finally:
        draft.unlink(missing_ok=True)


def release(folder: Path, service: str, project: str, stack: str) -> bool:
    """Remove the lock if it is this stack's own; whether it was. Raises as `claim` does."""
    path = lock_format.lock_path(folder, service)
    with _held_still(path) as data:
        if data is None:
            return False
        with suppress(LockError):
            lock = lock_format.parse(data)
            if (lock.service, lock.project, lock.stack) == (service, project, stack):
                path.unlink()
                return True
        return False


def _write_draft(folder: Path, lock: Lock) -> Path:
    draft = folder / f".mcp-{lock.service}.{secrets.token_hex(8)}.draft"
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LockHeldError(f"{folder} cannot be written to ({error.strerror}); set MCP_LOCK_DIR") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(lock.to_bytes())
    return draft


def _replace(path: Path, draft: Path, lock: Lock, answering: Answers) -> bool:
    """Replace a lock that may be; False where it went away meanwhile. Raises `LockHeldError` where it may not."""
    with _held_still(path) as data:
        if data is None:
            return False
        if (holder := _other_holder(data, lock, answering)) is not None:
            raise LockHeldError(
                f"{path} is held by stack {one_line(holder.stack, 60)} of project {one_line(holder.project, 60)} "
                f"at {holder.endpoint}; release it there, or use that service with `share`"
            )
        draft.rename(path)
        return True


def _other_holder(data: bytes, lock: Lock, answering: Answers) -> Lock | None:
    """Who else holds the lock and lives; None where it is ours, stale, or no lock at all."""
    try:
        holder = lock_format.parse(data)
    except LockError:
        return None
    now = time.time()
    if holder.same_holder(lock) or lock_format.stale_reason(holder, now) is not None:
        return None
    lives = holder.pid is not None or now - holder.created < START_GRACE_SECONDS or answering(holder.endpoint)
    return holder if lives else None


@contextmanager
def _held_still(path: Path) -> Iterator[bytes | None]:
    """The bytes of the lock file while no other claim or release can replace it; None where it is gone.

    Two claims that both find a stale lock would else both replace it: the second one the first one's.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        reason = f"{path} is not a plain file that we may read ({error.strerror}); remove it or set MCP_LOCK_DIR"
        raise LockHeldError(reason) from error
    try:
        data = safe_files.read_descriptor(descriptor, lock_format.rules(private=False))
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield data if _is_still(path, descriptor) else None
    except UnsafeFile as error:
        raise LockHeldError(f"{path} {error}; remove it or set MCP_LOCK_DIR") from error
    finally:
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def lock_folder(environment: Mapping[str, str]) -> Path:
    """Where lock files lie, which `MCP_LOCK_DIR` moves."""
    return Path(environment.get("MCP_LOCK_DIR") or "/tmp")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; `--dir` defaults to `MCP_LOCK_DIR`, then `/tmp`."""
    parser = argparse.ArgumentParser(prog="python -m discovery.locks", description=__doc__)
    parser.add_argument("action", choices=("claim", "release"))
    parser.add_argument("--service", required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--endpoint", help="URL without credentials; needed by claim")
    parser.add_argument("--pid", type=int, help="the process that serves; none for a container")
    parser.add_argument("--yield", dest="yields", action="store_true", help="leave a lock that others hold, exit 0")
    parser.add_argument("--dir", type=Path, default=lock_folder(os.environ))
    options = parser.parse_args(arguments)
    try:
        if options.action == "release":
            done = release(options.dir, options.service, options.project, options.stack)
            sys.stdout.write(f"{options.service}: {'released' if done else 'no lock of ours, nothing to release'}\n")
            return 0
        if options.endpoint is None:
            parser.error("claim needs --endpoint")
        endpoint = endpoints.normalise_endpoint(options.endpoint, (*endpoints.HTTP, *endpoints.REDIS))
        lock = Lock(options.service, endpoint, options.project, options.stack, options.pid, time.time())
        lock_format.parse(lock.to_bytes())  # what is written is what a reader will accept
        sys.stdout.write(f"{claim(options.dir, lock)}\n")
        return 0
    except LockHeldError as error:
        sys.stderr.write(f"{error}\n")
        return 0 if options.yields else 1
    except (LockError, endpoints.EndpointError) as error:
        parser.error(f"the lock {error}")


if __name__ == "__main__":
    sys.exit(main())
