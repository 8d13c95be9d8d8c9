"""Keep the rows in SQLite: a few columns to find them by, and the whole entry as one document."""

import json
import math
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from keito_mcp.clock import Instant
from keito_mcp.journal import recordings
from keito_mcp.journal.columns import insert
from keito_mcp.journal.document import from_document, stored, to_document
from keito_mcp.journal.entry import LONGEST_REST, Entry, Presence
from keito_mcp.journal.protocol import Due, Edit, Lease, SecondsLeft
from keito_mcp.journal.rows import Owner, Sign
from keito_mcp.journal.rules import is_counted_anew, is_finished_timer, is_open_timer, is_same_call, lease_left

_T = TypeVar("_T")
_OWNED = "account = :account AND session_id = :session_id AND agent_id = :agent_id AND subagent_id = :subagent_id"


class _Read(Protocol):
    def __call__(self, work: Callable[[sqlite3.Connection], _T]) -> Awaitable[_T]: ...


class _Commit(Protocol):
    def __call__(
        self, name: str, work: Callable[[sqlite3.Connection], _T], sign: Sign | None = None
    ) -> Awaitable[_T]: ...


@dataclass(frozen=True, slots=True)
class Table:
    """The table of rows. Its methods work within a transaction of the caller's.

    Attributes:
        process: Who takes leases here.
        is_gone: Returns whether another process has certainly ended.
        seconds_left: Returns after how long something is to be done for an entry.
    """

    process: str
    is_gone: Callable[[str], bool]
    seconds_left: SecondsLeft

    def add(
        self,
        connection: sqlite3.Connection,
        entry: Entry,
        now: Instant,
        *,
        same_since: datetime | None = None,
        held: bool = False,
    ) -> Entry | None:
        """Add a row, unless another one is in its way: that one is returned; see `Rows.add`."""
        if in_the_way := _in_the_way_of(connection, entry, same_since):
            return in_the_way
        columns = self._columns(connection, entry, now) | self._lease(now if held else None)
        insert(connection, "rows", {"key": entry.key, **columns})
        return None

    def edit(
        self, connection: sqlite3.Connection, key: str, change: Edit, now: Instant, lease: Lease = Lease.UNASKED
    ) -> Entry | None:
        """Change a row, and return it as changed; None where there is none, or its lease can't be taken."""
        row = connection.execute("SELECT * FROM rows WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        is_own = row["lease_holder"] == self.process
        if lease is Lease.TAKE and not is_own and self._held_for(row, now) > 0:
            return None
        before = from_document(row["document"])
        changed = change(before)
        if changed.key != key:
            raise ValueError(f"a row keeps its key: {key}")
        if is_counted_anew(before, changed):
            recordings.look_again(connection, changed.owner.account, changed.owner.session_id)
        columns = self._columns(connection, changed, now)
        if lease is Lease.TAKE:
            columns |= self._lease(now)
        elif lease is Lease.RELEASE and is_own:
            columns |= self._lease(None)
        assignments = ", ".join(f"{name} = :{name}" for name in columns)
        connection.execute(
            f"UPDATE rows SET {assignments} WHERE key = :key",  # noqa: S608 -- this module's own names
            {"key": key, **columns},
        )
        return changed

    def next_due(self, connection: sqlite3.Connection, account: str, now: Instant) -> Due:
        """Return the row that `take_due` would take, and take nothing.

        The column says in which order to look; whether a row is due is computed anew, for a clock may have been set.
        """
        candidates = connection.execute(
            """
            SELECT key, lease_holder, lease_taken, is_due FROM (
                SELECT *, rowid AS number, not_before <= :now OR not_before > :far AS is_due FROM rows
                WHERE account = :account AND is_pending AND not_before IS NOT NULL
            )
            ORDER BY is_due DESC, CASE WHEN is_due THEN '' ELSE not_before END, number
            """,
            {"account": account, "now": _text(now.wall), "far": _text(now.wall + LONGEST_REST)},
        )
        waits: list[float] = []
        for row in candidates:
            held_for = self._held_for(row, now)
            if held_for > 0:
                waits.append(held_for)
                continue
            [entry] = select(connection, "key = :key", {"key": row["key"]})
            seconds = self.seconds_left(entry, now)
            if seconds is not None and seconds <= 0:
                return Due(entry)
            if seconds is not None and not math.isinf(seconds):
                waits.append(seconds)
            if not row["is_due"]:
                # The others have even longer to wait.
                break
        return Due(None, min(waits, default=None))

    def take_due(self, connection: sqlite3.Connection, account: str, now: Instant) -> Due:
        """Take the row that has waited longest among those that are due; see `Rows.due`."""
        due = self.next_due(connection, account, now)
        if due.entry is not None:
            connection.execute(
                "UPDATE rows SET lease_holder = :lease_holder, lease_taken = :lease_taken WHERE key = :key",
                {"key": due.entry.key, **self._lease(now)},
            )
        return due

    def _held_for(self, row: sqlite3.Row, now: Instant) -> float:
        """Return the seconds for which somebody may still hold a row."""
        holder = row["lease_holder"]
        if holder is None or (holder != self.process and self.is_gone(holder)):
            return 0.0
        return lease_left(_instant(row["lease_taken"]), now)

    def _lease(self, taken: Instant | None) -> dict[str, object]:
        if taken is None:
            return {"lease_holder": None, "lease_taken": None}
        moment = json.dumps({**asdict(taken), "wall": _text(taken.wall)})
        return {"lease_holder": self.process, "lease_taken": moment}

    def _columns(self, connection: sqlite3.Connection, entry: Entry, now: Instant) -> dict[str, object]:
        seconds = self.seconds_left(stored(entry), now)
        is_dated = seconds is not None and not math.isinf(seconds)
        shown = entry.observed or entry.removed
        is_finished = entry.started is not None and entry.desired.presence is Presence.FINISHED
        return {
            **_owned_by(entry.owner),
            "entry_id": shown.entry_id if shown else None,
            "presence": entry.desired.presence.value,
            "outcome": entry.outcome.kind.value if entry.outcome else None,
            # A timer that comes back, when its agent has gone on to another one, isn't what a call means by its timer.
            "is_open_timer": is_open_timer(entry)
            and _open_timer(connection, entry.owner, apart_from=entry.key) is None,
            "is_pending": seconds is not None,
            "not_before": _text(now.wall + timedelta(seconds=seconds)) if seconds is not None and is_dated else None,
            "created": _text(entry.created.wall),
            "changed": _text(now.wall),
            "ended": _text((entry.ended or entry.created).wall) if is_finished else None,
            "call_id": entry.call_id,
            "fingerprint": entry.fingerprint,
            "session_is_certain": entry.owner.session_is_certain,
            "host_session": entry.host_session,
            "is_recorded": entry.is_recorded,
            "is_unheard": bool(entry.unheard),
            "document": to_document(entry),
        }


class SqliteRows:
    """The rows of one journal. Each method raises `JournalError` as all of the journal's do."""

    def __init__(self, read: _Read, commit: _Commit, table: Table) -> None:
        """A part of the journal that reads and commits so."""
        self._read = read
        self._commit = commit
        self._table = table

    async def add(
        self, entry: Entry, now: Instant, *, same_since: datetime | None = None, sign: Sign | None = None, held: bool
    ) -> Entry | None:
        """Add a row; see `Rows.add`."""
        return await self._commit(
            "add", lambda c: self._table.add(c, entry, now, same_since=same_since, held=held), sign
        )

    async def edit(
        self, key: str, change: Edit, now: Instant, *, lease: Lease = Lease.UNASKED, sign: Sign | None = None
    ) -> Entry | None:
        """Change a row; see `Rows.edit`."""
        return await self._commit("edit", lambda c: self._table.edit(c, key, change, now, lease), sign)

    async def find(self, account: str, handle: str) -> Entry | None:
        """Return the row with Keito's id or with this key."""
        where = "account = :account AND (entry_id = :handle OR key = :handle) ORDER BY rowid DESC LIMIT 1"
        found = await self._read(lambda c: select(c, where, {"account": account, "handle": handle}))
        return found[0] if found else None

    async def open_timer(self, owner: Owner) -> Entry | None:
        """Return the owner's timer that runs, or should."""
        return await self._read(lambda c: _open_timer(c, owner))

    async def open_timers(self, account: str) -> Sequence[Entry]:
        """Return the timers of an account that run, or should, whoever they are of, oldest first."""
        where = "account = :account AND is_open_timer ORDER BY rowid"
        return await self._read(lambda c: select(c, where, {"account": account}))

    async def last_finished(self, owner: Owner) -> Entry | None:
        """Return the owner's timer that was finished last, apart from those that a person changed."""
        return await self._read(lambda c: _last_finished(c, owner))

    async def of_session(self, account: str, session_id: str) -> Sequence[Entry]:
        """Return the rows of a session, oldest first."""
        where = "account = :account AND session_id = :session_id ORDER BY rowid"
        return await self._read(lambda c: select(c, where, {"account": account, "session_id": session_id}))

    async def pending(self, account: str) -> Sequence[Entry]:
        """Return the rows for which something is left to do, oldest first."""
        where = "account = :account AND is_pending ORDER BY rowid"
        return await self._read(lambda c: select(c, where, {"account": account}))

    async def due(self, account: str, now: Instant) -> Due:
        """Take a row; see `Rows.due`."""
        # Most of the time there is nothing to take, and looking costs no commit.
        found = await self._read(lambda c: self._table.next_due(c, account, now))
        if found.entry is None:
            return found
        return await self._commit("due", lambda c: self._table.take_due(c, account, now))


def select(connection: sqlite3.Connection, where: str, parameters: Mapping[str, object]) -> list[Entry]:
    """Return the entries of the rows for which a condition of this package's own holds."""
    return [from_document(row["document"]) for row in _documents(connection, where, parameters)]


def prune(connection: sqlite3.Connection, before: datetime) -> None:
    """Forget the rows that were settled before a moment; of a timer that is open nothing is forgotten."""
    connection.execute("DELETE FROM rows WHERE changed < ? AND NOT is_pending AND NOT is_open_timer", (_text(before),))


def _in_the_way_of(connection: sqlite3.Connection, entry: Entry, same_since: datetime | None) -> Entry | None:
    if known := select(connection, "key = :key", {"key": entry.key}):
        return known[0]
    alike = _documents(
        connection,
        """
        account = :account AND fingerprint = :fingerprint
        AND (call_id = :call_id OR created >= :same_since OR is_pending)
        ORDER BY rowid DESC
        """,
        {
            "account": entry.owner.account,
            "fingerprint": entry.fingerprint,
            "call_id": entry.call_id,
            "same_since": _text(same_since) if same_since else None,
        },
    )
    for row in alike:
        known_call = from_document(row["document"])
        if is_same_call(known_call, entry, same_since):
            return known_call
    return _open_timer(connection, entry.owner) if is_open_timer(entry) else None


def _open_timer(connection: sqlite3.Connection, owner: Owner, *, apart_from: str = "") -> Entry | None:
    where = f"{_OWNED} AND is_open_timer AND key != :apart_from"
    found = select(connection, where, {**_owned_by(owner), "apart_from": apart_from})
    return found[0] if found else None


def _last_finished(connection: sqlite3.Connection, owner: Owner) -> Entry | None:
    where = f"{_OWNED} AND ended IS NOT NULL AND outcome IS NOT 'person' ORDER BY ended DESC, rowid DESC"
    for row in _documents(connection, where, _owned_by(owner)):
        entry = from_document(row["document"])
        if is_finished_timer(entry):
            return entry
    return None


def _documents(connection: sqlite3.Connection, where: str, parameters: Mapping[str, object]) -> sqlite3.Cursor:
    return connection.execute(f"SELECT document FROM rows WHERE {where}", dict(parameters))  # noqa: S608 -- own text


def _owned_by(owner: Owner) -> dict[str, object]:
    return dict(zip(("account", "session_id", "agent_id", "subagent_id"), owner.key, strict=True))


def _text(moment: datetime) -> str:
    """Return a moment as text that sorts as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _instant(text: str) -> Instant:
    known: dict[str, Any] = json.loads(text)
    return Instant(datetime.fromisoformat(known["wall"]), known["monotonic"], known["boot_id"])
