"""Claude Code: a call carries the id of its tool use, and files of this machine say whose that is (`hosts.md` §1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from keito_mcp.identity.claude_code.registry import current_session
from keito_mcp.identity.claude_code.transcript import Row, Transcripts
from keito_mcp.identity.facts import Call, Fact, bounded, stated
from keito_mcp.identity.host import Answer, Host
from keito_mcp.identity.machine import Machine
from keito_mcp.sessions import spool

_TOOL_USE = "claudecode/toolUseId"
_SESSION = "CLAUDE_CODE_SESSION_ID"
_HOOK = "Claude Code's PreToolUse hook"
_TRANSCRIPT = "Claude Code's transcript"
_REGISTRY = "Claude Code's registry of running sessions"

_WHOSE = ("session_id", "subagent_id", "subagent")

_PATIENCE = 0.13
"""Seconds that a call waits for all of it: with what goes beyond on a busy machine, less than 150 ms."""
_PAUSES = (0.0, 0.01, 0.02, 0.03, 0.04)
"""Seconds before each look for a row that may still be being written: 100 ms in all."""
_FIRST_LOOK, _LATER_LOOK = 4 << 20, 1 << 20
"""Bytes that are read at each: 8 MiB in all. What is written meanwhile is at the end."""
_ENOUGH_MISSES = 3
"""After so many calls in a row without a row, the session isn't written down (`--no-session-persistence`)."""


class ClaudeCode(Host):
    """Anthropic's Claude Code."""

    agent_type = "claude-code"
    client_name = "claude-code"
    meta_keys = (_TOOL_USE,)
    variables = ("CLAUDECODE",)
    call_id_key = _TOOL_USE
    advice: Mapping[str, str] = {
        "session_id": "Claude Code's own files tell it where the server runs on the same machine; "
        "elsewhere set KEITO_SESSION_ID, or the header X-Keito-Session-Id.",
        "model": "It is read with each call from the session's transcript (none with --no-session-persistence, "
        "nor on another machine); set KEITO_MODEL where it is always the same.",
    }

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._transcripts: dict[Path, Transcripts] = {}
        self._misses = 0
        self._last: str | None = None
        self._entered: frozenset[str] = frozenset()
        self._left: frozenset[str] = frozenset()

    def left(self, machine: Machine) -> frozenset[str]:
        """What the registry of running sessions said before, and says no longer; `/clear` moves a process on."""
        self._registered(machine)
        return self._left

    def _registered(self, machine: Machine) -> str | None:
        """What the registry of running sessions says."""
        session = current_session(_configuration(machine) / "sessions", machine.ancestors())
        if session:
            self._entered |= {session}
            self._left = self._entered - {session}
        return session

    async def known(self, call: Call) -> Answer:
        """The session, the sub-agent and the model that made this call."""
        machine = call.machine
        if machine is None:
            return Answer(agent_is_certain=False)
        tool_use = _tool_use(call)
        seen, row = _Seen(spawned=_spawned(machine)), None
        with anyio.move_on_after(_PATIENCE):
            seen = await anyio.to_thread.run_sync(self._look_around, machine, tool_use, abandon_on_cancel=True)
            if tool_use:
                row = await self._row(machine, tool_use, seen)
        return _answer(seen, row, self._left)

    async def _row(self, machine: Machine, tool_use: str, seen: "_Seen") -> Row | None:
        """The transcript's row of a tool use, which may be about to be written."""
        folder = _configuration(machine) / "projects"
        transcripts = self._transcripts.setdefault(folder, Transcripts(folder))
        own = [session for session in seen.sessions if session]
        likely = [*own, self._last] if self._last else own
        # Of callers that no process tells apart, one may be written down where another isn't.
        is_written = not own or self._misses < _ENOUGH_MISSES
        for pause in _PAUSES if is_written else _PAUSES[:1]:
            await anyio.sleep(pause)
            is_first = pause == 0
            everywhere = not own or (is_first and is_written)
            at_most = _FIRST_LOOK if is_first else _LATER_LOOK
            first = likely if own or is_first else []
            look = partial(transcripts.find, tool_use, first, everywhere=everywhere, at_most=at_most)
            if row := await anyio.to_thread.run_sync(look, abandon_on_cancel=True):
                self._misses, self._last = 0, row.session_id
                return row
            if not transcripts.exist:
                return None
        self._misses += 1
        return None

    def _look_around(self, machine: Machine, tool_use: str | None) -> "_Seen":
        file = spool.call_file(machine.state, tool_use) if tool_use else None
        return _Seen(
            hook=(spool.read(file) if file else None) or {},
            registered=self._registered(machine),
            spawned=_spawned(machine),
        )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was left for this call, or is true of the process at this moment."""

    hook: Mapping[str, object] = field(default_factory=dict)
    registered: str | None = None
    spawned: str | None = None

    @property
    def sessions(self) -> tuple[str | None, ...]:
        """The sessions that the call may be of, the likeliest first."""
        return bounded(self.hook.get("session_id")), self.registered, self.spawned


def _answer(seen: _Seen, row: Row | None, left: frozenset[str]) -> Answer:
    """What is known, field by field from the best source; session and sub-agent come from one and the same."""
    by_hook = stated({name: seen.hook.get(name) for name in _WHOSE}, _HOOK)
    by_row = stated({name: getattr(row, name) for name in (*_WHOSE, "model")}, _TRANSCRIPT) if row else {}
    is_by_hook = "session_id" in by_hook
    facts = by_hook if is_by_hook else {name: by_row[name] for name in _WHOSE if name in by_row}
    whose_is_known = "session_id" in facts
    agent_is_certain = whose_is_known and (is_by_hook or row is None or row.agent_is_certain)
    if "model" in by_row:
        facts["model"] = by_row["model"]
    if not whose_is_known and seen.registered:
        facts["session_id"] = Fact(seen.registered, _REGISTRY)
    elif not whose_is_known and seen.spawned:
        facts["session_id"] = Fact(seen.spawned, _SESSION, certain=False)
    return Answer(facts, agent_is_certain=agent_is_certain, left=left)


def _tool_use(call: Call) -> str | None:
    value = call.meta.get(_TOOL_USE)
    return value if isinstance(value, str) and spool.is_call_id(value) else None


def _spawned(machine: Machine) -> str | None:
    """The session that the server was started in."""
    return bounded(machine.environment.get(_SESSION)) if machine.environment.get("CLAUDECODE") else None


def _configuration(machine: Machine) -> Path:
    chosen = machine.environment.get("CLAUDE_CONFIG_DIR", "").strip()
    return Path(chosen) if chosen else machine.home / ".claude"
