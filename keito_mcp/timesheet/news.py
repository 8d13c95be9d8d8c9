"""What an agent must be told beside the answer to its call: what happened while nobody asked."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from keito_mcp.journal import Abandoned, Entry, Owner, Write
from keito_mcp.timesheet import abandoned
from keito_mcp.timesheet.ledger import Ledger


@asynccontextmanager
async def attended(ledger: Ledger, owner: Owner, *, left: frozenset[str] = frozenset()) -> AsyncIterator[list[str]]:
    """See to what others left behind before a call is made, and let its answer or its failure say so.

    Args:
        ledger: Where it is kept.
        owner: Who calls.
        left: The sessions that the caller's host was in, and is in no longer.

    Raises:
        JournalError: The journal can't be used.
    """
    # A sub-agent that works on in a session that was left must not give its main agent's timer a sign of life.
    outlives = bool(owner.subagent_id) and owner.session_id in left
    timers, refused = await ledger.journal.left_behind(owner, own_too=outlives)
    timers = [timer for timer in timers if _is_anothers(timer, owner)]
    told = [*await abandoned.close(ledger, timers, left=left), *await _tell(ledger, refused)]
    try:
        yield told
    except Exception as error:
        for text in told:
            error.add_note(text)
        raise


def _is_anothers(timer: Abandoned, owner: Owner) -> bool:
    """Whether a timer is of another session, or of the main agent that a sub-agent outlived."""
    return timer.entry.owner.session_id != owner.session_id or not timer.entry.owner.subagent_id


async def _tell(ledger: Ledger, refused: Sequence[tuple[Write, Entry | None]]) -> list[str]:
    """What this agent was told would be made, and was refused since; each is told once."""
    if not refused:
        return []
    await ledger.journal.told([write.write_id for write, _ in refused])
    return [
        f"Not made: the {write.kind} of entry {entry.handle if entry else write.entry_id}, which was to be made later. "
        f"{(write.reason or '').rstrip('.')}."
        for write, entry in refused
    ]
