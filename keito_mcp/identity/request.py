"""What the request itself says: this project's own `_meta` keys, and the host's id of the call."""

from keito_mcp.identity.facts import Call, Fact, Known, bounded

META_PREFIX = "ai.keito/"
_FIELDS = ("agent_id", "agent_type", "session_id", "model")
_CALL_ID_KEYS = ("claudecode/toolUseId", "callId")
"""Claude Code's and Codex's names for the id of one tool call."""


def known(call: Call) -> Known:
    """The fields that the request's `_meta` names with the prefix `ai.keito/`."""
    claims = {field: bounded(call.meta.get(META_PREFIX + field)) for field in _FIELDS}
    return {field: Fact(value, f"_meta {META_PREFIX}{field}") for field, value in claims.items() if value}


def call_id(call: Call) -> str | None:
    """The host's id of this call, the same when it is delivered again."""
    for key in _CALL_ID_KEYS:
        if value := bounded(call.meta.get(key)):
            return f"{key}:{value}"
    return None
