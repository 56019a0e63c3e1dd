"""The page in a headless Chromium of this machine, as three kinds of people have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from toolchain import browser

SHAPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "light": {"color_scheme": "light", "viewport": {"width": 1440, "height": 900}},
        "dark": {"color_scheme": "dark", "viewport": {"width": 1440, "height": 900}},
        "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "has_touch": True},
    }
)
# A state comes every two seconds; the rest is what a loaded machine needs.
PATIENCE_MS = 60_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """Raises `FileNotFoundError` where this machine has none."""
    path = browser.find()
    if path is None:
        raise FileNotFoundError(f"no Chromium on PATH; install Debian's {browser.PACKAGE}")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path)
        yield started
        started.close()


@dataclass
class Watched:
    """A page with all that it asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def opened(running: Browser, url: str, shape: str = "light") -> Iterator[Watched]:
    """The page at `url`, showing its first state."""
    context = running.new_context(**SHAPES[shape], locale="en-GB", timezone_id="UTC")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    watched = Watched(page)
    page.on("request", lambda request: watched.requests.append(request.url))
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            watched.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    page.on("console", heard)
    page.goto(url)
    page.wait_for_selector("#services tr")
    yield watched
    context.close()
