"""Which image each service runs: in the engine, else pulled by exact tag, else built."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from toolchain import content, progress, recipes, references, registry, ways
from toolchain.docker import Docker
from toolchain.failure import SetupError
from toolchain.layout import Layout, locked, write_private
from toolchain.reachability import Outside
from toolchain.references import Reference

# What the default stack runs; other services' images are made when a plan first declares them.
DEFAULT = ("promptcraft", "redis", "zen-mcp", "qdrant")


@dataclass(frozen=True)
class Resolved:
    """An image in the engine. `stand_in` says what runs in the real one's place; `how` is found, pulled or built."""

    reference: str
    stand_in: str | None
    how: str


def registry_url(reference: Reference) -> str:
    """The address that answers for `reference`'s registry (Docker's registry API, version 2)."""
    assert reference.reference is not None
    return registry.address(references.split(reference.reference).registry)


def addresses(wanted: Iterable[Reference]) -> tuple[str, ...]:
    """Every address outside that fetching or building `wanted` may need."""
    urls: list[str] = []
    for reference in wanted:
        urls += [registry_url(reference)] if reference.reference else []
        urls += reference.build.asks if reference.build else ()
    return tuple(dict.fromkeys(urls))


def local_names(reference: Reference, layout: Layout) -> dict[str, str | None]:
    """The names under which this image may already be in the engine, the most wanted first, each with its stand-in."""
    names: dict[str, str | None] = {}
    if reference.pullable:
        names[reference.pullable] = None
    if reference.build and (layout.root / reference.build.context / "Dockerfile").is_file():
        names[context_tag(reference, layout)] = None
    if reference.recipe:
        names[recipes.tag(recipes.RECIPES[reference.recipe], layout, reference.stand_in)] = reference.stand_in
    return names


def context_tag(reference: Reference, layout: Layout) -> str:
    """The name of an image built from its own Dockerfile: a hash over the folder."""
    assert reference.build is not None
    folder = layout.root / reference.build.context
    return f"promptcraft.local/{reference.name}:{content.of_folder(folder, frozenset({'tests'}))[: content.SHORT]}"


def resolve(names: Iterable[str], docker: Docker, layout: Layout, outside: Outside, *, fresh: bool) -> None:
    """Bring the image of each service in `names` into the engine and write down which it is.

    What is there is kept, a stand-in too: a source never changes silently under a data volume. With `fresh` the
    registries are asked again first. Raises `SetupError` where an image can't be had.
    """
    known = references.load(layout.root)
    if unknown := sorted(set(names) - set(known)):
        raise SetupError(f"{references.FILE}: {unknown[0]}: no such image; it lists {', '.join(known)}")
    with locked(layout.cache / "images.lock"):
        present = docker.images()
        written = read(layout)
        for name in names:
            written[name] = _one(known[name], written.get(name), present, docker, layout, outside, fresh=fresh)
        text = json.dumps({name: asdict(image) for name, image in sorted(written.items())}, indent=2)
        write_private(layout.images, text + "\n")


def read(layout: Layout) -> dict[str, Resolved]:
    """What resolution came to last time; empty where it was never run, or wrote something else."""
    try:
        document = json.loads(layout.images.read_text(encoding="utf-8"))
        return {name: Resolved(**value) for name, value in document.items()}
    except (FileNotFoundError, json.JSONDecodeError, TypeError, AttributeError):
        return {}


def _one(
    reference: Reference,
    last: Resolved | None,
    present: frozenset[str],
    docker: Docker,
    layout: Layout,
    outside: Outside,
    *,
    fresh: bool,
) -> Resolved:
    candidates = local_names(reference, layout)
    if not fresh and last and last.reference in candidates and last.reference in present:
        image = Resolved(last.reference, candidates[last.reference], last.how)
    else:
        image = _obtain(reference, candidates, present, docker, layout, outside, fresh=fresh)
    stand_in = f" (stand-in: {image.stand_in})" if image.stand_in else ""
    progress.found(f"image {reference.name}: {image.reference}, {image.how}{stand_in}")
    return image


def _obtain(
    reference: Reference,
    candidates: Mapping[str, str | None],
    present: frozenset[str],
    docker: Docker,
    layout: Layout,
    outside: Outside,
    *,
    fresh: bool,
) -> Resolved:
    def found(*, stand_ins: bool) -> Resolved | None:
        for name, stand_in in candidates.items():
            if name in present and (stand_ins or stand_in is None):
                return Resolved(name, stand_in, "found")
        return None

    def pulled() -> Resolved | None:
        if reference.pullable is None or not outside.answers(registry_url(reference)):
            return None
        try:
            with progress.step(f"pulling {reference.pullable}"):
                docker("pull", "--quiet", reference.pullable)
        except SetupError as error:
            progress.note(f"{reference.pullable} can't be pulled: {str(error).splitlines()[-1]}")
            return None
        return Resolved(reference.pullable, None, "pulled")

    def built() -> Resolved | None:
        if reference.build is None or context_tag_missing(reference, candidates):
            return None
        if not outside.all_answer(reference.build.asks):
            return None
        name = context_tag(reference, layout)
        python = references.load(layout.root)["python"].pullable or ""
        with progress.step(f"building {reference.name} from {reference.build.context}/Dockerfile"):
            docker.build(layout.root / reference.build.context, name, {"PYTHON_IMAGE": python}, {})
        return Resolved(name, None, "built")

    def made() -> Resolved | None:
        if reference.recipe is None:
            return None
        name = recipes.make(recipes.RECIPES[reference.recipe], docker, layout, reference.stand_in)
        return Resolved(name, reference.stand_in, "built")

    return ways.first(
        f"the image of {reference.name}",
        (
            ways.Way("in the engine", lambda: found(stand_ins=not fresh)),
            ways.Way("pulled by tag", pulled),
            ways.Way("built from its Dockerfile", built),
            ways.Way("built from Debian packages", made),
        ),
    ).part


def context_tag_missing(reference: Reference, candidates: Mapping[str, str | None]) -> bool:
    """Whether the Dockerfile that `build` names is not in this checkout."""
    expected = 1 + (reference.pullable is not None) + (reference.recipe is not None)
    return len(candidates) < expected
