"""A relay's configuration: nginx as a TCP proxy that knows two addresses and nothing of what passes."""

from __future__ import annotations

# As long as a stream of events or an idle connection of a pool may be silent.
_IDLE = "1h"


def relay_conf(address: str, subnet: str, port: int, target: str) -> str:
    """The text of a relay's `nginx.conf`: from `address` (of this host, in `subnet`) and `port` to `target`.

    Others on the host's own networks could route packets to `address`; only senders within `subnet` are served.
    """
    return f"""\
# Debian's nginx has the stream module as a file of its own, the official image has it built in.
include /etc/nginx/modules-enabled/*.conf;
worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr warn;

events {{
    worker_connections 512;
}}

stream {{
    server {{
        listen {address}:{port};
        allow {subnet};
        deny all;
        proxy_pass {target};
        proxy_connect_timeout 5s;
        proxy_timeout {_IDLE};
        proxy_socket_keepalive on;
    }}
}}
"""
