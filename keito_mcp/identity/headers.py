"""What an HTTP request's `X-Keito-*` headers say: claims about who calls, never a permission."""

from keito_mcp.identity.facts import Call, Fact, Known, stated

_FIELDS = {
    "agent_id": "X-Keito-Agent-Id",
    "agent_type": "X-Keito-Agent-Type",
    "session_id": "X-Keito-Session-Id",
    "model": "X-Keito-Model",
}


def known(call: Call) -> Known:
    """The fields that the headers name."""
    facts: dict[str, Fact] = {}
    for field, header in _FIELDS.items() if call.headers else ():
        facts |= stated({field: call.headers.get(header.lower())}, header)
    return facts
