"""What carries HTTP to a server on stdio: three copies of two rules for when that server is gone, held to each other.

Each lies in what its own image or environment is made from, and no file lies in all of them. So there are copies, and
whoever mends one mends all.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from host_command import bridge_environment
from host_command.starting import BRIDGE
from tests.builders import ROOT
from toolchain.layout import layout

# Where a copy lies, the module, and what the names of the rules begin with there.
COPIES = [
    (BRIDGE, "bridge", ""),
    (ROOT / "images" / "zen-mcp", "bridge", ""),
    (ROOT / "images" / "runner", "hosted", "_"),
]

# A server that does at each ping and call what its next argument says, and says so on stderr.
SERVER = """
import json, sys
deeds = iter(sys.argv[1:])
def say(message, **answer):
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "initialize":
        version, about = message["params"]["protocolVersion"], {"name": "notes", "version": "1"}
        say(message, result={"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about})
    elif message["method"] == "tools/list":
        say(message, result={"tools": []})
    elif message["method"] in ("ping", "tools/call"):
        deed = next(deeds)
        print(deed, file=sys.stderr, flush=True)
        if deed in ("answers", "answers and ends"):
            say(message, result={} if message["method"] == "ping" else {"content": []})
        if deed == "refuses":
            say(message, error={"code": -32601, "message": "no such method"})
        if deed.endswith("ends"):
            break
"""

# Runs in the bridge's environment: `FOLDER MODULE PREFIX SERVER DEED ...`. Prints how often the rule asked until it
# said that the server is gone.
WATCHER = """
import anyio, asyncio, importlib, sys
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client

folder, module, prefix, server, *deeds = sys.argv[1:]
sys.path.insert(0, folder)
copy = importlib.import_module(module)
copy.WATCH_SECONDS, copy.PING_SECONDS = 0.01, 2.0

async def watch():
    child = StdioServerParameters(command=sys.executable, args=["-c", server, *deeds])
    pings = []
    try:
        async with asyncio.timeout(30), stdio_client(child) as streams, ClientSession(*streams) as session:
            await session.initialize()
            send_ping = session.send_ping
            def counted():
                pings.append(1)
                return send_ping()
            session.send_ping = counted
            await getattr(copy, f"{prefix}until_gone")(session)
    except* anyio.BrokenResourceError:
        pass  # a pipe that closed under the writing of a ping ends the transport, and so all that goes on in it
    print(len(pings))

asyncio.run(watch())
"""

# The same for calls of a tool, one for each deed. Prints how each ended.
CALLER = """
import asyncio, importlib, sys
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import McpError
from mcp.types import CallToolRequest, CallToolRequestParams
from mcp_proxy.proxy_server import create_proxy_server

folder, module, prefix, server, *deeds = sys.argv[1:]
sys.path.insert(0, folder)
copy = importlib.import_module(module)

async def call():
    child = StdioServerParameters(command=sys.executable, args=["-c", server, *deeds])
    async with asyncio.timeout(30), stdio_client(child) as streams, ClientSession(*streams) as session:
        proxy = await create_proxy_server(session)
        getattr(copy, f"{prefix}tell_losses")(proxy, session)
        request = CallToolRequest(method="tools/call", params=CallToolRequestParams(name="keep", arguments={}))
        for _ in deeds:
            try:
                result = (await proxy.request_handlers[CallToolRequest](request)).root
                print("failed" if result.isError else "answered")
            except McpError as error:
                print(f"lost ({error.error.code})")

asyncio.run(call())
"""


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python of the bridges: the versions are the same for all of them, which a test holds."""
    environ = {**os.environ, "PROMPTCRAFT_CACHE": str(layout().cache)}
    return bridge_environment.ensure(BRIDGE / "requirements.lock", environ)


def test_all_have_the_same_versions() -> None:
    pinned = {
        folder: {line for line in (folder / "requirements.txt").read_text().splitlines() if not line.startswith("#")}
        for folder, _, _ in COPIES
    }
    assert pinned[BRIDGE] and all(pinned[BRIDGE] <= lines for lines in pinned.values())


@pytest.mark.parametrize(("folder", "module", "prefix"), COPIES, ids=[copy[0].name for copy in COPIES])
@pytest.mark.parametrize(
    ("deeds", "pings"),
    [
        pytest.param(["answers", "ends"], 2, id="it ends while it is asked"),
        pytest.param(["answers and ends"], 2, id="it has ended when it is asked"),
        pytest.param(["stays silent", "refuses", "answers", "ends"], 4, id="slow or unwilling is not gone"),
    ],
)
def test_a_server_is_gone_when_its_pipe_is_closed_and_neither_before_nor_after(
    deeds: list[str], pings: int, folder: Path, module: str, prefix: str, python: Path, tmp_path: Path
) -> None:
    command = [str(python), "-B", "-c", WATCHER, str(folder), module, prefix, SERVER, *deeds]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert (done.stderr.splitlines(), int(done.stdout)) == (deeds, pings)


@pytest.mark.parametrize(("folder", "module", "prefix"), COPIES, ids=[copy[0].name for copy in COPIES])
def test_a_call_whose_server_is_gone_did_not_fail_by_the_tools_own_account(
    folder: Path, module: str, prefix: str, python: Path, tmp_path: Path
) -> None:
    command = [str(python), "-B", "-c", CALLER, str(folder), module, prefix, SERVER, "answers", "refuses", "ends"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["answered", "failed", "lost (-32000)"], done.stderr
