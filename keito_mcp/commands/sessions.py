"""`keito-mcp sessions`: the sessions that this machine knows, what waits for them, and what was left to a person."""

import json
from typing import Any

from keito_mcp import hours as decimal_hours
from keito_mcp.commands.terminal import line, local, of_write, say, say_aside, table
from keito_mcp.journal import Entry, SessionOverview
from keito_mcp.runtime import Runtime
from keito_mcp.timesheet.logged import Logged
from keito_mcp.timesheet.overview import RowsOfSession

Overview = SessionOverview | RowsOfSession

_HEADINGS = ["SESSION", "LAST SEEN", "AGENT", "PROJECT", "ENTRIES", "HOURS", "RUNNING", "QUEUED", "DISCARDED"]


async def sessions(runtime: Runtime, *, as_json: bool) -> None:
    """Say which sessions there are, the newest first.

    Raises:
        SettingsError: A setting can't be used.
        JournalError: The journal can't be used.
    """
    settings = runtime.settings
    if settings.api_key or settings.account_id:
        accounts = [settings.account]
    else:
        # A shell that a host starts may not have the key that the server has.
        accounts = await runtime.journal.accounts()
    if settings.untrusted:
        say_aside(settings.untrusted)
    found: list[Overview] = [session for account in accounts for session in await runtime.overview.sessions(account)]
    if as_json:
        say(json.dumps([_described(session) for session in found], indent=1, ensure_ascii=False))
    elif not found:
        say("No session of this account is known on this machine.")
    else:
        say("\n".join([table([_HEADINGS, *(_row(session) for session in found)]), *_remarks(found)]))


def _row(session: Overview) -> list[str]:
    return [
        session.session_id,
        local(session.seen_at),
        ", ".join(_agents(session)),
        ", ".join(_projects(session)),
        str(len(_standing(session))),
        decimal_hours.text(session.hours),
        str(len(session.running)),
        str(len(session.waiting)),
        str(len(_discarded(session))),
    ]


def _remarks(found: list[Overview]) -> list[str]:
    """What a person should know of the sessions, one line each."""
    lines = []
    for session in found:
        remarks = [f"{session.recorded.outcome}: {session.recorded.said}"] if session.recorded else []
        remarks += [f"waiting: {line(write)}" for write in session.waiting]
        remarks += [f"refused: {line(write)}" for write in session.refused]
        remarks += [f"left alone: {entry.handle}: {entry.person}" for entry in session.entries if entry.person]
        remarks += [f"closed: {entry.closed}" for entry in session.entries if entry.closed]
        lines += ["", session.session_id, *(f"  {remark}" for remark in remarks)] if remarks else []
    return lines


def _described(session: Overview) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "last_seen": session.seen_at.isoformat(timespec="seconds"),
        "agent_ids": _agents(session),
        "project_ids": _projects(session),
        "entries": len(_standing(session)),
        "hours": float(session.hours),
        "running": [entry.handle for entry in session.running],
        "queued": [of_write(write) for write in session.waiting],
        "refused": [of_write(write) for write in session.refused],
        "recorded": {"outcome": session.recorded.outcome, "said": session.recorded.said} if session.recorded else None,
        "discarded": [entry.handle for entry in _discarded(session)],
        "left_alone": {entry.handle: entry.person for entry in session.entries if entry.person},
        "closed": {entry.handle: entry.closed for entry in session.entries if entry.closed},
    }


def _agents(session: Overview) -> list[str]:
    named = (_agent(entry) for entry in session.entries)
    return list(dict.fromkeys(named))


def _agent(entry: Entry | Logged) -> str:
    owner = entry.owner
    return f"{owner.agent_id}/{owner.subagent_id}" if owner.subagent_id else owner.agent_id


def _projects(session: Overview) -> list[str]:
    return list(dict.fromkeys(entry.project_id for entry in session.entries))


def _standing(session: Overview) -> list[Entry | Logged]:
    return [entry for entry in session.entries if entry.is_wanted]


def _discarded(session: Overview) -> list[Entry | Logged]:
    return [entry for entry in session.entries if entry.is_discarded]
