"""Images: which references are allowed, what a name stands for, and found → pulled → built."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import docker
import pytest

from catalog import SERVICES
from toolchain.docker import Docker
from toolchain.failure import SetupError
from toolchain.images import recipes, references, resolve, security_index
from toolchain.images.references import Build, Name, Reference
from toolchain.images.resolve import Resolved
from toolchain.layout import Layout
from toolchain.reachability import Outside

ROOT = Path(__file__).resolve().parents[4]


class Answering(Outside):
    """An outside where everybody answers, or nobody."""

    def __init__(self, yes: bool) -> None:
        super().__init__(())
        self._yes = yes

    def answers(self, url: str) -> bool:
        return self._yes


@dataclass(frozen=True)
class Engine(Docker):
    """An engine that only remembers which images it has; `refused` ones can be neither pulled nor built."""

    present: set[str] = field(default_factory=set)
    refused: frozenset[str] = frozenset()
    forgotten: list[tuple[str, date, Collection[str]]] = field(default_factory=list)

    def forget(self, pattern: str, before: date, keep: Collection[str]) -> list[str]:
        self.forgotten.append((pattern, before, keep))
        return []

    def images(self) -> frozenset[str]:
        return frozenset(self.present)

    def __call__(self, *arguments: str | Path, timeout: float | None = None, stdin: str | None = None) -> str:
        assert arguments[:2] == ("pull", "--quiet")
        if arguments[2] in self.refused:
            raise SetupError("toomanyrequests")
        self.present.add(str(arguments[2]))
        return ""

    def build(self, context: Path, tag: str, arguments: Mapping[str, str], labels: Mapping[str, str]) -> None:
        if context.name in self.refused:
            raise SetupError("no route to host")
        self.present.add(tag)


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A checkout with the files that images are made from, on a machine that never asked Debian's archive."""
    monkeypatch.setattr(security_index, "ask", lambda *arguments, **more: None)
    root = tmp_path / "root"
    for folder in ("images", "gateway"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", ".mypy_cache"))
    return Layout(root, tmp_path / "cache")


def test_every_service_has_an_image_with_an_exact_tag_and_the_place_it_was_found() -> None:
    known = references.load(ROOT)
    assert set(SERVICES) <= set(known)
    for entry in known.values():
        assert entry.source.startswith("https://") or entry.build
        assert entry.reference is None or re.search(r":v?\d+\.\d+\.\d+", entry.reference)
        assert entry.recipe is None or entry.recipe in recipes.RECIPES
        assert bool(entry.end_of_life) == bool(entry.end_of_life_source) == (entry.build is None)


def test_every_dockerfile_stands_on_images_that_the_references_name() -> None:
    known = references.load(ROOT)
    for entry in known.values():
        if entry.build is None:
            continue
        dockerfile = (ROOT / entry.build.context / "Dockerfile").read_text()
        named = {argument: known[base].reference for argument, base in entry.build.bases.items()}
        assert dict(re.findall(r"(?m)^ARG (\w+_IMAGE)=(\S+)$", dockerfile)) == named
        stages = re.findall(r"(?m)^FROM (\S+)", dockerfile)
        assert stages == [f"${{{argument}}}" for argument in named]


def test_every_release_of_debian_that_a_recipe_stands_on_has_its_end() -> None:
    assert {entry.suite for entry in references.load(ROOT).values()} - {None} == {
        recipe.suite for recipe in recipes.RECIPES.values() if recipe.base is None
    }


@pytest.mark.parametrize(
    ("entry", "days_before", "said"),
    [
        ({"reference": "a/b:1.0.0"}, 31, None),
        ({"reference": "a/b:1.0.0"}, 30, "a/b:1.0.0 ends on 2027-05-18 (where it was read); name a newer one there"),
        ({"reference": "a/b:1.0.0"}, -400, "a/b:1.0.0 ends on 2027-05-18"),
        ({"reference": "a/b:1.0.0"}, 0, "and in the Dockerfiles that name it, then run `make lock-images`"),
        ({"suite": "trixie"}, 0, "Debian trixie ends on 2027-05-18"),
        ({"suite": "trixie"}, 0, "and in the recipes that stand on it"),
    ],
)
def test_an_image_is_renewed_before_nobody_mends_it_any_more(
    tmp_path: Path, entry: dict[str, str], days_before: int, said: str | None
) -> None:
    end = date(2027, 5, 18)
    told = {**entry, "source": "https://it/", "end_of_life": str(end), "end_of_life_source": "where it was read"}
    ours = {"reference": None, "build": {"context": "it", "asks": [], "bases": {"IT_IMAGE": "it"}}}
    (tmp_path / "images").mkdir()
    (tmp_path / references.FILE).write_text(json.dumps({"it": told, "ours": ours}))
    lines = references.ending(references.load(tmp_path), end - timedelta(days=days_before))
    assert len(lines) == (said is not None)
    if said is not None:
        assert lines[0].startswith("images/references.json: it.end_of_life: ")
        assert said in lines[0]


def test_no_image_is_about_to_end() -> None:
    assert references.ending(references.load(ROOT), date.today()) == []


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_every_recipe_runs_as_the_user_that_the_catalog_names(name: str) -> None:
    dockerfile = (ROOT / "images" / "offline" / name / "Dockerfile").read_text()
    if name in SERVICES:
        assert f"USER {SERVICES[name].user}\n" in dockerfile
    # An image's VOLUME becomes an anonymous volume that nobody removes.
    assert "VOLUME" not in dockerfile
    assert "FROM ${BASE}\n" in dockerfile


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("redis:7.4.7", Name("docker.io", "library/redis", "7.4.7", "redis")),
        ("qdrant/qdrant:v1.17.0", Name("docker.io", "qdrant/qdrant", "v1.17.0", "qdrant/qdrant")),
        ("docker.io/library/redis:7.4.7", Name("docker.io", "library/redis", "7.4.7", "docker.io/library/redis")),
        ("ghcr.io/a/b/c:1.0", Name("ghcr.io", "a/b/c", "1.0", "ghcr.io/a/b/c")),
        ("127.0.0.1:5000/a:1.0", Name("127.0.0.1:5000", "a", "1.0", "127.0.0.1:5000/a")),
        ("localhost/a:1.0", Name("localhost", "a", "1.0", "localhost/a")),
    ],
)
def test_a_reference_is_taken_apart_as_docker_does(reference: str, expected: Name) -> None:
    assert references.split(reference) == expected


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", r"images/references.json:1: Expecting property name"),
        ("[]", r"images/references.json:1: must be a map"),
        ('{"redis": 1}', r"images/references.json: redis: must be a map"),
        ('{"redis": {"tag": "7"}}', r"redis: unknown key 'tag'; use build, digest"),
        ('{"redis": {"digest": null}}', r"redis: needs a reference or a build"),
        ('{"redis": {"reference": 7}}', r"redis.reference: must be text or null"),
        ('{"redis": {"reference": "redis:7.4.7"}}', r"redis.end_of_life: None is no date; write it as 2027-05-18"),
        ('{"redis": {"reference": "redis:7.4.7", "end_of_life": "soon"}}', r"redis.end_of_life: 'soon' is no date"),
        ('{"redis": {"reference": "redis"}}', r"redis: needs an exact tag"),
        ('{"redis": {"reference": "redis:latest"}}', r"redis:latest: needs an exact tag"),
        ('{"redis": {"reference": "127.0.0.1:5000/redis"}}', r"needs an exact tag"),
    ],
)
def test_a_broken_reference_file_is_told_with_file_and_key(tmp_path: Path, document: str, message: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / references.FILE).write_text(document)
    with pytest.raises(SetupError, match=message):
        references.load(tmp_path)


