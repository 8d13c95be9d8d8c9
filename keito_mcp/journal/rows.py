"""The journal's rows as the rest of the program sees them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from keito_mcp.clock import Instant
from keito_mcp.journal.states import EntryState, WriteKind, WriteState


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
        closed: Why its timer was stopped without its agent, where it was.
        started: When a timer started; None for an entry that was logged whole.
        ended: When its work was over: the moment of the stop, or of the log; None where that isn't known.
        host_session: The host's own id of the session, where another one was given for it.
        is_recorded: Whether nobody asked for it: it counts a session's turns.
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
    closed: str | None = None
    hours_answered: bool = False
    entry_id: str | None = None
    ended: Instant | None = None
    host_session: str | None = None
    is_recorded: bool = False

    @property
    def is_timer(self) -> bool:
        """Whether it was started rather than logged."""
        return self.started is not None

    @property
    def runs(self) -> bool:
        """Whether it is a timer that nobody stopped, as far as this machine knows."""
        return self.is_timer and self.state in {EntryState.CREATING, EntryState.RUNNING}

    @property
    def handle(self) -> str:
        """How a call names it: by Keito's id, or by its key as long as Keito hasn't answered."""
        return self.entry_id or self.entry_key

    @property
    def hours_before(self) -> Decimal | None:
        """The hours of a finished entry as Keito last answered them; None where it didn't, or counts by itself."""
        return self.hours if self.hours_answered and self.state is EntryState.STOPPED else None

    @property
    def is_discarded(self) -> bool:
        """Whether it was thrown away."""
        return self.state is EntryState.DISCARDED

    @property
    def is_wanted(self) -> bool:
        """Whether it should be in Keito, for all that was asked for."""
        return self.state not in {EntryState.GONE, EntryState.DISCARDED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One request that changes something in Keito, recorded before it is sent.

    Attributes:
        body: What is sent; of a delete, the whole `entry` as Keito last showed it, the changes of it that were
            `waiting`, its state before (`was`), its `session_id` and the `reason`.
        sent: When it was sent last; of one that never left, when it was asked for.
        fingerprint: The same for two calls that ask for the same thing.
        call_id: The host's id of the call, where it sends one.
        sends: How often it left and may have arrived.
        looks: How often it was looked up in vain since it was asked for.
        attempts: How often in a row it couldn't be delivered.
        lease: The process that works on it.
        rested, rest: It is left alone for so many seconds from then on.
        is_held: Whether it is the start of a timer that runs on this machine alone, and leaves when that is stopped.
        promised: Whether an agent was told that it waits.
        reason: Why it is in its state.
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
    reason: str | None = None
    sends: int = 1
    looks: int = 0
    attempts: int = 0
    lease: str | None = None
    rested: Instant | None = None
    rest: float = 0.0
    is_held: bool = False
    promised: bool = False
    write_id: int = 0

    @property
    def is_to_be_made(self) -> bool:
        """Whether it is to be brought to Keito: it isn't only looked up once more, and no running timer holds it."""
        return self.state is not WriteState.CONFIRMING and not self.is_held

    @property
    def discards(self) -> str | None:
        """The session that is discarded by it; None where it is no part of a discard."""
        session: str | None = self.body.get("session_id") if self.kind is WriteKind.DELETE else None
        return session

    def json_body(self) -> str:
        """The body as it is sent."""
        return json.dumps(self.body, ensure_ascii=False)


def asked_for(writes: Iterable[Write]) -> dict[str, Any]:
    """What the changes among an entry's writes make of it together, the oldest first."""
    return {name: value for write in writes if write.kind is WriteKind.UPDATE for name, value in write.body.items()}


@dataclass(frozen=True, slots=True)
class Earlier:
    """What stands in the way of a create: the same thing asked for before, or a timer that is open."""

    entry: Entry
    write: Write


@dataclass(frozen=True, slots=True)
class Claimed:
    """A write that the claimer alone works on until its lease ends, and its entry as this machine knows it."""

    write: Write
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of life of a session.

    Attributes:
        account_is: The account in words, for people.
        process: The process whose end is the end of the session; None where a server serves many.
    """

    account: str
    session_id: str
    at: Instant
    account_is: str
    process: str | None


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A timer that runs although nobody may be there any more, with its session's last sign of life."""

    entry: Entry
    seen: Instant
    process: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of a write, and of its entry.

    Attributes:
        write_id: The write; None where something was only seen in Keito.
        outcome: The write's state from now on. A create that was sent twice becomes `confirming` where `done`
            or `refused` is said, and one that was sent before becomes `unknown` where `queued` is said.
        changes: The entry's columns that are different now.
        arrived: Of a create, whether the entry runs as Keito shows it; the entry's state follows from that and
            from what was asked for meanwhile.
        looked: Whether it was looked up, in vain.
        seen: Whether it was only seen in Keito, so that it brings back nothing that was thrown away since.
        rest: For how many seconds it is to be left alone.
        is_held: Whether nothing of it is to leave before its timer is stopped.
        promised: Whether the agent is told that it waits.
    """

    at: Instant
    write_id: int | None = None
    outcome: WriteState = WriteState.DONE
    reason: str | None = None
    entry_key: str | None = None
    changes: Mapping[str, object] = field(default_factory=dict)
    arrived: bool | None = None
    looked: bool = False
    seen: bool = False
    rest: float = 0.0
    is_held: bool = False
    promised: bool | None = None
