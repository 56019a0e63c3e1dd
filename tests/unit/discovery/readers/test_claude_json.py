"""`~/.claude.json` read whole and as a stream: the same values, and never more than is kept."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.readers import claude_json
from tests.unit.asking import JSON_VALUES, MANY, request_in, write

NAMES = ("/srv/a", "/srv/b.c")
KEYS = st.sampled_from(["mcpServers", "projects", "numStartups", "history"])
PROJECTS = st.dictionaries(
    st.sampled_from([*NAMES, "/srv", "mcpServers"]),
    st.dictionaries(KEYS | st.just("disabledMcpServers"), JSON_VALUES, max_size=4) | JSON_VALUES,
    max_size=4,
)


@MANY
@given(st.dictionaries(KEYS, JSON_VALUES | PROJECTS, max_size=4), st.sampled_from([None, 2]), st.booleans())
def test_a_stream_says_what_the_whole_file_says(document: object, indent: int | None, bom: bool) -> None:
    try:
        text = json.dumps(document, indent=indent, allow_nan=False)
        whole = dict(claude_json._of_document(json.loads(text), NAMES))
    except ValueError:
        return  # NaN is no JSON, though Python writes and reads it
    streamed = dict(claude_json._of_stream(io.BytesIO((b"\xef\xbb\xbf" if bom else b"") + text.encode()), NAMES))
    whole_without_default = {key: value for key, value in whole.items() if key in streamed or value != {}}
    assert streamed == whole_without_default


@pytest.mark.parametrize("text", ["[1, 2]", "5", "[" * 100_000])
def test_a_stream_of_anything_but_a_map_is_unusable(text: str) -> None:
    with pytest.raises(ValueError, match="other than a map"):
        dict(claude_json._of_stream(io.BytesIO(text.encode()), NAMES))


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    request = request_in(tmp_path)
    path = write(request.home / ".claude.json", {"mcpServers": {"a": {}}})
    assert claude_json.read(request).servers == {"a": {}}
    path.unlink()
    write(path, {"mcpServers": {"b": {}}})
    assert claude_json.read(request).servers == {"b": {}}
    path.unlink()
    assert claude_json.read(request).servers == {}
