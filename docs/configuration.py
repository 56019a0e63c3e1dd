"""`docs/configuration.md`: every setting, from the models that read it and the files that give its default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from catalog import FINDABLE, PROJECT, SERVICES
from discovery.config import AGENTS_FILE, SERVERS_FILE, AgentsConfig, DiscoveryConfig
from discovery.probes.environment import MEANINGS
from docs.described import Key, examples_of, keys_of, table, written
from gateway.settings import Settings
from settings import OPENS, SECRET_KEYS, VARIABLES, StackConfig
from settings.config import TUNING, GatewayVariable


@dataclass(frozen=True)
class Group:
    """A section of stack keys: those that a person has in mind together."""

    title: str
    about: str
    keys: tuple[str, ...]


GROUPS = (
    Group(
        "What runs",
        "[Stacks](stacks.md) shows what the committed stacks make of these keys.",
        ("services", "monitoring", "loadBalancer", "replicas", "environment", "engine", "images", "logLevel"),
    ),
    Group(
        "Limits",
        "The budgets are checked before anything is declared. [Reliability](reliability.md) says what is limited how.",
        ("memoryBudgetMb", "diskBudgetGb", "memoryLimits", "maxConcurrentAgents", "agentMemoryMb", "mcpMemoryMb"),
    ),
    Group(
        "Ports and the edge",
        "[The edge](edge.md) says how to publish a stack; the certificate's key is a [secret](#secrets).",
        ("publicPort", "publicTlsPort", "publicHosts", "tlsCertificate", "portOffset"),
    ),
    Group(
        "Use what already runs",
        "[Services that run elsewhere](hybrid.md) says how they are named, reached and pinned.",
        ("expectedOutside", "fallback", "useIfNamed", "pin", "share", "caFile", "discovery"),
    ),
    Group(
        "Models",
        "[Models](models.md) says which is used for which agent, and what serves them.",
        ("models",),
    ),
    Group(
        "MCP servers",
        "[MCP servers](mcp-servers.md) says how each kind is approved and run.",
        ("mcpServers", "mcpVariables", "runner", "allowHostCommands", "otherTools"),
    ),
    Group(
        "Access",
        "[Access](access.md) says who a caller is, and what the globs mean.",
        ("access", "oauth", "oauth.issuer", "oauth.audience", "oauth.scopes", "oauth.callerClaim"),
    ),
    Group(
        "Packages",
        "The runner fetches packages from here.",
        ("npmRegistry", "pythonIndex", "packageCertificates"),
    ),
    Group(
        "Application",
        "The variables that `gateway` may set are [below](#the-applications-variables).",
        ("gateway",),
    ),
)
# Beside the secrets, of which it tells.
GENERATED = "generated"

_INTRODUCTION = f"""\
# Configuration

<!-- `make docs` writes this page, by docs/configuration.py. -->

This page helps you to find a setting: what it is called, what it may be, what it is if you do not set it, and what it
does.

## Where to write a setting

A stack's keys are in the namespace `{PROJECT}:`. Run `eval "$(make -s env)"` once in a shell, then
set a key:

```sh
pulumi config set --stack dev replicas 3                              # a number, a text, true or false
pulumi config set --stack dev --path 'pin.qdrant' deployed            # one entry of a map
pulumi config set --stack dev --path 'share[0]' qdrant                # one entry of a list
pulumi config set --stack dev --secret qdrantApiKey                   # a secret; it is asked for
```

If a key is set in several places, the first of these wins:

