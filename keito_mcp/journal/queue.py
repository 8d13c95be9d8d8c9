"""The queue: which write is to be delivered next, by whom, and what became of it."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from keito_mcp.clock import Instant, elapsed
from keito_mcp.journal import columns, entries, recordings
from keito_mcp.journal.columns import column, insert, moment, of_write
from keito_mcp.journal.held import release_what_is_stopped
from keito_mcp.journal.rows import Claimed, Settlement, Write
from keito_mcp.journal.states import OPEN_WRITES, EntryState, WriteKind, WriteState, way
from keito_mcp.waits import LEASE, LONGEST_REST, SECOND_COPY

IsGone = Callable[[str], bool]
"""Says of a process whether it has certainly ended."""

_OPEN = f"({', '.join(repr(state.value) for state in OPEN_WRITES)})"
_WAITING = (WriteState.QUEUED, WriteState.UNKNOWN)
_SENT_TWICE = 2
_LATE = "Its session was discarded before it arrived."


def claim(
    connection: sqlite3.Connection, account: str, process: str, now: Instant, is_gone: IsGone, write_id: int | None
) -> Claimed | float | None:
    """Take the oldest write that may be worked on now: the first one of its entry, not resting, in nobody's hands.

    What a process that is gone has sent becomes `unknown`: it is looked up before it is sent again.

    Returns:
        The write; else the seconds until one may be taken; None where none is left.
    """
    found = next_one(connection, account, process, now, is_gone, write_id)
    return _take(connection, found, process, now) if isinstance(found, Write) else found


def next_one(
    connection: sqlite3.Connection, account: str, process: str, now: Instant, is_gone: IsGone, write_id: int | None
) -> Write | float | None:
    """The write that `claim` would take; takes nothing."""
    soonest: float | None = None
    for candidate in _candidates(connection, account, write_id):
        wait = _wait(candidate, process, now, is_gone)
        if wait <= 0:
            return candidate
        soonest = wait if soonest is None else min(soonest, wait)
    return soonest


def _candidates(connection: sqlite3.Connection, account: str, write_id: int | None) -> list[Write]:
    """The open writes that no older one of their entry stands before.

    A change of a discarded entry isn't made, but what it asked for is known until the entry is deleted.
    """
    rows = connection.execute(
        f"""
        SELECT writes.* FROM writes LEFT JOIN entries USING (entry_key)
        WHERE writes.account = :account AND writes.state IN {_OPEN} AND NOT is_held
          AND (:write_id IS NULL OR write_id = :write_id)
          AND NOT (kind = 'update' AND coalesce(entries.state, '') = 'discarded')
          AND NOT EXISTS (
            SELECT 1 FROM writes AS older
            WHERE older.account = writes.account AND older.write_id < writes.write_id
              AND older.state IN ('queued', 'sent', 'unknown')
              AND (older.entry_key = writes.entry_key OR older.entry_id = writes.entry_id)
              AND NOT (older.kind = 'update' AND coalesce(entries.state, '') IN ('gone', 'discarded'))
          )
        ORDER BY write_id
        """,  # noqa: S608 -- the states above
        {"account": account, "write_id": write_id},
    )
    return [columns.write(row) for row in rows]


def _wait(write: Write, process: str, now: Instant, is_gone: IsGone) -> float:
    """The seconds for which a write is still to be left alone."""
    if write.lease is None:
        return rest_left(write, now)
    if write.lease != process and is_gone(write.lease):
        return 0.0
    return rest_left(replace(write, rest=LEASE.total_seconds()), now)


def rest_left(write: Write, now: Instant) -> float:
    """The seconds for which a write still rests.

    One that would rest longer than anything ever does began to by a clock that was ahead: nobody knows how long ago.
    """
    rested, rest = write.rested or write.sent, timedelta(seconds=write.rest)
    if rested.boot_id != now.boot_id and rested.wall + rest > now.wall + LONGEST_REST:
        return 0.0
    return (rest - elapsed(rested, now).duration).total_seconds()


def _take(connection: sqlite3.Connection, write: Write, process: str, now: Instant) -> Claimed:
    state = WriteState.UNKNOWN if write.state is WriteState.SENT else write.state
    way(write.state, state)
    sent = write.sent
    if state is WriteState.UNKNOWN and write.kind is not WriteKind.DELETE and _is_ahead(sent, now):
        # It was sent by a clock that was ahead: at the latest just now. A delete's time counts hours, and no arrival.
        sent = now
    connection.execute(
        """
        UPDATE writes SET state = ?, lease = ?, rested_at = ?, rested_monotonic = ?, rested_boot = ?,
            sent_at = ?, sent_monotonic = ?, sent_boot = ?
        WHERE write_id = ?
        """,
        (state.value, process, *moment(now), *moment(sent), write.write_id),
    )
    entry = entries.by_key(connection, write.entry_key) if write.entry_key else None
    return Claimed(replace(write, state=state, lease=process, rested=now, sent=sent), entry)


def _is_ahead(moment: Instant, now: Instant) -> bool:
    """Whether a moment of an earlier boot lies in the future."""
    return moment.boot_id != now.boot_id and moment.wall > now.wall


def send(connection: sqlite3.Connection, write: Write, process: str, now: Instant) -> bool:
    """Record that a claimed write is about to leave, with its body as it is now; False where it was taken away."""
    cursor = connection.execute(
        """
        UPDATE writes
        SET state = 'sent', sends = sends + 1, body = ?, entry_id = ?, reason = NULL,
            sent_at = ?, sent_monotonic = ?, sent_boot = ?, rested_at = ?, rested_monotonic = ?, rested_boot = ?
        WHERE write_id = ? AND lease = ? AND state IN ('queued', 'unknown')
        """,
        (write.json_body(), write.entry_id, *moment(now), *moment(now), write.write_id, process),
    )
    return cursor.rowcount == 1


def settle(connection: sqlite3.Connection, settlement: Settlement, process: str) -> None:
    """Record what became of one write, and what its entry is now.

    What another process settled meanwhile stays so; only who holds a write may say that it waits; and of a create
    that was sent twice the second answer says nothing of the first copy, so only who looks once more may settle it.
    """
    write = read(connection, settlement.write_id) if settlement.write_id is not None else None
    if write is None and settlement.write_id is not None:
        return
    if write is not None:
        is_anothers = write.lease != process and (
            settlement.outcome in _WAITING or write.state is WriteState.CONFIRMING
        )
        if write.state not in OPEN_WRITES or is_anothers:
            return
        outcome = _outcome(write, settlement)
        way(write.state, outcome)
        _record(connection, write, outcome, settlement)
        if settlement.is_held:
            release_what_is_stopped(connection, write, settlement.at)
        if outcome not in _WAITING:
            _overtake(connection, write, settlement)
    if settlement.entry_key is not None and (settlement.changes or settlement.arrived is not None):
        late = settlement.seen or (write is not None and write.kind is WriteKind.UPDATE)
        _change_entry(connection, settlement.entry_key, settlement, write, late=late)


def _outcome(write: Write, settlement: Settlement) -> WriteState:
    outcome = settlement.outcome
    if outcome is WriteState.QUEUED and write.sends > 1 and not settlement.is_held:
        # This time it certainly didn't arrive; an earlier time it may have. What is held isn't sent again before that
        # is certain.
        return WriteState.UNKNOWN
    is_final = outcome in {WriteState.DONE, WriteState.REFUSED}
    twice = write.kind is WriteKind.CREATE and write.sends >= _SENT_TWICE
    if is_final and twice and write.state is not WriteState.CONFIRMING:
        return WriteState.CONFIRMING
    return outcome


def _record(connection: sqlite3.Connection, write: Write, outcome: WriteState, settlement: Settlement) -> None:
    waits = outcome in _WAITING
    rest = SECOND_COPY.total_seconds() if outcome is WriteState.CONFIRMING else settlement.rest
    certainly_not = settlement.outcome is WriteState.QUEUED and write.state is WriteState.SENT
    promised = write.promised if settlement.promised is None else settlement.promised
    keeps_promise = waits or outcome in {WriteState.REFUSED, WriteState.CONFIRMING}
    values = {
        "state": outcome.value,
        "reason": settlement.reason,
        "sends": write.sends - certainly_not,
        "looks": write.looks + settlement.looked,
        "attempts": write.attempts + 1 if waits else 0,
        "promised": promised and keeps_promise,
        "rest": rest,
        "is_held": settlement.is_held,
        "rested_at": column(settlement.at.wall),
        "rested_monotonic": settlement.at.monotonic,
        "rested_boot": settlement.at.boot_id,
        "settled_at": None if outcome in OPEN_WRITES else column(settlement.at.wall),
    }
    assignments = ", ".join(f"{name} = :{name}" for name in values)
    connection.execute(
        f"UPDATE writes SET {assignments}, lease = NULL WHERE write_id = :write_id",  # noqa: S608 -- named above
        {**values, "write_id": write.write_id},
    )


def _overtake(connection: sqlite3.Connection, write: Write, settlement: Settlement) -> None:
    """Drop what waits for an entry that is deleted, or that Keito refused to make."""
    # One that finds nothing left to delete is dropped.
    gone = {WriteState.DONE, WriteState.DROPPED}
    deleted = write.kind is WriteKind.DELETE and settlement.outcome in gone
    never_made = write.kind is WriteKind.CREATE and settlement.outcome is WriteState.REFUSED
    if deleted or never_made:
        drop(connection, write, settlement, "The entry is gone.")


def drop(connection: sqlite3.Connection, write: Write, settlement: Settlement, reason: str) -> None:
    """Drop the other changes and deletes of the same entry, also those whose process can't settle them any more.

    Its creates stay: one that is asked for after a delete restores it.
    """
    connection.execute(
        """
        UPDATE writes SET state = 'dropped', reason = :reason, promised = 0, lease = NULL, settled_at = :at
        WHERE account = :account AND write_id != :write_id
          AND kind != 'create' AND state IN ('queued', 'sent', 'unknown')
          AND (entry_key = :entry_key OR entry_id = :entry_id)
        """,
        {
            "account": write.account,
            "write_id": write.write_id,
            "entry_key": write.entry_key,
            "entry_id": write.entry_id,
            "reason": reason,
            "at": column(settlement.at.wall),
        },
    )


def _change_entry(
    connection: sqlite3.Connection, entry_key: str, settlement: Settlement, write: Write | None, *, late: bool
) -> None:
    entry = entries.by_key(connection, entry_key)
    changes = dict(settlement.changes)
    if (late and not entry.is_wanted) or (write is not None and entry.state is EntryState.GONE):
        # It was discarded, or a person deleted it, while this was on its way.
        changes.pop("state", None)
    if settlement.arrived is not None:
        changes |= {"state": _arrived(connection, entry_key, entry.state, runs=settlement.arrived)}
        if not entry.is_wanted:
            delete = Write(
                account=entry.owner.account,
                kind=WriteKind.DELETE,
                entry_key=entry_key,
                entry_id=str(changes["entry_id"]),
                body={"reason": _LATE, "session_id": entry.owner.session_id, "was": _was(runs=settlement.arrived)},
                # It was asked for when the session was discarded, the last time that something became of the entry.
                sent=Instant(entry.changed_at, 0.0, ""),
                state=WriteState.QUEUED,
                sends=0,
            )
            insert(connection, "writes", of_write(delete))
    entries.change(connection, entry_key, settlement.at.wall, changes)
    is_taken = "person" in changes or changes.get("state") is EntryState.GONE
    if entry.is_recorded and is_taken and (write is None or write.kind is WriteKind.UPDATE):
        # The hours beyond those that a person has left there go into another entry.
        recordings.look_again(connection, entry.owner.account, entry.owner.session_id)


def _was(*, runs: bool) -> str:
    return (EntryState.RUNNING if runs else EntryState.STOPPED).value


def _arrived(connection: sqlite3.Connection, entry_key: str, state: EntryState, *, runs: bool) -> EntryState:
    """The state of an entry whose create arrived; what was asked for meanwhile stays so."""
    if state is EntryState.CREATING:
        return EntryState.RUNNING if runs else EntryState.STOPPED
    if state is EntryState.STOPPING and not changes_wait(connection, entry_key):
        return EntryState.STOPPED
    return state


def changes_wait(connection: sqlite3.Connection, entry_key: str) -> bool:
    """Whether a change of an entry is still to be made."""
    found = connection.execute(
        "SELECT 1 FROM writes WHERE entry_key = ? AND kind = 'update' AND state IN ('queued', 'sent', 'unknown')",
        (entry_key,),
    ).fetchone()
    return found is not None


def open_writes(connection: sqlite3.Connection, account: str, entry_key: str | None) -> list[Write]:
    """The writes of an account, or of one of its entries, that something is still to be done for, oldest first."""
    rows = connection.execute(
        f"""
        SELECT * FROM writes
        WHERE account = :account AND state IN {_OPEN} AND entry_key IS coalesce(:key, entry_key)
        ORDER BY write_id
        """,  # noqa: S608 -- the states above
        {"account": account, "key": entry_key},
    )
    return [columns.write(row) for row in rows]


def read(connection: sqlite3.Connection, write_id: int) -> Write | None:
    """The write with this number; None where the file in which it was recorded is another one."""
    row = connection.execute("SELECT * FROM writes WHERE write_id = ?", (write_id,)).fetchone()
    return columns.write(row) if row is not None else None
