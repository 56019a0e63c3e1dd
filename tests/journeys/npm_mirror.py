"""The machine's npm registry, where containers of a private engine can reach it; it can be taken away."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.engine.private_engine import PrivateEngine
from tests.journeys.serving import serving
from tests.scenarios.namespace import outside

_PASSED_ON = ("Content-Type", "ETag", "Last-Modified")


def registry_of_this_machine() -> str:
    """What npm is configured with here, without a slash at its end."""
    told = subprocess.run(["npm", "config", "get", "registry"], check=True, capture_output=True, text=True)
    return told.stdout.strip().rstrip("/")


@dataclass
class Republished:
    """New versions of packages, as a mirror has them: each is the latest one with files that are altered."""

    archives: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def publish(self, package: str, version: str, file: str, alter: Callable[[str], str]) -> None:
        """From now on `version` is the latest of `package`; its `file` is what `alter` makes of the one there was."""
        upstream = registry_of_this_machine()
        _, _, told = outside(lambda: _fetch(f"{upstream}/{package}/latest", "application/json"))
        _, _, archive = outside(lambda: _fetch(json.loads(told)["dist"]["tarball"], "*/*"))
        altered = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=altered, mode="w:gz") as new:
            for member in old.getmembers():
                opened = old.extractfile(member)
                content = opened.read() if opened is not None else b""
                if member.name == f"package/{file}":
                    content = alter(content.decode()).encode()
                elif member.name == "package/package.json":
                    content = json.dumps({**json.loads(content), "version": version}).encode()
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
        self.archives[package] = (version, altered.getvalue())

    def archive(self, path: str) -> bytes | None:
        """The archive at that path of the mirror, where it is one of ours."""
        return next((data for name, (_, data) in self.archives.items() if path == _place(name)), None)

    def altered(self, document: dict[str, Any], own: str) -> dict[str, Any]:
        """A package's document with the new version in it; `own` is the mirror's address."""
        name = document.get("name", "")
        if name not in self.archives:
            return document
        version, data = self.archives[name]
        latest = document["versions"][document["dist-tags"]["latest"]]
        digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
        dist = {"tarball": f"{own}{_place(name)}", "integrity": f"sha512-{digest}"}
        versions = {**document["versions"], version: {**latest, "version": version, "dist": dist}}
        return {**document, "versions": versions, "dist-tags": {**document["dist-tags"], "latest": version}}


def _place(package: str) -> str:
    return f"/republished/{package.rpartition('/')[2]}.tgz"


@contextmanager
def npm_mirror(engine: PrivateEngine, republished: Republished | None = None) -> Iterator[str]:
    """The address at which the engine's containers find the registry, for as long as this lasts."""
    upstream = registry_of_this_machine()
    ours = republished or Republished()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            own = f"http://{self.headers['Host']}"
            status, headers, body = 200, dict[str, str](), b""
            if (archive := ours.archive(self.path)) is not None:
                body = archive
            else:
                status, headers, body = outside(lambda: _fetch(upstream + self.path, self.headers.get("Accept", "*/*")))
            if headers.get("Content-Type", "").endswith("json"):
                # Packages name the place of their archives.
                body = body.replace(upstream.encode(), own.encode())
                if unquote(self.path).lstrip("/") in ours.archives:
                    # Nobody who has the document of before is told that it is still the same.
                    headers = {"Content-Type": headers["Content-Type"]}
                    body = json.dumps(ours.altered(json.loads(body), own)).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(engine, Handler) as address:
        yield address


def _fetch(url: str, accept: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            kept = {name: answer.headers[name] for name in _PASSED_ON if answer.headers[name]}
            return answer.status, kept, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {}, error.read()
