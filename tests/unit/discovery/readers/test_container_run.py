"""`docker run …` is read for its image, its variables and arguments; what asks for this host is refused."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.readers.commands import LaunchError, unwrapped
from discovery.readers.container_run import Container, is_run, read, variables_in
from tests.unit.asking import MANY

DIGEST = f"@sha256:{'a' * 64}"


def of(line: str, **variables: str) -> Container:
    return read(unwrapped(shlex.split(line)), variables)


@pytest.mark.parametrize(
    ("line", "container"),
    [
        ("docker run -i --rm acme/docs:1.2", Container("acme/docs:1.2")),
        (f"docker run -i acme/docs{DIGEST} stdio --all", Container(f"acme/docs{DIGEST}", None, ("stdio", "--all"))),
        ("docker run -it --init --pull=always --name docs h.example:5000/a:1", Container("h.example:5000/a:1")),
        ("docker container run --interactive a:1", Container("a:1")),
        ("podman run -i --memory 1g -- a:1", Container("a:1")),
        ("cmd /c docker run -i a:1", Container("a:1")),
        ("docker run -i --entrypoint /bin/docs a:1 x", Container("a:1", "/bin/docs", ("x",))),
        ("docker run -i -e OWN a:1", Container("a:1", variables={"OWN": "${TOKEN}"})),
        ("docker run -i -e MACHINES a:1", Container("a:1", variables={"MACHINES": "${MACHINES}"})),
        ("docker run -i --env A=b=c -eD=e a:1", Container("a:1", variables={"A": "b=c", "D": "e"})),
    ],
)
def test_what_a_container_is_made_of(line: str, container: Container) -> None:
    assert of(line, OWN="${TOKEN}", UNUSED="x") == container
    assert "${TOKEN}" not in repr(container)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("docker run -i acme/docs", "runs the image acme/docs in no exact version; write acme/docs:TAG or @sha256:"),
        ("docker run -i acme/docs:latest", "runs the image acme/docs in no exact version"),
        ("docker run --rm acme/docs:1", "docker run without -i, so that nobody can speak to it"),
        ("docker run -i", "docker run without an image one can tell"),
        ("docker run -i '$(geheim)'", "docker run without an image one can tell"),
        ("docker run -i --privileged a:1", "docker run --privileged would give it rights over this host"),
        ("docker run -i --cap-add=SYS_ADMIN a:1", "would give it rights over this host"),
        ("docker run -i --pid host a:1", "would give it rights over this host"),
        ("docker run -i -v /geheim:/b a:1", "docker run -v mounts something of this host"),
        ("docker run -iv/geheim:/b a:1", "docker run -v mounts something of this host"),
        ("docker run -i --mount type=bind,src=/geheim,dst=/b a:1", "docker run --mount mounts"),
        ("docker run -i -v /var/run/docker.sock:/var/run/docker.sock a:1", "mounts something of this host"),
        ("docker run -i --network host a:1", "docker run --network asks for another network"),
        ("docker run -i --net=container:a a:1", "asks for another network"),
        ("docker run -i -p 80:80 a:1", "publishes a port"),
        ("docker run -i --env-file /geheim a:1", "docker run --env-file names a file of this host"),
        ("docker run -d -i a:1", "leaves nobody to speak to"),
        ("docker run -i -e A", "without an image"),
        ("docker run -i -e 'A B=geheim' a:1", "a name that no variable can have"),
        ("docker run -i --name", "with --name and nothing after it"),
        ("docker run -i --frobnicate a:1", "with --frobnicate, which no container of the stack's has"),
        ("docker run -i --entrypoint 'sh -c geheim' a:1", "an --entrypoint that is no plain program"),
    ],
)
def test_what_no_stack_runs_says_why_and_what_to_do(line: str, why: str) -> None:
    with pytest.raises(LaunchError, match=why) as caught:
        of(line)
    assert "; " in str(caught.value) and len(str(caught.value)) <= 200 and "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "it_is"),
    [
        ("docker run a", True),
        ("docker container run a", True),
        ("docker exec a", False),
        ("docker compose run a", False),
        ("docker", False),
        ("npx docker run", False),
    ],
)
def test_what_runs_a_container(line: str, it_is: bool) -> None:
    assert is_run(unwrapped(shlex.split(line))) is it_is


def test_variables_that_are_handed_on_are_known() -> None:
    assert variables_in(unwrapped(shlex.split("docker run -i -e A -e B=c --env D a:1 -e E"))) == ("A", "D")


WORD = st.sampled_from(["-i", "-it", "-e", "-eA", "A", "A=b", "--env", "--", "a:1", f"a{DIGEST}", "--name", "-v"])


@MANY
@given(st.lists(WORD | st.text(max_size=8)))
def test_any_words_are_a_plain_image_or_say_why(words: list[str]) -> None:
    try:
        container = read(unwrapped(["docker", "run", *words]), {})
    except LaunchError as error:
        assert str(error).isprintable()
        return
    assert shlex.split(container.image) == [container.image] and not container.image.startswith("-")
