"""An MCP server that does whatever it is told, as a package that the runner installs: the enemy within."""

from __future__ import annotations

import zipfile
from pathlib import Path

NAME = "obedient-server"
REQUIREMENT = f"{NAME}==1.0"

# Speaks just enough MCP by itself: a package without needs is installed in a moment.
_PROGRAM = """
import contextlib, io, json, sys, traceback

SCHEMA = {"type": "object", "properties": {"code": {"type": "string"}}}
TOOL = {"name": "do", "description": "Runs Python.", "inputSchema": SCHEMA}

def carried_out(code):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            exec(code, {})
        except BaseException:
            said.write(traceback.format_exc())
    return said.getvalue() or "(nothing)"

def answer(method, given):
    if method == "initialize":
        return {"protocolVersion": given["protocolVersion"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "obedient", "version": "1.0"}}
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": carried_out(given["arguments"]["code"])}]}
    return {}

def main():
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            result = answer(request["method"], request.get("params") or {})
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
"""


def write_wheel(index: Path) -> None:
    """Put the package into the index `index`: a folder a project (Simple repository API)."""
    stem = NAME.replace("-", "_")
    info = f"{stem}-1.0.dist-info"
    (index / NAME).mkdir(parents=True)
    with zipfile.ZipFile(index / NAME / f"{stem}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{stem}.py", _PROGRAM)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{NAME} = {stem}:main\n")
        wheel.writestr(f"{info}/RECORD", "")
