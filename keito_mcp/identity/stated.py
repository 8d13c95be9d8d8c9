"""Say who makes a call by what an operator, the request's `_meta` or its headers state: claims, never a permission."""

from keito_mcp.identity.facts import Call, Fact, Known, stated

META_PREFIX = "ai.keito/"
_HEADERS = {
    "agent_id": "X-Keito-Agent-Id",
    "agent_type": "X-Keito-Agent-Type",
    "session_id": "X-Keito-Session-Id",
    "model": "X-Keito-Model",
}
"""The fields that may be stated, and the headers that state them over HTTP."""


def by_operator(call: Call) -> Known:
    """Return the identity settings that are set."""
    return {field: Fact(value, f"KEITO_{field.upper()}") for field, value in call.operator.items()}


def by_request(call: Call) -> Known:
    """Return the fields that the request's `_meta` names with this project's prefix."""
    facts: dict[str, Fact] = {}
    for field in _HEADERS:
        if (key := META_PREFIX + field) in call.meta:
            facts |= stated({field: call.meta[key]}, f"_meta {key}")
    return facts


def by_headers(call: Call) -> Known:
    """Return the fields that the request's `X-Keito-*` headers name."""
    facts: dict[str, Fact] = {}
    for field, header in _HEADERS.items() if call.headers else ():
        facts |= stated({field: call.headers.get(header.lower())}, header)
    return facts
