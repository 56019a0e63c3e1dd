"""A bridge to a server that speaks HTTP is that server's entry."""

from __future__ import annotations

import pytest

from discovery.readers.commands import LaunchError
from discovery.readers.mcp_remote import bridged
from discovery.readers.package_runners import Called


@pytest.mark.parametrize(
    ("words", "entry"),
    [
        (["https://h.example/sse"], {"type": "http", "url": "https://h.example/sse"}),
        (["https://h.example/mcp", "9696", "--debug"], {"type": "http", "url": "https://h.example/mcp"}),
        (["http://10.0.0.5/mcp", "--allow-http"], {"type": "http", "url": "http://10.0.0.5/mcp"}),
        (["127.0.0.1:7001/mcp"], {"type": "http", "url": "http://127.0.0.1:7001/mcp"}),
        (["localhost:7001"], {"type": "http", "url": "http://localhost:7001"}),
        (["h.example:7001/mcp"], {"type": "http", "url": "https://h.example:7001/mcp"}),
        (["https://h/mcp", "--transport", "sse-only"], {"type": "sse", "url": "https://h/mcp"}),
        (["--host", "127.0.0.1", "https://h/mcp?a=b"], {"type": "http", "url": "https://h/mcp?a=b"}),
        (
            ["https://h/mcp", "--header", "Authorization: Bearer ${TOKEN}", "--header=X-Team:blue"],
            {"type": "http", "url": "https://h/mcp", "headers": {"Authorization": "Bearer ${TOKEN}", "X-Team": "blue"}},
        ),
        (
            ["https://h/mcp", "--header", "Authorization:${OWN}"],
            {"type": "http", "url": "https://h/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}},
        ),
    ],
)
def test_what_is_behind_the_bridge_is_the_entry(words: list[str], entry: dict[str, object]) -> None:
    assert bridged(Called("npx", "mcp-remote", arguments=tuple(words)), {"OWN": "Bearer ${TOKEN}"}) == entry


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "without an address"),
        (["--debug"], "without an address"),
        (["https://h", "--header"], "--header and nothing after it"),
        (["https://h", "--header", "geheim"], "a --header that is not NAME:VALUE"),
    ],
)
def test_a_bridge_to_nowhere_says_why(words: list[str], why: str) -> None:
    with pytest.raises(LaunchError, match=why) as caught:
        bridged(Called("npx", "mcp-remote", arguments=tuple(words)), {})
    assert "geheim" not in str(caught.value)
