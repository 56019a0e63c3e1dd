"""The one frozen value that holds all that a stack is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog import FINDABLE, MODELS, PROJECT, SERVICES
from settings.config import StackConfig
from settings.images import Image
from settings.layers import Committed
from settings.secrets import Secret
from settings.tls import Tls


@dataclass(frozen=True)
class StackSettings:
    """All that a stack is told. `environment` is the process environment over `.env`; `origins` says which.

    `taken` names the environment's variables that a variable of `.env` is made of. `warnings` are for the operator.
    `committed` is what a `.env` says that git tracks. `is_elsewhere`: the folder is not the program's own checkout, and
    nothing in it is this stack's.

    `authorities` are the certificates (PEM) of those that sign for external services, besides the machine's own.
    `secrets` is keyed by the service they open (`redis`, `qdrant`, `zen-mcp`, `grafana`) or, for the application's
    own tokens, keys of cloud servers and of models, and the load balancer's `tlsKey`, by their configuration key.
    """

    stack: str
    config: StackConfig
    images: Mapping[str, Image]
    environment: Mapping[str, str] = field(repr=False)
    origins: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    taken: Mapping[str, frozenset[str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    committed: Committed = field(default_factory=Committed)
    authorities: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    project: str = PROJECT
    is_elsewhere: bool = False

    @property
    def wanted(self) -> tuple[str, ...]:
        """The services this stack uses, in catalog order. Whoever serves models is used wherever there is somebody."""
        wanted = {*self.declarable, *self.config.use_if_named, MODELS.name}
        return tuple(name for name in FINDABLE if name in wanted)

    @property
    def declarable(self) -> tuple[str, ...]:
        """The services that this stack runs itself where nobody else does, in catalog order."""
        names = set(self.config.services)
        if self.config.monitoring:
            names |= {"prometheus", "grafana"}
        if self.config.load_balancer:
            names.add("nginx")
        names |= set(self.config.expected_outside)
        return tuple(name for name in SERVICES if name in names)
