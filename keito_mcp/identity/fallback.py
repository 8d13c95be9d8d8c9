"""What is made up where nobody says: an agent's name, and a session of this server's own."""

import socket

from keito_mcp.identity.client import hinted
from keito_mcp.identity.facts import VALUE_LIMIT, Call, Fact, Known, bounded

ADVICE = {
    "agent_type": "Set KEITO_AGENT_TYPE; over HTTP, send the header X-Keito-Agent-Type.",
    "session_id": "Set KEITO_SESSION_ID; over HTTP, send the header X-Keito-Session-Id.",
    "model": "Set KEITO_MODEL; over HTTP, send the header X-Keito-Model.",
}
"""For fields that aren't known, or not for certain: what would have to be set."""


def known(call: Call, facts: Known) -> Known:
    """Defaults for `agent_type`, `agent_id` and `session_id`; none is certain."""
    hints = hinted(call.machine.environment) if call.machine and "agent_type" not in facts else {}
    kind = (facts.get("agent_type") or hints.get("agent_type") or Fact("agent", "")).value
    agent_id = f"{kind}@{socket.gethostname()}"[:VALUE_LIMIT]
    return {
        **hints,
        "agent_id": Fact(agent_id, "default: agent_type@hostname", certain=False),
        "session_id": (
            Fact(session, "the HTTP session", certain=False)
            if (session := bounded(call.transport_session))
            else Fact(call.process_session, "made for this server process", certain=False)
        ),
    }
