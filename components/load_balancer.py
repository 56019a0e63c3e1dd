"""nginx in front of the application: the one service that is reached from beyond this host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi

from components.files import Files
from components.network import StackNetwork
from components.workload import ContainerWorkload
from planning.plan import FILES_PATH, Plan, Workload
from rendering.nginx_conf import CERTIFICATE_FILE, CONFIG_FILE, nginx_conf


class LoadBalancer(pulumi.ComponentResource):
    """nginx with its configuration, certificate and key, once `nginx -t` takes them.

    `after` is what must be healthy before it starts.
    """

    containers: ContainerWorkload

    def __init__(
        self,
        workload: Workload,
        plan: Plan,
        network: StackNetwork,
        secrets: Mapping[str, str],
        after: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("promptcraft:load_balancer:LoadBalancer", "nginx", None, opts)
        plain = {CONFIG_FILE: nginx_conf(plan.edge)}
        if plan.edge.certificate is not None:
            plain[CERTIFICATE_FILE] = plan.edge.certificate
        self.containers = ContainerWorkload(
            workload,
            plan,
            network,
            files=Files(plain=plain, secret=secrets),
            check=["nginx", "-t", "-q", "-c", f"{FILES_PATH}/{CONFIG_FILE}"],
            command=["nginx", "-c", f"{FILES_PATH}/{CONFIG_FILE}", "-g", "daemon off;"],
            after=after,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"containers": self.containers.ids})
