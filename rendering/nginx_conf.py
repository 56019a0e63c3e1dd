"""nginx in front of the replicas: an allow list of routes, limits, TLS, and an access log in JSON.

Written for 1.22 and later. The replicas are asked for by name at run time, so nginx starts without any, and finds
those that come and go without a reload. The text is in `templates/nginx/`: any change of it replaces the nginx of
stacks that run.
"""

from __future__ import annotations

from catalog import NGINX_STATUS_PORT, SERVICES, TLS_KEY
from planning.plan import FILES_PATH, SECRETS_PATH, Edge
from rendering.template import TEMPLATES, Template

CONFIG_FILE = "nginx.conf"
CERTIFICATE_FILE = "tls.pem"

# Requests a second from one address. A person's browser needs a handful, a client with its own load test 200.
REQUESTS_PER_SECOND = 250

# What only looks. Regular expression.
QUICK_PATHS = "^/api/(agents/available|discovery|health|mcp/(calls|servers|tools)|runs|sessions)(/|$)"

_API, _PAGE = (port.container for port in SERVICES["promptcraft"].ports)
_HTTP, _HTTPS = (port.container for port in SERVICES["nginx"].ports)

# The code and message of what nginx itself refuses: the application says the same in the same words.
_REFUSALS = {
    400: ("bad_request", "not a request that HTTP allows"),
    404: ("not_found", "there is nothing here"),
    405: ("method_not_allowed", "not a method of this path"),
    408: ("too_slow", "the request did not come in whole in time"),
    413: ("too_large", "the body may have 1 MiB"),
    414: ("uri_too_long", "the request line may have 8 KiB"),
    421: ("unknown_host", "not a name of this server"),
    429: ("too_many_requests", "too many requests from this address; ask again later"),
    500: ("internal_error", "unexpected error"),
    501: ("not_implemented", "not a transfer encoding of this server"),
    502: ("unavailable", "no replica answers; ask again later"),
    505: ("http_version_not_supported", "HTTP/1.0 and HTTP/1.1 are spoken here"),
}

_FOLDER = TEMPLATES / "nginx"
_CONF = Template(_FOLDER / "nginx.conf")
_ANY_NAME = Template(_FOLDER / "servers_any_name.conf")
_NAMES = Template(_FOLDER / "servers_names.conf")
_NAMES_TLS = Template(_FOLDER / "servers_names_tls.conf")
_APPLICATION = Template(_FOLDER / "application.conf")
_ERROR_TEXT = Template(_FOLDER / "error_text.conf").fill()


def nginx_conf(edge: Edge, requests_per_second: int = REQUESTS_PER_SECOND) -> str:
    """The text of `nginx.conf`; one address may send twice `requests_per_second` at once."""
    filled = _CONF.fill(
        REFUSED=" ".join(str(status) for status in _REFUSALS),
        ERROR_CODES="\n".join(f'{status} "{code}";' for status, (code, _) in _REFUSALS.items()),
        ERROR_MESSAGES="\n".join(f'{status} "{message}";' for status, (_, message) in _REFUSALS.items()),
        RATE=requests_per_second,
        BURST=requests_per_second * 2,
        SERVERS=_servers(edge),
        STATUS=NGINX_STATUS_PORT,
        ERROR_TEXT=_ERROR_TEXT,
    )
    return filled + "\n"


def _servers(edge: Edge) -> str:
    application = _APPLICATION.fill(
        SERVICE=SERVICES["promptcraft"].name,
        API=_API,
        PAGE=_PAGE,
        QUICK_PATHS=QUICK_PATHS,
        ERROR_TEXT=_ERROR_TEXT,
    )
    if not edge.hosts:
        return _ANY_NAME.fill(HTTP=_HTTP, APPLICATION=application)
    names = " ".join(edge.hosts)
    if edge.certificate is None:
        return _NAMES.fill(HTTP=_HTTP, NAMES=names, APPLICATION=application, ERROR_TEXT=_ERROR_TEXT)
    return _NAMES_TLS.fill(
        HTTP=_HTTP,
        HTTPS=_HTTPS,
        NAMES=names,
        PUBLISHED="" if edge.tls_port == 443 else f":{edge.tls_port}",
        CERTIFICATE=f"{FILES_PATH}/{CERTIFICATE_FILE}",
        CERTIFICATE_KEY=f"{SECRETS_PATH}/{TLS_KEY}",
        APPLICATION=application,
        ERROR_TEXT=_ERROR_TEXT,
    )
