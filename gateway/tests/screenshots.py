"""`make screenshots`: the pictures of the page in docs/images, with neighbours made for the purpose."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gateway.tests.browser import SHAPES, chromium, opened
from gateway.tests.conftest import ROOT, Street, whole_street
from tests.zen_mcp import zen_mcp

IMAGES = ROOT / "docs" / "images"
ASKED = ("What is a lease?", "Shorten this: a slot is a right to run, held for as long as it is renewed.")


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="promptcraft-screenshots-") as folder,
        zen_mcp(Path(folder)) as zen,
        whole_street(Path(folder), zen.url) as street,
    ):
        take(street)


def take(street: Street) -> None:
    for text in (*ASKED, ASKED[0]):
        street.gateway.api.post("/api/agents/ai-engineer/runs", json={"input": text}).raise_for_status()
    with chromium() as browser:
        for shape in SHAPES:
            with opened(browser, str(street.gateway.page.base_url), shape) as watched:
                page = watched.page
                page.wait_for_selector("#servers tr")
                page.get_by_label("Input").fill("How long does a slot last without its replica?")
                page.get_by_role("button", name="Run", exact=True).click()
                page.wait_for_selector("#run-output:not([hidden])")
                page.screenshot(path=IMAGES / f"page-{shape}.png", full_page=True)


if __name__ == "__main__":
    main()
