"""One row for each time entry: what it should be, what Keito last showed, and the request whose outcome is open.

These are values. Deciding what follows from them is `timesheet.step`'s; keeping them is the journal's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from keito_mcp.clock import Instant, elapsed
from keito_mcp.journal.rows import Owner

CHANGEABLE = ("hours", "notes", "is_billable", "task_id", "metadata")
"""Fields of a finished entry that Keito lets us change. Its project and its day are settled by the create."""

LONGEST_REST = timedelta(hours=1)


class Presence(StrEnum):
    """How an entry should stand in Keito."""

    RUNNING = "running"
    FINISHED = "finished"
    ABSENT = "absent"


class FlightKind(StrEnum):
    """What a request does that has left."""

    CREATE = "create"
    STOP = "stop"
    UPDATE = "update"
    DELETE = "delete"


class OutcomeKind(StrEnum):
    """Why nothing more is done for an entry."""

    PERSON = "person"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The fields of a time entry, by Keito's names; None where nothing is said of one."""

    project_id: str | None = None
    task_id: str | None = None
    spent_date: date | None = None
    hours: Decimal | None = None
    notes: str | None = None
    is_billable: bool | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired(Fields):
    """The entry as it should be.

    Attributes:
        presence: Whether it should run, be finished, or not be there.
        hours_are_exact: Whether Keito must have these very hours, because they were given, capped, or counted over a
            clock that moved; else Keito's own count of the same timer is as good.
    """

    presence: Presence
    hours_are_exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed(Fields):
    """The entry as Keito showed it.

    Attributes:
        entry_id: Keito's id.
        is_locked: Whether Keito keeps it from being changed: approved, locked, closed or invoiced.
    """

    entry_id: str
    is_running: bool | None = None
    is_locked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """One request that has left, and whose outcome isn't known.

    Attributes:
        body: The fields that it sends, by Keito's names.
        sent: When it left.
        why: Why no answer came, as a sentence, where something is known of that.
        looks: How often Keito was asked since, and didn't show what it does.
        looked: When it was asked last.
        refusal: Keito's reason, where it answered 409 to a create: the same entry may stand there already.
        another_runs: Whether that reason may be another timer of the user.
    """

    kind: FlightKind
    body: Mapping[str, Any] = field(default_factory=dict)
    sent: Instant
    why: str | None = None
    looks: int = 0
    looked: Instant | None = None
    refusal: str | None = None
    another_runs: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an entry's way, with its reason as a sentence."""

    kind: OutcomeKind
    why: str


@dataclass(frozen=True, slots=True)
class Rest:
    """A time for which an entry is left alone, and its reason as a sentence.

    It counts from a moment on and is bounded, so that no clock that was wrong once can make it last for days.

    Attributes:
        is_asked: Whether Keito asked for it; else an agent's call doesn't wait for its end.
    """

    since: Instant
    seconds: float
    why: str
    is_asked: bool = False

    def left(self, now: Instant) -> float:
        """Return the seconds that are left of it, 0 where it is over or its start lies in the future."""
        if now.wall < self.since.wall and now.boot_id != self.since.boot_id:
            return 0.0
        most = min(self.seconds, LONGEST_REST.total_seconds())
        return max(most - elapsed(self.since, now).duration.total_seconds(), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One time entry, from the moment it is asked for.

    Attributes:
        key: This project's own key, also `metadata.entry_key`.
        created: When the row was made.
        accepted: The fields of ours that `observed` stands for: Keito may keep them differently than they were sent.
        persons: The fields of a running timer that a person edited: they stay the person's.
        generation: How many times it was made anew.
        bodies: The creates that left in this generation, at most the last three.
        creates_sent: How many creates of this generation left and may have arrived.
        first_sent, last_sent: When the first and the last of them left.
        arrived: When Keito was first known to have it.
        copies_looked_for: How often a second copy was looked for since.
        verified: When a look-up last showed that it isn't in Keito.
        blocked: Why Keito lets this timer not run beside another one, as a sentence.
        must_read: Whether Keito refused a stop that was sent unread.
        removed: The entry as it stood when it was deleted, for `restore`.
        reason: Why it was discarded.
        kept: Why a discard left it standing, as a sentence.
        closed: Why its timer was stopped without its agent, as a sentence.
        started, ended: When a timer started, and when its work was over.
        copy_of: The key of the entry of which it is a second copy.
        is_recorded: Whether nobody asked for it: it counts a session's turns.
        unheard: Sentences that its agent must still be told.
        is_fresh: Whether `observed` was read or answered in this very convergence; never stored.
        shown, persons_change: What Keito showed with a person's change in it, and which; never stored.
    """

    key: str
    owner: Owner
    desired: Desired
    created: Instant
    observed: Observed | None = None
    accepted: Mapping[str, Any] = field(default_factory=dict)
    persons: frozenset[str] = frozenset()
    in_flight: Flight | None = None
    generation: int = 0
    bodies: tuple[Mapping[str, Any], ...] = ()
    creates_sent: int = 0
    first_sent: Instant | None = None
    last_sent: Instant | None = None
    arrived: Instant | None = None
    copies_looked_for: int = 0
    verified: Instant | None = None
    blocked: str | None = None
    must_read: bool = False
    outcome: Outcome | None = None
    removed: Observed | None = None
    reason: str | None = None
    kept: str | None = None
    closed: str | None = None
    rest: Rest | None = None
    failures: int = 0
    started: Instant | None = None
    ended: Instant | None = None
    copy_of: str | None = None
    is_recorded: bool = False
    host_session: str | None = None
    call_id: str | None = None
    fingerprint: str | None = None
    unheard: tuple[str, ...] = ()
    is_fresh: bool = False
    shown: Observed | None = None
    persons_change: str | None = None

    @property
    def handle(self) -> str:
        """Return Keito's id, or the key as long as Keito hasn't answered."""
        return self.observed.entry_id if self.observed else self.key

    @property
    def idempotency_key(self) -> str:
        """Return the same key for every retry of one generation's create."""
        return str(uuid5(UUID(self.key), str(self.generation)))
