"""The one error of this room."""


class HostCommandError(Exception):
    """A command of this host can't be started or stopped; the text says why and what to do, without its secrets."""
