"""How each image is made where no image registry can be reached.

A recipe is a folder under `images/offline/` with a Dockerfile over `${BASE}`, and what is packed beside it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from toolchain import content, progress
from toolchain.docker import Docker
from toolchain.images import debian_base, security_index, wheels
from toolchain.layout import Layout

LOCAL = "promptcraft.local"
STAND_IN_LABEL = "ai.promptcraft.stand-in"

# In a source folder these are not part of the program.
_NOT_SOURCES = frozenset({"tests", "Dockerfile", ".dockerignore", "requirements.txt", "requirements.lock"})


@dataclass(frozen=True)
class Recipe:
    """A Dockerfile's folder under `images/offline/`, and what it stands on.

    `base` is another recipe, or None for the Debian base of `suite`. `sources` is the folder of a program (relative to
    the checkout) that lands in the build context as `sources/`, with what its `requirements.lock` names as
    `dependencies/`. Each of `apart` is a folder in it with a lock of its own, for a program that wants other versions;
    what that lock names lands under the folder's name.
    """

    name: str
    base: str | None = None
    suite: str = debian_base.SERVERS
    sources: str | None = None
    apart: tuple[str, ...] = ()

    def locks(self, layout: Layout) -> dict[str, Path]:
        """Each folder of packages in the build context, and the lock that names them."""
        if self.sources is None:
            return {}
        folder = layout.root / self.sources
        folders = {"dependencies": folder} | {name: folder / name for name in self.apart}
        return {name: folder / "requirements.lock" for name, folder in folders.items()}


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            Recipe("redis"),
            Recipe("nginx"),
            Recipe("prometheus"),
            Recipe("exporters"),
            Recipe("egress", suite=debian_base.PYTHON),
            Recipe("python", suite=debian_base.PYTHON),
            Recipe("promptcraft", base="python", sources="gateway"),
            Recipe("zen-mcp", base="python", sources="images/zen-mcp", apart=("pal",)),
            Recipe("qdrant", base="python", sources="images/offline/qdrant"),
            Recipe("grafana", base="python", sources="images/offline/grafana"),
            Recipe("runner", base="python", sources="images/runner"),
        )
    }
)


def tag(recipe: Recipe, layout: Layout, stand_in: str | None = None) -> str:
    """The image's name: a hash over everything that goes into it, and when its suite's security index was made.

    So a change of either is a new name; and where the second is not known, what has the same hash is still found.
    """
    return f"{LOCAL}/{recipe.name}:{_key(recipe, layout, stand_in)}{security_index.stamp(layout, _root(recipe).suite)}"


def _root(recipe: Recipe) -> Recipe:
    return recipe if recipe.base is None else _root(RECIPES[recipe.base])


def _key(recipe: Recipe, layout: Layout, stand_in: str | None = None) -> str:
    below = debian_base.key(recipe.suite) if recipe.base is None else _key(RECIPES[recipe.base], layout)
    parts: list[str | bytes] = [below, stand_in or ""]
    parts.append(content.of_folder(layout.root / "images" / "offline" / recipe.name))
    if recipe.sources:
        parts.append(content.of_folder(layout.root / recipe.sources, _NOT_SOURCES))
    parts += [lock.read_bytes() for lock in recipe.locks(layout).values()]
    return content.of_parts(parts)[: content.SHORT]


def base_tag(recipe: Recipe, layout: Layout) -> str:
    """The name of the image that `recipe` stands on."""
    return debian_base.tag(recipe.suite, layout) if recipe.base is None else tag(RECIPES[recipe.base], layout)


def make(recipe: Recipe, docker: Docker, layout: Layout, stand_in: str | None = None) -> str:
    """Bring the image into the engine, and what it stands on before it. Returns its name."""
    security_index.ask_first(layout, debian_base.SUITES)
    name = tag(recipe, layout, stand_in)
    present = docker.images()
    if name in present:
        return name
    base = base_tag(recipe, layout)
    if recipe.base is not None:
        make(RECIPES[recipe.base], docker, layout)
    elif base not in present:
        debian_base.make(recipe.suite, docker, layout)
    labels = {STAND_IN_LABEL: stand_in} if stand_in else {}
    with tempfile.TemporaryDirectory(prefix=f"promptcraft-{recipe.name}.") as work:
        context = Path(work)
        _fill(context, recipe, docker, layout)
        with progress.step(f"building the image {recipe.name}"):
            docker.build(context, name, {"BASE": base}, labels)
    return name


def _fill(context: Path, recipe: Recipe, docker: Docker, layout: Layout) -> None:
    """Lay the build context out, readable by any user, since the image keeps the modes it is given."""
    _copy(layout.root / "images" / "offline" / recipe.name, context, frozenset())
    if recipe.sources:
        _copy(layout.root / recipe.sources, context / "sources", _NOT_SOURCES)
    for name, lock in recipe.locks(layout).items():
        shutil.copytree(wheels.installed(lock, docker.architecture(), layout), context / name)
    for path in (context, *context.rglob("*")):
        # Among the dependencies are programs; our own files are copied without their modes.
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _copy(source: Path, target: Path, without: frozenset[str]) -> None:
    for path in content.files_of(source, without):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
