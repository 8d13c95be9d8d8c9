"""Each host as it really calls, in both protocol eras, and what becomes known by that (`hosts.md`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from keito_mcp.process import Ancestor
from tests.identity.calls import (
    MODERN_META,
    SESSION,
    SUBAGENT,
    TOOL_USE,
    ClaudeFiles,
    call,
    identify,
    sources,
    spool_row,
    tool_use_row,
)

CLAUDE_PID = 29795
NAMED = "clientInfo.name"
HOOK = "Claude Code's PreToolUse hook"
TRANSCRIPT = "Claude Code's transcript"
REGISTRY = "Claude Code's registry of running sessions"
MADE_UP = ("made-up-session", "made for this server process")

CODEX_THREAD = "019aa1f0-7d2c-7d01-8f6e-2a3b4c5d6e7f"
CODEX_SUBTHREAD = "019aa1f0-9999-7d01-8f6e-2a3b4c5d6e7f"


def codex_meta(thread: str = CODEX_THREAD) -> dict[str, Any]:
    return {
        "callId": "call_Jx1",
        "itemId": "item_2",
        "sessionId": CODEX_THREAD,
        "threadId": thread,
        "windowId": "w1",
        "progressToken": 4,
        "x-codex-turn-metadata": {
            "session_id": CODEX_THREAD,
            "thread_id": thread,
            "turn_id": "turn_1",
            "model": "gpt-5.5-codex",
            "reasoning_effort": "medium",
            "thread_source": "user",
            "sandbox": "workspace-write",
            "workspaces": {"/home/someone/shop": {"latest_git_commit_hash": "0123abcd"}},
            "codex_version": "0.169.0",
        },
    }


@dataclass(frozen=True)
class Row:
    """One host in one situation, and what must be known then."""

    name: str
    client: str
    yields: Mapping[str, tuple[str, str]]
    meta: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    headers: Mapping[str, str] | None = None
    session_is_certain: bool = True
    agent_is_certain: bool = True
    transport_session: str | None = None


CLAUDE_META = {"claudecode/toolUseId": TOOL_USE, "progressToken": 4}
CLAUDE_ENVIRONMENT = {
    "CLAUDECODE": "1",
    "CLAUDE_CODE_SESSION_ID": "throw-away-id",
    "CLAUDE_PROJECT_DIR": "/home/someone/shop",
    "CLAUDE_CODE_ENTRYPOINT": "cli",
    "AI_AGENT": "claude-code_2-1-330_harness",
}


def claude_code(name: str, yields: Mapping[str, tuple[str, str]], **more: Any) -> Row:
    return Row(f"claude code{name}", "claude-code", yields, environment=CLAUDE_ENVIRONMENT, **more)


MAIN_AGENT = {
    "agent_type": ("claude-code", NAMED),
    "session_id": (SESSION, TRANSCRIPT),
    "model": ("claude-sonnet-5-5", TRANSCRIPT),
}

ROWS = [
    claude_code(", main agent", meta=CLAUDE_META, written=("main",), yields=MAIN_AGENT),
    claude_code(
        ", sub-agent on another model",
        meta=CLAUDE_META,
        written=("subagent",),
        yields={
            "agent_type": ("claude-code", NAMED),
            "session_id": (SESSION, TRANSCRIPT),
            "subagent_id": (SUBAGENT, TRANSCRIPT),
            "subagent": ("general-purpose", TRANSCRIPT),
            "model": ("claude-haiku-5-5", TRANSCRIPT),
        },
    ),
    claude_code(
        " with the hook",
        meta=CLAUDE_META,
        written=("hook", "subagent"),
        yields={
            "agent_type": ("claude-code", NAMED),
            "session_id": (SESSION, HOOK),
            "subagent_id": (SUBAGENT, HOOK),
            "subagent": ("reviewer", HOOK),
            "model": ("claude-haiku-5-5", TRANSCRIPT),
        },
    ),
    claude_code(
        " with the hook, without session persistence",
        meta=CLAUDE_META,
        written=("hook",),
        yields={
            "agent_type": ("claude-code", NAMED),
            "session_id": (SESSION, HOOK),
            "subagent_id": (SUBAGENT, HOOK),
            "subagent": ("reviewer", HOOK),
        },
    ),
    claude_code(
        " without session persistence, after /clear or --continue",
        meta=CLAUDE_META,
        written=("registry",),
        yields={"agent_type": ("claude-code", NAMED), "session_id": (SESSION, REGISTRY)},
        agent_is_certain=False,
    ),
    claude_code(
        ", of which only the environment tells",
        meta=CLAUDE_META,
        yields={"agent_type": ("claude-code", NAMED), "session_id": ("throw-away-id", "CLAUDE_CODE_SESSION_ID")},
        session_is_certain=False,
        agent_is_certain=False,
    ),
    claude_code(
        " reading a resource",
        written=("registry", "main"),
        yields={"agent_type": ("claude-code", NAMED), "session_id": (SESSION, REGISTRY)},
        agent_is_certain=False,
    ),
    Row(
        "claude code over HTTP, on another machine",
        client="claude-code",
        meta=CLAUDE_META,
        headers={"user-agent": "claude-code/2.1.330 (sdk-cli)"},
        yields={"agent_type": ("claude-code", NAMED), "session_id": MADE_UP},
        session_is_certain=False,
        agent_is_certain=False,
    ),
    Row(
        "codex",
        client="codex-mcp-client",
        meta=codex_meta(),
        environment={"PATH": "/usr/bin", "HOME": "/home/someone"},
        yields={
            "agent_type": ("codex", NAMED),
            "session_id": (CODEX_THREAD, "_meta sessionId"),
            "model": ("gpt-5.5-codex", "_meta x-codex-turn-metadata.model"),
        },
    ),
    Row(
        "codex, a thread of its own",
        client="codex-mcp-client",
        meta=codex_meta(CODEX_SUBTHREAD),
        yields={
            "agent_type": ("codex", NAMED),
            "session_id": (CODEX_THREAD, "_meta sessionId"),
            "subagent_id": (CODEX_SUBTHREAD, "_meta threadId"),
            "model": ("gpt-5.5-codex", "_meta x-codex-turn-metadata.model"),
        },
    ),
    Row(
        "codex, of which only the turn's metadata are there",
        client="codex-mcp-client",
        meta={"x-codex-turn-metadata": codex_meta()["x-codex-turn-metadata"]},
        yields={
            "agent_type": ("codex", NAMED),
            "session_id": (CODEX_THREAD, "_meta x-codex-turn-metadata.session_id"),
            "model": ("gpt-5.5-codex", "_meta x-codex-turn-metadata.model"),
        },
    ),
    Row(
        "codex before it named sessions",
        client="codex-mcp-client",
        meta={"progressToken": 1},
        yields={"agent_type": ("codex", NAMED), "session_id": MADE_UP},
        session_is_certain=False,
    ),
    Row(
        "vs code",
        client="Visual Studio Code",
        meta={"vscode.conversationId": "conv-7", "vscode.requestId": "req-1", "traceparent": "00-aa-bb-01"},
        yields={"agent_type": ("vscode", NAMED), "session_id": ("conv-7", "_meta vscode.conversationId")},
    ),
    Row(
        "gemini cli, whose hooks set a variable of Claude Code",
        client="gemini-cli-mcp-client",
        meta={"progressToken": 2},
        environment={"GEMINI_CLI": "1", "CLAUDE_PROJECT_DIR": "/home/someone/shop"},
        yields={"agent_type": ("gemini-cli", NAMED), "session_id": MADE_UP},
        session_is_certain=False,
    ),
    Row(
        "opencode, started from a shell of Claude Code",
        client="opencode",
        meta={"progressToken": 2},
        environment={"OPENCODE": "1", "AGENT": "1", "OPENCODE_PID": "77", **CLAUDE_ENVIRONMENT},
        written=("registry",),
        yields={"agent_type": ("opencode", NAMED), "session_id": MADE_UP},
        session_is_certain=False,
    ),
    Row(
        "cursor",
        client="cursor-vscode",
        environment={"CURSOR_CONVERSATION_ID": "conv-of-a-shell"},
        yields={"agent_type": ("cursor", NAMED), "session_id": MADE_UP},
        session_is_certain=False,
    ),
    Row(
        "claude desktop",
        client="claude-ai",
        yields={"agent_type": ("claude-desktop", NAMED), "session_id": MADE_UP},
        session_is_certain=False,
    ),
    Row(
        "a client that nobody here knows",
        client="Own Agent",
        environment={"AI_AGENT": "other_1-0_harness"},
        yields={"agent_type": ("own-agent", NAMED), "session_id": MADE_UP},
        session_is_certain=False,
    ),
    Row(
        "any client over HTTP, with headers",
        client="Own Agent",
        headers={
            "x-keito-agent-id": "ci-bot",
            "x-keito-agent-type": "ci",
            "x-keito-session-id": "run-42",
            "x-keito-model": "gpt-5.5",
        },
        transport_session="http-session",
        yields={
            "agent_type": ("ci", "X-Keito-Agent-Type"),
            "session_id": ("run-42", "X-Keito-Session-Id"),
            "model": ("gpt-5.5", "X-Keito-Model"),
        },
    ),
    Row(
        "any client over HTTP, without headers",
        client="Own Agent",
        headers={},
        transport_session="http-session",
        yields={"agent_type": ("own-agent", NAMED), "session_id": ("http-session", "the HTTP session")},
        session_is_certain=False,
    ),
]


def lay_out(files: ClaudeFiles, written: tuple[str, ...]) -> None:
    """What Claude Code and its hook left in the user's folder."""
    if "main" in written:
        files.write(tool_use_row())
    if "subagent" in written:
        files.write(tool_use_row("toolu_of_the_agent_tool"))
        files.write(tool_use_row(subagent=SUBAGENT, model="claude-haiku-5-5"), subagent=SUBAGENT)
    if "registry" in written:
        files.register(CLAUDE_PID)
    if "hook" in written:
        files.leave(spool_row(subagent_id=SUBAGENT, subagent="reviewer"))


