"""Codex: each call's `_meta` names its session, its thread and its model."""

from collections.abc import Mapping
from typing import ClassVar

from keito_mcp.identity.facts import Call, Fact, bounded
from keito_mcp.identity.host import Answer, Host

_TURN = "x-codex-turn-metadata"


class Codex(Host):
    """OpenAI's Codex, whose servers get a short list of environment variables, and the rest with each call."""

    agent_type = "codex"
    client_name = "codex-mcp-client"
    meta_keys = (_TURN,)
    variables = ("CODEX_SESSION_ID", "CODEX_THREAD_ID")
    call_id_key = "callId"
    advice: ClassVar[Mapping[str, str]] = {
        "session_id": "Codex sends it with each call; update Codex, or set KEITO_SESSION_ID.",
        "model": "Codex sends it with each call; update Codex, or set KEITO_MODEL.",
    }

    async def known(self, call: Call) -> Answer:
        """Session and model; a thread that isn't the session's own is a sub-agent's."""
        turn = call.meta.get(_TURN)
        turn = turn if isinstance(turn, Mapping) else {}
        facts = {}
        if session := _first(("sessionId", call.meta), ("session_id", turn)):
            facts["session_id"] = session
        thread = _first(("threadId", call.meta), ("thread_id", turn))
        if session and thread and thread.value != session.value:
            facts["subagent_id"] = thread
        if model := _first(("model", turn)):
            facts["model"] = model
        return Answer(facts)


def _first(*places: tuple[str, Mapping[str, object]]) -> Fact | None:
    for key, values in places:
        if value := bounded(values.get(key)):
            return Fact(value, f"_meta {key}" if key.endswith("Id") else f"_meta {_TURN}.{key}")
    return None
