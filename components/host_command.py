"""An MCP server that speaks stdio, as a command of this host (`allowHostCommands`): what starts it and what stops it.

What is run stands in the user's file, and `host_command/` reads it there; here only its fingerprint is known.
"""

from __future__ import annotations

import shlex

import pulumi
import pulumi_command as command

from catalog import HOST_COMMAND, host_name
from components.network import StackNetwork
from planning.plan import HostCommand, Plan


class CommandOfThisHost(pulumi.ComponentResource):
    """Started once the network is there, since its gateway is the one address that it listens on."""

    def __init__(
        self, server: HostCommand, plan: Plan, network: StackNetwork, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        name = f"{server.service}{HOST_COMMAND}"
        super().__init__("promptcraft:host_command:CommandOfThisHost", name, None, opts)
        command.local.Command(
            name,
            create=pulumi.Output.all(network.gateway, network.subnet).apply(
                lambda found: _start(server, plan, address=found[0], subnet=found[1])
            ),
            delete=_run("stop", server, plan),
            # The run comes first: the next look reads it there (discovery/readers/checkpoint.py).
            triggers=[
                server.run,
                server.fingerprint,
                server.key,
                server.port,
                network.gateway,
                network.subnet,
            ],
            # Two of them would want the same port.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.register_outputs({})


def _start(server: HostCommand, plan: Plan, *, address: str, subnet: str) -> str:
    return _run(
        "start",
        server,
        plan,
        *("--evidence", server.key, "--fingerprint", server.fingerprint, "--run", str(server.run)),
        *("--address", address, "--subnet", subnet, "--port", str(server.port), "--host", host_name(server.service)),
    )


def _run(action: str, server: HostCommand, plan: Plan, *arguments: str) -> str:
    words = [".venv/bin/python", "-m", "host_command", action, "--service", server.service]
    return shlex.join([*words, "--project", plan.project, "--stack", plan.stack, *arguments])
