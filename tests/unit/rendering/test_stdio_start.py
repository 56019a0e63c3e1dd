"""The script that starts a server in an image of its own, run by a real shell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import CARRIER, SOCAT
from planning.plan import SECRETS_PATH
from rendering.stdio_start import carrier_command, carry_script, hiding_script, start_script
from tests.unit.asking import MANY

# Says what it was given, on stdout as a server answers and on stderr as it logs.
_SERVER = """
import json, os, sys
print(json.dumps([sys.stdin.read(), os.environ["OWN"], sys.argv[1:]]))
print(os.environ["OWN"], *sys.argv[1:], file=sys.stderr)
"""
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), max_size=20).filter(
    lambda text: text.isprintable()
)


def started(folder: Path, own: str, *arguments: str) -> tuple[list[object], str]:
    """What a server says on stdout and stderr; by this machine's own shell and sed."""
    start, carry, hiding = folder / "start.sh", folder / "carry.sh", folder / "hide.sed"
    hiding.write_text(hiding_script(arguments, {"OWN": own}), encoding="utf-8")
    text = start_script(arguments, {"OWN": own})
    start.write_text(text.replace(f"{CARRIER} sed -f {SECRETS_PATH}/hide.sed", f"sed -f {hiding}"), encoding="utf-8")
    # As far as the program is handed on, which is all of it that is not socat's.
    text = carry_script().partition(" ".join(SOCAT))[0].replace(f"busybox={CARRIER}", "busybox=")
    carry.write_text(f"{text}\nexec sh {start}\n", encoding="utf-8")
    command = ["sh", str(carry), "docs", sys.executable, "-c", _SERVER, ""]
    done = subprocess.run(
        command, input="asked", capture_output=True, encoding="utf-8", check=True, env={"PYTHONUTF8": "1"}
    )
    heard: list[object] = json.loads(done.stdout)
    return heard, done.stderr


@pytest.mark.parametrize("secret", ["geheim", 'it\'s "a" $(touch x) `id`; \\n', "a/b.c*[d]^$&\\1", " four "])
def test_a_server_has_its_words_as_they_are_and_logs_none_of_them(tmp_path: Path, secret: str) -> None:
    heard, logged = started(tmp_path, secret, "--key", secret)
    assert heard == ["asked", secret, ["", "--key", secret]]
    assert secret not in logged and "[hidden]" in logged


# Not more in CI: each starts a shell and two programs.
@settings(MANY, max_examples=100)
@given(TEXTS, TEXTS)
def test_any_words_arrive(tmp_path: Path, own: str, argument: str) -> None:
    heard, logged = started(tmp_path, own, argument)
    assert heard == ["asked", own, ["", argument]]
    assert len(own) < 4 or own in "[hidden]" or own not in logged


def test_the_carrier_connects_the_server_that_it_is_told() -> None:
    assert carrier_command("docs")[-3:] == ("sh", "/run/promptcraft/carry.sh", "docs")
    assert 'UNIX-CONNECT:"/run/door/$name"' in carry_script()
