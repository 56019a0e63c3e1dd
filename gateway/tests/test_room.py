"""How much memory there is for requests: by the container's limit, and by what others hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ApiError
from gateway.room import Hold, Room, container_limit

UNLIMITED = "9223372036854771712"


def cgroups(folder: Path, membership: str, files: dict[str, str]) -> int | None:
    (folder / "proc").mkdir()
    (folder / "proc" / "cgroup").write_text(membership)
    for name, text in files.items():
        (folder / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "sys" / name).write_text(f"{text}\n")
    return container_limit(folder / "proc", folder / "sys")


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        # v2 in a namespace of its own, and seen from the host; the groups above count as well.
        ("0::/\n", {"memory.max": "402653184"}, 402653184),
        ("0::/docker/4f1c\n", {"docker/4f1c/memory.max": "402653184"}, 402653184),
        ("0::/a/b\n", {"a/memory.max": "1000", "a/b/memory.max": "max"}, 1000),
        ("0::/\n", {"memory.max": "max"}, None),
        ("0::/\n", {}, None),
        # v1 as a container sees it (its own group as the root of all), and as the host does.
        ("9:cpu:/docker/4f1c\n8:memory:/docker/4f1c\n0::/\n", {"memory/memory.limit_in_bytes": "402653184"}, 402653184),
        (
            "8:memory:/docker/4f1c\n",
            {
                "memory/memory.limit_in_bytes": UNLIMITED,
                "memory/docker/4f1c/memory.limit_in_bytes": "402653184",
            },
            402653184,
        ),
        ("8:memory:/\n", {"memory/memory.limit_in_bytes": UNLIMITED}, None),
        ("3:cpu,cpuacct:/\n", {"memory/memory.limit_in_bytes": "1"}, None),
    ],
)
def test_the_limit_is_the_containers_own(
    tmp_path: Path, membership: str, files: dict[str, str], limit: int | None
) -> None:
    assert cgroups(tmp_path, membership, files) == limit


def test_what_is_held_is_given_back_when_the_last_lets_go() -> None:
    room = Room(limit=1024 * 1024)
    first = Hold(room)
    first.grow(32 * 1024)
    first.share()
    first.release()
    with pytest.raises(ApiError) as refused:
        Hold(room).grow(1)
    assert (refused.value.status_code, refused.value.code) == (503, "memory_limit")
    first.release()
    Hold(room).grow(32 * 1024)


def test_a_replica_above_its_limit_takes_nothing_more() -> None:
    with pytest.raises(ApiError, match="above 0 MiB"):
        Room(limit=1024 * 1024).check()
    Room(limit=2**40).check()
