"""Sessions told in short: events of a Claude Code, in seconds from noon."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from keito_mcp.clock import Instant
from keito_mcp.sessions.events import Event, event

NOON = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
BOOT = "boot-1"

NAMES = {
    "start": ("SessionStart", "startup"),
    "resume": ("SessionStart", "resume"),
    "clear": ("SessionStart", "clear"),
    "compact": ("SessionStart", "compact"),
    "prompt": ("UserPromptSubmit", None),
    "stop": ("Stop", None),
    "again": ("Stop", "again"),
    "fail": ("StopFailure", "server_error"),
    "sub": ("SubagentStart", None),
    "sub-stop": ("SubagentStop", None),
    "permission": ("PermissionRequest", None),
    "elicitation": ("Elicitation", None),
    "tool": ("PostToolUse", None),
    "end": ("SessionEnd", "other"),
}


def at(seconds: float, *, boot: str = BOOT, wall: timedelta = timedelta()) -> Instant:
    """A moment so many seconds after noon, with the wall clock that much off."""
    return Instant(NOON + timedelta(seconds=seconds) + wall, 1000 + seconds if boot else 0.0, boot)


def row(
    what: str,
    seconds: float,
    *,
    subagent: str = "",
    turn: str | None = None,
    boot: str = BOOT,
    wall: timedelta = timedelta(),
    host: str = "claude-code",
    **more: object,
) -> dict[str, object]:
    """What a hook leaves of an event."""
    name, detail = NAMES.get(what, (what, None))
    moment = at(seconds, boot=boot, wall=wall)
    known = {
        "version": 1,
        "host": host,
        "event": name,
        "session_id": "session-1",
        "at": moment.wall.timestamp(),
        "monotonic": 1000 + seconds,
        "boot_id": boot or None,
        "detail": detail,
        "turn": turn,
        "subagent_id": subagent or None,
        "subagent": "general-purpose" if subagent else None,
        **more,
    }
    return {key: value for key, value in known.items() if value is not None}


def tell(*told: tuple[object, ...] | dict[str, object]) -> list[Event]:
    """Events out of `(what, seconds)` or `(what, seconds, sub-agent)`, or out of rows."""
    return list(_events(told))


def _events(told: Iterable[tuple[object, ...] | dict[str, object]]) -> Iterable[Event]:
    for number, one in enumerate(told):
        if isinstance(one, dict):
            made = event(f"{number:03}", one)
        else:
            what, seconds, *who = one
            made = event(f"{number:03}", row(str(what), float(str(seconds)), subagent=str(who[0]) if who else ""))
        assert made is not None
        yield made
