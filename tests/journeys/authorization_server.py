"""A real authorization server (npm's `oidc-provider`) where containers of a private engine reach it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tests.engine.private_engine import PrivateEngine
from tests.waiting import until

# Certified for OpenID Connect; the journeys are the only ones that use it.
PACKAGE = "oidc-provider@9.13.3"
_SCRIPT = Path(__file__).with_name("oidc_server.mjs")
CLIENTS = ("ci", "stranger")


def signing_key(kid: str) -> dict[str, Any]:
    """A new private key, as a JWK."""
    key: dict[str, Any] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1())))
    key.pop("key_ops", None)
    return key | {"kid": kid}


@dataclass
class AuthorizationServer:
    """The server, which can be started and stopped; `issuer` is its address."""

    engine: PrivateEngine
    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def issuer(self) -> str:
        return f"http://{self.engine.bridge}:{self.port}"

    def start(self, *keys: dict[str, Any]) -> None:
        """Run it with these keys; the first one signs."""
        environment = {
            **os.environ,
            "HOST": self.engine.bridge,
            "PORT": str(self.port),
            "ISSUER": self.issuer,
            "JWKS": json.dumps({"keys": list(keys)}),
            "CLIENTS": json.dumps(CLIENTS),
        }
        with (self.folder / "log").open("ab") as log:
            self._process = self.engine.namespace.run(
                lambda: subprocess.Popen(
                    ["node", _SCRIPT.name], cwd=self.folder, env=environment, stdout=log, stderr=log
                )
            )
        until(self._answers, seconds=60)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._process = None

    def token(self, client: str, resource: str, scope: str) -> str:
        """An access token for a client of the server, by its secret (RFC 6749, 4.4; RFC 8707)."""
        form = {
            "grant_type": "client_credentials",
            "client_id": client,
            "client_secret": f"{client}-secret",
            "resource": resource,
            "scope": scope,
        }
        described = json.loads(self._read(f"{self.issuer}/.well-known/openid-configuration"))
        told = json.loads(self._read(described["token_endpoint"], urlencode(form).encode()))
        return str(told["access_token"])

    def _read(self, url: str, form: bytes | None = None) -> bytes:
        def read() -> bytes:
            with urllib.request.urlopen(url, form, timeout=15) as answer:
                body: bytes = answer.read()
                return body

        return self.engine.namespace.run(read)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            return bool(self._read(f"{self.issuer}/.well-known/openid-configuration"))
        except OSError:
            return False


@contextmanager
def authorization_server(engine: PrivateEngine, folder: Path) -> Iterator[AuthorizationServer]:
    """The server, installed and not yet started; it is gone when this ends."""
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder), PACKAGE]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    (folder / _SCRIPT.name).write_text(_SCRIPT.read_text())

    def free_port() -> int:
        with socket.socket() as listener:
            listener.bind((engine.bridge, 0))
            port: int = listener.getsockname()[1]
            return port

    server = AuthorizationServer(engine, folder, engine.namespace.run(free_port))
    try:
        yield server
    finally:
        server.stop()
