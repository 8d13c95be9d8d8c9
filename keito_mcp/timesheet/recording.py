"""Entries that nobody asked for: one for each session and day, which follows the time that its turns took."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

from keito_mcp.clock import Instant
from keito_mcp.journal import Amendment, Entry, EntryState, Write, WriteKind, WriteState, asked_for
from keito_mcp.timesheet import abandoned, creates
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.matching import same_notes
from keito_mcp.timesheet.record import Day
from keito_mcp.timesheet.work import Worker

_KEYS = uuid.UUID("6b7e0f8a-54a6-4a0e-9d5c-0c5f6e1a9d11")
"""Makes an entry's key out of what it stands for: whoever records the same session and day makes the same entry."""


class Records:
    """What is recorded of sessions in one account, as the recorder asks for it."""

    def __init__(self, ledger: Ledger, account: str) -> None:
        """The records of an account."""
        self._ledger = ledger
        self._account = account

    async def made_in(self, session_id: str) -> Sequence[Entry]:
        """All entries of a session of a host, oldest first."""
        return await self._ledger.journal.recordings.made_in(self._account, session_id)

    async def recorded(self, session_id: str) -> Sequence[Entry]:
        """The entries of a session that nobody asked for, oldest first."""
        return await self._ledger.journal.recordings.of_session(self._account, session_id)

    async def counted_otherwise(self, session_id: str) -> Sequence[Entry]:
        """What agents logged themselves in a session."""
        return await self._ledger.journal.recordings.counted_otherwise(self._account, session_id)

    async def record(self, worker: Worker, wanted: Day, least: Decimal) -> bool:
        """Queue what brings a day's entry to its hours; whether there is one; raises as `record` does."""
        return await record(self._ledger, worker, wanted, least) is not None

    async def withdraw(self, session_id: str, reason: str) -> None:
        """Discard what was recorded of a session, apart from what a person changed."""
        await withdraw(self._ledger, self._account, session_id, reason)

    async def end(self, entry_key: str, at: Instant) -> None:
        """Stop a timer at the moment at which its agent ended."""
        entry = await self._ledger.journal.find(self._account, entry_key)
        if entry is not None:
            await abandoned.end(self._ledger, entry, at)

    async def throw_away(self, entry_keys: Sequence[str], reason: str) -> None:
        """Discard entries."""
        found = [await self._ledger.journal.find(self._account, key) for key in entry_keys]
        known = [entry for entry in found if entry is not None]
        await self._ledger.journal.throw_away(known, reason, self._ledger.clock.now())


async def record(ledger: Ledger, worker: Worker, wanted: Day, least: Decimal) -> Entry | None:
    """Queue what brings a day's entry to its hours; the same again changes nothing.

    An entry that a person changed is left as it is: only the hours beyond those that it had from here go into another.
    One that was restored shares the hours with those that were made while it was discarded.

    Args:
        ledger: Where it is recorded.
        worker: Whose session it was.
        wanted: The day, its hours and its work.
        least: Decimal hours under which nothing is logged.

    Returns:
        The entry that holds the hours; None where none is needed.

    Raises:
        Problem: Its metadata is larger than Keito takes.
        JournalError: Nothing was queued.
    """
    earlier = await _of_day(ledger, worker, wanted.day)
    hours = wanted.hours
    ours: list[Entry] = []
    for entry in earlier:
        if _is_a_persons(entry):
            arrived = await ledger.journal.recordings.arrived(entry.entry_key)
            # What Keito refused never stood there.
            hours -= arrived or (entry.hours if entry.person else Decimal(0))
        elif entry.is_wanted:
            ours.append(entry)
    if hours < least:
        hours = Decimal(0)
    for entry in ours[:-1]:
        share = min(await _hours(ledger, entry), hours)
        await _follow(ledger, worker, entry, replace(wanted, hours=share))
        hours -= max(share, Decimal(0))
    if ours:
        return await _follow(ledger, worker, ours[-1], replace(wanted, hours=hours))
    if not hours:
        return None
    return await _add(ledger, worker, replace(wanted, hours=hours), len(earlier))


async def withdraw(ledger: Ledger, account: str, session_id: str, reason: str | None) -> list[Entry]:
    """Discard what was recorded of a session, apart from what a person changed; returns what was discarded."""
    found = await ledger.journal.recordings.of_session(account, session_id)
    unwanted = [entry for entry in found if entry.is_wanted and not _is_a_persons(entry)]
    if unwanted:
        await ledger.journal.throw_away(unwanted, reason, ledger.clock.now())
    return unwanted


def _is_a_persons(entry: Entry) -> bool:
    return entry.person is not None or entry.state in {EntryState.GONE, EntryState.REFUSED}


async def _of_day(ledger: Ledger, worker: Worker, day: date) -> Sequence[Entry]:
    found = await ledger.journal.recordings.of_session(worker.owner.account, worker.owner.session_id)
    return [entry for entry in found if entry.spent_date == day]


async def _add(ledger: Ledger, worker: Worker, wanted: Day, number: int) -> Entry:
    owner = worker.owner
    key = str(uuid.uuid5(_KEYS, "\n".join([owner.account, owner.session_id, wanted.day.isoformat(), str(number)])))
    now = ledger.clock.now()
    entry, body = creates.draft(worker, wanted.work, now, spent_date=wanted.day, hours=wanted.hours, key=key)
    create = Write(
        account=owner.account,
        kind=WriteKind.CREATE,
        entry_key=key,
        entry_id=None,
        body=body.body(),
        sent=now,
        idempotency_key=str(uuid.uuid4()),
        state=WriteState.QUEUED,
        sends=0,
        promised=True,
    )
    return await ledger.journal.recordings.add(replace(entry, is_recorded=True), create)


async def _hours(ledger: Ledger, entry: Entry) -> Decimal:
    """The hours that an entry has, or gets by what waits for it."""
    waiting = asked_for(await ledger.journal.unsettled(entry.owner.account, entry.entry_key))
    if "hours" in waiting:
        return Decimal(str(waiting["hours"]))
    # Keito may keep fewer places than were sent.
    return await ledger.journal.recordings.arrived(entry.entry_key) or entry.hours


async def _follow(ledger: Ledger, worker: Worker, entry: Entry, wanted: Day) -> Entry:
    """Bring an entry to its hours and notes, unless that is what it has, or what waits for it makes of it."""
    waiting = asked_for(await ledger.journal.unsettled(entry.owner.account, entry.entry_key))
    notes = waiting.get("notes", entry.notes)
    changes: dict[str, object] = {}
    if await _hours(ledger, entry) != wanted.hours:
        changes["hours"] = float(wanted.hours)
    if wanted.work.notes is not None and not same_notes(notes, wanted.work.notes):
        changes["notes"] = wanted.work.notes
    if changes and wanted.hours > 0:
        changes["metadata"] = worker.metadata(wanted.work, entry.entry_key)
        amendment = Amendment(entry_key=entry.entry_key, body=changes, leave_now=False)
        await ledger.journal.amend(amendment, ledger.clock.now())
    elif wanted.hours <= 0:
        reason = "What is left of its time beside what the agent logged itself is not logged."
        await ledger.journal.throw_away([entry], reason, ledger.clock.now())
    return entry
