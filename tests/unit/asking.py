"""What the tests of sources share: a request about an empty home and project, and files in them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from discovery.request import Request

# CI asks for 2000: a fault that only one input in a thousand shows is found by many runs as well as by a long one.
EXAMPLES = int(os.environ.get("EXAMPLES", "100"))
# The deadline is for what no input may do: take long. An example usually takes well under 5 ms.
MANY = settings(
    max_examples=EXAMPLES,
    deadline=1000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

JSON_VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def request_in(folder: Path, **environment: str) -> Request:
    """A request whose home, project and lock folder are empty folders below `folder`."""
    for name in ("home", "root", "locks"):
        (folder / name).mkdir(exist_ok=True)
    return Request(
        root=folder / "root",
        home=folder / "home",
        stack="dev",
        project="promptcraft-hybrid",
        environment=environment,
        lock_dir=folder / "locks",
    )


def write(path: Path, content: object, mode: int = 0o600) -> Path:
    """A file with its folders: bytes and text as they are, anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    path.chmod(mode)
    return path
