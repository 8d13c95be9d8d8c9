"""Which timer a stop means that names none, where this session knows of none."""

from contextlib import suppress

import anyio

from keito_mcp.journal import EntryState
from keito_mcp.keito import KeitoError, TimeEntry, TimeEntryFilter
from keito_mcp.timesheet.ledger import MOST_PAGES, PAGE_LIMIT, Ledger
from keito_mcp.timesheet.problem import NOTHING_CHANGED, Problem
from keito_mcp.timesheet.work import Worker

_PATIENCE = 5.0
"""Seconds for a look that a start can do without."""


async def running_in_keito(ledger: Ledger, worker: Worker) -> TimeEntry | None:
    """This agent's timer that another machine or server started, where the session can be recognized."""
    owner = worker.owner
    if not owner.session_is_certain:
        return None
    wanted = TimeEntryFilter(source="agent", is_running=True, limit=PAGE_LIMIT)
    running = [
        entry
        async for page in ledger.api.pages(wanted, at_most=MOST_PAGES)
        for entry in page.data
        if await is_own(ledger, worker, entry)
    ]
    if len(running) > 1:
        raise Problem(
            f"{len(running)} timers run for this agent: {', '.join(entry.id for entry in running)}.",
            NOTHING_CHANGED,
            "Call stop_timer with the entry_id of one of them.",
        )
    return running[0] if running else None


async def started_elsewhere(ledger: Ledger, worker: Worker) -> TimeEntry | None:
    """This agent's timer that another replica of an HTTP server started; None where that can't be found out now.

    Raises:
        Problem: Several run.
    """
    if ledger.serves_one_user or await ledger.journal.open_timer(worker.owner) is not None:
        return None
    shown = None
    with anyio.move_on_after(_PATIENCE), suppress(KeitoError):
        shown = await running_in_keito(ledger, worker)
    if shown is None or await ledger.journal.find(worker.owner.account, shown.id) is not None:
        return None
    return shown


async def is_own(ledger: Ledger, worker: Worker, entry: TimeEntry) -> bool:
    """Whether a timer that runs in Keito is this very agent's, and isn't about to be stopped."""
    owner = worker.owner
    return (
        owner.session_is_certain
        and entry.source == "agent"
        and entry.fact("session_id") == owner.session_id
        and entry.fact("agent_id") == owner.agent_id
        and (entry.fact("subagent_id") or "") == owner.subagent_id
        and not await _ends_here(ledger, owner.account, entry)
    )


async def _ends_here(ledger: Ledger, account: str, shown: TimeEntry) -> bool:
    """Whether an entry was stopped or discarded on this machine already, and Keito has only not been told yet."""
    known = await ledger.journal.find(account, shown.id)
    known = known or await ledger.journal.find(account, shown.fact("entry_key") or "")
    return known is not None and known.state in {EntryState.STOPPING, EntryState.DISCARDED, EntryState.GONE}


async def nothing_runs(ledger: Ledger, worker: Worker) -> Problem:
    """What an agent is told that never had a timer in this session.

    Its session may have been unknown when the timer was started, or its host went on to another one.
    """
    owner = worker.owner
    others = await ledger.journal.others_timers(owner.account, owner.session_id)
    mine = [
        timer.entry
        for timer in others
        if timer.process == ledger.journal.process
        and (timer.entry.owner.agent_id, timer.entry.owner.subagent_id) == (owner.agent_id, owner.subagent_id)
    ]
    if not mine:
        return Problem(
            "No timer of this agent runs, and none was stopped in this session.",
            NOTHING_CHANGED,
            "Log finished work with log_time; call start_timer before the next work.",
        )
    named = ", ".join(f"{entry.handle} ({(entry.notes or 'no notes')[:80]!r})" for entry in mine)
    return Problem(
        f"No timer of this session runs, but one that this server started in another session does: {named}.",
        NOTHING_CHANGED,
        "If it is yours, call stop_timer with its entry_id.",
    )
