"""What every write needs: Keito, the journal, the clock, and ways to find out what became of it."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from weakref import WeakValueDictionary

import anyio

from keito_mcp.clock import Clock
from keito_mcp.journal import (
    Entry,
    EntryState,
    Journal,
    JournalError,
    Settlement,
    WriteKind,
    WriteState,
)
from keito_mcp.keito import KeitoError, KeitoV1, TimeEntry, TimeEntryFilter, Timeouts, Unreachable

Day = Callable[[datetime], date]

ONE_DAY = timedelta(days=1)
MOST_PAGES = 10
PAGE_LIMIT = 200

_log = logging.getLogger(__name__)


class CannotTell(Exception):
    """Whether an entry is in Keito could not be found out; the text says why."""


class Ledger:
    """One account's entries: in Keito by `api`, on this machine by `journal`."""

    def __init__(self, api: KeitoV1, journal: Journal, clock: Clock, day: Day, timeouts: Timeouts) -> None:
        """Put together what a write needs; `day` tells the user's day of a moment."""
        self.api = api
        self.journal = journal
        self.clock = clock
        self.day = day
        self._timeouts = timeouts
        self._locks: WeakValueDictionary[tuple[str, ...], anyio.Lock] = WeakValueDictionary()

    def one_at_a_time(self, *key: str) -> anyio.Lock:
        """The lock of an agent's timer, or of one call: two of them at once are done one after the other."""
        return self._locks.setdefault(key, anyio.Lock())

    @contextmanager
    def seeing_it_through(self) -> Iterator[float]:
        """A write that has left is followed to its end even when its call is cancelled; yields its deadline.

        Without this, a cancelled call would leave a write whose outcome nobody looked at.
        """
        with anyio.CancelScope(shield=True):
            yield anyio.current_time() + self._timeouts.write

    async def find(self, entry_key: str, spent_date: date, deadline: float | None = None) -> TimeEntry | None:
        """The entry with this project's key, wherever a person may have moved it; None if it isn't in Keito.

        Raises:
            CannotTell: Keito gave no answer in time, or there are too many entries to look through.
        """
        wanted = TimeEntryFilter(
            source="agent", from_date=spent_date - ONE_DAY, to_date=spent_date + ONE_DAY, limit=PAGE_LIMIT
        )
        more = True
        with anyio.CancelScope(deadline=deadline or anyio.current_time() + self._timeouts.write):
            try:
                async for page in self.api.pages(wanted, at_most=MOST_PAGES):
                    for entry in page.data:
                        if entry.fact("entry_key") == entry_key:
                            return entry
                    more = page.following is not None
            except KeitoError as error:
                raise CannotTell(str(error)) from error
        if more:
            raise CannotTell("it gave no answer in time, or shows too many entries on those days")
        return None

    async def get(self, entry_id: str, deadline: float | None = None) -> TimeEntry:
        """One entry, in time for a write to follow; raises `KeitoError`."""
        with anyio.CancelScope(deadline=deadline or anyio.current_time() + self._timeouts.write):
            return await self.api.get(entry_id)
        raise Unreachable("no answer came in time", nothing_written=False)

    async def settle(
        self,
        write_id: int | None,
        outcome: WriteState = WriteState.DONE,
        reason: str | None = None,
        *,
        entry_key: str | None = None,
        changes: Mapping[str, object] | None = None,
    ) -> None:
        """Record what became of a write, and what its entry is now."""
        settlement = self.settlement(write_id, outcome, reason, entry_key=entry_key, changes=changes)
        await self.settle_all([settlement])

    def settlement(
        self,
        write_id: int | None,
        outcome: WriteState = WriteState.DONE,
        reason: str | None = None,
        *,
        entry_key: str | None = None,
        changes: Mapping[str, object] | None = None,
    ) -> Settlement:
        """What `settle_all` records of one write."""
        return Settlement(
            at=self.clock.now().wall,
            write_id=write_id,
            outcome=outcome,
            reason=reason,
            entry_key=entry_key,
            changes=changes or {},
        )

    async def settle_all(self, settlements: list[Settlement]) -> None:
        """Record outcomes. What Keito did is done, so a journal that fails here doesn't fail the call."""
        try:
            await self.journal.settle(*settlements)
        except JournalError as error:
            _log.warning("An outcome could not be recorded; it will be looked up when it is needed: %s", error)

    async def seen(
        self, known: Entry, state: EntryState, shown: TimeEntry | None = None, *, person: str | None = None
    ) -> None:
        """Record what Keito shows of an entry that wasn't changed by a write whose answer came."""
        open_writes = await self.journal.unsettled(known.owner.account, known.entry_key)
        settled = [self.settlement(write.write_id, reason="seen in Keito") for write in open_writes]
        changes = {"state": state, **(answered(shown) if shown else {})} | ({"person": person} if person else {})
        await self.settle_all([*settled, self.settlement(None, entry_key=known.entry_key, changes=changes)])

    async def unsettled_updates(self, known: Entry) -> list[dict[str, Any]]:
        """The changes that were sent for an entry and whose outcome isn't known, oldest first."""
        writes = await self.journal.unsettled(known.owner.account, known.entry_key)
        return [write.body for write in writes if write.kind is WriteKind.UPDATE]

    async def unsettled_stop(self, known: Entry) -> Decimal | None:
        """The hours of the last stop that was sent and whose outcome isn't known: the work ended then."""
        if known.state is not EntryState.STOPPING:
            return None
        stops = [body["hours"] for body in await self.unsettled_updates(known) if body.get("is_running") is False]
        return Decimal(str(stops[-1])) if stops else None


def answered(shown: TimeEntry) -> dict[str, object]:
    """What the journal keeps of an entry as Keito answered it."""
    kept: dict[str, object] = {"entry_id": shown.id, "notes": shown.notes, "is_billable": shown.is_billable}
    if shown.hours is not None:
        kept |= {"hours": shown.hours, "hours_answered": True}
    return {name: value for name, value in kept.items() if value is not None}
