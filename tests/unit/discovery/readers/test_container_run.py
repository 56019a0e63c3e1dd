"""`docker run …` is read for its image, whatever options stand before it."""

from __future__ import annotations

import shlex

import pytest

from discovery.readers.commands import unwrapped
from discovery.readers.container_run import image_of


@pytest.mark.parametrize(
    ("line", "image"),
    [
        ("docker run -i --rm mcp/time", "mcp/time"),
        ("docker run -i --rm -e TOKEN ghcr.io/acme/docs-mcp:v1.2.3 stdio", "ghcr.io/acme/docs-mcp:v1.2.3"),
        ("docker run -it -e A=geheim --env-file=/x --name a --network host --init a:1 --key geheim", "a:1"),
        ("docker run -eA=geheim --mount type=bind,src=/a,dst=/b -v /a:/b --pull always -- a", "a"),
        ("/usr/bin/docker container run -i a", "a"),
        ("podman run --interactive a", "a"),
        ("cmd /c docker run -i a", "a"),
        ("docker run -i", ""),
        ("docker run -i '$(geheim)'", ""),
        ("docker exec -i a b", None),
        ("docker compose run a", None),
        ("docker", None),
        ("npx a", None),
    ],
)  # fmt: skip
def test_the_image_is_told(line: str, image: str | None) -> None:
    assert image_of(unwrapped(shlex.split(line))) == image
