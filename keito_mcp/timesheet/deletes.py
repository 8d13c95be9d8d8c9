"""Deleting entries that were read just before: each kept whole in the journal first."""

from collections.abc import Mapping, Sequence

import anyio

from keito_mcp.journal import Entry, EntryState, Write, WriteKind, WriteState
from keito_mcp.keito import KeitoError, NotFound, TimeEntry, Unreachable
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.listing import Progress

_NOT_TRIED = "It was not tried."


async def delete(
    ledger: Ledger,
    account: str,
    entries: Sequence[TimeEntry],
    known: Mapping[str, Entry],
    reason: str | None,
    progress: Progress,
) -> list[tuple[TimeEntry, str | None]]:
    """Delete entries one after the other.

    Returns:
        Each entry with None if it is gone, or why it isn't.

    Raises:
        JournalError: They couldn't be kept, so none was deleted.
    """
    if not entries:
        return []
    writes = [_write(ledger, account, entry, known.get(entry.id), reason) for entry in entries]
    write_ids = await ledger.journal.begin(*writes)
    outcomes: list[tuple[WriteState, str | None]] = []
    try:
        for number, entry in enumerate(entries, 1):
            outcomes.append(await _delete(ledger, entry))
            await progress(number, len(entries), f"{number} of {len(entries)} entries")
            if outcomes[-1][0] is WriteState.UNKNOWN:
                break
    finally:
        # Also when the call was cancelled: what was deleted is recorded, what wasn't sent is settled.
        outcomes += [(WriteState.REFUSED, _NOT_TRIED)] * (len(entries) - len(outcomes))
        with anyio.CancelScope(shield=True):
            await ledger.settle_all(
                [
                    ledger.settlement(write_id, state, why, entry_key=write.entry_key, changes=_gone(why))
                    for write_id, write, (state, why) in zip(write_ids, writes, outcomes, strict=True)
                ]
            )
    return [(entry, why) for entry, (_, why) in zip(entries, outcomes, strict=True)]


def _write(ledger: Ledger, account: str, entry: TimeEntry, known: Entry | None, reason: str | None) -> Write:
    return Write(
        account=account,
        kind=WriteKind.DELETE,
        entry_key=known.entry_key if known else None,
        entry_id=entry.id,
        body={"entry": entry.model_dump(mode="json"), "reason": reason},
        sent_at=ledger.clock.now().wall,
    )


def _gone(why: str | None) -> dict[str, object]:
    return {"state": EntryState.DISCARDED} if why is None else {}


async def _delete(ledger: Ledger, entry: TimeEntry) -> tuple[WriteState, str | None]:
    """Delete one entry; None for a reason says that it is gone."""
    with ledger.seeing_it_through() as deadline:
        try:
            await ledger.api.delete(entry.id)
        except NotFound:
            return WriteState.DONE, None
        except KeitoError as error:
            if error.nothing_written and not isinstance(error, Unreachable):
                return WriteState.REFUSED, f"{error}."
            shown = await ledger.get_by(deadline, entry.id)
            if isinstance(shown, NotFound):
                return WriteState.DONE, None
            return (
                WriteState.UNKNOWN,
                f"Whether it was deleted isn't known ({error}); discard the session again.",
            )
        return WriteState.DONE, None
