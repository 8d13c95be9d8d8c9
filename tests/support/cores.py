"""Look into, and disturb, whichever core keeps the entries; one of them only, once the other one is gone."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from keito_mcp.journal import Amendment, Claimed, JournalError, Settlement, Write, WriteKind
from keito_mcp.journal.entry import Entry, FlightKind, Presence
from keito_mcp.journal.protocol import Lease
from keito_mcp.journal.row_sessions import SqliteSessions
from keito_mcp.journal.sqlite_rows import SqliteRows
from keito_mcp.runtime import Runtime
from keito_mcp.timesheet.overview import RowOverview
from keito_mcp.timesheet.pending import Pending
from tests.kit import CORE, Desk

IS_OF_ROWS = CORE == "rows"

WAITING = (
    "SELECT count(*) FROM rows WHERE is_pending AND not_before IS NOT NULL"
    if IS_OF_ROWS
    else "SELECT count(*) FROM writes WHERE state IN ('queued', 'sent', 'unknown', 'confirming')"
)
"""How much is still to be done by itself, looks for second copies among it."""


def ends_unrecorded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process end before it records what became of its requests."""

    async def unable(*_: Settlement) -> None:
        raise JournalError("it ended before it could record this")

    if not IS_OF_ROWS:
        monkeypatch.setattr(desk.runtime.journal, "settle", unable)
        return
    ending = desk.runtime.journal.process
    for kind, name in ((SqliteRows, "edit"), (SqliteSessions, "edit_all")):
        monkeypatch.setattr(kind, name, _unable_at_the_end(getattr(kind, name), ending))


def _unable_at_the_end(edit: Any, process: str) -> Any:
    async def edit_or_end(self: Any, *args: Any, lease: Lease = Lease.UNASKED, **more: Any) -> Any:
        if lease is Lease.RELEASE and self._table.process == process:
            raise JournalError("it ended before it could record this")
        return await edit(self, *args, lease=lease, **more)

    return edit_or_end


async def signs_of_running(desk: Desk) -> list[datetime]:
    """Return the last sign of life of the session of each running timer, the first timer's first."""
    account = desk.runtime.settings.account
    overview = desk.runtime.overview
    if isinstance(overview, RowOverview):
        rows = overview._rows  # noqa: SLF001 -- nobody else looks at signs
        return [timer.seen.wall for timer in await rows.others_timers(account, None)]
    return [timer.seen.wall for timer in await overview.others_timers(account, None)]


def deleted(desk: Desk) -> tuple[dict[str, Any], str]:
    """Return the one entry that was deleted, as the journal keeps it, and the reason."""
    with sqlite3.connect(desk.runtime.settings.folder / "journal.sqlite3") as journal:
        if IS_OF_ROWS:
            [(document,)] = journal.execute("SELECT document FROM rows WHERE presence = 'absent'")
            row = json.loads(document)
            kept = row["removed"]
            entry = {**kept, "id": kept["entry_id"], "hours": float(kept["hours"])}, row["reason"]
        else:
            [(body, state)] = journal.execute("SELECT body, state FROM writes WHERE kind = 'delete'")
            assert state == "done"
            entry = json.loads(body)["entry"], json.loads(body)["reason"]
    journal.close()
    return entry


async def hold_the_oldest(desk: Desk) -> Any:
    """Take what waits longest into the hands of a desk's process."""
    runtime = desk.runtime
    overview = runtime.overview
    if isinstance(overview, RowOverview):
        due = await overview._rows.due(runtime.settings.account, runtime.clock.now())  # noqa: SLF001 -- as a courier
        assert due.entry is not None
        return due.entry
    claimed = await runtime.journal.claim(runtime.settings.account, runtime.clock.now())
    assert isinstance(claimed, Claimed)
    return claimed


async def bring_to_an_end(desk: Desk, held: Any) -> None:
    """Record that what a process held is done."""
    runtime = desk.runtime
    overview = runtime.overview
    if isinstance(overview, RowOverview):
        assert isinstance(held, Entry)
        await overview._rows.edit(  # noqa: SLF001 -- as a courier
            held.key, _unwanted, runtime.clock.now(), lease=Lease.RELEASE
        )
    else:
        await runtime.journal.settle(Settlement(at=runtime.clock.now(), write_id=held.write.write_id))


async def waiting(runtime: Runtime) -> Sequence[Pending | Write]:
    """Return what is still to be done by itself, looks for second copies among it."""
    return [one for one in await runtime.overview.unsettled(runtime.settings.account) if not _is_held(one)]


async def held(runtime: Runtime) -> list[tuple[str, str]]:
    """Return the session and the handle of each timer that runs on this machine alone."""
    account = runtime.settings.account
    found = []
    for one in await runtime.overview.unsettled(account):
        if _is_held(one):
            session = one.session_id if isinstance(one, Pending) else await _session(runtime, one)
            found.append((session, one.entry_id or one.entry_key or ""))
    return found


def _is_held(one: Pending | Write) -> bool:
    return one.state == "held" if isinstance(one, Pending) else one.is_held


async def _session(runtime: Runtime, write: Write) -> str:
    entry = await runtime.journal.find(write.account, write.entry_key or "")
    assert entry is not None
    return entry.owner.session_id


async def is_being_stopped(runtime: Runtime, handle: str) -> bool:
    """Return whether a stop of an entry was sent, and nobody answered it."""
    overview, account = runtime.overview, runtime.settings.account
    if isinstance(overview, RowOverview):
        row = await overview._rows.find(account, handle)  # noqa: SLF001 -- nobody else looks at flights
        return row is not None and row.in_flight is not None and row.in_flight.kind is FlightKind.STOP
    known = await overview.find(account, handle)
    writes = await overview.unsettled(account, known.entry_key) if known else []
    return any(write.sends and write.body.get("is_running") is False for write in writes)


async def is_known(runtime: Runtime, entry_id: str) -> bool:
    """Return whether this machine knows that an entry is in Keito, and has sent no delete of it."""
    overview, account = runtime.overview, runtime.settings.account
    if isinstance(overview, RowOverview):
        row = await overview._rows.find(account, entry_id)  # noqa: SLF001 -- nobody else looks at flights
        if row is None or row.observed is None or row.observed.entry_id != entry_id:
            return False
        return row.in_flight is None or row.in_flight.kind is not FlightKind.DELETE
    known = await overview.find(account, entry_id)
    if known is None:
        return False
    writes = await overview.unsettled(account, known.entry_key)
    return not any(write.kind is WriteKind.DELETE and write.sends for write in writes)


async def recorded(runtime: Runtime, session_id: str) -> list[str]:
    """Return the keys of a session's entries that nobody asked for."""
    overview, account = runtime.overview, runtime.settings.account
    if isinstance(overview, RowOverview):
        rows = overview._rows  # noqa: SLF001 -- as a recorder
        return [entry.key for entry in await rows.recorded(account, session_id)]
    return [entry.entry_key for entry in await overview.recordings.of_session(account, session_id)]


async def want_hours(runtime: Runtime, key: str, hours: Decimal) -> None:
    """Let an entry have other hours, as another process that records its session."""
    overview, now = runtime.overview, runtime.clock.now()
    if isinstance(overview, RowOverview):
        rows = overview._rows  # noqa: SLF001 -- as a recorder
        await rows.edit(key, lambda row: replace(row, desired=replace(row.desired, hours=hours)), now)
    else:
        await overview.amend(Amendment(entry_key=key, body={"hours": float(hours)}, leave_now=False), now)


def _unwanted(entry: Entry) -> Entry:
    return replace(entry, desired=replace(entry.desired, presence=Presence.ABSENT))
