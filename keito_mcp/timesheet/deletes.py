"""Deleting entries that were read just before: each kept whole in the journal first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio

from keito_mcp.journal import Entry, EntryState, Write, WriteKind, WriteState
from keito_mcp.keito import (
    AuthenticationFailed,
    KeitoError,
    NotFound,
    RateLimited,
    StatusError,
    TimeEntry,
    Unreachable,
)
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.listing import Progress


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
    outcomes: list[_Outcome] = []
    try:
        for number, entry in enumerate(entries, 1):
            outcomes.append(await _delete(ledger, entry))
            await progress(number, len(entries), f"{number} of {len(entries)} entries")
            if not outcomes[-1].go_on:
                break
    finally:
        # Also when the call was cancelled: what was deleted is recorded, what wasn't sent is settled.
        outcomes += [_NOT_TRIED] * (len(entries) - len(outcomes))
        with anyio.CancelScope(shield=True):
            await ledger.settle_all(
                [
                    ledger.settlement(
                        write_id, outcome.state, outcome.reason, entry_key=write.entry_key, changes=outcome.changes
                    )
                    for write_id, write, outcome in zip(write_ids, writes, outcomes, strict=True)
                ]
            )
    return [(entry, outcome.reason) for entry, outcome in zip(entries, outcomes, strict=True)]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one delete; without a reason the entry is gone."""

    state: WriteState
    reason: str | None = None
    go_on: bool = True

    @property
    def changes(self) -> dict[str, object]:
        """What the entry is now."""
        return {"state": EntryState.DISCARDED} if self.reason is None else {}


_NOT_TRIED = _Outcome(WriteState.REFUSED, "It was not tried.")


def _write(ledger: Ledger, account: str, entry: TimeEntry, known: Entry | None, reason: str | None) -> Write:
    return Write(
        account=account,
        kind=WriteKind.DELETE,
        entry_key=known.entry_key if known else None,
        entry_id=entry.id,
        body={"entry": entry.model_dump(mode="json"), "reason": reason},
        sent=ledger.clock.now(),
    )


async def _delete(ledger: Ledger, entry: TimeEntry) -> _Outcome:
    """Delete one entry; without a reason it is gone."""
    with ledger.seeing_it_through() as deadline:
        try:
            await ledger.api.delete(entry.id)
        except NotFound:
            return _Outcome(WriteState.DONE)
        except (AuthenticationFailed, RateLimited) as error:
            return _Outcome(WriteState.REFUSED, f"{error}.{_come_back(error)}", go_on=False)
        except KeitoError as error:
            if error.nothing_written:
                return _Outcome(WriteState.REFUSED, f"{error}.", go_on=not isinstance(error, Unreachable))
            return await _after_lost_answer(ledger, entry, error, deadline)
        return _Outcome(WriteState.DONE)


async def _after_lost_answer(ledger: Ledger, entry: TimeEntry, error: KeitoError, deadline: float) -> _Outcome:
    try:
        await ledger.get(entry.id, deadline)
    except NotFound:
        return _Outcome(WriteState.DONE)
    except KeitoError:
        pass
    reason = f"Whether it was deleted isn't known ({error}); discard the session again."
    return _Outcome(WriteState.UNKNOWN, reason, go_on=False)


def _come_back(error: StatusError) -> str:
    return f" Discard the session again in {error.retry_after:g} s." if error.retry_after is not None else ""
