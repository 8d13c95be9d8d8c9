"""opencode: a server is told its name, and neither the session nor the model."""

from keito_mcp.identity.host import Host, untold


class OpenCode(Host):
    """opencode."""

    agent_type = "opencode"
    client_name = "opencode"
    variables = ("OPENCODE",)
    advice = untold("opencode")
