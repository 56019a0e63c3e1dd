"""The one error for what a person must mend before set-up can go on."""

from __future__ import annotations


class SetupError(Exception):
    """Set-up can't go on. The text says what is missing and which commands to run; it is shown without traceback."""
