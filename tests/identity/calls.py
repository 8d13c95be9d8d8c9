"""Calls as hosts make them, on machines as they find them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio

from keito_mcp.identity import Call, Identifier, Identity, Machine
from keito_mcp.process import Ancestor
from keito_mcp.sessions import spool

TOOL_USE = "toolu_cce3c56098b74e7da088df9b"
SESSION = "124b141a-9b4c-419d-b873-fd8e7eb4cfc6"
SUBAGENT = "a056094c76b80d279"

MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
"""What the 2026-07-28 protocol adds to each request's `_meta`."""


def call(
    *,
    meta: Mapping[str, Any] | None = None,
    client_name: str | None = "claude-code",
    client_version: str | None = "2.1.330",
    headers: Mapping[str, str] | None = None,
    machine: Machine | None = None,
    is_from_a_shell: bool = False,
    transport_session: str | None = None,
    process_session: str = "made-up-session",
    operator: Mapping[str, str] | None = None,
) -> Call:
    return Call(
        meta=meta or {},
        client_name=client_name,
        client_version=client_version,
        headers=headers or {},
        machine=machine,
        is_from_a_shell=is_from_a_shell,
        transport_session=transport_session,
        process_session=process_session,
        operator=operator or {},
    )


def identify(call: Call, identifier: Identifier | None = None) -> Identity:
    return anyio.run((identifier or Identifier()).identify, call)


def sources(identity: Identity) -> dict[str, tuple[str, str]]:
    """Each field's value and source, apart from the two that are the same for every host."""
    facts = {field: (fact.value, fact.source) for field, fact in identity.facts.items()}
    return {field: fact for field, fact in facts.items() if field not in {"agent_id", "agent_version"}}


class ClaudeFiles:
    """A Claude Code's files in a home folder, and the machine they are on."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / ".claude"
        self.state = home / "state"
        self.project = self.folder / "projects" / "-home-someone-shop"

    def machine(self, *ancestors: Ancestor, **environment: str) -> Machine:
        return Machine(environment=environment, state=self.state, home=self.home, ancestors=lambda: ancestors)

    def transcript(self, session: str = SESSION, subagent: str | None = None) -> Path:
        if subagent is None:
            return self.project / f"{session}.jsonl"
        return self.project / session / "subagents" / f"agent-{subagent}.jsonl"

    def write(self, *rows: object, session: str = SESSION, subagent: str | None = None) -> Path:
        """Append rows to a transcript: as JSON lines, or as the text that they are."""
        file = self.transcript(session, subagent)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as opened:
            opened.writelines(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
        return file

    def register(self, process: int, session: str = SESSION, **more: object) -> None:
        """What Claude Code says of one of its processes."""
        file = self.folder / "sessions" / f"{process}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        row = {
            "pid": process,
            "sessionId": session,
            "version": "2.1.330",
            "kind": "interactive",
            "status": "busy",
            **more,
        }
        file.write_text(json.dumps(row))

    def leave(self, row: dict[str, Any], tool_use: str = TOOL_USE) -> None:
        """What the PreToolUse hook leaves for the server."""
        file = spool.call_file(self.state, tool_use)
        assert file is not None
        spool.write(file, row)


def tool_use_row(
    tool_use: str = TOOL_USE,
    *,
    session: str = SESSION,
    model: str = "claude-sonnet-5-5",
    subagent: str | None = None,
    kind: str = "general-purpose",
    blocks: Iterable[Mapping[str, Any]] = (),
    **more: object,
) -> dict[str, Any]:
    """The row of a model's answer that makes a tool call, as Claude Code 2.1.330 writes it."""
    of_subagent = {"agentId": subagent, "attributionAgent": kind} if subagent else {}
    made = {"type": "tool_use", "id": tool_use, "name": "mcp__keito__start_timer", "input": {}}
    return {
        "parentUuid": "cdd574c1-6f68-469d-afba-ba07aa998698",
        "isSidechain": subagent is not None,
        **of_subagent,
        "message": {
            "id": "msg_19cceb2a92024d97b6a2af8d",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [*blocks, made],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": 100, "output_tokens": 20},
        },
        "requestId": "req_4a34aa10e1a54e9ca253",
        "type": "assistant",
        "uuid": "37d7d373-fe86-4612-9f5d-180fada55be2",
        "timestamp": "2026-11-25T20:56:29.741Z",
        "cwd": "/home/someone/shop",
        "sessionId": session,
        "version": "2.1.330",
        "gitBranch": "main",
        **more,
    }


def tool_result_row(tool_use: str = TOOL_USE, session: str = SESSION) -> dict[str, Any]:
    """The row of a tool's result, which names the call, too."""
    content = [{"tool_use_id": tool_use, "type": "tool_result", "content": f'{{"id": "{tool_use}"}}'}]
    return {"type": "user", "message": {"role": "user", "content": content}, "sessionId": session, "isSidechain": False}


def spool_row(session: str = SESSION, **more: str) -> dict[str, str]:
    """What the PreToolUse hook leaves."""
    return {"session_id": session, **more}
