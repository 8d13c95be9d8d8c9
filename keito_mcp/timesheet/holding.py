"""Timers that run on this machine alone, because Keito runs one of the user's at a time, and runs another one now.

The start is held in the journal, and leaves as finished work when the timer is stopped.
"""

from collections.abc import Sequence

import anyio

from keito_mcp.journal import Entry, EntryState, Write, WriteState
from keito_mcp.keito import Conflict, KeitoError, TimeEntry, TimeEntryFilter
from keito_mcp.timesheet.ledger import PAGE_LIMIT, Ledger
from keito_mcp.timesheet.waiting import Waiting, waits


def is_in_the_way(ledger: Ledger, write: Write, error: KeitoError) -> bool:
    """Whether Keito refused a start because another timer of the user runs."""
    starts = write.body.get("is_running") is True
    return starts and isinstance(error, Conflict) and ledger.api.traits.one_timer_per_user


async def hold(ledger: Ledger, write: Write, entry: Entry, error: KeitoError, deadline: float) -> TimeEntry | Waiting:
    """Hold a start that another timer is in the way of.

    Returns:
        The entry, where it is its own timer that runs already; else why it waits.
    """
    running: Sequence[TimeEntry] = ()
    with anyio.CancelScope(deadline=deadline):
        try:
            running = (await ledger.api.list(TimeEntryFilter(is_running=True, limit=PAGE_LIMIT))).data
        except KeitoError:
            # The time counts all the same; which timer it is that runs can't be said.
            running = ()
    for shown in running:
        if shown.fact("entry_key") == entry.entry_key:
            return shown
    beside = await _of_this_user(ledger, running, deadline)
    held = Waiting(_why(beside), error=error, beside=beside, is_held=True)
    return await waits(ledger, write, WriteState.QUEUED, held)


async def withdraw(ledger: Ledger, entry: Entry) -> None:
    """Forget a start that is held: its agent has a timer in Keito."""
    write = await ledger.journal.create_of(entry)
    reason = "This agent's timer runs in Keito."
    await ledger.settle(
        write.write_id, WriteState.DROPPED, reason, entry_key=entry.entry_key, changes={"state": EntryState.GONE}
    )


async def _of_this_user(ledger: Ledger, running: Sequence[TimeEntry], deadline: float) -> TimeEntry | None:
    """Which of the timers that run is of the key's user; None where that can't be told."""
    if len(running) < 2:  # noqa: PLR2004 -- there is no choice
        return running[0] if running else None
    with anyio.CancelScope(deadline=deadline):
        try:
            me = await ledger.api.me()
        except KeitoError:
            return None
        return next((shown for shown in running if shown.user_id == me.id), None)
    return None


def _why(beside: TimeEntry | None) -> str:
    named = "another timer of this user"
    if beside is not None:
        whose = "an agent's" if beside.source == "agent" else "a person's"
        about = f", {beside.notes[:80]!r}" if beside.notes else ""
        named = f"{named} ({beside.id}, {whose}{about})"
    return (
        f"Keito runs one timer of a user at a time, and runs {named}, which is left alone. So this timer runs on this "
        "machine, and its time is logged in Keito when it is stopped."
    )
