"""What the request itself says in this project's own `_meta` keys."""

from keito_mcp.identity.facts import Call, Fact, Known, stated

META_PREFIX = "ai.keito/"
_FIELDS = ("agent_id", "agent_type", "session_id", "model")


def known(call: Call) -> Known:
    """The fields that the request's `_meta` names with the prefix `ai.keito/`."""
    facts: dict[str, Fact] = {}
    for field in _FIELDS:
        if (key := META_PREFIX + field) in call.meta:
            facts |= stated({field: call.meta[key]}, f"_meta {key}")
    return facts
