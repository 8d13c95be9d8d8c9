"""What is made up where nobody says: an agent's name, and a session of this server's own."""

import socket

from keito_mcp.identity.facts import VALUE_LIMIT, Call, Fact, Known, bounded


def known(call: Call, facts: Known) -> Known:
    """Defaults for `agent_id` and `session_id`; neither is certain."""
    kind = facts["agent_type"].value if "agent_type" in facts else "agent"
    agent_id = f"{kind}@{socket.gethostname()}"[:VALUE_LIMIT]
    return {
        "agent_id": Fact(agent_id, "default: agent_type@hostname", certain=False),
        "session_id": (
            Fact(session, "the HTTP session", certain=False)
            if (session := bounded(call.transport_session))
            else Fact(call.process_session, "made for this server process", certain=False)
        ),
    }
