"""nginx in front of the replicas: an allow list of routes, limits, TLS, and an access log in JSON.

Written for 1.22 and later. The replicas are asked for by name at run time, so nginx starts without any, and finds
those that come and go without a reload.
"""

from __future__ import annotations

from collections.abc import Iterable

from catalog import NGINX_STATUS_PORT, SERVICES
from plan import FILES_PATH, SECRETS_PATH, TLS_KEY, Edge

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

# What a client could say in a proxy's name.
_NOT_THE_CLIENTS_TO_SAY = ("Forwarded", "Proxy", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Real-IP")


def nginx_conf(edge: Edge, requests_per_second: int = REQUESTS_PER_SECOND) -> str:
    """The text of `nginx.conf`; one address may send twice `requests_per_second` at once."""
    return f"""\
worker_processes 2;
pid /tmp/nginx.pid;
# Anything milder quotes the request with its query, which may hold a token; the access log tells of it without.
error_log stderr crit;

events {{
    worker_connections 2048;
}}

http {{
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
        '"method":"$request_method","path":"$uri","status":$status,"bytes":$bytes_sent,"duration_s":$request_time,'
        '"upstream":"$upstream_addr","upstream_status":"$upstream_status",'
        '"upstream_duration_s":"$upstream_response_time"}}';
    access_log /dev/stdout json;

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
    map $http_host $host_port {{
        "~(?<port>:[0-9]+)$" $port;
        default "";
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

    limit_req_zone $binary_remote_addr zone=requests:2m rate={requests_per_second}r/s;
    limit_req zone=requests burst={requests_per_second * 2} nodelay;
    limit_req_status 429;
    limit_conn_zone $binary_remote_addr zone=connections:2m;
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
        {_error(421, "unknown_host", "not a name of this server")}
    }}
"""


def _redirect(names: str, tls_port: int) -> str:
    port = "" if tls_port == 443 else f":{tls_port}"
    return f"""
    server {{
        listen {_HTTP};
        {names}
        # Unlike 301, it keeps the method and the body.
        return 308 https://$host{port}$request_uri;
    }}
"""


def _application(*directives: str) -> str:
    return f"""
    server {{
{_lines(directives)}

        proxy_http_version 1.1;
        proxy_set_header Host $host$host_port;
        proxy_set_header Connection $connection_header;
        proxy_set_header Upgrade $upgrade;
        proxy_set_header X-Request-ID $request_id;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $host$host_port;
{_lines(f'proxy_set_header {name} "";' for name in _NOT_THE_CLIENTS_TO_SAY)}
        proxy_hide_header X-Request-ID;
        proxy_hide_header X-Content-Type-Options;
        proxy_hide_header X-Frame-Options;
        proxy_hide_header Referrer-Policy;
        proxy_hide_header Strict-Transport-Security;
        proxy_connect_timeout 1s;
        # Longer than the longest run of an agent.
        proxy_read_timeout 310s;
        proxy_max_temp_file_size 0;
        # Only what no replica has begun to work on is sent to another.
        proxy_next_upstream error timeout;
        proxy_next_upstream_tries 3;

        set $application {_APPLICATION};
        error_page 404 @not_found;
        error_page 413 @too_large;
        error_page 429 @too_many;
        error_page 502 504 @unavailable;

        # The application gets the path as it was sent, the locations below compare what it amounts to. Where these
        # differ (`//`, `/../`, `%6d`) the request is refused.
        if ($request_uri !~ "^(/|(/[A-Za-z0-9_~:@-][A-Za-z0-9._~:@-]*)+)(\\?.*)?$") {{
            return 404;
        }}

{_page_locations()}
        location = /health {{
            proxy_pass http://$application:{_API};
        }}
        location = /api/events {{
            proxy_buffering off;
            proxy_pass http://$application:{_API};
        }}
        location /api/ {{
            proxy_pass http://$application:{_API};
        }}
        location / {{
            return 404;
        }}

        location @not_found {{
            {_error(404, "not_found", "there is nothing here")}
        }}
        location @too_large {{
            {_error(413, "too_large", "the body may have 1 MiB")}
        }}
        location @too_many {{
            {_error(429, "too_many_requests", "too many requests from this address; ask again later")}
        }}
        location @unavailable {{
            {_error(502, "unavailable", "no replica answers; ask again later")}
        }}
    }}
"""


def _page_locations() -> str:
    return "".join(
        f"        location = {path} {{\n            proxy_pass http://$application:{_PAGE};\n        }}\n"
        for path in _PAGE_PATHS
    ).rstrip("\n")


def _lines(directives: Iterable[str]) -> str:
    return "\n".join(f"        {directive}" for directive in directives)


def _error(status: int, code: str, message: str) -> str:
    return f"""return {status} '{{"error":{{"code":"{code}","message":"{message}"}}}}';"""
