"""What the MCP client says of itself: its name, as a slug, is the kind of agent."""

import re
from collections.abc import Mapping
from functools import lru_cache

from keito_mcp.identity.facts import VALUE_LIMIT, Call, Fact, Known, bounded

NAME = "clientInfo.name"

_SLUGS = {
    "antigravity-client": "antigravity",
    "amp-mcp-client": "amp",
    "continue-cli-client": "continue",
    "factory-cli": "factory",
    "github-copilot-developer": "copilot-cli",
    "windsurf-client": "windsurf",
}
"""Clients without a module of their own, whose name for themselves isn't the name that people know them by."""

_NOT_IN_A_SLUG = re.compile(r"[^a-z0-9]+")

_SOME_AGENT = {"1", "true", "yes", "on"}


def known(call: Call) -> Known:
    """The host's kind and version, from the client's `clientInfo`."""
    facts = {}
    name, version = bounded(call.client_name), bounded(call.client_version)
    if name and (kind := slug(name)):
        facts["agent_type"] = Fact(kind, NAME)
        if version:
            facts["agent_version"] = Fact(version, "clientInfo.version")
    return facts


def hinted(environment: Mapping[str, str]) -> Known:
    """The host's kind, as two conventions of the environment hint at it.

    `AI_AGENT` is `name`, or `name_version_what`; `AGENT` is a name, or a word that says just that there is one.
    """
    for variable in ("AI_AGENT", "AGENT"):
        name = (bounded(environment.get(variable)) or "").partition("_")[0]
        if name.lower() not in _SOME_AGENT and (kind := slug(name)):
            return {"agent_type": Fact(kind, variable, certain=False)}
    return {}


def slug(name: str) -> str:
    """The name that people know a client by, as a slug; empty where no letter or digit is in it."""
    plain = plain_slug(name)
    return _SLUGS.get(plain, plain)


@lru_cache
def plain_slug(name: str) -> str:
    """A name as lower-case words joined by hyphens."""
    return _NOT_IN_A_SLUG.sub("-", name.lower()).strip("-")[:VALUE_LIMIT]
