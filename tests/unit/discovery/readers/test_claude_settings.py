"""Rules of `allowedMcpServers` and `deniedMcpServers`: what a pattern, a command and a name fit."""

from __future__ import annotations

import time

import pytest

from discovery.readers.claude_settings import AllowList, Named, ServerRule


@pytest.mark.parametrize(
    ("pattern", "url", "fits"),
    [
        ("https://mcp.example.com/*", "https://mcp.example.com/api", True),
        ("https://mcp.example.com", "https://mcp.example.com/api/mcp", True),
        ("https://Mcp.Example.com/*", "https://mcp.example.com./api", True),
        ("https://*.example.com/*", "https://a.b.example.com/x", True),
        ("https://*.example.com/*", "https://example.com/x", False),
        ("https://*.example.com/*", "https://evil.com/a.example.com/x", False),
        ("https://*.example.com/*", "https://evil.com?.example.com/x", False),
        ("https://*.example.com/*", "https://a.example.com@evil.com/x", False),
        ("http://localhost:*/*", "http://localhost:3000/mcp", True),
        ("http://localhost:*/*", "http://localhost/mcp", True),
        ("https://mcp.example.com:443/*", "https://mcp.example.com/mcp", True),
        ("https://mcp.example.com/*", "https://mcp.example.com:443/mcp", True),
        ("https://mcp.example.com/*", "https://mcp.example.com:8443/mcp", False),
        ("*://mcp.example.com/*", "http://mcp.example.com/mcp", True),
        ("https://mcp.example.com/API/*", "https://mcp.example.com/api/x", False),
        ("*", "https://anything", True),
        ("https://mcp.example.com/*", "not a url", False),
        ("https://mcp.example.com/*", "http://[", False),
    ],
)
def test_a_pattern_fits_an_address(pattern: str, url: str, fits: bool) -> None:
    assert ServerRule(url=pattern).fits(Named("any", url=url)) is fits


def test_a_command_fits_word_by_word() -> None:
    rule = ServerRule(command=("npx", "-y", "server"))
    assert rule.fits(Named("any", command=("npx", "-y", "server")))
    assert not rule.fits(Named("any", command=("npx", "server")))
    assert not rule.fits(Named("any", command=("npx", "-y", "server", "--flag")))
    assert not rule.fits(Named("any", url="http://h"))


def test_a_name_counts_for_the_kind_that_has_nothing_better() -> None:
    listed = AllowList((ServerRule(name="a"), ServerRule(url="http://h/*")), "file")
    assert listed.allows(Named("a", command=("x",)))
    assert not listed.allows(Named("a", url="http://other/mcp"))
    assert listed.allows(Named("b", url="http://h/mcp"))
    assert not AllowList((), "file").allows(Named("a", command=("x",)))


def test_no_pattern_takes_long() -> None:
    started = time.monotonic()
    rule = ServerRule(url="*a" * 500 + "b")
    assert not rule.fits(Named("any", url="http://h/" + "a" * 50_000))
    assert time.monotonic() - started < 1
