"""What every service's component has in common: it knows its files and its command; a workload knows the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pulumi

from components.files import Files
from components.network import StackNetwork
from components.workload import ContainerWorkload
from planning.contents import Contents, SecretText
from planning.plan import Plan, Workload


@dataclass(frozen=True)
class Declared:
    """A workload, and what it is declared with. `after` is what must be healthy before it starts."""

    workload: Workload
    plan: Plan
    network: StackNetwork
    contents: Contents
    after: Sequence[pulumi.Resource] = ()

    @property
    def secrets(self) -> Mapping[str, SecretText]:
        """Those that the plan lets this workload read."""
        return {name: self.contents.secrets[name] for name in self.workload.secrets}


@dataclass(frozen=True)
class Setup:
    """What a service is given beyond its image. `check` is a command in the image that must take `files`."""

    files: Files | None = None
    command: Sequence[str] | None = None
    check: Sequence[str] | None = None


class ServiceComponent(pulumi.ComponentResource):
    """A service of the stack's own. A subclass says its `TOKEN` and its `setup`."""

    TOKEN: ClassVar[str]
    containers: ContainerWorkload

    def __init__(self, declared: Declared, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.TOKEN, declared.workload.service, None, opts)
        setup = self.setup(declared)
        self.containers = ContainerWorkload(
            declared.workload,
            declared.plan,
            declared.network,
            files=setup.files,
            check=setup.check,
            command=setup.command,
            after=declared.after,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"containers": self.containers.ids})

    def setup(self, declared: Declared) -> Setup:
        """What this service needs beyond being a workload."""
        raise NotImplementedError