def test_a_locked_image_is_pulled_by_its_digest() -> None:
    digest = f"sha256:{'0' * 64}"
    assert Reference("r", "", "redis:7.4.7", digest).pullable == f"redis@{digest}"
    assert Reference("r", "", "redis:7.4.7").pullable == "redis:7.4.7"


REAL = "qdrant/qdrant:v1.17.0"
QDRANT = Reference("qdrant", "", REAL, recipe="qdrant", stand_in="a stand-in")
ZEN = Reference(
    "zen-mcp", "", build=Build("zen-mcp", ("https://there/",), {"PYTHON_IMAGE": "python"}), recipe="zen-mcp"
)
PUBLISHED = Reference("nowhere", "", "a/b:1.0")


# What is in the engine, whether registries answer -> the image, how it came, and whether it is a stand-in.
@pytest.mark.parametrize(
    ("entry", "present", "answers", "refused", "expected"),
    [
        (QDRANT, {"real", "recipe"}, True, False, ("real", "found", False)),
        (QDRANT, {"recipe"}, True, False, ("recipe", "found", True)),
        (QDRANT, set(), True, False, ("real", "pulled", False)),
        (QDRANT, set(), True, True, ("recipe", "built", True)),
        (QDRANT, set(), False, False, ("recipe", "built", True)),
        (ZEN, {"context", "recipe"}, False, False, ("context", "found", False)),
        (ZEN, set(), True, False, ("context", "built", False)),
        (ZEN, set(), True, True, ("recipe", "built", False)),
        (ZEN, set(), False, False, ("recipe", "built", False)),
    ],
)
@pytest.mark.parametrize("fresh", [False, True])
def test_an_image_is_found_before_it_is_pulled_before_it_is_built(
    entry: Reference,
    present: set[str],
    answers: bool,
    refused: bool,
    expected: tuple[str, str, bool],
    fresh: bool,
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recipes, "_fill", lambda *arguments: None)
    recipe = recipes.RECIPES[entry.recipe or ""]
    names = {"real": REAL, "recipe": recipes.tag(recipe, layout, entry.stand_in)}
    if entry.build:
        names["context"] = resolve.context_tag(entry, layout)
    docker = Engine(
        present={names[key] for key in present} | {recipes.base_tag(recipe, layout)},
        refused=frozenset({REAL, "zen-mcp"}) if refused else frozenset(),
    )
    known = {"it": entry, "python": Reference("python", "", "python:3.11.14")}
    monkeypatch.setattr(references, "load", lambda root: known)
    resolve.resolve(["it"], docker, layout, Answering(answers), fresh=fresh)
    which, how, stand_in = expected
    if fresh and stand_in and how == "found":  # asked anew, the real one is preferred
        which, how, stand_in = "real", "pulled", False
    assert resolve.read(layout) == {"it": Resolved(names[which], "a stand-in" if stand_in else None, how)}


