"""The journal's rows, and the states that they go through.

An entry                                                     A write

    creating -> running, stopped (logged whole), gone            sent    -> done, refused, unknown
    running  -> stopping, stopped, gone, discarded               unknown -> done, refused, sent (again)
    stopping -> stopped, running, refused, gone, discarded
    stopped  -> gone, discarded
    refused  -> stopped, gone, discarded

A timer that Keito doesn't let be stopped becomes `refused`, so that it isn't in the way of the next. An entry is
`gone` when Keito doesn't have it: its create was refused or never arrived, or a person deleted it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from keito_mcp.clock import Instant


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

    SENT = "sent"
    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose entry it is: state is kept by this, never by connection.

    Attributes:
        session_is_certain: Whether the session id came from a source that is right for the call.
        process: The server process that wrote it.
    """

    account: str
    session_id: str
    agent_id: str
    subagent_id: str
    session_is_certain: bool
    process: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """(account, session, agent, sub-agent)."""
        return (self.account, self.session_id, self.agent_id, self.subagent_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One time entry that an agent of this machine made.

    Attributes:
        entry_key: This project's own key, in the entry's metadata.
        entry_id: Keito's id, once Keito answered.
        hours: Decimal hours as Keito last answered them, or as they were sent.
        hours_answered: Whether Keito answered them; it may keep fewer places than were sent.
        person: What a person did to it in Keito, once that was seen: it is left as it is.
        started: When a timer started; None for an entry that was logged whole.
    """

    entry_key: str
    owner: Owner
    state: EntryState
    project_id: str
    task_id: str | None
    notes: str | None
    is_billable: bool | None
    spent_date: date
    hours: Decimal
    started: Instant | None
    changed_at: datetime
    person: str | None = None
    hours_answered: bool = False
    entry_id: str | None = None

    @property
    def is_timer(self) -> bool:
        """Whether it was started rather than logged."""
        return self.started is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One request that changes something in Keito, recorded before it is sent.

    Attributes:
        body: What is sent; of a delete, the whole entry as Keito last showed it.
        fingerprint: The same for two calls that ask for the same thing.
        call_id: The host's id of the call, where it sends one.
    """

    account: str
    kind: WriteKind
    entry_key: str | None
    entry_id: str | None
    body: dict[str, Any]
    sent: Instant
    idempotency_key: str | None = None
    fingerprint: str | None = None
    call_id: str | None = None
    state: WriteState = WriteState.SENT
    write_id: int = 0

    def json_body(self) -> str:
        """The body as it is sent."""
        return json.dumps(self.body, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Earlier:
    """What stands in the way of a create: the same thing asked for before, or a timer that is open."""

    entry: Entry
    write: Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of a write, and of its entry.

    Attributes:
        write_id: The write; None where something was only seen in Keito.
        changes: The entry's columns that are different now.
    """

    at: datetime
    write_id: int | None = None
    outcome: WriteState = WriteState.DONE
    reason: str | None = None
    entry_key: str | None = None
    changes: Mapping[str, object] = field(default_factory=dict)
