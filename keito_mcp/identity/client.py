"""What the MCP client says of itself: its name, as a slug, is the kind of agent."""

import re

from keito_mcp.identity.facts import VALUE_LIMIT, Call, Fact, Known, bounded

_SLUGS = {
    "antigravity-client": "antigravity",
    "amp-mcp-client": "amp",
    "claude-ai": "claude-desktop",
    "codex-mcp-client": "codex",
    "continue-cli-client": "continue",
    "cursor-vscode": "cursor",
    "factory-cli": "factory",
    "gemini-cli-mcp-client": "gemini-cli",
    "github-copilot-developer": "copilot-cli",
    "visual-studio-code": "vscode",
    "windsurf-client": "windsurf",
}
"""Clients whose name for themselves isn't the name that people know them by."""

_NOT_IN_A_SLUG = re.compile(r"[^a-z0-9]+")


def known(call: Call) -> Known:
    """The host's kind and version, from the client's `clientInfo`."""
    facts = {}
    name, version = bounded(call.client_name), bounded(call.client_version)
    if name and (kind := slug(name)):
        facts["agent_type"] = Fact(kind, "clientInfo.name")
        if version:
            facts["agent_version"] = Fact(version, "clientInfo.version")
    return facts


def slug(name: str) -> str:
    """A client's name as lower-case words joined by hyphens; empty where no letter or digit is in it."""
    plain = _NOT_IN_A_SLUG.sub("-", name.lower()).strip("-")
    return _SLUGS.get(plain, plain)[:VALUE_LIMIT]
