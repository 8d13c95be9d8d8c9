"""What every write needs: Keito, the journal, the clock, and ways to find out what became of it."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
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
from keito_mcp.keito import KeitoError, KeitoV1, TimeEntry, TimeEntryFilter, Timeouts

Day = Callable[[datetime], date]

ONE_DAY = timedelta(days=1)
MOST_PAGES = 10
PAGE_LIMIT = 200

_log = logging.getLogger(__name__)


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

    async def find(self, entry_key: str, spent_date: date) -> TimeEntry | None:
        """The entry with this project's key, wherever a person may have moved it; raises `KeitoError`."""
        wanted = TimeEntryFilter(
            source="agent", from_date=spent_date - ONE_DAY, to_date=spent_date + ONE_DAY, limit=PAGE_LIMIT
        )
        async for page in self.api.pages(wanted, at_most=MOST_PAGES):
            for entry in page.data:
                if entry.fact("entry_key") == entry_key:
                    return entry
        return None

    async def find_by(self, deadline: float, entry_key: str, spent_date: date) -> TimeEntry | None:
        """The same before a deadline; None also where Keito doesn't answer."""
        with anyio.CancelScope(deadline=deadline):
            try:
                return await self.find(entry_key, spent_date)
            except KeitoError as error:
                _log.info("Looking an entry up by its key failed: %s", error)
        return None

    async def get_by(self, deadline: float, entry_id: str) -> TimeEntry | KeitoError | None:
        """One entry before a deadline; Keito's refusal, or None where it doesn't answer."""
        with anyio.CancelScope(deadline=deadline):
            try:
                return await self.api.get(entry_id)
            except KeitoError as error:
                return error
        return None

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
        self, known: Entry, state: EntryState, hours: Decimal | None = None, entry_id: str | None = None
    ) -> None:
        """Record what Keito shows of an entry that wasn't changed by a write whose answer came."""
        seen = {"state": state, "hours": hours, "entry_id": entry_id}
        changes = {name: value for name, value in seen.items() if value is not None}
        open_writes = await self.journal.unsettled(known.owner.account, known.entry_key)
        settled = [self.settlement(write.write_id, reason="seen in Keito") for write in open_writes]
        await self.settle_all([*settled, self.settlement(None, entry_key=known.entry_key, changes=changes)])

    async def unsettled_stop(self, known: Entry) -> Decimal | None:
        """The hours of a stop that was sent and whose outcome isn't known: the work ended then."""
        if known.state is not EntryState.STOPPING:
            return None
        writes = await self.journal.unsettled(known.owner.account, known.entry_key)
        sent = [write.body["hours"] for write in writes if write.kind is WriteKind.UPDATE]
        return Decimal(str(sent[-1])) if sent else None
