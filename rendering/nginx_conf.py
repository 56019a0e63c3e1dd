"""nginx in front of the replicas: an allow list of routes, limits, TLS, and an access log in JSON.

Written for 1.22 and later. The replicas are asked for by name at run time, so nginx starts without any, and finds
those that come and go without a reload.
"""

from __future__ import annotations

from collections.abc import Iterable

from catalog import NGINX_STATUS_PORT, SERVICES, TLS_KEY
from planning.plan import FILES_PATH, SECRETS_PATH, Edge

CONFIG_FILE = "nginx.conf"
CERTIFICATE_FILE = "tls.pem"

# Requests a second from one address. A person's browser needs a handful, a client with its own load test 200.
REQUESTS_PER_SECOND = 250

_APPLICATION = SERVICES["promptcraft"].name
_API, _PAGE = (port.container for port in SERVICES["promptcraft"].ports)
_HTTP, _HTTPS = (port.container for port in SERVICES["nginx"].ports)
# Reached by the health check and on the stack's network only: it is not published.
_STATUS = NGINX_STATUS_PORT

# Named here because nginx has no way to say a set of paths twice.
_PAGE_PATHS = ("/", "/page.css", "/page.js")

# What only looks: answered within seconds, and asked of another replica when not. Regular expression.
QUICK_PATHS = "^/api/(agents/available|discovery|health|mcp/servers|runs|sessions)(/|$)"

# Seconds without a word from a replica.
_AT_ONCE = 2
# The gateway gives each service 2 s, and a look that comes second waits for the first.
_QUICK = 5
# Embedding a text at somebody else's endpoint may take 15 s, the search itself 3 s.
_SEARCH = 20
# The gateway sends something every 10 s at the latest.
_EVENTS = 15
# Longer than the longest run of an agent.
_RUN = 310

# Where nginx's own refusals get their text. No client reaches it.
_ERROR = "/.error"
# The code and message of each: the application says the same in the same words.
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
# nginx's own numbers (a header too large; TLS without, or with a bad, client certificate; plain HTTP to the TLS port),
# and the one that the two ways of not being answered share.
_TOLD_AS = {494: 400, 495: 400, 496: 400, 497: 400, 504: 502}

