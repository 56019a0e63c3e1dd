"""How this process asks others over HTTP, and how it puts what went wrong."""

from __future__ import annotations

import ssl
from functools import cache

import httpx2


def error_line(error: BaseException) -> str:
    """An error as one short line: the innermost of a group, its type where it has no text."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    return (text or type(error).__name__)[:200]


def http_client(
    seconds: float, headers: dict[str, str] | None = None, transport: httpx2.AsyncBaseTransport | None = None
) -> httpx2.AsyncClient:
    """A client that goes where it is told and nowhere else: no proxy or login from the environment, no redirects."""
    return httpx2.AsyncClient(
        timeout=seconds,
        headers=headers,
        follow_redirects=False,
        trust_env=False,
        verify=tls_context(),
        transport=transport,
    )


@cache
def tls_context() -> ssl.SSLContext:
    # Reading the authorities' certificates takes tens of milliseconds; once is enough.
    context = httpx2.create_ssl_context(trust_env=False)
    # SSL_CERT_FILE is the one thing of the environment that counts: the deployment's own authorities.
    context.load_default_certs()
    return context
