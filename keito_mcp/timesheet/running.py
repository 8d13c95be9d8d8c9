"""Find the timer of an agent that runs in Keito, where this machine knows of none."""

from contextlib import suppress

import anyio

from keito_mcp.journal.entry import Presence
from keito_mcp.keito import KeitoError, TimeEntry, TimeEntryFilter
from keito_mcp.timesheet.books import Books
from keito_mcp.timesheet.ledger import MOST_PAGES, PAGE_LIMIT
from keito_mcp.timesheet.problem import NOTHING_CHANGED, Problem
from keito_mcp.timesheet.work import Worker

_PATIENCE = 5.0
"""Seconds for a look-up that a start can do without."""


async def in_keito(books: Books, worker: Worker) -> TimeEntry | None:
    """Return this agent's timer that another machine or server started, where the session can be recognized.

    Raises:
        Problem: Several run.
        KeitoError: Keito refused or can't be reached.
    """
    if not worker.owner.session_is_certain:
        return None
    wanted = TimeEntryFilter(source="agent", is_running=True, limit=PAGE_LIMIT)
    running = [
        entry
        async for page in books.api.pages(wanted, at_most=MOST_PAGES)
        for entry in page.data
        if await is_own(books, worker, entry)
    ]
    if len(running) > 1:
        raise Problem(
            f"{len(running)} timers run for this agent: {', '.join(entry.id for entry in running)}.",
            NOTHING_CHANGED,
            "Call stop_timer with the entry_id of one of them.",
        )
    return running[0] if running else None


async def started_elsewhere(books: Books, worker: Worker) -> TimeEntry | None:
    """Return this agent's timer that another replica of an HTTP server started; None where that can't be found now.

    Raises:
        Problem: Several run.
    """
    if books.serves_one_user or await books.rows.open_timer(worker.owner) is not None:
        return None
    shown = None
    with anyio.move_on_after(_PATIENCE), suppress(KeitoError):
        shown = await in_keito(books, worker)
    if shown is None or await books.rows.find(worker.owner.account, shown.id) is not None:
        return None
    return shown


async def is_own(books: Books, worker: Worker, shown: TimeEntry) -> bool:
    """Return whether a timer that runs in Keito is this very agent's, and isn't about to be stopped."""
    owner = worker.owner
    return (
        owner.session_is_certain
        and shown.source == "agent"
        and shown.fact("session_id") == owner.session_id
        and shown.fact("agent_id") == owner.agent_id
        and (shown.fact("subagent_id") or "") == owner.subagent_id
        and not await _ends_here(books, owner.account, shown)
    )


async def _ends_here(books: Books, account: str, shown: TimeEntry) -> bool:
    """Return whether it was stopped or discarded on this machine already, and Keito has only not been told yet."""
    known = await books.rows.find(account, shown.id) or await books.rows.find(account, shown.fact("entry_key") or "")
    return known is not None and known.outcome is None and known.desired.presence is not Presence.RUNNING


async def nothing_runs(books: Books, worker: Worker) -> Problem:
    """Return what an agent is told that never had a timer in this session.

    Its session may have been unknown when the timer was started, or its host went on to another one.
    """
    owner = worker.owner
    mine = [
        entry
        for entry in await books.rows.open_timers(owner.account)
        if entry.owner.process == books.journal.process
        and entry.owner.session_id != owner.session_id
        and (entry.owner.agent_id, entry.owner.subagent_id) == (owner.agent_id, owner.subagent_id)
    ]
    if not mine:
        return Problem(
            "No timer of this agent runs, and none was stopped in this session.",
            NOTHING_CHANGED,
            "Log finished work with log_time; call start_timer before the next work.",
        )
    named = ", ".join(f"{entry.handle} ({(entry.desired.notes or 'no notes')[:80]!r})" for entry in mine)
    return Problem(
        f"No timer of this session runs, but one that this server started in another session does: {named}.",
        NOTHING_CHANGED,
        "If it is yours, call stop_timer with its entry_id.",
    )
