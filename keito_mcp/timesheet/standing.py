"""How an entry stands: what Keito shows of it, beside what this machine knows."""

from decimal import Decimal

from keito_mcp import hours as decimal_hours
from keito_mcp.identity.facts import HOURS_WRITTEN
from keito_mcp.journal import Entry, EntryState
from keito_mcp.keito import NotFound, TimeEntry
from keito_mcp.timesheet.altering import stopped_by
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.matching import edited_by_a_person, shows
from keito_mcp.timesheet.problem import NOTHING_CHANGED, Problem
from keito_mcp.timesheet.work import Worker

OPEN = (EntryState.CREATING, EntryState.RUNNING, EntryState.STOPPING)


async def refuse_an_unknown_agent(ledger: Ledger, worker: Worker) -> None:
    """Refuse to guess whose timer is meant: several agents of the session run one, and which of them calls is unknown.

    Raises:
        Problem: Nothing was changed.
    """
    if worker.identity.agent_is_certain:
        return
    owner = worker.owner
    running = [
        entry
        for entry in await ledger.journal.of_session(owner.account, owner.session_id)
        if entry.runs and entry.owner.agent_id == owner.agent_id
    ]
    if all(entry.owner.key == owner.key for entry in running):
        return
    raise Problem(
        f"Timers of several agents run in this session ({', '.join(entry.handle for entry in running)}), "
        "and which agent makes this call isn't known.",
        NOTHING_CHANGED,
        "Call stop_timer with the entry_id that start_timer returned to you.",
    )


def runs(known: Entry | None, shown: TimeEntry) -> bool | None:
    """Whether an entry's timer runs; None where neither Keito nor this machine says so."""
    if shown.is_running is not None:
        return shown.is_running
    return known.state in OPEN if known else None


async def changed_by_a_person(ledger: Ledger, known: Entry, shown: TimeEntry) -> str | None:
    """What a person did to an entry since this machine wrote it, as a sentence; None where nothing is seen of that.

    What an unanswered change of ours would have done is not taken for a person's doing.
    """
    if known.person:
        return known.person
    if shown.is_locked:
        return "It was approved, locked or invoiced in Keito."
    why = _stopped_or_restarted(ledger, known, shown) or _recounted(known, shown)
    if why is None and known.state is EntryState.STOPPED:
        why = edited_by_a_person(known, shown)
    if why is not None and (made_by_another_server(ledger, shown) or await made_by_us(ledger, known, shown)):
        return None
    return why


async def changed_since(ledger: Ledger, known: Entry, shown: TimeEntry) -> str | None:
    """What a person did to an entry that is to be deleted: an edit of a running timer counts too."""
    why = await changed_by_a_person(ledger, known, shown)
    if why is None and runs(known, shown):
        return edited_by_a_person(known, shown)
    return why


async def made_by_us(ledger: Ledger, known: Entry, shown: TimeEntry) -> bool:
    """Whether an entry shows a change of ours that got no answer."""
    for write in await ledger.unsettled_updates(known):
        if write.sends and shows(write.body, shown, known.hours_before):
            return True
        if await stopped_by(ledger, write, known, shown):
            return True
    return False


def made_by_another_server(ledger: Ledger, shown: TimeEntry) -> bool:
    """Whether an entry is finished with the hours that a replica of this HTTP server wrote last."""
    if ledger.serves_one_user or shown.is_running or shown.hours is None:
        return False
    return shown.fact(HOURS_WRITTEN) == decimal_hours.text(shown.hours)


def _stopped_or_restarted(ledger: Ledger, known: Entry, shown: TimeEntry) -> str | None:
    if known.state is EntryState.STOPPED:
        return "A person started it again in Keito." if shown.is_running else None
    if runs(known, shown) is not False:
        return None
    return f"A person{'' if ledger.serves_one_user else ' or another server'} stopped it in Keito."


def _recounted(known: Entry, shown: TimeEntry) -> str | None:
    """A running timer's hours grow by themselves; a finished entry's don't."""
    if known.state is not EntryState.STOPPED or shown.hours is None or _same_hours(known, shown.hours):
        return None
    before, after = decimal_hours.text(known.hours), decimal_hours.text(shown.hours)
    return f"A person changed its hours from {before} to {after}."


def _same_hours(known: Entry, shown: Decimal) -> bool:
    return shown == known.hours if known.hours_answered else decimal_hours.same(shown, known.hours)


def as_known(known: Entry) -> TimeEntry:
    """A timer that runs, as this machine knows it, where a stop of it can't change what a person did to it."""
    fields = ("project_id", "task_id", "spent_date", "notes", "is_billable")
    about = {name: getattr(known, name) for name in fields if getattr(known, name) is not None}
    return TimeEntry(id=known.handle, source="agent", is_running=True, **about)


async def read(ledger: Ledger, entry_id: str, known: Entry | None) -> TimeEntry:
    """An entry as Keito shows it.

    Raises:
        Problem: It was deleted, discarded with its session, or refused when it was to be made.
        KeitoError: Keito refuses to show it, or can't be reached.
    """
    if known is not None and known.state is EntryState.DISCARDED:
        raise Problem(
            f"Entry {entry_id} was discarded with its session.",
            "No time stands for it.",
            "If the work should count, log it with log_time.",
        )
    if known is not None and known.state is EntryState.GONE:
        raise deleted(entry_id)
    try:
        return await ledger.get(entry_id, near=known.spent_date if known else None)
    except NotFound as error:
        if known is None:
            raise
        await ledger.seen(known, EntryState.GONE)
        raise deleted(entry_id) from error


def deleted(entry_id: str) -> Problem:
    """What is said of an entry that a person deleted."""
    return Problem(
        f"Entry {entry_id} is no longer in Keito: it was deleted or refused there.",
        "No time stands for it.",
        "If the work should count, log it with log_time.",
    )


def left_alone(handle: str, why: str) -> Problem:
    """What is said of a change that a person's change stands against."""
    return Problem(
        f"Entry {handle}: {why}",
        "It is left as it is.",
        "If time is missing, log it as a new entry with log_time.",
    )


def refuse_what_is_not_ours(worker: Worker, known: Entry | None, shown: TimeEntry | None) -> None:
    """An entry that an agent may change is an agent's, and of this agent or its session; raises `Problem`.

    Either this machine knows it, or Keito has just shown it.
    """
    handle = known.handle if known else shown.id if shown else ""
    if known is None and shown is not None and shown.source != "agent":
        raise Problem(
            f"Entry {handle} was not made by an agent, so no tool changes it.",
            "Nothing was changed in Keito.",
            "Leave it to the person who made it.",
        )
    agent_id = known.owner.agent_id if known else shown and shown.fact("agent_id")
    session_id = known.owner.session_id if known else shown and shown.fact("session_id")
    if agent_id != worker.owner.agent_id and session_id != worker.owner.session_id:
        raise Problem(
            f"Entry {handle} belongs to agent {agent_id or 'unknown'}, in another session.",
            "Nothing was changed in Keito.",
            "Stop only timers of this agent or this session; list_entries shows them.",
        )
