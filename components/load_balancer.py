"""nginx in front of the application: the one service that is reached from beyond this host."""

from __future__ import annotations

from components.files import Files
from components.service import Declared, ServiceComponent, Setup
from planning.plan import FILES_PATH
from rendering.nginx_conf import CERTIFICATE_FILE, CONFIG_FILE, nginx_conf


class LoadBalancer(ServiceComponent):
    """nginx with its configuration, certificate and key, once `nginx -t` takes them."""

    TOKEN = "promptcraft:load_balancer:LoadBalancer"

    def setup(self, declared: Declared) -> Setup:
        edge = declared.plan.edge
        plain = {CONFIG_FILE: nginx_conf(edge)}
        if edge.certificate is not None:
            plain[CERTIFICATE_FILE] = edge.certificate
        started = ["nginx", "-c", f"{FILES_PATH}/{CONFIG_FILE}"]
        return Setup(
            Files(plain=plain, secret=declared.secrets),
            check=["nginx", "-t", "-q", *started[1:]],
            command=[*started, "-g", "daemon off;"],
        )
