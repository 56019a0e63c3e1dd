"""Where Claude Code keeps the user's settings, and how messages call that place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

DEFAULT_LABEL = "~/.claude"
MOVED_LABEL = "$CLAUDE_CONFIG_DIR"
# Where the machine's administrator keeps what wins over every user's settings.
MANAGED_FOLDER = Path("/etc/claude-code")


def claude_folder(home: Path, environment: Mapping[str, str]) -> tuple[Path, str]:
    """The folder and its name in messages: `~/.claude`, or what `CLAUDE_CONFIG_DIR` says.

    `environment` is this machine's, without the project's `.env`: a project must not say which files are the user's.
    """
    configured = environment.get("CLAUDE_CONFIG_DIR", "")
    if configured and "\0" not in configured:
        return home / configured, MOVED_LABEL
    return home / ".claude", DEFAULT_LABEL
