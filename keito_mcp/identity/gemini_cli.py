"""Gemini CLI: a server is told its name, and neither the session nor the model."""

from keito_mcp.identity.host import Host, untold


class GeminiCLI(Host):
    """Google's Gemini CLI."""

    agent_type = "gemini-cli"
    client_name = "gemini-cli-mcp-client"
    variables = ("GEMINI_CLI",)
    advice = untold("Gemini CLI")
