"""Keep the entries that nobody asked for: one for each session and day, which follows the time of its turns."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from keito_mcp.clock import Instant
from keito_mcp.journal.entry import Desired, Entry, Presence
from keito_mcp.timesheet import abandon, asked, compare, deleting
from keito_mcp.timesheet.books import Books
from keito_mcp.timesheet.logged import Logged
from keito_mcp.timesheet.work import Work, Worker

_KEYS = uuid.UUID("6b7e0f8a-54a6-4a0e-9d5c-0c5f6e1a9d11")
"""Makes an entry's key out of what it stands for: whoever records the same session and day makes the same entry."""

_NOTHING_LEFT = "What is left of its time beside what the agent logged itself is not logged."


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What one day of a session is to have in Keito."""

    day: date
    hours: Decimal
    work: Work


class RowRecords:
    """What is recorded of sessions in one account, as the recorder asks for it."""

    def __init__(self, books: Books, account: str) -> None:
        """The records of an account."""
        self._books = books
        self._account = account

    async def made_in(self, session_id: str) -> Sequence[Logged]:
        """Return all entries of a session of a host, oldest first."""
        return _logged(await self._books.rows.made_in(self._account, session_id))

    async def recorded(self, session_id: str) -> Sequence[Logged]:
        """Return the entries of a session that nobody asked for, oldest first."""
        return _logged(await self._books.rows.recorded(self._account, session_id))

    async def counted_otherwise(self, session_id: str) -> Sequence[Logged]:
        """Return what agents logged themselves in a session."""
        return _logged(await self._books.rows.counted_otherwise(self._account, session_id))

    async def record(self, worker: Worker, wanted: Day, least: Decimal) -> bool:
        """Want a day's entry to have its hours; return whether there is one; raises as `record` does."""
        return await record(self._books, worker, wanted, least) is not None

    async def withdraw(self, session_id: str, reason: str) -> None:
        """Discard what was recorded of a session, apart from what a person changed."""
        await withdraw(self._books, self._account, session_id, reason)

    async def end(self, entry_key: str, at: Instant) -> None:
        """Stop a timer at the moment at which its agent ended."""
        entry = await self._books.rows.find(self._account, entry_key)
        if entry is not None:
            await abandon.end(self._books, entry, at)

    async def throw_away(self, entry_keys: Sequence[str], reason: str) -> None:
        """Discard entries."""
        await throw_away(self._books, entry_keys, reason)


def _logged(entries: Sequence[Entry]) -> Sequence[Logged]:
    return [Logged.of(entry) for entry in entries]


async def record(books: Books, worker: Worker, wanted: Day, least: Decimal) -> Entry | None:
    """Want a day's entry to have its hours; the same again changes nothing.

    An entry that a person changed is left as it is: only the hours beyond those that it had from here go into another.
    One that was restored shares the hours with those that were made while it was discarded.

    Args:
        books: Where it is recorded.
        worker: Whose session it was.
        wanted: The day, its hours and its work.
        least: Decimal hours under which nothing is logged.

    Returns:
        The entry that holds the hours; None where none is needed.

    Raises:
        Problem: Its metadata is larger than Keito takes.
        JournalError: Nothing was recorded.
    """
    owner = worker.owner
    recorded = await books.rows.recorded(owner.account, owner.session_id)
    earlier = [entry for entry in recorded if entry.desired.spent_date == wanted.day]
    hours = wanted.hours - sum((_stood(entry) for entry in earlier if entry.outcome is not None), Decimal(0))
    if hours < least:
        hours = Decimal(0)
    ours = [entry for entry in earlier if _is_ours(entry)]
    for entry in ours[:-1]:
        share = min(entry.desired.hours or Decimal(0), hours)
        await _follow(books, worker, entry, replace(wanted, hours=share))
        hours -= share
    if ours:
        return await _follow(books, worker, ours[-1], replace(wanted, hours=hours))
    if not hours:
        return None
    return await _add(books, worker, replace(wanted, hours=hours), len(earlier))


async def withdraw(
    books: Books, account: str, session_id: str, reason: str | None, *, discards: bool = False
) -> Sequence[Entry]:
    """Discard what was recorded of a session, apart from what a person changed; return what was discarded.

    Args:
        books: Where it is recorded.
        account: Whose.
        session_id: The session.
        reason: Why.
        discards: Whether nothing of the session until now is counted any more.

    Raises:
        JournalError: Nothing was recorded.
    """
    recorded = await books.rows.recorded(account, session_id)
    found = [entry for entry in recorded if _is_ours(entry)]
    await throw_away(books, [entry.key for entry in found], reason, session=(account, session_id) if discards else None)
    return found


async def throw_away(
    books: Books, keys: Sequence[str], reason: str | None, *, session: tuple[str, str] | None = None
) -> None:
    """Want entries to be absent: what never left is dropped, what is in Keito is deleted later.

    Raises:
        JournalError: Nothing was recorded.
    """
    now = books.clock.now()
    edits: dict[str, Callable[[Entry], Entry]] = {
        key: lambda current: deleting.unwanted(current, reason, now) for key in keys
    }
    if edits or session is not None:
        await books.rows.edit_all(edits, now, discards=session)


def _is_ours(entry: Entry) -> bool:
    return entry.outcome is None and entry.desired.presence is not Presence.ABSENT


def _stood(entry: Entry) -> Decimal:
    """Return the hours that an entry had from here, before a person had it. What Keito refused never stood there."""
    seen = entry.observed or entry.removed
    return entry.accepted.get("hours") or (seen.hours if seen else None) or Decimal(0)


async def _add(books: Books, worker: Worker, wanted: Day, number: int) -> Entry:
    owner = worker.owner
    name = "\n".join([owner.account, owner.session_id, wanted.day.isoformat(), str(number)])
    now = books.clock.now()
    entry = asked.finished(
        worker, wanted.work, now, spent_date=wanted.day, hours=wanted.hours, key=str(uuid.uuid5(_KEYS, name))
    )
    entry = replace(entry, is_recorded=True)
    return await books.rows.add(entry, now, held=False) or entry


async def _follow(books: Books, worker: Worker, entry: Entry, wanted: Day) -> Entry:
    """Want an entry to have these hours and notes; without hours it isn't wanted at all."""
    if wanted.hours <= 0:
        await throw_away(books, [entry.key], _NOTHING_LEFT)
        return entry
    metadata = worker.metadata(wanted.work, entry.key)
    now = books.clock.now()

    def followed(current: Entry) -> Entry:
        return replace(current, desired=_desired(current.desired, wanted, metadata), ended=now)

    if followed(entry).desired != entry.desired:
        await books.rows.edit(entry.key, followed, now)
    return entry


def _desired(before: Desired, wanted: Day, metadata: dict[str, object]) -> Desired:
    """Return what an entry should be; what it is made of is told anew only beside other hours or notes."""
    notes = wanted.work.notes
    notes = before.notes if notes is None or compare.same("notes", notes, before.notes) else notes
    if (wanted.hours, notes) == (before.hours, before.notes):
        return before
    return replace(before, hours=wanted.hours, notes=notes, metadata=metadata)
