"""An MCP server whose one tool asks the user."""

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from pydantic import BaseModel

server = MCPServer("asking")


class Answer(BaseModel):
    sure: bool


@server.tool()
async def ask(context: Context) -> str:
    answered = await context.elicit("Are you sure?", Answer)
    return answered.action


if __name__ == "__main__":
    server.run()
