"""The lock file that tells other tools on this machine who serves a service."""

from __future__ import annotations

import shlex

import pulumi
import pulumi_command as command

from planning.plan import Deploy, Plan


class Lock(pulumi.ComponentResource):
    """Claimed once the service is healthy, released on destroy. A live lock of somebody else's is left alone."""

    def __init__(self, deploy: Deploy, plan: Plan, opts: pulumi.ResourceOptions | None = None) -> None:
        service = deploy.workload.service
        super().__init__("promptcraft:lock:Lock", f"{service}-lock", None, opts)
        command.local.Command(
            f"{service}-lock",
            create=_run("claim", "--yield", "--endpoint", _claimed(deploy), service=service, plan=plan),
            delete=_run("release", service=service, plan=plan),
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.register_outputs({})


def _claimed(deploy: Deploy) -> str:
    """Where the service is reached from the host, or within the stack's network where it is not published."""
    ports = deploy.workload.replicas[0].ports
    # Loopback reaches what listens on all interfaces as well.
    return f"http://127.0.0.1:{ports[0].external}" if ports else deploy.endpoint


def _run(action: str, *arguments: str, service: str, plan: Plan) -> str:
    words = [
        ".venv/bin/python",
        "-m",
        "discovery.locks",
        action,
        "--service",
        service,
        "--project",
        plan.project,
        "--stack",
        plan.stack,
        *arguments,
    ]
    return shlex.join(words)
