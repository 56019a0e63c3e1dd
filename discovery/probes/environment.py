"""Candidates that the environment (or the project's `.env`) names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from catalog import FINDABLE, MODELS, PROVIDERS
from discovery.report import Candidate, NamedBy, Source
from discovery.request import Gathered, Request
from reading import endpoints
from reading.addresses import is_loopback_host, plain_address
from reading.text import shown
from settings import OPENS, VARIABLES

QDRANT_PORT = "6333"

# Those whose value is an address and nothing else; a Redis's may bring a login, a Qdrant's has a port of its own.
_URLS = tuple(
    (variable, service.name)
    for service in FINDABLE.values()
    for variable in service.variables
    if variable.endswith("_URL") and variable not in ("REDIS_URL", "QDRANT_URL")
)
# What each variable of the catalog's services says, for docs/configuration.md.
MEANINGS: Mapping[str, str] = {
    "QDRANT_HOST": "a name or an address, also with a scheme or a port: `10.0.0.5`, `https://x.cloud.qdrant.io`",
    "QDRANT_PORT": f"the port, if `QDRANT_HOST` has none; {QDRANT_PORT} if neither says it",
    "QDRANT_URL": f"an address: `http://10.0.0.5:6333`; without a port {QDRANT_PORT}, as Qdrant's clients read it, or "
    "with a path the scheme's own: `https://example.com/qdrant`",
    "REDIS_URL": "an address, also with a login: `redis://:password@10.0.0.5:6379/0`, or `rediss://…` with TLS; "
    "`valkey://` and `valkeys://` say the same",
    "UPSTASH_REDIS_REST_URL": "the address of a Redis over REST: `https://x.upstash.io`",
    "ZEN_MCP_URL": "an address: `http://10.0.0.5:8000/mcp`",
    "PROMETHEUS_URL": "an address: `http://10.0.0.5:9090`",
    "GRAFANA_URL": "an address: `http://10.0.0.5:3000`",
    "OPENAI_BASE_URL": "the address of a server that speaks OpenAI's API: `http://10.0.0.5:8000/v1`; a provider's own "
    "address names none, and `OPENAI_API_KEY` does not count beside another server's",
    "OLLAMA_HOST": "a name or an address, also with a scheme or a port, as Ollama reads it: `10.0.0.5`; `0.0.0.0` is "
    "this machine",
    "CUSTOM_API_URL": "as `OPENAI_BASE_URL`: the name that Zen MCP (PAL) gives it",
}


def environment(request: Request) -> Gathered:
    """One candidate for each variable that is set and not empty; a bad value is a candidate with its problem."""
    return Gathered(tuple(_candidates(request)))


def _candidates(request: Request) -> Iterator[Candidate]:
    if host := _value(request, "QDRANT_HOST"):
        # A port of the repository's moves no host of the operator's.
        moved = request.committed.addresses.keys() & {"QDRANT_HOST", "QDRANT_PORT"} == {"QDRANT_PORT"}
        yield _qdrant(request, "QDRANT_HOST", host, "" if moved else _value(request, "QDRANT_PORT"))
    if url := _value(request, "QDRANT_URL"):
        yield _qdrant(request, "QDRANT_URL", url, "")
    if url := _value(request, "REDIS_URL"):
        yield _redis(request, url)
    for variable, service in _URLS:
        if url := _value(request, variable):
            try:
                endpoint = endpoints.normalise_endpoint(url)
            except endpoints.EndpointError as error:
                yield _candidate(request, service, variable, "", f"{variable}: {shown(url)} {error}")
                continue
            if service != MODELS.name or not is_providers_own(endpoint):
                yield _candidate(request, service, variable, endpoint)
    if host := _value(request, "OLLAMA_HOST"):
        yield _ollama(request, host)


def _value(request: Request, name: str) -> str:
    value = request.environment.get(name)
    return (request.committed.addresses.get(name, "") if value is None else value).strip(" \t")


def _candidate(request: Request, service: str, name: str, endpoint: str, problem: str | None = None) -> Candidate:
    evidence, named_by = name, NamedBy.OPERATOR
    if name in request.committed.addresses:
        # As good as a port that somebody opened: whoever pushed last is no operator.
        evidence, named_by = f"{name} (.env)", NamedBy.NOBODY
        if problem is None and not is_loopback_host(urlsplit(endpoint).hostname or ""):
            problem, endpoint = f"{name}: {request.committed.why}", ""
    if request.origins.get(name) == ".env":
        evidence = f"{name} (.env)"
        taken = ", ".join(_taken(request, service))
        if problem is None and taken and not is_loopback_host(urlsplit(endpoint).hostname or ""):
            problem = f"{name}: .env would carry {taken} of this machine's environment elsewhere; set {name} there too"
            endpoint = ""
    return Candidate(service, Source.EXTERNAL, endpoint, evidence, problem=problem, named_by=named_by)


def _taken(request: Request, service: str) -> list[str]:
    """The environment's variables in what `.env` says of a service's address and key.

    `.env` lies in the project and may have come with it. An address or a port betrays nothing.
    """
    opened = {service, "upstash"} if service == "redis" else {service}
    secret = FINDABLE[service].secret_key
    keys = [variable for variable, key in VARIABLES.items() if key == secret or OPENS.get(key) in opened]
    variables = (*FINDABLE[service].variables, *keys)
    names = {name for variable in variables for name in request.taken.get(variable, ())}
    return sorted(name for name in names if not _betrays_nothing(request.environment[name]))


def _betrays_nothing(value: str) -> bool:
    return plain_address(value) is not None or re.fullmatch(r"localhost|[0-9]{0,5}", value) is not None


def is_providers_own(endpoint: str) -> bool:
    """Whether an address is one that a provider serves everybody at: its key is all that it takes."""
    host = urlsplit(endpoint).hostname or ""
    return any(host == provider.host for provider in PROVIDERS.values())


OLLAMA_PORT = 11434
# What Ollama listens on where it is told to serve everybody; a client asks this machine then.
_EVERY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
_OLLAMA_HOST = re.compile(r"(?:(https?)://)?(\[[^\]]*\]|[^:/]*)(?::([0-9]+))?(/.*)?", re.IGNORECASE)


def _ollama(request: Request, text: str) -> Candidate:
    """As Ollama reads it (its envconfig.Host): without a port it is a scheme's own, or else 11434."""
    bare = f"[{text}]" if text.count(":") > 1 and "/" not in text and not text.startswith("[") else text
    match = _OLLAMA_HOST.fullmatch(bare)
    try:
        if match is None:
            raise endpoints.EndpointError("is not host:port; write it as 127.0.0.1:11434")
        scheme, host = (match[1] or "http").lower(), _EVERY_ADDRESS.get(match[2], match[2])
        port = match[3] or (endpoints.DEFAULT_PORTS[scheme] if match[1] else OLLAMA_PORT)
        endpoint = endpoints.normalise_endpoint(f"{scheme}://{host}:{port}{match[4] or ''}")
    except endpoints.EndpointError as error:
        return _candidate(request, MODELS.name, "OLLAMA_HOST", "", f"OLLAMA_HOST: {shown(text)} {error}")
    return _candidate(request, MODELS.name, "OLLAMA_HOST", endpoint)


