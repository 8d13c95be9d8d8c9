"""The states of entries and writes, and the ways between them. Any other way is refused.

A write
    queued      certainly not in Keito      -> sent, done (it stands there already), refused, dropped
    sent        it may be on its way        -> done, confirming, refused, queued, unknown, dropped
    unknown     it got no answer            -> sent (again), done, confirming, refused, dropped
    confirming  it was sent twice and is    -> done, refused, dropped
                looked up once more
    done        Keito has it                -> undone
    refused     Keito or a person refused it
    dropped     it is no longer wanted, and never was in Keito, or its entry is gone from there
    undone      a delete whose entry was restored

An entry
    creating    not known to be in Keito    -> running, stopping, stopped, gone, discarded
    running                                 -> stopping, stopped, refused, gone, discarded
    stopping    ended here, and Keito has   -> stopped, running, refused, gone, discarded
                yet to be told
    stopped     finished in Keito           -> gone, discarded
    refused     Keito doesn't let it be     -> stopping, stopped, gone, discarded
                stopped; not in the way of the next timer
    gone        not in Keito: its create was refused, or a person deleted it
    discarded   thrown away with its        -> stopping (restored), stopped (a person's), gone
                session

A timer is open, and in the way of its owner's next one, while it is `creating` or `running`.
"""

from enum import StrEnum

from keito_mcp.journal.file import JournalError


class EntryState(StrEnum):
    """Where an entry stands, as far as this machine knows."""

    CREATING = "creating"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    REFUSED = "refused"
    GONE = "gone"
    DISCARDED = "discarded"


class WriteKind(StrEnum):
    """What a write does."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class WriteState(StrEnum):
    """What is known about a write."""

    QUEUED = "queued"
    SENT = "sent"
    UNKNOWN = "unknown"
    CONFIRMING = "confirming"
    DONE = "done"
    REFUSED = "refused"
    DROPPED = "dropped"
    UNDONE = "undone"


class NoSuchWay(JournalError):
    """Something was to go from one state to another to which no way leads; nothing was recorded."""


_E = EntryState
_OF_ENTRIES: dict[EntryState, set[EntryState]] = {
    _E.CREATING: {_E.RUNNING, _E.STOPPING, _E.STOPPED, _E.GONE, _E.DISCARDED},
    _E.RUNNING: {_E.STOPPING, _E.STOPPED, _E.REFUSED, _E.GONE, _E.DISCARDED},
    _E.STOPPING: {_E.STOPPED, _E.RUNNING, _E.REFUSED, _E.GONE, _E.DISCARDED},
    _E.STOPPED: {_E.GONE, _E.DISCARDED},
    _E.REFUSED: {_E.STOPPING, _E.STOPPED, _E.GONE, _E.DISCARDED},
    _E.GONE: set(),
    _E.DISCARDED: {_E.STOPPING, _E.STOPPED, _E.GONE},
}

_W = WriteState
_OF_WRITES: dict[WriteState, set[WriteState]] = {
    _W.QUEUED: {_W.SENT, _W.DONE, _W.REFUSED, _W.DROPPED},
    _W.SENT: {_W.DONE, _W.CONFIRMING, _W.REFUSED, _W.QUEUED, _W.UNKNOWN, _W.DROPPED},
    _W.UNKNOWN: {_W.SENT, _W.DONE, _W.CONFIRMING, _W.REFUSED, _W.DROPPED},
    _W.CONFIRMING: {_W.DONE, _W.REFUSED, _W.DROPPED},
    _W.DONE: {_W.UNDONE},
    _W.REFUSED: set(),
    _W.DROPPED: set(),
    _W.UNDONE: set(),
}

OPEN_WRITES = (WriteState.QUEUED, WriteState.SENT, WriteState.UNKNOWN, WriteState.CONFIRMING)
"""The states of a write that something is still to be done for."""


def way(now: EntryState | WriteState, then: EntryState | WriteState) -> None:
    """Raise `NoSuchWay` unless a way leads from one state to another, or they are the same."""
    ways: set[EntryState] | set[WriteState]
    ways = _OF_ENTRIES[now] if isinstance(now, EntryState) else _OF_WRITES[now]
    if then is not now and then not in ways:
        raise NoSuchWay(f"the journal knows no way from {now} to {then}")
