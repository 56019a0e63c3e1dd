"""Servers that speak stdio, as a runner could start them: by `npx` or `uvx`, from a package of a registry.

Nothing is started here. What is no plain package (a path, a repository, a shell's work) is no launch: a runner's
container holds nothing of this host, and what a word means to a shell must not matter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from discovery.readers import expansion
from discovery.readers.commands import LaunchError
from discovery.readers.container_run import Container
from discovery.readers.package_runners import Called
from discovery.report import CONTAINER, Launch

# What would choose where packages come from. A server's own variables reach it, and not who installs it.
_REGISTRIES = {
    **dict.fromkeys(
        ("NPM_CONFIG_REGISTRY", "NPM_CONFIG_USERCONFIG", "YARN_NPM_REGISTRY_SERVER", "BUN_CONFIG_REGISTRY"),
        "npmRegistry",
    ),
    **dict.fromkeys(("UV_INDEX", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL"), "pythonIndex"),
    **dict.fromkeys(("UV_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"), "pythonIndex"),
}


def launch_of(called: Called, variables: Mapping[str, str], environment: Mapping[str, str]) -> Launch:
    """How a runner starts `called` with its own `variables`, of which nothing is expanded yet. Raises `LaunchError`."""
    for name in variables:
        if key := _REGISTRIES.get(name.upper()):
            raise LaunchError(f"its env chooses another registry ({name}); set {key} of the stack instead")
    # Literal texts can be keys: those stay in their file.
    pairs = tuple((name, taken) for name, text in variables.items() if (taken := expansion.variable_in(text)))
    taken_from = {name for text in (*called.arguments, *variables.values()) for name in expansion.names_in(text)}
    try:
        return Launch(
            program=called.program,
            package=called.package,
            variables=pairs,
            sets=tuple(sorted(variables)),
            takes=tuple(sorted(taken_from)),
            told=called.words if not called.arguments and len(pairs) == len(variables) else None,
            beside=called.beside,
            python=called.python,
            options=called.options,
            binary=called.binary,
            arguments=tuple(expansion.expand(word, environment) for word in called.arguments),
            environment={name: expansion.expand(text, environment) for name, text in variables.items()},
        )
    except expansion.ExpansionError as error:
        raise LaunchError(f"its command {error}") from error


def container_launch(container: Container, environment: Mapping[str, str]) -> Launch:
    """How a stack runs a server in an image of its own. Raises `LaunchError`."""
    texts = (*container.arguments, *container.variables.values())
    pairs = {name: expansion.variable_in(text) for name, text in container.variables.items()}
    plain = not container.arguments and container.entrypoint is None and all(pairs.values())
    given = [word for name in container.variables for word in ("-e", name)]
    try:
        return Launch(
            program=CONTAINER,
            package=container.image,
            variables=tuple((name, taken) for name, taken in pairs.items() if taken),
            sets=tuple(sorted(container.variables)),
            takes=tuple(sorted({name for text in texts for name in expansion.names_in(text)})),
            told=("run", "-i", "--rm", *given, container.image) if plain else None,
            binary=container.entrypoint,
            arguments=tuple(expansion.expand(word, environment) for word in container.arguments),
            environment={name: expansion.expand(text, environment) for name, text in container.variables.items()},
        )
    except expansion.ExpansionError as error:
        raise LaunchError(f"its command {error}") from error


def file_text(launch: Launch) -> str:
    """The launch as its starter reads it, secret as a whole: arguments hold keys as well.

    That is the runner for a package (`images/runner/hosted.py`); for a container see rendering/stdio_start.py.
    """
    document = {
        "program": launch.program,
        "package": launch.package,
        "beside": list(launch.beside),
        "options": list(launch.options),
        "binary": launch.binary,
        "arguments": list(launch.arguments),
        "environment": dict(launch.environment),
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"
