"""Answer a call from the row that it was about, and refuse what may not be done to one."""

from collections.abc import Mapping
from typing import Any

from keito_mcp.hours import LEAST
from keito_mcp.journal.entry import Entry, Presence
from keito_mcp.keito import TimeEntry
from keito_mcp.server.answers import EntryAnswer, Status
from keito_mcp.timesheet.books import Books
from keito_mcp.timesheet.problem import NOTHING_CHANGED, Problem
from keito_mcp.timesheet.waiting import Waiting
from keito_mcp.timesheet.work import Worker

_FIELDS = ("project_id", "task_id", "spent_date", "notes", "is_billable")
_NO_HOURS = LEAST * 0


def of(status: Status, entry: Entry, message: str | None = None) -> EntryAnswer:
    """Return the answer about an entry as Keito showed it, completed by what was asked for."""
    return _answer(status, entry, message, {**_fields(entry.desired), **_fields(entry.shown or entry.observed)})


def queued(entry: Entry, why: str) -> EntryAnswer:
    """Return the answer about an entry that isn't in Keito as it should be, yet."""
    return _answer(
        Status.QUEUED, entry, Waiting(why).text, {**_fields(entry.observed), **_fields(entry.desired, entry.persons)}
    )


def left_alone(entry: Entry, why: str) -> EntryAnswer:
    """Return the answer about an entry that a person's change keeps from being touched."""
    message = f"{why} It is left as it is; if time is missing, log it as a new entry with log_time."
    runs = entry.observed is not None and entry.observed.is_running
    return of(Status.RUNNING if runs else Status.ALREADY_STOPPED, entry, message)


def deleted(handle: str) -> Problem:
    """Return what is said of an entry that a person deleted, or that Keito refused to make."""
    return Problem(
        f"Entry {handle} is no longer in Keito: it was deleted or refused there.",
        "No time stands for it.",
        "If the work should count, log it with log_time.",
    )


def refuse_what_is_gone(entry: Entry) -> None:
    """Refuse to change an entry that was discarded, deleted, or never made.

    Raises:
        Problem: It is gone.
    """
    if entry.outcome is None and entry.desired.presence is Presence.ABSENT:
        raise Problem(
            f"Entry {handle(entry)} was discarded with its session.",
            "No time stands for it.",
            "If the work should count, log it with log_time.",
        )
    if entry.outcome is not None and entry.observed is None:
        raise deleted(handle(entry))


def refuse_what_is_not_ours(worker: Worker, entry: Entry | None, shown: TimeEntry | None) -> None:
    """Refuse to change what isn't an agent's, or is of another agent in another session.

    Raises:
        Problem: It isn't this agent's to change.
    """
    name = handle(entry) if entry else shown.id if shown else ""
    if entry is None and shown is not None and shown.source != "agent":
        raise Problem(
            f"Entry {name} was not made by an agent, so no tool changes it.",
            NOTHING_CHANGED,
            "Leave it to the person who made it.",
        )
    agent_id = entry.owner.agent_id if entry else shown and shown.fact("agent_id")
    session_id = entry.owner.session_id if entry else shown and shown.fact("session_id")
    if agent_id != worker.owner.agent_id and session_id != worker.owner.session_id:
        raise Problem(
            f"Entry {name} belongs to agent {agent_id or 'unknown'}, in another session.",
            NOTHING_CHANGED,
            "Stop only timers of this agent or this session; list_entries shows them.",
        )


async def refuse_an_unknown_agent(books: Books, worker: Worker) -> None:
    """Refuse to guess whose timer is meant: several agents of the session run one, and which of them calls is unknown.

    Raises:
        Problem: Nothing was changed.
    """
    if worker.identity.agent_is_certain:
        return
    owner = worker.owner
    running = [
        entry
        for entry in await books.rows.open_timers(owner.account)
        if (entry.owner.session_id, entry.owner.agent_id) == (owner.session_id, owner.agent_id)
    ]
    if all(entry.owner.key == owner.key for entry in running):
        return
    raise Problem(
        f"Timers of several agents run in this session ({', '.join(entry.handle for entry in running)}), "
        "and which agent makes this call isn't known.",
        NOTHING_CHANGED,
        "Call stop_timer with the entry_id that start_timer returned to you.",
    )


def handle(entry: Entry) -> str:
    """Return how calls name an entry: by Keito's id once it was known, also where the entry is gone."""
    return entry.removed.entry_id if entry.observed is None and entry.removed else entry.handle


def _answer(status: Status, entry: Entry, message: str | None, fields: Mapping[str, Any]) -> EntryAnswer:
    facts = (entry.observed.metadata if entry.observed else None) or {}
    return EntryAnswer(
        id=handle(entry),
        status=status,
        message=message,
        session_id=_text(facts.get("session_id")) or entry.owner.session_id,
        agent_id=_text(facts.get("agent_id")) or entry.owner.agent_id,
        **{"hours": _NO_HOURS, **fields},
    )


def _fields(source: Any, apart_from: frozenset[str] = frozenset()) -> dict[str, Any]:  # noqa: ANN401
    names = [name for name in (*_FIELDS, "hours") if name not in apart_from]
    return {name: value for name in names if (value := getattr(source, name, None)) is not None}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
