"""Which image each service runs: in the engine, else pulled by exact tag, else built."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import date, timedelta

from catalog import EGRESS, EXPORTERS_IMAGE, RUNNER, SERVICES
from toolchain import content, progress, ways
from toolchain.docker import Docker
from toolchain.failure import SetupError
from toolchain.images import debian_base, recipes, references, registry
from toolchain.images.references import Reference
from toolchain.layout import Layout, locked, write_private
from toolchain.reachability import Outside

# Other services' images are made when a stack first wants them (operate/images.py).
DEFAULT = tuple(service.name for service in SERVICES.values() if service.brought_by_setup)
# What any committed stack runs: for a shell in which `pulumi up` is called by hand, and for the tests.
ALL = (*SERVICES, EXPORTERS_IMAGE, RUNNER.name, EGRESS.name)
# Longer than a stack that is in use goes without an `up`: its images are built again if they are missed.
KEPT = timedelta(days=30)


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
    if reference.build:
        names[context_tag(reference, layout)] = None
    if reference.recipe:
        names[recipes.tag(recipes.RECIPES[reference.recipe], layout, reference.stand_in)] = reference.stand_in
    return names


def context_tag(reference: Reference, layout: Layout) -> str:
    """The name of an image built from its own Dockerfile: a hash over the folder."""
    assert reference.build is not None
    folder = layout.root / reference.build.context
    return f"{recipes.LOCAL}/{reference.name}:{content.of_folder(folder, frozenset({'tests'}))[: content.SHORT]}"


def resolve(names: Iterable[str], docker: Docker, layout: Layout, outside: Outside, *, fresh: bool) -> None:
    """Bring the image of each service in `names` into the engine and write down which it is.

    What is there is taken, the real one before a stand-in; whether it may come over a stand-in's data is decided with
    the plan. With `fresh` the registries are asked before a stand-in is taken. Raises `SetupError` where an image can't
    be had.
    """
    known = references.load(layout.root)
    if unknown := sorted(set(names) - set(known)):
        raise SetupError(f"{references.FILE}: {unknown[0]}: no such image; it lists {', '.join(known)}")
    names = tuple(names)
    with locked(layout.cache / "images.lock"):
        present = docker.images()
        written = read(layout)
        for name in names:
            image = _Search(known[name], present, docker, layout, outside, fresh).image()
            stand_in = f" (stand-in: {image.stand_in})" if image.stand_in else ""
            progress.found(f"image {name}: {image.reference}, {image.how}{stand_in}")
            written[name] = image
        if any(written[name].how == "built" for name in names):
            _forget_old(docker, layout, {image.reference for image in written.values()})
        text = json.dumps({name: asdict(image) for name, image in sorted(written.items())}, indent=2)
        write_private(layout.images, text + "\n")


def _forget_old(docker: Docker, layout: Layout, wanted: Collection[str]) -> None:
    """Security updates make new images of the same every few days; what nobody runs any more would fill the disk."""
    before = date.today() - KEPT
    for name in docker.forget(f"{recipes.LOCAL}/*", before, wanted):
        progress.note(f"removed {name}: built here before {before}, and no container uses it")
    debian_base.forget(layout, before)


def made_here(layout: Layout) -> bool:
    """Whether one of the images that were resolved was built on this machine."""
    return any(image.reference.startswith(f"{recipes.LOCAL}/") for image in read(layout).values())


def read(layout: Layout) -> dict[str, Resolved]:
    """What resolution came to last time; empty where it was never run, or wrote something else."""
    try:
        document = json.loads(layout.images.read_text(encoding="utf-8"))
        return {name: Resolved(**value) for name, value in document.items()}
    except (FileNotFoundError, json.JSONDecodeError, TypeError, AttributeError):
        return {}


@dataclass(frozen=True)
class _Search:
    """The ways to one image. `present` is what the engine has; with `fresh` a stand-in there does not count."""

    reference: Reference
    present: frozenset[str]
    docker: Docker
    layout: Layout
    outside: Outside
    fresh: bool

    def image(self) -> Resolved:
        """The first way's image."""
        return ways.first(
            f"the image of {self.reference.name}",
            (
                ways.Way("in the engine", self._found),
                ways.Way("pulled by tag", self._pulled),
                ways.Way("built from its Dockerfile", self._built),
                ways.Way("built from Debian packages", self._made),
            ),
        ).part

    def _found(self) -> Resolved | None:
        for name, stand_in in local_names(self.reference, self.layout).items():
            if self.fresh and stand_in:
                continue
            if name in self.present:
                return Resolved(name, stand_in, "found")
            # Where Debian's archive was never asked (an empty cache, no network), the newest of the same makes do.
            made = [other for other in self.present if other.startswith(f"{name}-")]
            if made and name.startswith(f"{recipes.LOCAL}/"):
                return Resolved(max(made), stand_in, "found")
        return None

    def _pulled(self) -> Resolved | None:
        name = self.reference.pullable
        if name is None or not self.outside.answers(registry_url(self.reference)):
            return None
        return self._unless_it_fails(f"pulling {name}", name, lambda: self.docker("pull", "--quiet", name), "pulled")

    def _built(self) -> Resolved | None:
        build = self.reference.build
        if build is None or not self.outside.all_answer(build.asks):
            return None
        name = context_tag(self.reference, self.layout)
        known = references.load(self.layout.root)
        arguments = {argument: known[base].pullable or "" for argument, base in build.bases.items()}
        return self._unless_it_fails(
            f"building {self.reference.name} from {build.context}/Dockerfile",
            name,
            lambda: self.docker.build(self.layout.root / build.context, name, arguments, {}),
            "built",
        )

    def _made(self) -> Resolved | None:
        if self.reference.recipe is None:
            return None
        recipe, stand_in = recipes.RECIPES[self.reference.recipe], self.reference.stand_in
        return Resolved(recipes.make(recipe, self.docker, self.layout, stand_in), stand_in, "built")

    def _unless_it_fails(self, what: str, name: str, work: Callable[[], object], how: str) -> Resolved | None:
        """The network may fail between the question and the download; the next way is tried then, and it is said."""
        try:
            with progress.step(what):
                work()
        except SetupError as error:
            progress.note(f"{what}: {str(error).splitlines()[-1]}")
            return None
        return Resolved(name, None, how)
