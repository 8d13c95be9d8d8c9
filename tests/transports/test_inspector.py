"""The Inspector's command line, a client that nobody here wrote, drives all five tools."""

import json
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.kit import Keito
from tests.node import node, package
from tests.processes import environment, listening

pytestmark = pytest.mark.anyio

INSPECTOR, VERSION = "@modelcontextprotocol/inspector", "2.12.0"
TOKEN = "made-up-token-of-the-inspector"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    runs = node(at_least=20)
    folder = package(INSPECTOR, VERSION, tmp_path_factory.mktemp("inspector"))
    return [runs, str(folder / json.loads((folder / "package.json").read_text())["bin"]["mcp-inspector"])]


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_the_inspector_drives_all_five_tools_over_http(
    program: list[str], keito: Keito, tmp_path: Path, era: str
) -> None:
    settings = environment(keito, KEITO_MCP_TOKENS=TOKEN)
    async with listening("serve", "--port", "0", env=settings, tmp_path=tmp_path) as server:

        async def inspect(*arguments: str) -> Any:
            connection = ["--server-url", f"{server.url}/mcp", "--transport", "http", "--protocol-era", era]
            headers = ["--header", f"Authorization: Bearer {TOKEN}", "--header", "X-Keito-Session-Id: session-1"]
            with anyio.fail_after(60):
                done = await anyio.run_process(
                    [*program, "--cli", *connection, *headers, *arguments, "--format", "json", "-q"],
                    stdin=subprocess.DEVNULL,
                    check=False,
                )
            assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
            return json.loads(done.stdout)

        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            called = ["--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)]
            answer = await inspect(*called)
            content: dict[str, Any] = answer.get("result", answer)["structuredContent"]
            return content

        tools = await inspect("--method", "tools/list", "--strict")
        assert len(tools.get("result", tools)["tools"]) == 5
        started = await call("start_timer", notes="Read the code")
        stopped = await call("stop_timer")
        logged = await call("log_time", hours=1.5)
        listed = await call("list_entries", session_id="current")
        discarded = await call("discard_session")
    assert (started["status"], stopped["status"], logged["status"]) == ("running", "stopped", "logged")
    assert {row["id"] for row in listed["entries"]} == {started["id"], logged["id"]} == set(discarded["discarded"])
    assert keito.entries() == []
