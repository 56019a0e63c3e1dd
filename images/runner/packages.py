"""Packages of npm and of a Python index, installed once into the volume and started from there.

Installed, not run through `npx` or `uvx`: those stay beside the server for as long as it lives, with more memory than
some servers need, and ask the registry again at each start.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(os.environ.get("RUNNER_PACKAGES", "/packages"))
PRELOAD = Path(__file__).resolve().parent / "preload"
INSTALL_SECONDS = 70.0
# MiB. What a server in Node may keep on its heap, so that one can't take what all share.
NODE_HEAP = 96

# npm's and uv's own words for a registry that nobody answers at.
_UNREACHABLE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|network|dns error|"
    r"error sending request|tcp connect error|timed out",
    re.IGNORECASE,
)


class PackageError(Exception):
    """The package can't be had or started; the text is one line for people, with what to do."""


@dataclass(frozen=True)
class Command:
    """A program and its arguments, and the variables it needs beyond the common ones."""

    program: str
    arguments: tuple[str, ...]
    environment: dict[str, str]


async def npm_package(spec: str, binary: str | None) -> Command:
    """The npm package `name[@version]`, and which of its programs; None: the only one, or the one of its name."""
    folder = await _installed("npm", spec, _npm(spec))
    name = spec[:at] if (at := spec.rfind("@")) > 0 else spec
    package = folder / "node_modules" / name
    declared = json.loads((package / "package.json").read_text(encoding="utf-8")).get("bin", {})
    # "bin": "./index.js" is short for a program of the package's own name
    programs = {name.rpartition("/")[2]: declared} if isinstance(declared, str) else declared
    wanted = binary or (next(iter(programs)) if len(programs) == 1 else name.rpartition("/")[2])
    if wanted not in programs:
        raise PackageError(f"{spec} has no program {wanted!r}; it has {', '.join(programs) or 'none'}")
    script = (package / programs[wanted]).resolve()
    with script.open("rb") as opened:
        first_line = opened.readline(200)
    if b"node" not in first_line:
        raise PackageError(f"{spec}: its program {wanted} is no Node.js script, and nothing else is run by npx here")
    options = (f"--max-old-space-size={NODE_HEAP}", "--require", str(PRELOAD / "node.cjs"))
    return Command("node", (*options, str(script)), {})


async def python_package(spec: str, binary: str | None) -> Command:
    """The Python package `name[extras][==version]`, and which of its programs; None: the one of its name."""
    folder = await _installed("uv", spec, _uv(spec))
    name = re.split(r"[\[=@]", spec, maxsplit=1)[0]
    script = folder / "bin" / (binary or name)
    if not script.is_file():
        raise PackageError(f"{spec} has no program {script.name!r}")
    return Command(str(folder / "bin" / "python"), (str(script),), {"PYTHONPATH": str(PRELOAD)})


def _npm(spec: str) -> tuple[str, ...]:
    options = ("--no-audit", "--no-fund", "--no-save", "--no-update-notifier", "--omit=dev", "--loglevel=error")
    # One more try, soon: a registry that is away is tried again by whoever asked, without holding up the others.
    patience = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=20000")
    node = shutil.which("node")
    if node is None:
        raise PackageError("Node.js is missing from this image")
    # The wheel's own `npm` looks for its parts in another place than where the wheel has them.
    npm = Path(node).parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return (node, str(npm), "install", "--prefix", "{folder}", *options, *patience, spec)


def _uv(spec: str) -> tuple[str, ...]:
    # `name@1.2` is uvx's way of writing `name==1.2`
    requirement = re.sub(r"@(?=[0-9])", "==", spec)
    script = 'uv venv --quiet --clear --python "$1" "$2" && uv pip install --quiet --python "$2/bin/python" "$3"'
    return ("sh", "-c", script, "uv", sys.executable, "{folder}", requirement)


# One at a time: an installer needs as much memory as all else here together.
_installing = asyncio.Lock()


async def _installed(kind: str, spec: str, command: tuple[str, ...]) -> Path:
    """The folder with the package; an exact version is fetched once, any other at every start where that works."""
    folder = ROOT / kind / hashlib.sha256(spec.encode()).hexdigest()[:16]
    complete = folder / ".complete"
    async with _installing:
        if complete.exists() and is_exact(spec):
            return folder
        try:
            await _run(kind, spec, tuple(str(folder) if word == "{folder}" else word for word in command))
        except PackageError:
            if complete.exists():
                return folder
            raise
        complete.touch()
    return folder


def is_exact(spec: str) -> bool:
    """Whether the specification names one version: `@scope/name@1.2.3`, `name==1.2.3`."""
    return re.fullmatch(r".+(==[0-9][^,]*|@[0-9]+\.[0-9]+\.[0-9A-Za-z.+-]+)", spec) is not None


async def _run(kind: str, spec: str, command: tuple[str, ...]) -> None:
    # Its own process group, so that what an installer starts ends with it.
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE, env=environment(), start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(INSTALL_SECONDS):
            _, told = await process.communicate()
    except TimeoutError:
        raise PackageError(f"{_registry(kind)} did not deliver {spec} within {INSTALL_SECONDS:g} s") from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        raise PackageError(_why(kind, spec, told.decode(errors="replace"), process.returncode))


def _why(kind: str, spec: str, told: str, code: int) -> str:
    text = " ".join(told.split())[:300]
    if code == -signal.SIGKILL:
        return f"installing {spec} was ended, most likely for lack of memory; raise the runner's limit"
    if "E404" in text or "not found in the package registry" in text:
        return f"{_registry(kind)} has no package {spec}; correct its name or version"
    if _UNREACHABLE.search(text):
        variable = "NPM_CONFIG_REGISTRY" if kind == "npm" else "UV_DEFAULT_INDEX"
        return f"{_registry(kind)} cannot be reached for {spec}; connect this machine to it, or set {variable} ({text})"
    return f"installing {spec} failed ({text or code})"


def _registry(kind: str) -> str:
    return "the npm registry" if kind == "npm" else "the Python package index"


def environment() -> dict[str, str]:
    """The variables of every installer and server: nothing secret, and everything they write on the volume or tmpfs."""
    passed = ("PATH", "NPM_CONFIG_REGISTRY", "UV_DEFAULT_INDEX", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "LANG")
    own = {
        "HOME": "/tmp",
        "npm_config_cache": str(ROOT / "cache" / "npm"),
        "UV_CACHE_DIR": str(ROOT / "cache" / "uv"),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_CONFIG": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return {name: os.environ[name] for name in passed if os.environ.get(name)} | own
