"""What an agent must be told beside the answer to its call: what happened while nobody asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from keito_mcp.journal import Owner
from keito_mcp.timesheet import abandoned
from keito_mcp.timesheet.ledger import Ledger


@asynccontextmanager
async def attended(ledger: Ledger, owner: Owner) -> AsyncIterator[list[str]]:
    """See to what others left behind before a call is made, and let its answer or its failure say so.

    Raises:
        JournalError: The journal can't be used.
    """
    told = await abandoned.close(ledger, owner.account, owner.session_id)
    told += await _refused(ledger, owner)
    try:
        yield told
    except Exception as error:
        for text in told:
            error.add_note(text)
        raise


async def _refused(ledger: Ledger, owner: Owner) -> list[str]:
    """What this agent was told would be made, and was refused since; each is told once."""
    refused = await ledger.journal.untold(owner)
    if not refused:
        return []
    await ledger.journal.told([write.write_id for write, _ in refused])
    return [
        f"Not made: the {write.kind} of entry {entry.handle if entry else write.entry_id}, which was to be made later. "
        f"{(write.reason or '').rstrip('.')}."
        for write, entry in refused
    ]
