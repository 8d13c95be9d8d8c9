"""Complete a handshake in both protocol eras with an installed `keito-mcp`, given by its path.

Run where nothing of this project is but the installed package: `python handshake.py PATH/TO/keito-mcp`.
"""

import sys
import tempfile

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters

TOOLS = 5


async def shake_hands(command: str) -> None:
    """Connect, list the tools and make a call that explains the missing key."""
    for mode in ("auto", "legacy"):
        with tempfile.TemporaryDirectory() as folder, anyio.fail_after(60):
            async with Client(
                StdioServerParameters(command=command, env={"KEITO_STATE_DIR": folder}), mode=mode
            ) as client:
                tools = (await client.list_tools()).tools
                answer = await client.call_tool("log_time", {"hours": 1})
                explained = "KEITO_API_KEY" in str(answer.content)
                if len(tools) != TOOLS or not answer.is_error or not explained:
                    sys.exit(f"the handshake ({mode}) gave {len(tools)} tools and {answer.content}")
                sys.stdout.write(f"{mode}: {client.protocol_version}, {len(tools)} tools\n")


if __name__ == "__main__":
    anyio.run(shake_hands, sys.argv[1])
