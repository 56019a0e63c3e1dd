"""What a runner is told to start: variables expanded, nothing secret shown, no registry but the stack's."""

from __future__ import annotations

import json

import pytest

from discovery.readers import launches
from discovery.readers.commands import LaunchError, unwrapped
from discovery.readers.launches import launch_of
from discovery.readers.package_runners import Called, read
from discovery.report import Launch


def test_variables_are_expanded_and_never_shown() -> None:
    launch = launch_of(Called("npx", "a", arguments=("--key", "${KEY}")), {"OWN": "${KEY}"}, {"KEY": "geheim"})
    assert launch.environment == {"OWN": "geheim"} and launch.arguments == ("--key", "geheim")
    assert "geheim" not in repr(launch)


@pytest.mark.parametrize(
    ("words", "variables", "told", "pairs"),
    [
        (["-y", "a"], {}, ("-y", "a"), ()),
        (["--package=a", "tool"], {"OWN": "${KEY}"}, ("-y", "--package", "a", "tool"), (("OWN", "KEY"),)),
        (["a", "--key", "geheim"], {}, None, ()),
        (["a"], {"OWN": "geheim"}, None, ()),
        (["a"], {"OWN": "${KEY}", "OTHER": "Bearer ${KEY}"}, None, (("OWN", "KEY"),)),
        (["a"], {"OWN": "${KEY:-geheim}"}, None, ()),
    ],
)
def test_a_command_is_told_where_nothing_in_it_can_be_a_secret(
    words: list[str], variables: dict[str, str], told: tuple[str, ...] | None, pairs: tuple[tuple[str, str], ...]
) -> None:
    called = read(unwrapped(["npx", *words]))
    assert called is not None
    launch = launch_of(called, variables, {"KEY": "geheim"})
    assert (launch.told, launch.variables) == (told, pairs)
    assert "geheim" not in repr(launch)


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(LaunchError, match="MISSING, which is not set"):
        launch_of(Called("npx", "a"), {"A": "${MISSING}"}, {})


@pytest.mark.parametrize(
    ("variable", "key"),
    [("NPM_CONFIG_REGISTRY", "npmRegistry"), ("npm_config_registry", "npmRegistry"), ("UV_INDEX_URL", "pythonIndex")],
)
def test_a_server_chooses_no_registry(variable: str, key: str) -> None:
    with pytest.raises(LaunchError, match=rf"another registry \({variable}\); set {key} of the stack"):
        launch_of(Called("npx", "a"), {variable: "https://u:geheim@h.invalid"}, {})


def test_the_runner_is_told_everything() -> None:
    launch = Launch(
        "uvx",
        "a==1.0",
        beside=("f",),
        options=("--prerelease=allow",),
        binary="b",
        arguments=("c",),
        environment={"D": "e"},
    )
    assert json.loads(launches.file_text(launch)) == {
        "program": "uvx",
        "package": "a==1.0",
        "beside": ["f"],
        "options": ["--prerelease=allow"],
        "binary": "b",
        "arguments": ["c"],
        "environment": {"D": "e"},
    }
