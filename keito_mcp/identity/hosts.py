"""The hosts that tell of a call by its `_meta` or by their name alone, as one table.

A host that needs more code than this has a module of its own, such as `claude_code`.
"""

from collections.abc import Mapping

from keito_mcp.identity.facts import Call, Fact, bounded, stated
from keito_mcp.identity.host import Answer, Host

_TURN = "x-codex-turn-metadata"
_CONVERSATION = "vscode.conversationId"


class Codex(Host):
    """OpenAI's Codex, whose servers get a short list of environment variables, and the rest with each call."""

    agent_type = "codex"
    client_name = "codex-mcp-client"
    meta_keys = (_TURN,)
    variables = ("CODEX_SESSION_ID", "CODEX_THREAD_ID")
    call_id_key = "callId"
    advice: Mapping[str, str] = {
        "session_id": "Codex sends it with each call; update Codex, or set KEITO_SESSION_ID.",
        "model": "Codex sends it with each call; update Codex, or set KEITO_MODEL.",
    }

    async def known(self, call: Call) -> Answer:
        """Session and model; a thread that isn't the session's own is a sub-agent's."""
        turn = call.meta.get(_TURN)
        turn = turn if isinstance(turn, Mapping) else {}
        facts = {}
        if session := _first(("sessionId", call.meta), ("session_id", turn)):
            facts["session_id"] = session
        thread = _first(("threadId", call.meta), ("thread_id", turn))
        if session and thread and thread.value != session.value:
            facts["subagent_id"] = thread
        if model := _first(("model", turn)):
            facts["model"] = model
        return Answer(facts)


class VSCode(Host):
    """VS Code with Copilot, which says no model to a server."""

    agent_type = "vscode"
    client_name = "visual-studio-code"
    meta_keys = (_CONVERSATION,)
    advice: Mapping[str, str] = {
        "session_id": "VS Code sends it with each call that a chat makes; update VS Code, or set KEITO_SESSION_ID.",
        "model": "VS Code doesn't say it to a server; set KEITO_MODEL where it is always the same.",
    }

    async def known(self, call: Call) -> Answer:
        """The conversation is the session."""
        return Answer(stated({"session_id": call.meta.get(_CONVERSATION)}, f"_meta {_CONVERSATION}"))


class Named(Host):
    """A host of which a server is told the name, and neither the session nor the model."""

    def __init__(self, agent_type: str, client_name: str, name: str, *variables: str) -> None:
        """Take a row of the table: its fields as in `Host`, and the name that people know it by."""
        self.agent_type = agent_type
        self.client_name = client_name
        self.variables = variables
        self.advice = {
            "session_id": f"{name} doesn't say it to a server; set KEITO_SESSION_ID where it serves one session alone.",
            "model": f"{name} doesn't say it to a server; set KEITO_MODEL where it is always the same.",
        }


def hosts() -> tuple[Host, ...]:
    """Return the hosts of the table, in the order in which a call without a client's name is compared with them."""
    return (
        Codex(),
        VSCode(),
        Named("gemini-cli", "gemini-cli-mcp-client", "Gemini CLI", "GEMINI_CLI"),
        Named("opencode", "opencode", "opencode", "OPENCODE"),
        Named("cursor", "cursor-vscode", "Cursor", "CURSOR_CONVERSATION_ID"),
        Named("claude-desktop", "claude-ai", "Claude Desktop"),
    )


def _first(*places: tuple[str, Mapping[str, object]]) -> Fact | None:
    for key, values in places:
        if value := bounded(values.get(key)):
            return Fact(value, f"_meta {key}" if key.endswith("Id") else f"_meta {_TURN}.{key}")
    return None
