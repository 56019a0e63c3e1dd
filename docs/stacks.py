"""`docs/stacks.md`: each committed stack as it is meant, drawn from its plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from catalog import FINDABLE
from discovery.config import load_discovery_config
from discovery.probes.npx import KNOWN
from discovery.report import Candidate, Finding, Launch, NamedBy, Report, ServiceReport, Source, Verdict
from planning.decide import decide
from planning.plan import Plan
from rendering.stack_picture import stack_picture
from settings import VARIABLES, StackSettings, load_settings

_INTRODUCTION = """\
# Stacks

<!-- `make docs` writes this page, by docs/stacks.py. -->

This page helps you to see what each committed stack declares. It is drawn from the stacks' plans, so it shows what
`make up STACK=…` does. [Configuration](configuration.md) lists the settings.

- A picture shows a stack as it is meant: each service in `expectedOutside` and `useIfNamed` is found elsewhere (the
  addresses are examples), each server in `mcpServers` can be started, and nothing else is found. To see what your
  machine would get, run `make preview STACK=…`.
- A box is a container with its limits of memory and CPU. A cylinder is a data volume. Their names on the engine begin
  with `promptcraft-<stack>-`.
- An arrow leads from a service to what it uses, a dotted arrow from Prometheus to what it reads figures of.
- A number on an arrow is a published port. `80 → 8080` is port 80 of the host and port 8080 of the container.
- The volumes that hold [files and secrets](architecture.md#files-and-secrets) are not drawn.
"""


def stacks_page(root: Path, stacks: tuple[str, ...]) -> str:
    """The page for the project in `root`, which has nothing of this machine's own. Raises `ConfigError`."""
    return "\n".join([_INTRODUCTION, *(_section(root, stack) for stack in stacks)])


def _section(root: Path, stack: str) -> str:
    # What `make up` generates; in the picture it is only there.
    secrets = {variable: "x" * 24 for variable in VARIABLES if variable.endswith(("_PASSWORD", "_TOKENS"))}
    settings = load_settings(root, stack, secrets)
    plan = decide(_as_meant(settings), settings, load_discovery_config(root))
    return f"""\
## {stack}

{_headline(root, stack)}
Its settings are in [`Pulumi.{stack}.yaml`](../Pulumi.{stack}.yaml).

```mermaid
{stack_picture(plan)}```

{_figures(plan)}
"""


def _headline(root: Path, stack: str) -> str:
    """The comment at the top of the stack's file."""
    match = re.match(r"# (.+)\n", (root / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
    if match is None:
        raise ValueError(f"Pulumi.{stack}.yaml:1: file: does not begin with a comment that says what the stack is")
    return match[1]


def _figures(plan: Plan) -> str:
    budget = plan.budget
    return (
        f"Limits: {budget.memory_mb} of {budget.limit_mb} MiB of memory, {budget.cpu_cores:g} CPU. "
        f"Disk: about {budget.disk_gb:g} of {budget.disk_limit_gb:g} GB."
    )


def _as_meant(settings: StackSettings) -> Report:
    findings = {finding.candidate.service: finding for finding in _found(settings)}
    services = {
        name: ServiceReport(finding if finding.verdict is Verdict.VERIFIED else None, (finding,))
        for name, finding in findings.items()
    }
    return Report(settings.stack, 0.0, services)


def _found(settings: StackSettings) -> Iterator[Finding]:
    for name in (*settings.config.expected_outside, *settings.config.use_if_named):
        variable, service = FINDABLE[name].variables[0], FINDABLE[name]
        endpoint = f"{service.scheme}://{name}.example.com:{service.known_ports[0]}{service.path}"
        candidate = Candidate(name, Source.EXTERNAL, endpoint, variable, named_by=NamedBy.OPERATOR)
        yield Finding(candidate, Verdict.VERIFIED, "answers as it should")
    for name in settings.config.mcp_servers:
        launch = Launch("npx", KNOWN[name].spec, told=("-y", KNOWN[name].spec))
        candidate = Candidate(name, Source.NPX, f"npx:{KNOWN[name].name}", f"npx package of {name}", launch=launch)
        yield Finding(candidate, Verdict.SKIPPED, "the runner starts it")
