"""A Claude Code as a client in memory."""

from tests.identity.calls import SESSION, ClaudeFiles, tool_use_row
from tests.kit import Agent, Answer


class Claude:
    """A Claude Code whose main agent and sub-agents call tools, each call written down as it makes it."""

    def __init__(self, agent: Agent, files: ClaudeFiles) -> None:
        self._agent = agent
        self._files = files
        self._calls = 0

    async def call(
        self, tool: str, *, by: str | None = None, session: str = SESSION, written: bool = True, **arguments: object
    ) -> Answer:
        self._calls += 1
        tool_use = f"toolu_{self._calls:04}"
        if written:
            row = tool_use_row(tool_use, subagent=by, session=session, model="haiku" if by else "sonnet")
            self._files.write(row, subagent=by, session=session)
        return await self._agent.call(tool, meta={"claudecode/toolUseId": tool_use}, **arguments)
