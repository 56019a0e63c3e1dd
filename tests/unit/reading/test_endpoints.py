"""One form for endpoints, an allow-list for what they hold, and `${VAR}` as Claude Code expands it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.readers.expansion import MAX_EXPANDED, ExpansionError, expand, secret_names
from reading import endpoints
from reading.endpoints import EndpointError, host_and_port, is_package, normalise_endpoint
from reading.text import bounded, one_line, shown
from tests.unit.asking import MANY

ALL = (*endpoints.HTTP, *endpoints.REDIS)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("HTTP://LocalHost", "http://localhost:80"),
        ("https://example.com./mcp/", "https://example.com:443/mcp/"),
        ("http://[::1]:8000/mcp", "http://[::1]:8000/mcp"),
        ("http://[2001:DB8:0:0::1]", "http://[2001:db8::1]:80"),
        ("http://192.168.1.16:6333", "http://192.168.1.16:6333"),
        ("http://my_host-1:80/a%20b", "http://my_host-1:80/a%20b"),
        ("redis://h", "redis://h:6379"),
        ("rediss://h:6380/2", "rediss://h:6380/2"),
    ],
)
def test_endpoints_have_one_form(text: str, normal: str) -> None:
    assert normalise_endpoint(text, ALL) == normal
    assert normalise_endpoint(normal, ALL) == normal


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a URL"),
        ("your_upstash_url", "is not a URL"),
        ("localhost:8000", "is not a URL"),
        ("//host", "is not a URL"),
        ("file:///etc/passwd", "wrong scheme"),
        ("gopher://h:1/_x", "wrong scheme"),
        ("redis://h", "wrong scheme"),
        ("http://u:p@h", "user name or password"),
        ("http://u@h", "user name or password"),
        ("http://good.example@169.254.169.254/", "user name or password"),
        ("http://h/?key=x", "query"),
        ("http://h/#x", "query"),
        ("http://", "no host"),
        ("http://:80", "no host"),
        ("http://h:0", "from 1 to 65535"),
        ("http://h:65536", "from 1 to 65535"),
        ("http://h:-1", "not host:port"),
        ("http://h:8\u0966", "not host:port"),
        ("http://h:80:90", "not host:port"),
        ("http://::1", "not host:port"),
        ("http://[::1", "not host:port"),
        ("http://[::1]x", "not host:port"),
        ("http://[::1%eth0]", "zone"),
        ("http://[fe80::1]", "cannot be asked"),
        ("http://a b", "neither a name"),
        ("http://h\n", "neither a name"),
        ("http://h\r\nX: y/", "not host:port"),
        ("http://-h", "neither a name"),
        ("http://a..b", "neither a name"),
        ("http://" + "a" * 64, "neither a name"),
        ("http://" + "a." * 130 + "a", "neither a name"),
        ("http://bücher.example", "outside ASCII"),
        ("http://x; } server { listen 8081/", "neither a name"),
        ("http://$host", "neither a name"),
        ("http://h/a b", "characters in its path"),
        ("http://h/a;b", "characters in its path"),
        ("http://h/$(id)", "characters in its path"),
        ("http://h/`id`", "characters in its path"),
        ("http://h/{x}", "characters in its path"),
        ("http://h/'x'", "characters in its path"),
        ("http://h/%zz", "characters in its path"),
        ("http://h/\x1b[2J", "characters in its path"),
        ("http://h\\@evil", "user name or password"),
        ("http://127.1", "valid IP address"),
        ("http://0x7f000001", "valid IP address"),
        ("http://0177.0.0.1", "valid IP address"),
        ("http://2852039166", "valid IP address"),
        ("http://1.2.3.4.5", "valid IP address"),
        ("http://169.254.169.254", "cannot be asked"),
        ("http://[::ffff:169.254.169.254]", "cannot be asked"),
        ("http://[::ffff:a9fe:a9fe]", "cannot be asked"),
        ("http://0.0.0.0:8000", "cannot be asked"),
        ("http://[::]:8000", "cannot be asked"),
        ("http://224.0.0.1", "cannot be asked"),
        ("http://h/" + "a" * 2048, "longer than"),
    ],
)
def test_what_is_no_endpoint_is_refused(text: str, words: str) -> None:
    with pytest.raises(EndpointError, match=re.escape(words)) as caught:
        normalise_endpoint(text)

    assert "; " in str(caught.value)


@pytest.mark.parametrize("text", ["", "host", "host:", ":80", "a:b", "::1", "http://h:1"])
def test_host_and_port_needs_both(text: str) -> None:
    with pytest.raises(EndpointError):
        host_and_port(text)


@pytest.mark.parametrize("name", ["context7", "@upstash/context7-mcp", "a@1.2.3", "@a/b@next", "a.b_c~d"])
def test_package_names(name: str) -> None:
    assert is_package(name)


_SHELL = [
    "",
    "-y",
    "--call",
    "a b",
    "a;b",
    "$(id)",
    "`id`",
    "a|b",
    "a&&b",
    "a\n",
    "@a",
    "@a/",
    "a@",
    "a@;",
    "a@-x",
    "A",
]
_ELSEWHERE = ["../x", "./x", "/x", "file:x", "git+ssh://x", "http://x/y.tgz", "user/repo"]


@pytest.mark.parametrize("name", [*_SHELL, *_ELSEWHERE, "a" * 215, "@a/b@" + "1" * 65])
def test_what_is_no_package(name: str) -> None:
    assert not is_package(name)


ENVIRONMENT = {"HOST": "127.0.0.1", "EMPTY": "", "NESTED": "${HOST}", "BIG": "x" * 5000}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("http://${HOST}:1", "http://127.0.0.1:1"),
        ("${HOST}${HOST}", "127.0.0.1127.0.0.1"),
        ("${MISSING:-x}", "x"),
        ("${MISSING:-}", ""),
        ("${EMPTY:-x}", ""),
        ("${NESTED}", "${HOST}"),
        ("${MISSING:-${HOST}}", "${HOST}"),
        ("$HOST", "$HOST"),
        ("${}", "${}"),
        ("${HOST", "${HOST"),
        ("$${HOST}", "$127.0.0.1"),
    ],
)
def test_variables_expand_as_claude_code_does_it(text: str, expanded: str) -> None:
    assert expand(text, ENVIRONMENT) == expanded


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(ExpansionError, match=r"needs A, B, which is not set"):
        expand("${A}/${B}/${HOST}", ENVIRONMENT)


@pytest.mark.parametrize("text", ["${BIG}" * 100_000, "x" * (MAX_EXPANDED + 1), "${HOST}" + "x" * MAX_EXPANDED])
def test_expansion_is_bounded(text: str) -> None:
    with pytest.raises(ExpansionError, match="longer than"):
        expand(text, ENVIRONMENT)


def test_names_of_secrets_are_known() -> None:
    assert secret_names("${HOST}/${API_KEY}?${my_token:-x}") == ("API_KEY", "my_token")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("http://u:p@h/x", "'http://***@h/x'"),
        ("redis://:p@ss/w@rd@h", "'redis://***@h'"),
        ("u:p@h", "'***@h'"),
        ("http://h/?key=x#y", "'http://h/?***'"),
        ("a\x1b[2J\nb", r"'a\x1b[2J\nb'"),
        ("\u202eabc", r"'\u202eabc'"),
        ("\ud800", r"'\ud800'"),
        ({"a": 1}, "a map"),
        ([1], "a list"),
        (None, "empty"),
        (5, "5"),
    ],
)
def test_foreign_values_are_shown_escaped_and_without_secrets(value: object, text: str) -> None:
    assert shown(value) == text


@MANY
@given(st.text(), st.integers(min_value=10, max_value=100))
def test_shown_text_is_one_short_printable_line(text: str, limit: int) -> None:
    for line in (shown(text, limit), one_line(text, limit)):
        assert line.isprintable()
        assert len(line) <= limit


def test_many_warnings_are_counted_not_listed() -> None:
    assert bounded(["w"] * 25, "file") == (*["w"] * 20, "file: 5 more warnings")
    assert bounded(["w"] * 20, "file") == (*["w"] * 20,)


_URLS = st.builds(
    lambda scheme, host, port, path: f"{scheme}{host}{port}{path}",
    st.sampled_from(["http://", "https://", "redis://", "HTTP://", "file://", "", "//"]),
    st.sampled_from(["h", "[::1]", "127.0.0.1", "127.1", "u@h", "::1", "[", "é", "0x1"]) | st.text(max_size=6),
    st.sampled_from(["", ":", ":80", ":0", ":99999", ":-1"]) | st.text(max_size=3),
    st.sampled_from(["", "/", "/mcp", "/%41", "/..", "?x", "#"]) | st.text(max_size=6),
)


@MANY
@given(_URLS | st.text(max_size=50))
def test_any_text_is_an_endpoint_in_its_one_form_or_refused(text: str) -> None:
    try:
        endpoint = normalise_endpoint(text, ALL)
    except EndpointError as error:
        assert str(error).isprintable()
        return
    assert re.fullmatch(r"(https?|rediss?)://[a-z0-9._:\[\]-]+:[0-9]{1,5}(/[!-~]*)?", endpoint)
    assert not set(endpoint) & set("?#;{}$`'\"\\ <>|")
    assert "@" not in endpoint.split("/")[2]
    assert normalise_endpoint(endpoint, ALL) == endpoint


@MANY
@given(
    st.text(alphabet="${}:-AB x", max_size=40),
    st.dictionaries(st.sampled_from(["A", "B", "AB", ""]), st.text(max_size=5)),
)
def test_any_text_expands_or_names_what_is_missing(text: str, environment: dict[str, str]) -> None:
    try:
        expanded = expand(text, environment)
    except ExpansionError as error:
        assert str(error).isprintable()
        return
    assert len(expanded) <= MAX_EXPANDED
    if "${" not in text:
        assert expanded == text
