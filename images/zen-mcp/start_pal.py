"""Starts PAL, the Zen MCP server, on stdio, with this stack's keys and models: `python start_pal.py FOLDER_OF_PAL`.

PAL takes keys from variables only. They become variables of its process after its start: `/proc/PID/environ` shows
what a process was started with, so they are in nobody's. They are in PAL's memory, as they must be.
What PAL says and logs is passed on without them.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

SECRETS = Path(os.environ.get("ZEN_MCP_SECRETS", "/run/promptcraft/secrets"))
# PAL's variable, and the file with its value.
KEYS = {
    "OPENAI_API_KEY": "openaiApiKey",
    "GEMINI_API_KEY": "geminiApiKey",
    "OPENROUTER_API_KEY": "openrouterApiKey",
    "XAI_API_KEY": "xaiApiKey",
    "CUSTOM_API_KEY": "modelsKey",
}
# `clink` starts other command lines with the right to edit files, and `jules` has a service of Google's do so.
NEVER = ("clink", "jules")
# Nobody tells how much such a model takes. PAL cuts files off to fit in, and the server refuses what is too long.
CONTEXT_TOKENS = 32_768
# Shorter ones are words that stand for none, such as `ollama`. They may be said.
SHORTEST_KEY = 16
LAST_WORDS_SECONDS = 2.0


def keys(secrets: Path) -> dict[str, str]:
    """The variables whose file is there with something in it."""
    texts = {name: secrets / file for name, file in KEYS.items() if (secrets / file).is_file()}
    return {name: text for name, path in texts.items() if (text := path.read_text().strip())}


def entries(names: Sequence[str]) -> list[dict[str, object]]:
    """PAL's records of the local server's models; `llama3.2:latest` is `llama3.2` too, as that server itself has it."""
    taken = {name.lower() for name in names}
    records: list[dict[str, object]] = []
    for name in names:
        short = name.removesuffix(":latest")
        records.append(
            {
                "model_name": name,
                "friendly_name": name,
                "aliases": [short] if short.lower() not in taken else [],
                "context_window": CONTEXT_TOKENS,
            }
        )
    return records


def local_models(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Variables for the model server that speaks OpenAI's chat API, where the stack has one; writes its list."""
    url = environment.get("PROMPTCRAFT_MODELS_URL", "").strip()
    if not url:
        return {}
    listed = (name.strip() for name in environment.get("PROMPTCRAFT_MODELS", "").split(","))
    # The first of those that differ by case only: PAL takes no two of them.
    names = {name.lower(): name for name in reversed([*listed]) if name}
    file = folder / "models.json"
    file.write_text(json.dumps({"models": entries([*reversed(names.values())])}))
    return {"CUSTOM_API_URL": url, "CUSTOM_MODELS_CONFIG_PATH": str(file)}


def authorities(environment: Mapping[str, str], public: Path, folder: Path) -> dict[str, str]:
    """The variable that names whom to trust, where the operator names authorities besides the public ones."""
    own = environment.get("PROMPTCRAFT_AUTHORITIES")
    if not own:
        return {}
    # It takes the place of the public ones.
    file = folder / "authorities.pem"
    file.write_text(f"{public.read_text()}\n{Path(own).read_text()}")
    return {"SSL_CERT_FILE": str(file)}


@contextmanager
def unsaid(texts: Sequence[str]) -> Iterator[None]:
    """Meanwhile whatever this process writes is passed on, line by line, without `texts`.

    A provider may say back the key that it refuses, and PAL quotes it to whoever asked, and in its log.
    """
    secrets = [text.encode() for text in texts if len(text) >= SHORTEST_KEY]
    passing: list[tuple[int, int, threading.Thread]] = []
    for descriptor in (1, 2):
        readable, writable = os.pipe()
        kept = os.dup(descriptor)
        os.dup2(writable, descriptor)
        os.close(writable)
        passer = threading.Thread(target=pass_on, args=(os.fdopen(readable, "rb"), kept, secrets), daemon=True)
        passer.start()
        passing.append((descriptor, kept, passer))
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, kept, passer in passing:
            os.dup2(kept, descriptor)
            passer.join(LAST_WORDS_SECONDS)


def pass_on(lines: BinaryIO, descriptor: int, secrets: Sequence[bytes]) -> None:
    with os.fdopen(descriptor, "wb", closefd=False) as target:
        for line in lines:
            for secret in secrets:
                line = line.replace(secret, b"[key]")
            target.write(line)
            target.flush()


def disabled(environment: Mapping[str, str]) -> str:
    """Tools that are off: what the environment says, and always those that act through other programs."""
    said = (name.strip() for name in environment.get("DISABLED_TOOLS", "").split(","))
    return ",".join(dict.fromkeys((*NEVER, *filter(None, said))))


def main(pal: Path) -> None:
    # Its packages, not those of the folder that this file is in.
    sys.path[0] = str(pal)
    folder = Path(tempfile.mkdtemp(prefix="pal-"))
    given = keys(SECRETS)
    os.environ |= {
        **local_models(os.environ, folder),
        **authorities(os.environ, Path(_part_of_pal("certifi").where()), folder),
        **given,
        "DISABLED_TOOLS": disabled(os.environ),
        # Its logs go to stderr, too; as files they would fill the tmpfs. No folder can be made below a device.
        "PAL_LOG_DIR": "/dev/null/logs",
        # Conversations would be files that any caller may read as resources.
        "PAL_TRANSCRIPTS": "false",
    }
    # It asks GitHub for a newer version, and answers nobody for up to ten seconds where nothing answers there.
    _part_of_pal("tools.version").HAS_URLLIB = False
    if host := os.environ.get("PROMPTCRAFT_MODELS_HOST"):
        # A server on the loopback may answer under its own name only, and is reached through a relay.
        _part_of_pal("providers.custom").CustomProvider.DEFAULT_HEADERS = {"Host": host}
    with unsaid([*given.values()]):
        _part_of_pal("server").run()


def _part_of_pal(name: str) -> Any:
    # Its modules are untyped, and found in the folder that is given at the start.
    return importlib.import_module(name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: start_pal.py FOLDER_OF_PAL")
    main(Path(sys.argv[1]))
