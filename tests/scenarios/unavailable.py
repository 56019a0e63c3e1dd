"""What this machine cannot do, told apart from what discovery does wrong."""

from __future__ import annotations


class Unavailable(Exception):
    """A scenario cannot be started here; the text says what is missing."""
