"""`lock-images`: write the digest that each tag has now into `images/references.json`."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from toolchain import progress
from toolchain.images import references, registry
from toolchain.layout import write_private


def lock(root: Path) -> None:
    """Resolve every tag, all at once, and write them together: a file that is locked by half is none.

    Raises `SetupError` naming the first image whose registry does not tell its digest.
    """
    tagged = {name: entry.reference for name, entry in references.load(root).items() if entry.reference}
    with progress.step(f"asking the registries for {len(tagged)} digests"), ThreadPoolExecutor(len(tagged)) as pool:
        found = dict(
            zip(tagged, pool.map(lambda text: registry.digest(references.split(text)), tagged.values()), strict=True)
        )
    path = root / references.FILE
    document = json.loads(path.read_text(encoding="utf-8"))
    for name, digest in found.items():
        document[name]["digest"] = digest
        progress.note(f"{tagged[name]} is {digest}")
    write_private(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    path.chmod(0o644)
