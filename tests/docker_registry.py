"""Debian's docker-registry as an image: a real registry where none can be reached."""

from __future__ import annotations

from pathlib import Path

from toolchain import content
from toolchain.docker import Docker
from toolchain.images import debian_base
from toolchain.layout import layout

PORT = 5000
# Debian's own configuration wants passwords.
_CONFIG = f"""\
version: 0.1
storage: {{filesystem: {{rootdirectory: /tmp/registry}}}}
http: {{addr: ":{PORT}"}}
"""
_IMAGE = """\
ARG BASE
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends docker-registry && rm -rf /var/lib/apt/lists/*
COPY --chown=0:0 config.yml /config.yml
RUN chmod 0644 /config.yml
USER 65534:65534
CMD ["docker-registry", "serve", "/config.yml"]
"""


def registry_image(docker: Docker, folder: Path) -> str:
    """The image's name in the engine of `docker`, where it stays as every local build does."""
    base = debian_base.tag(debian_base.SERVERS, layout())
    if base not in docker.images():
        debian_base.make(debian_base.SERVERS, docker, layout())
    return built(docker, folder, "test-registry", base, _IMAGE, {"config.yml": _CONFIG})


def built(
    docker: Docker, folder: Path, name: str, base: str, dockerfile: str, files: dict[str, str] | None = None
) -> str:
    """The name of an image that is built from `dockerfile` over `base`, once for each content; `folder` is filled."""
    contents = {"Dockerfile": dockerfile, **(files or {})}
    inputs = content.of_parts([base, *(part for item in sorted(contents.items()) for part in item)])
    tag = f"promptcraft.local/{name}:{inputs[: content.SHORT]}"
    if tag not in docker.images():
        for file, text in contents.items():
            (folder / file).write_text(text)
        docker.build(folder, tag, {"BASE": base}, {})
    return tag