# What a client could say in a proxy's name.
_NOT_THE_CLIENTS_TO_SAY = ("Forwarded", "Proxy", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Real-IP")


def nginx_conf(edge: Edge, requests_per_second: int = REQUESTS_PER_SECOND) -> str:
    """The text of `nginx.conf`; one address may send twice `requests_per_second` at once."""
    return f"""\
worker_processes 2;
pid /tmp/nginx.pid;
error_log stderr crit;

events {{
    worker_connections 2048;
}}

http {{
    # Anything milder quotes the request with its query, which may hold a token; the access log tells of it without.
    # What befalls nginx itself is in the log above.
    error_log stderr emerg;

    client_body_temp_path /tmp/client;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    server_tokens off;
    default_type application/json;
    # For the longest names there are.
    server_names_hash_bucket_size 512;

    # The engine's own name server; answers hold for 5 s, so a replica that is gone is forgotten by then.
    resolver 127.0.0.11 valid=5s ipv6=off;
    resolver_timeout 2s;

    log_format json escape=json
        '{{"time":"$time_iso8601","service":"nginx","request_id":"$request_id","client":"$remote_addr",'
        '"method":"$request_method","path":"$path","status":$status,"bytes":$bytes_sent,"duration_s":$request_time,'
        '"upstream":"$upstream_addr","upstream_status":"$upstream_status",'
        '"upstream_duration_s":"$upstream_response_time"}}';
    access_log /dev/stdout json;
    map $request_uri $path {{
        "~^(?<until_query>[^?#]*)" $until_query;
    }}

    # No other protocol is switched to: an h2c connection would pass every rule below.
    map $http_upgrade $upgrade {{
        "~*^websocket$" websocket;
        default "";
    }}
    map $upgrade $connection_header {{
        "" "";
        default upgrade;
    }}
    # $host is what the server was chosen by; its port is told too, since the application compares both with Origin.
    # HTTP/1.0 may do without a Host, HTTP/1.1 towards the application may not.
    map $http_host $host_port {{
        "~(?<port>:[0-9]+)$" $port;
        default "";
    }}
    map $host $named_host {{
        "" $server_addr;
        default $host$host_port;
    }}
    map $https $strict_transport_security {{
        on "max-age=63072000";
        default "";
    }}
    # A 429 of the application's own brings its own Retry-After.
    map "$status/$upstream_status" $retry_after {{
        "429/" 1;
        default "";
    }}

    client_header_timeout 5s;
    client_body_timeout 10s;
    send_timeout 10s;
    keepalive_timeout 30s;
    reset_timedout_connection on;
    large_client_header_buffers 4 8k;
    client_max_body_size 1m;
    client_body_buffer_size 8k;

    # Refused by nginx itself: in the shape of the application's errors, and no request more against the limits.
    map $status $error_code {{
{_texts(0)}
        default refused;
    }}
    map $status $error_message {{
{_texts(1)}
        default "refused";
    }}
    error_page {" ".join(map(str, _REFUSALS))} {_ERROR};
{_told_as()}
    map $uri $client {{
        {_ERROR} "";
        default $binary_remote_addr;
    }}
    map $uri $request_to_check {{
        volatile;
        {_ERROR} "";
        default $request_uri;
    }}

    limit_req_zone $client zone=requests:2m rate={requests_per_second}r/s;
    limit_req zone=requests burst={requests_per_second * 2} nodelay;
    limit_req_status 429;
    limit_conn_zone $client zone=connections:2m;
    limit_conn connections 256;
    limit_conn_status 429;

    add_header X-Request-ID $request_id always;
    add_header X-Content-Type-Options nosniff always;
    add_header X-Frame-Options DENY always;
    add_header Referrer-Policy no-referrer always;
    add_header Strict-Transport-Security $strict_transport_security always;
    add_header Retry-After $retry_after always;
{_servers(edge)}
    server {{
        listen {_STATUS};
        access_log off;

{_error_text()}
        location = /healthz {{
            return 200 "ok\\n";
        }}
        location = /stub_status {{
            stub_status;
        }}
        # nginx can't tell its own memory and CPU time: its health check leaves them in this file (catalog.py).
        location = /metrics {{
            default_type text/plain;
            alias /tmp/process.prom;
        }}
        location / {{
            return 404;
        }}
    }}
}}
"""


def _servers(edge: Edge) -> str:
    names = f"server_name {' '.join(edge.hosts)};"
    if not edge.hosts:
        return _application(f"listen {_HTTP} default_server;")
    if edge.certificate is None:
        return _unknown_names(f"listen {_HTTP} default_server;") + _application(f"listen {_HTTP};", names)
    return (
        _unknown_names(f"listen {_HTTP} default_server;")
        + _redirect(names, edge.tls_port)
        + _unknown_names(f"listen {_HTTPS} ssl default_server;", "ssl_reject_handshake on;", *_PROTOCOLS)
        + _application(f"listen {_HTTPS} ssl;", names, *_CERTIFICATE)
    )


# Mozilla's intermediate configuration, version 5.7. The protocols are those of the default server, which a connection
# meets before it has said a name.
_PROTOCOLS = ("ssl_protocols TLSv1.2 TLSv1.3;",)
_CERTIFICATE = (
    f"ssl_certificate {FILES_PATH}/{CERTIFICATE_FILE};",
    f"ssl_certificate_key {SECRETS_PATH}/{TLS_KEY};",
    *_PROTOCOLS,
    "ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;",
    "ssl_prefer_server_ciphers off;",
    "ssl_session_cache shared:tls:2m;",
    "ssl_session_timeout 1d;",
    "ssl_session_tickets off;",
)


def _unknown_names(*directives: str) -> str:
    return f"""
    server {{
{_lines(directives)}
{_error_text()}
        location / {{
            return 421;
        }}
    }}
"""


def _redirect(names: str, tls_port: int) -> str:
    port = "" if tls_port == 443 else f":{tls_port}"
    return f"""
    server {{
        listen {_HTTP};
        {names}
{_error_text()}
        location / {{
            # Unlike 301, it keeps the method and the body.
            return 308 https://$host{port}$request_uri;
        }}
    }}
"""


def _application(*directives: str) -> str:
    return f"""
    server {{
{_lines(directives)}

        proxy_http_version 1.1;
        proxy_set_header Host $named_host;
        proxy_set_header Connection $connection_header;
        proxy_set_header Upgrade $upgrade;
        proxy_set_header X-Request-ID $request_id;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $named_host;
{_lines(f'proxy_set_header {name} "";' for name in _NOT_THE_CLIENTS_TO_SAY)}
        proxy_hide_header X-Request-ID;
        proxy_hide_header X-Content-Type-Options;
        proxy_hide_header X-Frame-Options;
        proxy_hide_header Referrer-Policy;
        proxy_hide_header Strict-Transport-Security;
        # The replicas refuse whom they do not know before they read a body, and bound how many they hold. Here a body
        # would take room before anybody was asked for a token.
        proxy_request_buffering off;
        proxy_connect_timeout 1s;
        proxy_send_timeout 10s;
        proxy_read_timeout {_RUN}s;
        proxy_max_temp_file_size 0;
        # What a replica may have begun to work on is not sent to another, unless it only looks.
        proxy_next_upstream error timeout;
        proxy_next_upstream_tries 3;

        set $application {_APPLICATION};

        # The application gets the path as it was sent, the locations below compare what it amounts to. Where these
        # differ (`//`, `/../`, `%6d`) the request is refused.
        if ($request_to_check !~ "^((/|(/[A-Za-z0-9_~:@-][A-Za-z0-9._~:@-]*)+)(\\?.*)?)?$") {{
            return 404;
        }}

{_error_text()}
{_page_locations()}
        location = /health {{
            proxy_read_timeout {_AT_ONCE}s;
            proxy_pass http://$application:{_API};
        }}
        location = /api/events {{
            proxy_buffering off;
            proxy_read_timeout {_EVENTS}s;
            proxy_pass http://$application:{_API};
        }}
        location = /api/runs/similar {{
            proxy_read_timeout {_SEARCH}s;
            proxy_pass http://$application:{_API};
        }}
        location ~ "{QUICK_PATHS}" {{
            proxy_read_timeout {_QUICK}s;
            proxy_pass http://$application:{_API};
        }}
        location /api/ {{
            proxy_pass http://$application:{_API};
        }}
        location / {{
            return 404;
        }}
    }}
"""


def _page_locations() -> str:
    return "".join(
        f"        location = {path} {{\n            proxy_read_timeout {_AT_ONCE}s;\n"
        f"            proxy_pass http://$application:{_PAGE};\n        }}\n"
        for path in _PAGE_PATHS
    ).rstrip("\n")


def _lines(directives: Iterable[str]) -> str:
    return "\n".join(f"        {directive}" for directive in directives)


def _texts(which: int) -> str:
    return _lines(f'{status} "{texts[which]}";' for status, texts in _REFUSALS.items())


def _told_as() -> str:
    return "\n".join(f"    error_page {status} ={told} {_ERROR};" for status, told in _TOLD_AS.items())


def _error_text() -> str:
    return f"""\
        location = {_ERROR} {{
            internal;
            return 200 '{{"error":{{"code":"$error_code","message":"$error_message"}}}}';
        }}"""
