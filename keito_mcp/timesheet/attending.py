"""Tell an agent, beside the answer to its call, what happened while nobody asked."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from keito_mcp.journal import Owner
from keito_mcp.journal.entry import Entry
from keito_mcp.timesheet import abandon
from keito_mcp.timesheet.books import Books


@asynccontextmanager
async def attended(books: Books, owner: Owner, *, left: frozenset[str] = frozenset()) -> AsyncIterator[list[str]]:
    """See to what others left behind before a call is made, and let its answer or its failure say so.

    Args:
        books: Where it is kept.
        owner: Who calls.
        left: The sessions that the caller's host was in, and is in no longer.

    Raises:
        JournalError: The journal can't be used.
    """
    # A sub-agent that works on in a session that was left must not give its main agent's timer a sign of life.
    outlives = bool(owner.subagent_id) and owner.session_id in left
    timers, unheard = await books.rows.left_behind(owner, own_too=outlives)
    timers = [
        timer
        for timer in timers
        if timer.entry.owner.session_id != owner.session_id or not timer.entry.owner.subagent_id
    ]
    told = await abandon.close(books, timers, left=left)
    for entry in unheard:
        told += entry.unheard
        await books.rows.edit(entry.key, heard(entry.unheard), books.clock.now())
    try:
        yield told
    except Exception as error:
        for text in told:
            error.add_note(text)
        raise


def heard(said: tuple[str, ...]) -> Callable[[Entry], Entry]:
    """Return the change of an entry whose agent was told these sentences."""
    return lambda entry: replace(entry, unheard=tuple(text for text in entry.unheard if text not in said))
