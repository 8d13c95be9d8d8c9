"""VS Code: each call's `_meta` names the conversation."""

from collections.abc import Mapping
from typing import ClassVar

from keito_mcp.identity.facts import Call, stated
from keito_mcp.identity.host import Answer, Host

_CONVERSATION = "vscode.conversationId"


class VSCode(Host):
    """VS Code with Copilot, which says no model to a server."""

    agent_type = "vscode"
    client_name = "visual-studio-code"
    meta_keys = (_CONVERSATION,)
    advice: ClassVar[Mapping[str, str]] = {
        "session_id": "VS Code sends it with each call that a chat makes; update VS Code, or set KEITO_SESSION_ID.",
        "model": "VS Code doesn't say it to a server; set KEITO_MODEL where it is always the same.",
    }

    async def known(self, call: Call) -> Answer:
        """The conversation is the session."""
        return Answer(stated({"session_id": call.meta.get(_CONVERSATION)}, f"_meta {_CONVERSATION}"))