def test_where_debians_archive_was_never_asked_the_newest_of_the_same_image_is_found(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "load", lambda root: {"qdrant": QDRANT})
    undated = recipes.tag(recipes.RECIPES["qdrant"], layout, QDRANT.stand_in)
    older, newer = f"{undated}-20261125T223313", f"{undated}-20261127T081109"
    other = "promptcraft.local/qdrant:000000000000-20261201T000000"
    docker = Engine(present={older, newer, other})
    resolve.resolve(["qdrant"], docker, layout, Answering(False), fresh=False)
    assert resolve.read(layout)["qdrant"].reference == newer
    # Once it was asked, its answer counts.
    monkeypatch.setattr(security_index, "date", lambda layout, suite: "Wed, 25 Nov 2026 22:33:13 UTC")
    resolve.resolve(["qdrant"], docker, layout, Answering(False), fresh=False)
    assert resolve.read(layout)["qdrant"].reference == older


def test_who_builds_an_image_removes_what_is_old_and_unused(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "_fill", lambda *arguments: None)
    monkeypatch.setattr(references, "load", lambda root: {"qdrant": QDRANT})
    docker = Engine(present={recipes.base_tag(recipes.RECIPES["qdrant"], layout)})
    old, young = (layout.cache / "base" / name for name in ("old", "young"))
    for folder, days in ((old, 31), (young, 29)):
        folder.mkdir(parents=True)
        made = datetime.now().timestamp() - days * 24 * 3600
        os.utime(folder, (made, made))
    resolve.resolve(["qdrant"], docker, layout, Answering(False), fresh=False)
    # Who was found may be as old, and is about to be run.
    wanted = {resolve.read(layout)["qdrant"].reference}
    assert docker.forgotten == [("promptcraft.local/*", date.today() - timedelta(days=30), wanted)]
    assert (old.exists(), young.exists()) == (False, True)
    # Nothing is looked through where everything is there.
    resolve.resolve(["qdrant"], docker, layout, Answering(False), fresh=False)
    assert len(docker.forgotten) == 1


