"""How an entry stands: what Keito shows of it, beside what this machine knows."""

from keito_mcp import hours as decimal_hours
from keito_mcp.journal import Entry, EntryState
from keito_mcp.keito import NotFound, PermissionDenied, TimeEntry
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.problem import Problem
from keito_mcp.timesheet.work import Worker

OPEN = (EntryState.CREATING, EntryState.RUNNING, EntryState.STOPPING)


def runs(known: Entry | None, shown: TimeEntry) -> bool | None:
    """Whether an entry's timer runs; None where neither Keito nor this machine says so."""
    if shown.is_running is not None:
        return shown.is_running
    return known.state in OPEN if known else None


async def changed_by_a_person(ledger: Ledger, known: Entry, shown: TimeEntry) -> str | None:
    """What a person did to an entry since this machine wrote it, as a sentence; None where nothing is seen of that."""
    if known.state in OPEN:
        stopped = runs(known, shown) is False
        by_us = stopped and decimal_hours.same(shown.hours, await ledger.unsettled_stop(known))
        return "A person stopped it in Keito." if stopped and not by_us else None
    if shown.is_running:
        return "A person started it again in Keito."
    if shown.hours is not None and not _same_hours(known, shown):
        before, after = decimal_hours.text(known.hours), decimal_hours.text(shown.hours)
        return f"A person changed its hours from {before} to {after}."
    for name in ("notes", "is_billable"):
        before, after = getattr(known, name), getattr(shown, name)
        if before is not None and after is not None and before != after:
            return f"A person changed its {name}."
    return None


def _same_hours(known: Entry, shown: TimeEntry) -> bool:
    return shown.hours == known.hours if known.hours_answered else decimal_hours.same(shown.hours, known.hours)


async def read(ledger: Ledger, entry_id: str, known: Entry | None) -> TimeEntry:
    """An entry as Keito shows it.

    Raises:
        Problem: It was deleted, or discarded with its session.
        KeitoError: Keito refuses to show it, or can't be reached.
    """
    if known is not None and known.state is EntryState.DISCARDED:
        raise Problem(
            f"Entry {entry_id} was discarded with its session.",
            "No time stands for it.",
            "If the work should count, log it with log_time.",
        )
    try:
        return await ledger.get(entry_id)
    except NotFound as error:
        if known is None:
            raise
        await ledger.seen(known, EntryState.GONE)
        raise deleted(entry_id) from error
    except PermissionDenied:
        if known is not None and known.state in OPEN:
            # It can't be stopped from here any more, and must not stand in the way of the next timer.
            await ledger.seen(known, EntryState.STOPPED)
        raise


def deleted(entry_id: str) -> Problem:
    """What is said of an entry that a person deleted."""
    return Problem(
        f"Entry {entry_id} is no longer in Keito: it was deleted there.",
        "No time stands for it.",
        "If the work should count, log it with log_time.",
    )


def refuse_what_is_not_ours(worker: Worker, known: Entry | None, shown: TimeEntry) -> None:
    """An entry that an agent may change is an agent's, and of this agent or its session; raises `Problem`."""
    if known is None and shown.source != "agent":
        raise Problem(
            f"Entry {shown.id} was not made by an agent, so no tool changes it.",
            "Nothing was changed in Keito.",
            "Leave it to the person who made it.",
        )
    agent_id = known.owner.agent_id if known else shown.fact("agent_id")
    session_id = known.owner.session_id if known else shown.fact("session_id")
    if agent_id != worker.owner.agent_id and session_id != worker.owner.session_id:
        raise Problem(
            f"Entry {shown.id} belongs to agent {agent_id or 'unknown'}, in another session.",
            "Nothing was changed in Keito.",
            "Stop only timers of this agent or this session; list_entries shows them.",
        )
