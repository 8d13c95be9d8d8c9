"""Cursor: a server is told its name, and neither the session nor the model."""

from keito_mcp.identity.host import Host, untold


class Cursor(Host):
    """Cursor."""

    agent_type = "cursor"
    client_name = "cursor-vscode"
    variables = ("CURSOR_CONVERSATION_ID",)
    advice = untold("Cursor")
