"""Where Pulumi keeps this checkout's state, unless it was told elsewhere, and who the checkout is."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from toolchain.layout import Layout, locked, write_private
from toolchain.pulumi.plugins import configured_home


def ensure(layout: Layout) -> None:
    """Make the folder, the passphrase and the owner's mark, each once."""
    layout.private.mkdir(mode=0o700, exist_ok=True)
    layout.private.chmod(0o700)
    with locked(layout.private / "state.lock"):
        layout.state.mkdir(mode=0o700, exist_ok=True)
        if not layout.passphrase.exists():
            write_private(layout.passphrase, secrets.token_urlsafe(32))
        if not layout.owner.exists():
            write_private(layout.owner, secrets.token_hex(8))


def variables(layout: Layout, environment: Mapping[str, str]) -> dict[str, str]:
    """What Pulumi must be told; nothing that the user has configured already."""
    told = {}
    if not environment.get("PULUMI_BACKEND_URL") and not logged_in(environment):
        told["PULUMI_BACKEND_URL"] = layout.state.as_uri()
    # An empty passphrase is a passphrase too.
    if not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"} & set(environment):
        told["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(layout.passphrase)
    return told


def credentials(environment: Mapping[str, str]) -> Path:
    """Where `pulumi login` writes."""
    return Path(environment.get("PULUMI_CREDENTIALS_PATH") or configured_home(environment)) / "credentials.json"


def logged_in(environment: Mapping[str, str]) -> bool:
    """Whether `pulumi login` has chosen a backend."""
    try:
        return bool(json.loads(credentials(environment).read_text(encoding="utf-8")).get("current"))
    except (OSError, ValueError, AttributeError):
        return False
