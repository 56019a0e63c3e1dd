"""What `access` of the stack file gives to whom, and what of it has no effect. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase

from catalog import AGENTS, FINDABLE, Protocol
from planning.plan import Decision, Omit
from settings import ANYBODY, UNNAMED, StackSettings, token_names


def access_of(settings: StackSettings) -> Mapping[str, tuple[str, ...]] | None:
    """The globs by caller; None where the stack says nothing of it."""
    given = settings.config.access
    return None if given is None else {caller: tuple(globs) for caller, globs in given.items()}


def ineffective(decisions: Mapping[str, Decision], agents: Collection[str], settings: StackSettings) -> Iterator[str]:
    """What of `access` matches nothing, and which callers it does not know, one line each."""
    given = settings.config.access
    if given is None:
        return
    servers = [
        name
        for name, decision in decisions.items()
        if not isinstance(decision, Omit) and (name not in FINDABLE or FINDABLE[name].protocol is Protocol.MCP)
    ]
    for caller, globs in given.items():
        for glob in globs:
            if not _matches_something(glob, servers, agents):
                yield (
                    f"access.{caller}: {glob} matches no MCP server and no agent of this stack; "
                    "`make preview` lists the servers; correct it or remove it"
                )
    yield from _unknown(given, settings)


def _unknown(given: Mapping[str, object], settings: StackSettings) -> Iterator[str]:
    secret = settings.secrets.get("gatewayTokens")
    names = token_names(secret.value) if secret else []
    by_issuer = settings.config.oauth is not None
    if not names and not by_issuer:
        # In production nobody is answered then, which is said elsewhere.
        if ANYBODY not in given and settings.config.environment != "production":
            yield (
                f"access: no token is set, so everybody is `{ANYBODY}`, who may do nothing; set gatewayTokens "
                f"(NAME:TOKEN), or give `{ANYBODY}` something"
            )
    elif UNNAMED not in given:
        for number, name in enumerate(names, start=1):
            if name is None:
                yield (
                    f"gatewayTokens: token {number} of {len(names)} has no name, so `access` gives it nothing; "
                    f"write NAME:TOKEN, or give `{UNNAMED}` something"
                )
    # Whom an issuer knows, only the issuer can say.
    if by_issuer:
        return
    known = {name or UNNAMED for name in names} if names else {ANYBODY}
    for caller in given:
        if caller not in known:
            yield f"access.{caller}: no token has that name; add {caller}:TOKEN to gatewayTokens, or remove it"


def _matches_something(glob: str, servers: Collection[str], agents: Collection[str]) -> bool:
    return any(_reaches_into(server, glob) for server in servers) or any(
        fnmatchcase(f"{AGENTS}__{agent}", glob) for agent in agents
    )


def _reaches_into(server: str, glob: str) -> bool:
    """Whether the server may have a tool that the glob matches: which it has is not known before it is asked."""
    # One of the glob's own beginnings matches all that stands before the tool.
    return any(
        fnmatchcase(f"{server}__", glob[:end]) and (end < len(glob) or glob.endswith("*"))
        for end in range(len(glob) + 1)
    )