@pytest.mark.parametrize("era", [{}, MODERN_META], ids=["2025", "2026"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_of_each_host_is_known_what_it_says_and_no_more(row: Row, era: Mapping[str, Any], tmp_path: Path) -> None:
    files = ClaudeFiles(tmp_path)
    lay_out(files, row.written)
    machine = files.machine(Ancestor(4711, "9"), Ancestor(CLAUDE_PID, "2081127"), **row.environment)
    identity = identify(
        call(
            meta={**row.meta, **era},
            client_name=row.client,
            headers=row.headers,
            machine=machine if row.headers is None else None,
            transport_session=row.transport_session,
        )
    )
    assert sources(identity) == row.yields
    assert identity.session_is_certain == row.session_is_certain
    assert identity.agent_is_certain == row.agent_is_certain


@pytest.mark.parametrize(
    ("meta", "agent_type", "mark"),
    [
        (CLAUDE_META, "claude-code", "_meta claudecode/toolUseId"),
        (codex_meta(), "codex", "_meta x-codex-turn-metadata"),
        ({"vscode.conversationId": "conv-7"}, "vscode", "_meta vscode.conversationId"),
    ],
    ids=["claude-code", "codex", "vscode"],
)
@pytest.mark.parametrize("client", [None, "mcp-proxy"])
def test_a_hosts_own_mark_tells_it_where_its_name_doesnt(
    client: str | None, meta: dict[str, Any], agent_type: str, mark: str
) -> None:
    identity = identify(call(client_name=client, client_version="0.5.1", meta=meta))
    assert identity.value("agent_type") == agent_type
    assert identity.facts["agent_type"].source == mark
    assert identity.value("agent_version") is None


def test_a_hosts_name_counts_for_more_than_another_hosts_mark() -> None:
    identity = identify(call(client_name="codex-mcp-client", meta={**codex_meta(), **CLAUDE_META}))
    assert identity.value("agent_type") == "codex"
    assert identity.call_id == "callId:call_Jx1"


@pytest.mark.parametrize(
    ("environment", "agent_type"),
    [
        ({"AI_AGENT": "goose"}, ("goose", "AI_AGENT")),
        ({"AI_AGENT": "claude-code_2-1-330_harness"}, ("claude-code", "AI_AGENT")),
        ({"AGENT": "amp"}, ("amp", "AGENT")),
        ({"AI_AGENT": "goose", "AGENT": "amp"}, ("goose", "AI_AGENT")),
        ({"AGENT": "1"}, None),
        ({"AGENT": "true"}, None),
        ({"AI_AGENT": "/usr/bin/goose"}, None),
        ({"CLAUDE_PROJECT_DIR": "/home/someone/shop"}, None),
        ({"CLAUDECODE": "1"}, None),
    ],
    ids=str,
)
def test_the_environment_hints_at_the_name_of_a_client_that_gives_none(
    environment: dict[str, str], agent_type: tuple[str, str] | None, tmp_path: Path
) -> None:
    machine = ClaudeFiles(tmp_path).machine(**environment)
    identity = identify(call(client_name=None, client_version=None, machine=machine))
    known = {"session_id": MADE_UP, **({"agent_type": agent_type} if agent_type else {})}
    assert sources(identity) == known
    assert "agent_type" not in identity.facts or not identity.facts["agent_type"].certain


@pytest.mark.parametrize(
    ("environment", "agent_type"),
    [
        (CLAUDE_ENVIRONMENT, "claude-code"),
        ({"CODEX_SESSION_ID": CODEX_THREAD}, "codex"),
        ({"GEMINI_CLI": "1", "CLAUDE_PROJECT_DIR": "/p"}, "gemini-cli"),
        ({"OPENCODE": "1", "AGENT": "1"}, "opencode"),
        ({"CURSOR_CONVERSATION_ID": "c"}, "cursor"),
    ],
    ids=["claude-code", "codex", "gemini-cli", "opencode", "cursor"],
)
def test_a_command_finds_out_under_which_host_it_runs(
    environment: dict[str, str], agent_type: str, tmp_path: Path
) -> None:
    files = ClaudeFiles(tmp_path)
    identity = identify(call(client_name=None, machine=files.machine(**environment), is_from_a_shell=True))
    assert identity.value("agent_type") == agent_type
    assert identity.facts["agent_type"].source in environment
    assert {"session_id", "model"} <= identity.advice.keys()
