"""A host's lifecycle events, as all hosts are alike: what happened, when, and to whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from keito_mcp.clock import Instant

_LATEST = 253_402_300_799
"""The last second of the year 9999."""


class Kind(StrEnum):
    """What an event says."""

    STARTED = "started"
    PROMPT = "prompt"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    SUBAGENT_STARTED = "subagent started"
    SUBAGENT_STOPPED = "subagent stopped"
    WAITING = "waiting for a person"
    ENDED = "ended"
    SIGN = "sign of life"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a session.

    Attributes:
        name: What it is told from every other one by; the same event delivered twice has one name, or one turn.
        at: When it was seen. Its boot id is empty where the system tells none.
        turn: The host's own id of the turn, where it gives one.
        detail: What the host says of its kind: a session's source or reason, an error.
        row: All that was left of it.
    """

    name: str
    kind: Kind
    at: Instant
    subagent_id: str = ""
    turn: str | None = None
    detail: str | None = None
    row: Mapping[str, object]


_CLAUDE_CODE = {
    "SessionStart": Kind.STARTED,
    "UserPromptSubmit": Kind.PROMPT,
    "Stop": Kind.COMPLETED,
    "StopFailure": Kind.FAILED,
    "SubagentStart": Kind.SUBAGENT_STARTED,
    "SubagentStop": Kind.SUBAGENT_STOPPED,
    "PermissionRequest": Kind.WAITING,
    "Elicitation": Kind.WAITING,
    "SessionEnd": Kind.ENDED,
}
_GEMINI_CLI = {
    "SessionStart": Kind.STARTED,
    "BeforeAgent": Kind.PROMPT,
    "AfterAgent": Kind.COMPLETED,
    "SessionEnd": Kind.ENDED,
}
_CURSOR = {
    "sessionStart": Kind.STARTED,
    "beforeSubmitPrompt": Kind.PROMPT,
    "stop": Kind.COMPLETED,
    "subagentStart": Kind.SUBAGENT_STARTED,
    "subagentStop": Kind.SUBAGENT_STOPPED,
    "sessionEnd": Kind.ENDED,
}
_HOSTS = {"gemini-cli": _GEMINI_CLI, "cursor": {**_CLAUDE_CODE, **_CURSOR}}

_GOES_ON = {"compact"}
"""Sources of a SessionStart that starts nothing."""
_CURSOR_OUTCOMES = {"error": Kind.FAILED, "aborted": Kind.INTERRUPTED}


def event(name: str, row: Mapping[str, object]) -> Event | None:
    """The event of a row that a hook left (`keito_mcp.sessions.spool`); None where it can't be one."""
    at = _moment(row)
    if at is None or not _text(row, "session_id"):
        return None
    detail = _text(row, "detail")
    return Event(
        name=name,
        kind=_kind(row, detail),
        at=at,
        subagent_id=_text(row, "subagent_id") or "",
        turn=_text(row, "turn"),
        detail=detail,
        row=row,
    )


def _kind(row: Mapping[str, object], detail: str | None) -> Kind:
    host, said = str(row.get("host")), str(row.get("event"))
    kind = _HOSTS.get(host, _CLAUDE_CODE).get(said, Kind.SIGN)
    if kind is Kind.STARTED and detail in _GOES_ON:
        return Kind.SIGN
    if kind is Kind.COMPLETED and host == "cursor":
        return _CURSOR_OUTCOMES.get(detail or "", kind)
    if kind in {Kind.SUBAGENT_STARTED, Kind.SUBAGENT_STOPPED} and not _text(row, "subagent_id"):
        return Kind.SIGN
    # Claude Code tells of the end of a sub-agent that compacting a conversation never started.
    return Kind.SIGN if kind is Kind.SUBAGENT_STOPPED and not _text(row, "subagent") else kind


def _moment(row: Mapping[str, object]) -> Instant | None:
    at, monotonic = row.get("at"), row.get("monotonic")
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at <= _LATEST:
        return None
    counted = isinstance(monotonic, int | float) and not isinstance(monotonic, bool)
    boot = _text(row, "boot_id") if counted else None
    return Instant(datetime.fromtimestamp(at, UTC), float(monotonic) if boot else 0.0, boot or "")  # type: ignore[arg-type]


def _text(row: Mapping[str, object], name: str) -> str | None:
    value = row.get(name)
    # An id that holds control characters is none: it would be shown, and compared with what others sent.
    return value if isinstance(value, str) and value and value.isprintable() else None
