"""Claude Desktop: a server is told its name, and neither the session nor the model."""

from keito_mcp.identity.host import Host, untold


class ClaudeDesktop(Host):
    """Claude Desktop and claude.ai."""

    agent_type = "claude-desktop"
    client_name = "claude-ai"
    advice = untold("Claude Desktop")
