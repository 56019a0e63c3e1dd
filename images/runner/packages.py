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
# An installer has a way out even where its server has none. npm and uv both know these.
INSTALLERS = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:3128")
# MiB. What a server in Node may keep on its heap, so that one can't take what all share.
NODE_HEAP = 96

# npm's and uv's own words for a registry that nobody answers at, or that the way out has no answer of.
_UNREACHABLE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|network|dns error|"
    r"error sending request|tcp connect error|timed out|tunnel|\b50[234]\b",
    re.IGNORECASE,
)


class PackageError(Exception):
    """The package can't be had or started; the text is one line for people, with what to do."""


@dataclass(frozen=True)
class Wanted:
    """A package, those that are installed with it, and the installer's options (`--prerelease=allow`)."""

    package: str
    beside: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        return (self.package, *self.beside)

    @property
    def is_exact(self) -> bool:
        """Whether every package is named with its one version."""
        return all(map(is_exact, self.packages))

    def __str__(self) -> str:
        return " with ".join(self.packages)


@dataclass(frozen=True)
class Command:
    """A program and its arguments, and the variables it needs beyond the common ones."""

    program: str
    arguments: tuple[str, ...]
    environment: dict[str, str]


async def npm_package(wanted: Wanted, binary: str | None) -> Command:
    """The npm package `name[@version]`, and which of its programs; None: the only one, or the one of its name."""
    modules = await _installed("npm", wanted, _npm(wanted)) / "node_modules"
    name = wanted.package[:at] if (at := wanted.package.find("@", 1)) > 0 else wanted.package
    declared = json.loads((modules / name / "package.json").read_text(encoding="utf-8")).get("bin", {})
    # "bin": "./index.js" is short for a program of the package's own name
    programs = {name.rpartition("/")[2]: declared} if isinstance(declared, str) else declared
    # Several names of one file are one program.
    only = next(iter(programs)) if len(set(programs.values())) == 1 else None
    called = binary or only or name.rpartition("/")[2]
    # Those of the packages beside it, and of what they depend on, are there as well.
    script = modules / name / programs[called] if called in programs else modules / ".bin" / called
    if not script.is_file():
        raise PackageError(f"{wanted} has no program {called!r}; it has {', '.join(programs) or 'none'}")
    return _node(wanted.package, called, script)


def _node(spec: str, program: str, path: Path) -> Command:
    script = path.resolve()
    with script.open("rb") as opened:
        first_line = opened.readline(200)
    if b"bun" in first_line:
        raise PackageError(f"{spec}: its program {program} needs Bun, and the runner has Node.js; run it elsewhere")
    if b"node" not in first_line:
        raise PackageError(f"{spec}: its program {program} is no Node.js script, and nothing else is run by npx here")
    options = (f"--max-old-space-size={NODE_HEAP}", "--require", str(PRELOAD / "node.cjs"))
    return Command("node", (*options, str(script)), {})


async def python_package(wanted: Wanted, binary: str | None) -> Command:
    """The Python package `name[extras][==version]`, and which of its programs; None: the one of its name."""
    folder = await _installed("uv", wanted, _uv(wanted))
    script = folder / "bin" / (binary or re.split(r"[\[=@<>~!]", wanted.package, maxsplit=1)[0])
    if not script.is_file():
        raise PackageError(f"{wanted} has no program {script.name!r}")
    return Command(str(folder / "bin" / "python"), (str(script),), {"PYTHONPATH": str(PRELOAD)})


def _npm(wanted: Wanted) -> tuple[str, ...]:
    options = ("--no-audit", "--no-fund", "--no-save", "--no-update-notifier", "--omit=dev", "--loglevel=error")
    # One more try, soon: a registry that is away is tried again by whoever asked, without holding up the others.
    patience = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=20000")
    node = shutil.which("node")
    if node is None:
        raise PackageError("Node.js is missing from this image")
    # The wheel's own `npm` looks for its parts in another place than where the wheel has them.
    npm = Path(node).parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return (node, str(npm), "install", "--prefix", "{folder}", *options, *patience, "--", *wanted.packages)


def _uv(wanted: Wanted) -> tuple[str, ...]:
    # `name@1.2` is uvx's way of writing `name==1.2`, and `name@latest` that of `name`
    requirements = [re.sub(r"@(?=[0-9])", "==", spec.removesuffix("@latest")) for spec in wanted.packages]
    script = (
        'python=$1 folder=$2; shift 2; uv venv --quiet --clear --python "$python" "$folder" '
        '&& uv pip install --quiet --python "$folder/bin/python" "$@"'
    )
    return ("sh", "-c", script, "uv", sys.executable, "{folder}", *wanted.options, "--", *requirements)


# One at a time: an installer needs as much memory as all else here together.
_installing = asyncio.Lock()


async def _installed(kind: str, wanted: Wanted, command: tuple[str, ...]) -> Path:
    """The folder with the packages; exact versions are fetched once, any others at every start where that works."""
    told = "\n".join((*wanted.packages, *wanted.options))
    folder = ROOT / kind / hashlib.sha256(told.encode()).hexdigest()[:16]
    complete = folder / ".complete"
    async with _installing:
        if complete.exists() and wanted.is_exact:
            return folder
        try:
            await _run(kind, str(wanted), tuple(str(folder) if word == "{folder}" else word for word in command))
        except PackageError:
            if complete.exists():
                return folder
            raise
        complete.touch()
    return folder


def is_exact(spec: str) -> bool:
    """Whether the specification names one version: `@scope/name@1.2.3`, `name==1.2.3`."""
    return re.fullmatch(r".+(==[0-9][0-9A-Za-z.+!-]*|@[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?)", spec) is not None


async def _run(kind: str, spec: str, command: tuple[str, ...]) -> None:
    # Its own process group, so that what an installer starts ends with it.
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE, env={**environment(), **INSTALLERS}, start_new_session=True,
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


WAY_OUT = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy", "NODE_USE_ENV_PROXY")


def way_out() -> dict[str, str]:
    """The variables by which a server finds its way out, where it has one."""
    return {name: os.environ[name] for name in WAY_OUT if os.environ.get(name)}


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
