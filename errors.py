"""The one error that every room raises for what a person must mend."""

from __future__ import annotations


class ConfigError(Exception):
    """Broken configuration. The text is `file:line: key: what is wrong; what to do`, one line a problem."""