@pytest.mark.engine
def test_only_old_images_that_no_container_uses_are_removed(engine: docker.DockerClient, tmp_path: Path) -> None:
    """Told by a name of its own, so that nobody else's images are looked at."""
    name = f"promptcraft.test/{secrets.token_hex(4)}"
    own = Docker()
    (tmp_path / "tar").write_bytes(tarball())
    for tag in ("used", "unused", "wanted"):
        own("import", "--message", tag, tmp_path / "tar", f"{name}:{tag}")
    container = engine.containers.create(f"{name}:used", "none")
    today = date.today()
    try:
        wanted = {f"{name}:wanted"}
        assert own.forget(name, today - timedelta(days=1), wanted) == []
        assert own.forget(name, today + timedelta(days=2), wanted) == [f"{name}:unused"]
        assert own.forget(name, today + timedelta(days=2), wanted) == []
    finally:
        container.remove()
        engine.images.remove(f"{name}:used")
        engine.images.remove(f"{name}:wanted")


def tarball() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    return data.getvalue()


def test_a_stand_in_stays_until_it_is_asked_anew(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that answers again must not slip another program under a data volume."""
    monkeypatch.setattr(recipes, "_fill", lambda *arguments: None)
    monkeypatch.setattr(references, "load", lambda root: {"qdrant": QDRANT})
    docker = Engine(present={recipes.base_tag(recipes.RECIPES["qdrant"], layout)})
    came = []
    for answers, fresh in ((False, False), (True, False), (True, True), (False, True), (False, False)):
        resolve.resolve(["qdrant"], docker, layout, Answering(answers), fresh=fresh)
        came.append(resolve.read(layout)["qdrant"].stand_in is None)
    assert came == [False, False, True, True, True]


def test_the_real_image_wins_as_soon_as_the_engine_has_it(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "_fill", lambda *arguments: None)
    monkeypatch.setattr(references, "load", lambda root: {"qdrant": QDRANT})
    docker = Engine(present={recipes.base_tag(recipes.RECIPES["qdrant"], layout)})
    resolve.resolve(["qdrant"], docker, layout, Answering(False), fresh=False)
    assert resolve.read(layout)["qdrant"].stand_in == "a stand-in"
    docker.present.add(REAL)
    resolve.resolve(["qdrant"], docker, layout, Answering(False), fresh=False)
    assert resolve.read(layout) == {"qdrant": Resolved(REAL, None, "found")}


def test_an_image_without_recipe_and_registry_is_named(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "load", lambda root: {"nowhere": PUBLISHED})
    with pytest.raises(SetupError, match=r"the image of nowhere can't be had on this machine; tried: in the engine"):
        resolve.resolve(["nowhere"], Engine(), layout, Answering(False), fresh=False)
    with pytest.raises(SetupError, match=r"other: no such image; it lists nowhere"):
        resolve.resolve(["other"], Engine(), layout, Answering(False), fresh=False)


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("images/offline/qdrant/server.py", {"qdrant"}),
        ("images/offline/qdrant/requirements.lock", {"qdrant"}),
        ("images/offline/redis/entrypoint.sh", {"redis"}),
        ("images/offline/python/Dockerfile", {"python", "promptcraft", "zen-mcp", "qdrant", "grafana", "runner"}),
        ("gateway/requirements.lock", {"promptcraft"}),
        ("images/zen-mcp/requirements.lock", {"zen-mcp"}),
        ("images/zen-mcp/pal/requirements.lock", {"zen-mcp"}),
        ("images/zen-mcp/start_pal.py", {"zen-mcp"}),
        ("images/zen-mcp/pal/requirements.txt", set()),
        ("images/runner/requirements.lock", {"runner"}),
        ("gateway/requirements.txt", set()),
        ("gateway/__main__.py", {"promptcraft"}),
        ("gateway/runs/keys.lua", {"promptcraft"}),
        ("gateway/tests/new.py", set()),
        ("gateway/Dockerfile", set()),
        ("images/README.md", set()),
    ],
)
def test_an_image_is_rebuilt_exactly_when_what_goes_into_it_changes(
    changed: str, stale: set[str], layout: Layout
) -> None:
    def tags() -> dict[str, str]:
        return {name: recipes.tag(recipe, layout) for name, recipe in recipes.RECIPES.items()}

    before = tags()
    assert tags() == before
    path = layout.root / changed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("changed")
    after = tags()
    assert {name for name in after if after[name] != before[name]} == stale


def test_nothing_remembered_is_nothing(layout: Layout) -> None:
    assert resolve.read(layout) == {}
    layout.private.mkdir(parents=True)
    for text in ("", "[]", json.dumps({"redis": {"reference": "a:1"}})):
        layout.images.write_text(text)
        assert resolve.read(layout) == {}