1. `.promptcraft/stacks/Pulumi.<stack>.yaml`: this machine's own, where `pulumi config set` writes
2. `Pulumi.<stack>.yaml`: the committed file, the same for everybody
3. the environment, for keys with a [variable](#environment-variables)
4. `.env`, with the same variables; `cp .env.template .env` begins one
5. the default in `Pulumi.yaml`

If a map stands in both stack files, its entries are put together, and 1 wins entry by entry. A team that shares a state
makes 1 and 2 [the same file](commands.md#share-a-state-in-a-team). If a key does not exist, or a value does not fit,
`make up` changes nothing and prints where it stands and what to do
([troubleshooting](troubleshooting.md#configuration)).

`.env` is read as docker compose reads it: quotes over several lines, comments, `export`, and variables in values
(`${{NAME}}`, `$NAME`, `${{NAME:-default}}`, `$$` for a `$`; single quotes keep everything as it is). The environment
comes before the file's own lines. A line that can't be read ends the run only if its variable is needed here. An
address in `.env` that takes a variable from the environment is asked only on this machine, unless that is an address or
a port: the file may have come with the project.

Don't commit `.env`. Of one that git tracks, little counts, because it came with the repository:

- {", ".join(f"`{name}`" for name in VARIABLES if name in TUNING)}
- an address on this machine's loopback, as if nobody had named it

A warning names the rest. Set it in the environment; or, if the file is yours, run `git rm --cached .env`. Git's index
file is read for this, and git is not run. If there is an index that can't be read, `.env` counts as tracked.

## Words for types

| word | what is accepted |
| --- | --- |
| service | {", ".join(f"`{name}`" for name in SERVICES)} |
| name, server name | lower-case letters, digits and `-`, at most 63 characters |
| variable name | the name of an environment variable |
| host name | as `craft.example.com`: no port, no wildcard, no IP address |
| registry address | as `https://host:port/path`: no login, no query |
| path | a file's; a relative one starts at the project's folder |

The column "set by" shows which committed stack sets a key, and to what.
"""

_VARIABLES = """\
## Environment variables

### Services that run elsewhere

These count in the environment and in `.env`. A service that is named here is used if it proves what it is
([hybrid](hybrid.md#name-a-service)).

"""

_STAND_FOR_KEYS = """
### Variables that stand for a key

These count in the environment and in `.env`; an empty one counts as not set. For true or false write `true`, `1`,
`yes`, `on`, or `false`, `0`, `no`, `off`. `MCP_VARIABLES` is written as `server:NAME,NAME server:NAME`. The variables
of secrets are [above](#secrets).

"""

_OTHERS = """
### Other variables

Set-up, discovery and Pulumi also read these. They are this machine's, not a stack's: set them in the environment.

"""

# What no model lists: each belongs to a program, or to this machine.
OTHER_VARIABLES = {
    "CLAUDE_CONFIG_DIR": "where your own MCP files and agents are, instead of `~/.claude`",
    "DOCKER_HOST": "the engine; also `DOCKER_CONTEXT`, `DOCKER_CONFIG`, `DOCKER_CERT_PATH`, `DOCKER_TLS_VERIFY`",
    "MCP_LOCK_DIR": "the folder of the lock files, instead of `/tmp`",
    "PROMPTCRAFT_CACHE": "where set-up keeps what all checkouts share, instead of `~/.cache/promptcraft`",
    "PULUMI_BACKEND_URL": "where Pulumi keeps its state, instead of `.promptcraft/state`",
    "PULUMI_CONFIG_PASSPHRASE": "the passphrase of the stack's secrets, instead of the generated one; also `…_FILE`",
    "XDG_STATE_HOME": "below it are your approvals, instead of `~/.local/state`",
}

_APPLICATION = """\
## The application's variables

The stack key `gateway` sets these. [The gateway](gateway.md) says more. Times are in seconds.

"""

_ITS_OWN = """
Every other `OTEL_…` variable goes to OpenTelemetry's SDK as it is, except those with `HEADERS`, `KEY` or `CERTIFICATE`
in their names, which would be secrets in the open.

The program sets the following variables itself, or leaves them at their defaults. `gateway` may not set them.

"""


def configuration_page(root: Path, stacks: tuple[str, ...]) -> str:
    """The page for the committed files in `root`. Raises `ValueError` for a key that nobody describes or groups."""
    keys = {key.name: key for key in _stack_keys(root)}
    grouped = [*(name for group in GROUPS for name in group.keys), GENERATED]
    if sorted(grouped) != sorted(keys):
        raise ValueError(f"docs/configuration.py: GROUPS: {sorted({*grouped} ^ {*keys})}: put each key in one group")
    given = {stack: _section(root / f"Pulumi.{stack}.yaml") for stack in stacks}
    parts = [
        _INTRODUCTION,
        *(_stack_group(group, keys, given) for group in GROUPS),
        _secrets(keys[GENERATED]),
        _variables(),
        _application(),
        _project_file(SERVERS_FILE, DiscoveryConfig, "MCP servers and services, and limits of the application."),
        _project_file(AGENTS_FILE, AgentsConfig, "Which definition of an agent wins, and what it needs."),
    ]
    return "\n".join(parts)


def _section(file: Path) -> Mapping[str, Any]:
    config = yaml.safe_load(file.read_text(encoding="utf-8"))["config"]
    return {str(key).removeprefix(f"{PROJECT}:"): value for key, value in config.items()}


def _stack_keys(root: Path) -> Iterator[Key]:
    """The keys of a stack, each described in one place: in `Pulumi.yaml`, or by its field where it has no default."""
    declared = _section(root / "Pulumi.yaml")
    for key in keys_of(StackConfig):
        entry = declared.get(key.name)
        if (entry is None) == (not key.what):
            raise ValueError(f"Pulumi.yaml: config.{key.name}: describe it here or in StackConfig, and only there")
        yield Key(key.name, key.kind, entry["default"], entry["description"]) if entry else key


def _stack_group(group: Group, keys: Mapping[str, Key], given: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [(*_row(keys[name]), _set_by(name, given)) for name in group.keys]
    examples = examples_of(StackConfig)
    lines = [f"  {PROJECT}:{name}: {written(examples[name])}\n" for name in group.keys if name in examples]
    return (
        f"## {group.title}\n\n{group.about}\n\n{table((*_COLUMNS, 'set by'), rows)}"
        f"\nFor example:\n\n```yaml\nconfig:\n{''.join(lines)}```\n"
    )


_COLUMNS = ("key", "type", "default", "what it does")


def _row(key: Key) -> tuple[str, str, str, str]:
    if not key.what:
        raise ValueError(f"{key.name}: has no description; give its field one")
    return f"`{key.name}`", key.kind, _default(key.default), key.what


def _default(value: Any) -> str:
    return "none" if value in (None, "", [], {}) else f"`{_shown(value)}`"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else written(value)


def _set_by(name: str, given: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{stack} `{_shown(values[name])}`" for stack, values in given.items() if name in values)


def _secrets(generated: Key) -> str:
    variable_of = {key: variable for variable, key in VARIABLES.items()}
    rows = [
        (
            f"`{key}`",
            f"`{variable_of[key]}`" if key in variable_of else "",
            _opened(key),
            what,
        )
        for key, what in SECRET_KEYS.items()
    ]
    return f"""\
## Secrets

Set a secret with `pulumi config set --secret KEY`, or by its variable in `.env`; the stack's own wins. A secret may not
be in a committed stack file in the open. Only the containers that need it get it, as a file.

{table(("key", "variable", "opens", "what it is"), rows)}
`make up` generates a secret that a stack needs and nobody has set
([production](../README.md#production)), and writes down that it did:

{table(_COLUMNS, [_row(generated)])}"""


def _opened(key: str) -> str:
    # Redis over REST opens by another secret than Redis, and is no service of its own.
    service = OPENS.get(key, "")
    return SERVICES[service].title if service in SERVICES else service.capitalize()


def _variables() -> str:
    named = [
        (f"`{variable}`", service.title, MEANINGS[variable])
        for service in FINDABLE.values()
        for variable in service.variables
    ]
    group_of = {key: group.title for group in GROUPS for key in group.keys}
    stand = [
        (f"`{variable}`", f"`{key}`", f"[{group_of[key]}](#{group_of[key].lower().replace(' ', '-')})")
        for variable, key in VARIABLES.items()
        if key not in SECRET_KEYS
    ]
    others = [(f"`{variable}`", what) for variable, what in OTHER_VARIABLES.items()]
    return (
        f"{_VARIABLES}{table(('variable', 'service', 'what it says'), named)}"
        f"{_STAND_FOR_KEYS}{table(('variable', 'key', 'described in'), stand)}"
        f"{_OTHERS}{table(('variable', 'what it says'), others)}"
    )


def _application() -> str:
    keys = list(keys_of(Settings))
    settable = [_row(key) for key in keys if _is_settable(key.name)]
    own = [_row(key) for key in keys if not _is_settable(key.name)]
    columns = ("variable", *_COLUMNS[1:])
    return f"{_APPLICATION}{table(columns, settable)}{_ITS_OWN}{table(columns, own)}"


def _is_settable(variable: str) -> bool:
    try:
        TypeAdapter(GatewayVariable).validate_python(variable)
    except ValidationError:
        return False
    return True


def _project_file(file: str, model: type[DiscoveryConfig | AgentsConfig], about: str) -> str:
    rows = [_row(key) for key in keys_of(model)]
    example = yaml.safe_dump(examples_of(model), default_flow_style=None, sort_keys=False, width=100)
    return (
        f"## `{file}`\n\n{about} Every key is optional.\n\n{table(_COLUMNS, rows)}"
        f"\nFor example:\n\n```yaml\n{example}```\n"
    )