def _qdrant(request: Request, variable: str, text: str, port: str) -> Candidate:
    """The text may bring a scheme, a port, a path; a bare IPv6 address is taken without brackets too.

    Qdrant's clients take 6333 where no port is said, with https:// as well. Behind a path there is a proxy.
    """
    try:
        if port:
            endpoints.port_number(port)
    except endpoints.EndpointError as error:
        return _candidate(request, "qdrant", "QDRANT_PORT", "", f"QDRANT_PORT: {shown(port)} {error}")
    scheme, separator, rest = text.rpartition("://")
    if text.count(":") > 1 and not separator and not text.startswith("["):
        rest = f"[{text}]"
    authority, slash, path = rest.rstrip("/").partition("/")
    try:
        # Asked with a port no scheme stands for, to learn whether the text brings its own.
        explicit = endpoints.host_and_port(authority, 0)
        name, _, own = explicit.rpartition(":")
        if port and own not in ("0", port):
            problem = f"{variable}: {shown(text)} and QDRANT_PORT={port} differ; keep the port in one of them"
            return _candidate(request, "qdrant", variable, "", problem)
        usual = endpoints.DEFAULT_PORTS.get(scheme.lower() or "http", QDRANT_PORT) if path else QDRANT_PORT
        chosen = own if own != "0" else port or usual
        endpoint = endpoints.normalise_endpoint(f"{scheme or 'http'}://{name}:{chosen}{slash}{path}")
    except endpoints.EndpointError as error:
        return _candidate(request, "qdrant", variable, "", f"{variable}: {shown(text)} {error}")
    return _candidate(request, "qdrant", variable, endpoint)


_QUERY_DATABASE = re.compile(r"(?:^|&)db=([0-9]{1,5})(?:&|$)")
_REDIS_PATH = re.compile(r"/?|/[0-9]{1,5}")


def _redis(request: Request, url: str) -> Candidate:
    """The credential in `REDIS_URL` never enters the endpoint; whoever asks gets it separately, from the settings."""
    try:
        endpoint = _redis_endpoint(url)
    except endpoints.EndpointError as error:
        # Any part of a malformed REDIS_URL can be its password: none of it is shown.
        return _candidate(request, "redis", "REDIS_URL", "", f"REDIS_URL: the value {error}")
    return _candidate(request, "redis", "REDIS_URL", endpoint)


def _redis_endpoint(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if "sentinel" in scheme.lower():
        raise endpoints.EndpointError("names Sentinels; name the master that they watch, as redis://host:port")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(authority) :] or re.search(r"[\[\]\s].*@", authority):
        raise endpoints.EndpointError(
            "has a character in its password that ends an address; percent-encode it: # is %23, / %2F, ? %3F, "
            "[ %5B, ] %5D, a space %20"
        )
    host = authority.rpartition("@")[2]
    if "," in host:
        raise endpoints.EndpointError("lists several hosts, as a cluster has them; name one Redis that is none")
    path, _, query = rest[len(authority) :].partition("#")[0].partition("?")
    if _REDIS_PATH.fullmatch(path) is None:
        raise endpoints.EndpointError("has a path that is no database's number; write it as redis://host:port/0")
    if database := _QUERY_DATABASE.search(query):
        path = f"/{database[1]}"
    return endpoints.normalise_endpoint(f"{scheme}{separator}{host}{path}", endpoints.REDIS)
