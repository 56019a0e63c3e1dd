"""Resolve an image's tag to its digest in a registry (Docker's registry API, version 2, with token logins)."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping

from toolchain.failure import SetupError
from toolchain.images.references import Name

TIMEOUT_SECONDS = 10.0

# An index first: its digest stands for the image on every architecture.
_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


def address(registry: str) -> str:
    """The base address of `registry`'s API. As Docker does, plain HTTP is used on the loopback only."""
    if registry == "docker.io":
        return "https://registry-1.docker.io/v2/"
    host = registry.partition(":")[0]
    scheme = "http" if host == "localhost" or re.fullmatch(r"127(\.[0-9]+){3}", host) else "https"
    return f"{scheme}://{registry}/v2/"


def digest(name: Name) -> str:
    """The digest that `name` has now, `sha256:…`. Raises `SetupError` where the registry does not tell."""
    url = f"{address(name.registry)}{name.repository}/manifests/{name.tag}"
    where = f"{name.name}:{name.tag}"
    try:
        headers = _head(url, {})
    except urllib.error.HTTPError as refusal:
        challenge = refusal.headers.get("WWW-Authenticate", "")
        if refusal.code != 401 or not challenge.lower().startswith("bearer "):
            raise SetupError(f"{where}: the registry answered {refusal.code} {refusal.reason}") from refusal
        headers = _with_token(url, challenge, where)
    except OSError as error:
        raise SetupError(f"{where}: the registry can't be reached ({error})") from error
    found = headers.get("Docker-Content-Digest", "")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", found):
        raise SetupError(f"{where}: the registry told no digest")
    return found


def _with_token(url: str, challenge: str, where: str) -> Mapping[str, str]:
    try:
        return _head(url, {"Authorization": f"Bearer {_token(challenge)}"})
    except urllib.error.HTTPError as refusal:
        raise SetupError(f"{where}: the registry answered {refusal.code} {refusal.reason}") from refusal
    except (OSError, ValueError, KeyError) as error:
        raise SetupError(f"{where}: the registry's login failed ({error})") from error


def _token(challenge: str) -> str:
    """An anonymous token, as the challenge `Bearer realm="…",service="…",scope="…"` asks for."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = fields.pop("realm")
    if not realm.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise ValueError(f"the login is at {realm}, which is not https")
    with urllib.request.urlopen(f"{realm}?{urllib.parse.urlencode(fields)}", timeout=TIMEOUT_SECONDS) as response:
        document = json.load(response)
    return str(document.get("token") or document["access_token"])


def _head(url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": _ACCEPT, **headers})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        return dict(response.headers.items())
