"""The way out of containers that have no network: squid, on a network of its own with the runner."""

from __future__ import annotations

from components.files import Files
from components.service import Declared, ServiceComponent, Setup
from planning.plan import FILES_PATH
from rendering.squid_conf import CONF, squid_conf


class Egress(ServiceComponent):
    """Nothing of it is secret: it knows which names are allowed, and sees no request inside of TLS."""

    TOKEN = "promptcraft:egress:Egress"

    def setup(self, declared: Declared) -> Setup:
        return Setup(
            Files(plain={CONF: squid_conf(declared.plan)}),
            check=["squid", "-k", "parse", "-f", f"{FILES_PATH}/{CONF}"],
        )
