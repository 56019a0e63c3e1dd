"""Digests come from a registry or not at all: its API with a token login, and Debian's real docker-registry."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import pytest

from tests.docker_registry import registry_image
from tests.waiting import until
from toolchain.docker import Docker
from toolchain.failure import SetupError
from toolchain.images import debian_base, digests, references, registry, resolve
from toolchain.images.references import Name
from toolchain.images.resolve import Resolved
from toolchain.layout import Layout, layout
from toolchain.reachability import Outside

DIGEST = f"sha256:{'5' * 64}"


@dataclass
class FakeRegistry:
    """What a registry with anonymous token logins does. `realm` and `digest` can be spoilt."""

    address: str = ""
    realm: str | None = None
    digest: str = DIGEST
    requests: list[str] = field(default_factory=list)

    def answer(self, path: str, authorization: str | None) -> tuple[int, dict[str, str], bytes]:
        self.requests.append(path)
        if path.startswith("/token?"):
            return 200, {}, json.dumps({"token": "anonymous"}).encode()
        if path.startswith("/v2/missing/"):
            return 404, {}, b""
        if authorization != "Bearer anonymous":
            realm = self.realm or f"http://{self.address}/token"
            challenge = f'Bearer realm="{realm}",service="registry",scope="repository:a:pull"'
            return 401, {"WWW-Authenticate": challenge}, b""
        return 200, {"Docker-Content-Digest": self.digest}, b""


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    told = FakeRegistry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = told.answer(self.path, self.headers.get("Authorization"))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield told
        server.shutdown()
        thread.join()


def name_at(address: str, repository: str = "a") -> Name:
    return references.split(f"{address}/{repository}:1.0")


def test_a_registry_that_wants_a_token_is_given_an_anonymous_one(fake: FakeRegistry) -> None:
    assert registry.digest(name_at(fake.address)) == DIGEST
    assert fake.requests == [
        "/v2/a/manifests/1.0",
        "/token?service=registry&scope=repository%3Aa%3Apull",
        "/v2/a/manifests/1.0",
    ]


def test_an_image_that_is_not_there_has_no_digest(fake: FakeRegistry) -> None:
    with pytest.raises(SetupError, match=r"missing:1.0: the registry answered 404"):
        registry.digest(name_at(fake.address, "missing"))


def test_a_login_over_plain_http_elsewhere_is_refused(fake: FakeRegistry) -> None:
    fake.realm = "http://elsewhere.example/token"
    with pytest.raises(SetupError, match=r"the registry's login failed .*not https"):
        registry.digest(name_at(fake.address))
    assert fake.requests == ["/v2/a/manifests/1.0"]


def test_an_answer_that_is_no_digest_is_refused(fake: FakeRegistry) -> None:
    fake.digest = "sha256:short"
    with pytest.raises(SetupError, match="the registry told no digest"):
        registry.digest(name_at(fake.address))


def test_docker_hub_has_its_own_address_and_only_the_loopback_is_asked_without_tls() -> None:
    assert registry.address("docker.io") == "https://registry-1.docker.io/v2/"
    assert registry.address("ghcr.io") == "https://ghcr.io/v2/"
    assert registry.address("127.0.0.1:5000") == "http://127.0.0.1:5000/v2/"
    assert registry.address("127.example.org") == "https://127.example.org/v2/"


def test_when_one_registry_does_not_tell_nothing_is_written(fake: FakeRegistry, tmp_path: Path) -> None:
    document = {
        name: {"reference": f"{fake.address}/{name}:1.0", "source": "here", "end_of_life": "2100-01-01"}
        for name in ("a", "missing")
    }
    (tmp_path / "images").mkdir()
    (tmp_path / references.FILE).write_text(json.dumps(document))
    with pytest.raises(SetupError, match=r"missing:1\.0"):
        digests.lock(tmp_path)
    assert json.loads((tmp_path / references.FILE).read_text()) == document


@pytest.fixture(scope="module")
def real(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real registry in a container; its image stays, as every local build does."""
    tag = registry_image(Docker(), tmp_path_factory.mktemp("registry"))
    container = engine.containers.run(
        tag,
        detach=True,
        ports={"5000/tcp": ("127.0.0.1", 0)},
        labels={"ai.promptcraft.test": "registry"},
    )
    try:
        container.reload()
        address = f"127.0.0.1:{container.attrs['NetworkSettings']['Ports']['5000/tcp'][0]['HostPort']}"
        url = registry.address(address)
        until(lambda: Outside([url], budget=1.0).answers(url))
        yield address
    finally:
        container.remove(force=True, v=True)


@pytest.mark.engine
def test_a_tag_is_locked_to_the_digest_that_the_registry_has_and_pulled_by_it(
    real: str, engine: docker.DockerClient, tmp_path: Path
) -> None:
    own = Docker()
    reference = f"{real}/promptcraft/base:1.0"
    where = Layout(tmp_path, tmp_path / "cache")
    (tmp_path / "images").mkdir()
    entry = {"reference": reference, "source": "this test", "end_of_life": "2100-01-01"}
    (tmp_path / references.FILE).write_text(json.dumps({"base": entry}))
    image = engine.images.get(debian_base.tag(debian_base.SERVERS, layout()))
    assert image.tag(reference)
    try:
        own("push", "--quiet", reference)
        pushed = next(name for name in engine.images.get(reference).attrs["RepoDigests"] if name.startswith(real))
        digests.lock(tmp_path)
        locked = references.load(tmp_path)["base"]
        assert locked.pullable == pushed

        engine.images.remove(reference)
        assert pushed not in own.images()
        outside = Outside(resolve.addresses([locked]))
        resolve.resolve(["base"], own, where, outside, fresh=False)
        assert resolve.read(where) == {"base": Resolved(pushed, None, "pulled")}
        assert pushed in own.images()
    finally:
        for name in {reference, *(name for name in own.images() if name.startswith(f"{real}/"))} & own.images():
            engine.images.remove(name)
