"""The MCP server: its tools and resources, and the one boundary where failures become words."""
