"""Changing what isn't in Keito yet: folded into the write that waits, or put behind what must go first."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from keito_mcp.clock import Instant
from keito_mcp.journal import entries, queue
from keito_mcp.journal.columns import insert, moment, of_write
from keito_mcp.journal.rows import Entry, Write
from keito_mcp.journal.states import EntryState, WriteKind, WriteState, way

_ENDED = ("ended_wall", "ended_monotonic", "ended_boot")
_ENDS = (EntryState.CREATING, EntryState.RUNNING, EntryState.REFUSED)
"""The states in which a stop ends the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """A change of an entry that this machine made.

    Attributes:
        body: The changed fields; `is_running` false ends its timer.
        leave_now: Whether it may be sent at once, if nothing must go before it.
        closed: Why a timer is stopped without its agent.
        ended: When its work was over, where that isn't now.
        only_while_open: Whether nothing is to be done where the timer was stopped meanwhile.
        of_a_kept_one: Whether the entry was discarded and is about to be kept; else no change of one is recorded.
    """

    entry_key: str
    body: Mapping[str, Any]
    leave_now: bool
    closed: str | None = None
    ended: Instant | None = None
    only_while_open: bool = False
    of_a_kept_one: bool = False


def amend(connection: sqlite3.Connection, amendment: Amendment, process: str, now: Instant) -> Write | None:
    """Record a change that is about to be made.

    Returns:
        The write that carries it: `sent` and leased by this process where it is to leave now, else `queued`, which
        its agent is to be told; None where nothing was to be done.
    """
    entry = entries.by_key(connection, amendment.entry_key)
    if not (entry.is_wanted or (amendment.of_a_kept_one and entry.state is EntryState.DISCARDED)):
        # No change of it would ever be made.
        return None
    if amendment.only_while_open and entry.state not in {EntryState.CREATING, EntryState.RUNNING}:
        return None
    before = [
        write
        for write in queue.open_writes(connection, entry.owner.account, entry.entry_key)
        if write.state is not WriteState.CONFIRMING
    ]
    carrier = before[-1] if before and _carries(before[-1]) else None
    if carrier is not None and carrier.is_held and amendment.body.get("is_running") is False:
        # The timer that it was held for is stopped.
        carrier = replace(carrier, is_held=False)
        before = [*before[:-1], carrier]
    leaves = amendment.leave_now and (not before or (before == [carrier] and _may_leave(before[0], now)))
    if carrier is None:
        write = _added(connection, entry, amendment, process, now, leaves=leaves)
    else:
        write = _folded(connection, carrier, amendment, process, now, leaves=leaves)
    _end(connection, entry, amendment, now, never_sent=write.kind is WriteKind.CREATE)
    return write


def _carries(write: Write) -> bool:
    """Whether a write that waits can take in a change: it never left, and nobody is about to send it."""
    return write.state is WriteState.QUEUED and not write.lease and write.kind is not WriteKind.DELETE


def _may_leave(write: Write, now: Instant) -> bool:
    return not write.is_held and queue.rest_left(write, now) <= 0


def _added(
    connection: sqlite3.Connection, entry: Entry, amendment: Amendment, process: str, now: Instant, *, leaves: bool
) -> Write:
    write = Write(
        account=entry.owner.account,
        kind=WriteKind.UPDATE,
        entry_key=entry.entry_key,
        entry_id=entry.entry_id,
        body=dict(amendment.body),
        sent=now,
        state=WriteState.SENT if leaves else WriteState.QUEUED,
        sends=int(leaves),
        lease=process if leaves else None,
        promised=not leaves,
    )
    return replace(write, write_id=insert(connection, "writes", of_write(write)))


def _folded(
    connection: sqlite3.Connection, carrier: Write, amendment: Amendment, process: str, now: Instant, *, leaves: bool
) -> Write:
    body = {**carrier.body, **amendment.body}
    if carrier.kind is WriteKind.CREATE and body.get("is_running") is False:
        del body["is_running"]
    state = WriteState.SENT if leaves else WriteState.QUEUED
    way(carrier.state, state)
    at = moment(now)
    write = replace(
        carrier,
        body=body,
        state=state,
        sends=carrier.sends + leaves,
        lease=process if leaves else None,
        sent=now if leaves else carrier.sent,
        rested=now if leaves else carrier.rested,
        promised=carrier.promised or not leaves,
    )
    connection.execute(
        "UPDATE writes SET body = ?, state = ?, sends = ?, lease = ?, promised = ?, is_held = ? WHERE write_id = ?",
        (write.json_body(), state.value, write.sends, write.lease, write.promised, write.is_held, write.write_id),
    )
    if leaves:
        connection.execute(
            """
            UPDATE writes
            SET sent_at = ?, sent_monotonic = ?, sent_boot = ?, rested_at = ?, rested_monotonic = ?, rested_boot = ?
            WHERE write_id = ?
            """,
            (*at, *at, write.write_id),
        )
    return write


def _end(connection: sqlite3.Connection, entry: Entry, amendment: Amendment, now: Instant, *, never_sent: bool) -> None:
    """What the entry is now: ended, where its timer is stopped; as it will be sent, where it never was."""
    changes: dict[str, object] = {"closed": amendment.closed} if amendment.closed else {}
    if amendment.body.get("is_running") is False and entry.state in _ENDS:
        changes["state"] = EntryState.STOPPING
        changes |= dict(zip(_ENDED, moment(amendment.ended or now), strict=True))
    if never_sent:
        changes |= entries.as_sent(amendment.body)
    if changes:
        entries.change(connection, entry.entry_key, now.wall, changes)
