"""What every write needs: Keito, the journal, the clock, and ways to find out what became of it."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from weakref import WeakValueDictionary

import anyio

from keito_mcp.clock import Clock
from keito_mcp.journal import (
    Entry,
    EntryState,
    Journal,
    JournalError,
    Owner,
    Settlement,
    Sign,
    Write,
    WriteKind,
    WriteState,
)
from keito_mcp.keito import KeitoApi, KeitoError, Marked, TimeEntry, TimeEntryFilter, Timeouts, Unreachable
from keito_mcp.timesheet.matching import shows

Day = Callable[[datetime], date]

ONE_DAY = timedelta(days=1)
MOST_PAGES = 10
PAGE_LIMIT = 200

_log = logging.getLogger(__name__)


class CannotTell(Exception):
    """Whether an entry is in Keito could not be found out; the text says why.

    Attributes:
        error: What Keito answered, where it is Keito that is in the way.
    """

    def __init__(self, why: str, error: KeitoError | None = None) -> None:
        super().__init__(why)
        self.error = error


class Locks:
    """Locks by what they are for, shared by all ledgers of a process; each is gone when nobody holds it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[str, ...], anyio.Lock] = WeakValueDictionary()

    def of(self, key: tuple[str, ...]) -> anyio.Lock:
        """The lock of a key, which begins with its account."""
        return self._locks.setdefault(key, anyio.Lock())


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a ledger is kept.

    Attributes:
        day: Tells the user's day of a moment.
        account_is: The account in words, for people.
        serves_one_user: Whether the end of this process is the end of the sessions that it serves.
        locks: Those of all ledgers of this process.
        later: When what waits is delivered, where that isn't as soon as it can be.
    """

    day: Day
    locks: Locks
    later: str = ""
    account_is: str = ""
    serves_one_user: bool = True


class Ledger:
    """One account's entries: in Keito by `api`, on this machine by `journal`."""

    def __init__(
        self,
        api: KeitoApi,
        journal: Journal,
        clock: Clock,
        place: Place,
        timeouts: Timeouts,
        *,
        view: KeitoApi | None = None,
    ) -> None:
        """Put together what a write needs; what may be looked at without being changed is in `view`, else in `api`."""
        self.api = api
        self.view = view or api
        self.journal = journal
        self.clock = clock
        self.day = place.day
        self._place = place
        self._timeouts = timeouts

    @property
    def is_shared(self) -> bool:
        """Whether there is more in Keito than this ledger's account may see."""
        return isinstance(self.view, Marked)

    @property
    def serves_one_user(self) -> bool:
        """Whether the end of this process is the end of the sessions that it serves, which nobody else serves."""
        return self._place.serves_one_user

    @property
    def later(self) -> str:
        """When what waits is delivered, where that isn't as soon as it can be."""
        return self._place.later

    def one_at_a_time(self, *key: str) -> anyio.Lock:
        """The lock of an agent's timer, or of one call: two of them at once are done one after the other."""
        return self._place.locks.of(key)

    def sign(self, owner: Owner) -> Sign:
        """A sign of life of an owner's session, to be recorded with what it does."""
        return Sign(
            account=owner.account,
            session_id=owner.session_id,
            at=self.clock.now(),
            account_is=self._place.account_is,
            process=self.journal.process if self._place.serves_one_user else None,
        )

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
        found = await self._look(entry_key, spent_date, deadline, all_of_them=False)
        return found[0] if found else None

    async def find_all(self, entry_key: str, spent_date: date, deadline: float | None = None) -> list[TimeEntry]:
        """All entries with this project's key: two, where it was sent twice and both arrived; raises `CannotTell`."""
        return await self._look(entry_key, spent_date, deadline, all_of_them=True)

    async def _look(
        self, entry_key: str, spent_date: date, deadline: float | None, *, all_of_them: bool
    ) -> list[TimeEntry]:
        wanted = TimeEntryFilter(
            source="agent", from_date=spent_date - ONE_DAY, to_date=spent_date + ONE_DAY, limit=PAGE_LIMIT
        )
        found: list[TimeEntry] = []
        more = True
        with anyio.CancelScope(deadline=deadline or anyio.current_time() + self._timeouts.write):
            try:
                async for page in self.api.pages(wanted, at_most=MOST_PAGES):
                    found += [entry for entry in page.data if entry.fact("entry_key") == entry_key]
                    if found and not all_of_them:
                        return found
                    more = page.following is not None
            except KeitoError as error:
                raise CannotTell(str(error), error) from error
        if more:
            raise CannotTell("it gave no answer in time, or shows too many entries on those days")
        return found

    async def get(self, entry_id: str, deadline: float | None = None, *, near: date | None = None) -> TimeEntry:
        """One entry, in time for a write to follow; `near` is as in `KeitoApi.get`, and so is what it raises."""
        with anyio.CancelScope(deadline=deadline or anyio.current_time() + self._timeouts.write):
            return await self.api.get(entry_id, near=near)
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
        await self.settle_all(
            Settlement(
                at=self.clock.now(),
                write_id=write_id,
                outcome=outcome,
                reason=reason,
                entry_key=entry_key,
                changes=changes or {},
            )
        )

    async def settle_all(self, *settlements: Settlement) -> None:
        """Record outcomes. What Keito did is done, so a journal that fails here doesn't fail the call."""
        try:
            await self.journal.settle(*settlements)
        except JournalError as error:
            _log.warning("An outcome could not be recorded; it will be looked up when it is needed: %s", error)

    async def seen(
        self, known: Entry, state: EntryState, shown: TimeEntry | None = None, *, person: str | None = None
    ) -> None:
        """Record what Keito shows of an entry that this call didn't change.

        Args:
            known: The entry as this machine knows it.
            state: What it is now.
            shown: It as Keito shows it.
            person: What a person did to it, where that was seen: what waits for it is not made any more.
        """
        at = self.clock.now()
        refused = person or ("It is no longer in Keito." if state is EntryState.GONE else None)
        settled = [
            Settlement(
                at=at,
                write_id=write.write_id,
                outcome=WriteState.REFUSED if refused else WriteState.DONE,
                reason=refused or "seen in Keito",
            )
            for write in await self.journal.unsettled(known.owner.account, known.entry_key)
            if write.kind is WriteKind.UPDATE and (refused or _was_made(write, known, shown))
        ]
        changes = {"state": state, **(answered(shown) if shown else {})} | ({"person": person} if person else {})
        await self.settle_all(*settled, Settlement(at=at, entry_key=known.entry_key, changes=changes, seen=True))

    async def unsettled_updates(self, known: Entry) -> list[Write]:
        """The changes of an entry whose outcome isn't known, oldest first."""
        writes = await self.journal.unsettled(known.owner.account, known.entry_key)
        return [write for write in writes if write.kind is WriteKind.UPDATE]


def _was_made(write: Write, known: Entry, shown: TimeEntry | None) -> bool:
    return bool(write.sends) and shown is not None and shows(write.body, shown, known.hours_before)


def answered(shown: TimeEntry) -> dict[str, object]:
    """What the journal keeps of an entry as Keito answered it."""
    kept: dict[str, object] = {"entry_id": shown.id, "notes": shown.notes, "is_billable": shown.is_billable}
    if shown.hours is not None:
        kept |= {"hours": shown.hours, "hours_answered": True}
    return {name: value for name, value in kept.items() if value is not None}
