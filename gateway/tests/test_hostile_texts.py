"""Names, reasons and outputs that are an enemy's: in a real browser nothing of them runs, hides or passes for more."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from gateway.tests.browser import PATIENCE_MS, SHAPES, Watched, chromium, opened
from gateway.tests.conftest import (
    ROOT,
    Gateway,
    agent,
    free_port,
    gateway,
    listens,
    plan_of,
    process,
    redis_server,
    run,
    service,
    wait_until,
)
from gateway.tests.hostile_mcp import DISGUISE, MARKUP, WORDS

# What a page needs to do harm, none of which its own text has.
FOREIGN = "script:not([src='page.js']), img, svg, iframe, a[href^='javascript'], base, meta[http-equiv], body style"
# Without a place of their own on the screen: each must show as what it is.
UNSEEN = "\u202e\u202c\u200b\ufeff\u2066\u2069\u00ad\x1b\x07"
SHOWN = ("U+202E", "U+200B", "U+FEFF", "U+2066", "U+00AD", "U+001B", "U+0007")


@contextmanager
def hostile_mcp(folder: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, str(ROOT / "gateway/tests/hostile_mcp.py")]
    with process(command, folder / "hostile.log", PORT=str(port)):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: listens(url), "the hostile server listens")
        yield url


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway where everything that others name or say is hostile, and has been said."""
    folder = tmp_path_factory.mktemp("hostile")
    definition = folder / "loud.json"
    definition.write_text(
        json.dumps({"name": WORDS, "description": WORDS, "model": "sonnet", "server": "zen-mcp", "prompt": "Be loud."})
    )
    with ExitStack() as stack:
        port, _ = stack.enter_context(redis_server(folder))
        url = stack.enter_context(hostile_mcp(folder))
        services = {
            "zen-mcp": service("mcp", url, reason=WORDS),
            "redis": service("redis", f"redis://127.0.0.1:{port}"),
            MARKUP: service(
                "qdrant", "http://127.0.0.1:1/" + MARKUP.replace("\n", ""), reason=DISGUISE, stand_in=WORDS
            ),
        }
        agents = {
            "loud": agent(definition, shadowed=[{"tier": WORDS, "path": WORDS}]),
            f"a{DISGUISE}": agent(None, problem=WORDS, dependencies={WORDS: None}),
        }
        running = stack.enter_context(gateway(folder, plan_of(services, agents)))
        assert run(running, "loud", "Say it").json()["output"] == WORDS
        assert run(running, "loud", f"FAIL {WORDS}").json()["status"] == "failed"
        yield running


@pytest.fixture(scope="module", params=SHAPES)
def watched(request: pytest.FixtureRequest, hostile: Gateway) -> Iterator[Watched]:
    """The page after everything hostile was shown on it."""
    try:
        with chromium() as browser, opened(browser, str(hostile.page.base_url), request.param) as seen:
            page = seen.page
            page.wait_for_selector("#servers tr", timeout=PATIENCE_MS)
            page.locator("#runs button").last.click()
            expect(page.locator("#run-output")).to_contain_text("<script>", timeout=PATIENCE_MS)
            page.locator("#run-agent").select_option("loud")
            page.locator("#run-input").fill("Say it here")
            page.locator("#run-start").click()
            expect(page.locator("#run-state")).to_contain_text("succeeded in", timeout=PATIENCE_MS)
            yield seen
    except FileNotFoundError as error:
        if os.environ.get("REQUIRE_ENGINE") == "1":
            raise
        pytest.skip(str(error))


def test_nothing_of_it_runs_or_becomes_a_part_of_the_page(watched: Watched, hostile: Gateway) -> None:
    page = watched.page
    assert page.evaluate("window.fallen ?? null") is None
    assert page.locator(FOREIGN).count() == 0
    assert page.locator("body").is_visible()
    own = (str(hostile.page.base_url), "data:")
    assert [url for url in watched.requests if not url.startswith(own)] == []
    assert watched.complaints == []


def test_what_nobody_would_see_is_seen(watched: Watched) -> None:
    text = watched.page.locator("body").inner_text()
    assert [letter for letter in UNSEEN if letter in text] == []
    assert [name for name in SHOWN if name not in text] == []


def test_nothing_is_so_wide_that_the_rest_is_out_of_sight(watched: Watched) -> None:
    wide = watched.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0, "the page scrolls sideways"


def test_the_log_is_one_document_a_line(hostile: Gateway) -> None:
    text = hostile.log.read_text()
    assert len(hostile.log_lines()) == text.count("\n")
    assert not any(ord(letter) < 32 and letter != "\n" for letter in text)
