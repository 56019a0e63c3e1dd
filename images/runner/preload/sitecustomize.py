"""What `node.cjs` does, for servers in Python: loaded by the interpreter before a server's own program."""

import json
import os
import sys
from pathlib import Path

_path = os.environ.pop("PROMPTCRAFT_SERVER_FILE", None)
if _path:
    _server = json.loads(Path(_path).read_text(encoding="utf-8"))
    os.environ.update(_server["environment"])
    sys.argv += _server["arguments"]
