"""Name the next step that brings one entry to what it should be: a pure function over values.

The first row that fits:

    when                                                        step
    a create in flight, not looked up yet or its look-up due    LookUp by the key
    the same, not found: under 120 s old, or looked up once     Wait
    the same, not found twice, the last time when 120 s old     Forget the flight: it did not arrive
    a stop, update or delete in flight, not read yet or due     Read
    the same, not shown: under 120 s old, or read once          Wait
    the same, not shown twice, the last time when 120 s old     Forget the flight
    a second copy may exist, 5 minutes or an hour later         LookUpAll
    the outcome is settled                                      Nothing
    to be absent, never observed                                Nothing
    to run, never observed, another timer of the user runs      Wait until it is to be finished or absent
    never observed, not known to be absent for two minutes      LookUp first: this journal may be a copy of another one
    never observed                                              Create
    a read showed what neither we nor our flight made,          LeaveToPerson
      a person edited what is to be absent, or Keito locked
      what is to be changed
    as desired                                                  Nothing
    to be finished, runs, and the stop overwrites nothing       Stop, unread
    otherwise different, and not read in this convergence       Read
    to be absent                                                Delete
    to be finished, runs                                        Stop
    different in a field that may change                        Update

What certainly didn't happen is a row without a flight, so that it is sent again; what may have happened is a row with
one. A request that can't be made now rests: then its step is Wait.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from keito_mcp.clock import Instant, elapsed
from keito_mcp.journal.entry import Entry, Flight, FlightKind, Presence
from keito_mcp.keito.api import Traits
from keito_mcp.timesheet import compare, person
from keito_mcp.waits import LATE_ARRIVAL, NEXT_LOOK, SECOND_COPY

COPY_LOOKS = (SECOND_COPY, timedelta(hours=1))
"""Times after the last create at which a second copy is looked for."""

_NO_ANSWER = "Keito gave no answer to its {}, which may still arrive."

_LOOKS = 2
"""So often a request must be looked for in vain before it counts as lost."""

_STALE = LATE_ARRIVAL
"""A row older than this may come from a copy of the journal, whose original was delivered meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do for an entry, and its reason."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUp(Step):
    """Ask Keito for the entry by its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUpAll(Step):
    """Ask Keito for every entry with the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Step):
    """Ask Keito for the entry by its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send(Step):
    """Send one request that writes. Its flight is committed before it leaves."""

    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Create(Send):
    """POST the entry as desired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Send):
    """Stop the timer; without a body Keito counts its hours itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Send):
    """PATCH the fields that differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(Send):
    """DELETE the entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget(Step):
    """Give up a flight that certainly did not arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveToPerson(Step):
    """Leave the entry as a person made it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(Step):
    """Do nothing for some seconds; None of them where only another desired state ends the wait."""

    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing(Step):
    """Nothing is left to do; `seconds` tells after how long a second copy is looked for, where that is due."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    """One entry at one moment, with what several rows ask of it."""

    entry: Entry
    now: Instant
    traits: Traits

    @property
    def create(self) -> Flight | None:
        flight = self.entry.in_flight
        return flight if flight is not None and flight.kind is FlightKind.CREATE else None

    @property
    def change(self) -> Flight | None:
        flight = self.entry.in_flight
        return flight if flight is not None and flight.kind is not FlightKind.CREATE else None

    @property
    def presence(self) -> Presence:
        return self.entry.desired.presence

    @property
    def to_stop(self) -> bool:
        observed = self.entry.observed
        return self.presence is Presence.FINISHED and observed is not None and observed.is_running is True

    @property
    def is_as_desired(self) -> bool:
        if self.presence is Presence.ABSENT:
            return self.entry.observed is None
        # A running timer is changed when it stops; until then its fields may be a person's to edit.
        return not self.to_stop and (self.presence is Presence.RUNNING or not compare.difference(self.entry))

    def until_due(self, flight: Flight) -> float:
        """Return the seconds until a flight is to be looked for again."""
        if not flight.looks or flight.looked is None or is_ahead(flight.sent, self.now):
            return 0.0
        return max(self._left(flight.sent, LATE_ARRIVAL), self._left(flight.looked, NEXT_LOOK))

    def is_lost(self, flight: Flight) -> bool:
        """Return whether a flight certainly did not arrive: it was looked for after the last moment at which it may."""
        if flight.looks < _LOOKS or flight.looked is None or is_ahead(flight.sent, self.now):
            return False
        return elapsed(flight.sent, flight.looked).duration >= LATE_ARRIVAL

    def until_copies_are_due(self) -> float | None:
        """Return the seconds until a second copy is looked for; None where none can exist, or it was looked for."""
        entry = self.entry
        is_unanswered = entry.creates_sent > 0 and entry.observed is None and entry.removed is None
        if entry.last_sent is None or not (entry.creates_sent > 1 or (is_unanswered and not self._is_wanted)):
            return None
        if entry.copies_looked_for >= len(COPY_LOOKS):
            return None
        return self._left(entry.last_sent, COPY_LOOKS[entry.copies_looked_for])

    @property
    def _is_wanted(self) -> bool:
        return self.presence is not Presence.ABSENT and self.entry.outcome is None

    def _left(self, since: Instant, wait: timedelta) -> float:
        if is_ahead(since, self.now):
            return 0.0
        return max((wait - elapsed(since, self.now).duration).total_seconds(), 0.0)


Row = Callable[[_Case], Step | None]


def _look_up_the_create(case: _Case) -> Step | None:
    flight = case.create
    if flight is None or case.until_due(flight) > 0 or case.is_lost(flight):
        return None
    return LookUp(why="its create got no answer")


def _wait_for_the_create(case: _Case) -> Step | None:
    flight = case.create
    if flight is None or case.is_lost(flight):
        return None
    return Wait(why=flight.why or _NO_ANSWER.format(flight.kind), seconds=case.until_due(flight))


def _forget_the_create(case: _Case) -> Step | None:
    return Forget(why="its create did not arrive") if case.create else None


def _read_the_change(case: _Case) -> Step | None:
    flight = case.change
    if flight is None or case.until_due(flight) > 0 or case.is_lost(flight):
        return None
    return Read(why=f"its {flight.kind} got no answer")


def _wait_for_the_change(case: _Case) -> Step | None:
    flight = case.change
    if flight is None or case.is_lost(flight):
        return None
    return Wait(why=flight.why or _NO_ANSWER.format(flight.kind), seconds=case.until_due(flight))


def _forget_the_change(case: _Case) -> Step | None:
    return Forget(why=f"its {case.change.kind} did not arrive") if case.change else None


def _look_for_copies(case: _Case) -> Step | None:
    return LookUpAll(why="a second copy may have arrived") if case.until_copies_are_due() == 0 else None


def _settled(case: _Case) -> Step | None:
    outcome = case.entry.outcome
    return Nothing(why=outcome.why, seconds=case.until_copies_are_due()) if outcome else None


def _never_there(case: _Case) -> Step | None:
    if case.presence is not Presence.ABSENT or case.entry.observed is not None:
        return None
    return Nothing(why="it is not wanted, and not known to be in Keito", seconds=case.until_copies_are_due())


def _blocked(case: _Case) -> Step | None:
    entry = case.entry
    if entry.observed is not None or case.presence is not Presence.RUNNING or entry.blocked is None:
        return None
    return Wait(why=entry.blocked, seconds=case.until_copies_are_due())


def _look_up_first(case: _Case) -> Step | None:
    since = case.entry.verified or case.entry.created
    if case.entry.observed is not None:
        return None
    if not is_ahead(since, case.now) and elapsed(since, case.now).duration < _STALE:
        return None
    return LookUp(why="it was asked for a while ago, and a copy of the journal may have delivered it")


def _create(case: _Case) -> Step | None:
    return Create(why="it is not in Keito", body=create_body(case.entry)) if case.entry.observed is None else None


def _leave_to_person(case: _Case) -> Step | None:
    entry = case.entry
    edited = case.presence is Presence.ABSENT and entry.observed is not None and entry.persons
    done = entry.persons_change or (f"A person changed its {', '.join(sorted(entry.persons))}." if edited else None)
    if done is None and entry.observed is not None and entry.observed.is_locked and not case.is_as_desired:
        done = person.LOCKED
    return LeaveToPerson(why=done) if done else None


def _as_desired(case: _Case) -> Step | None:
    return Nothing(why="it is as it should be", seconds=case.until_copies_are_due()) if case.is_as_desired else None


def _stop_unread(case: _Case) -> Step | None:
    if not (case.to_stop and case.traits.computes_hours) or case.entry.must_read:
        return None
    return Stop(why="its timer is to be stopped, which overwrites nothing")


def _read_first(case: _Case) -> Step | None:
    return None if case.entry.is_fresh else Read(why="it is to be changed, and may have been changed by a person")


def _delete(case: _Case) -> Step | None:
    return Delete(why="it is not wanted") if case.presence is Presence.ABSENT else None


def _stop(case: _Case) -> Step | None:
    if not case.to_stop:
        return None
    if case.traits.computes_hours:
        return Stop(why="its timer is to be stopped")
    hours = case.entry.desired.hours
    body = compare.difference(case.entry) | ({"hours": hours} if hours is not None else {}) | {"is_running": False}
    return Stop(why="its timer is to be stopped", body=body)


def _update(case: _Case) -> Step:
    body = compare.difference(case.entry)
    return Update(why=f"its {', '.join(body)} differ", body=body)


TABLE: tuple[Row, ...] = (
    _look_up_the_create,
    _wait_for_the_create,
    _forget_the_create,
    _read_the_change,
    _wait_for_the_change,
    _forget_the_change,
    _look_for_copies,
    _settled,
    _never_there,
    _blocked,
    _look_up_first,
    _create,
    _leave_to_person,
    _as_desired,
    _stop_unread,
    _read_first,
    _delete,
    _stop,
    _update,
)


def next_step(entry: Entry, now: Instant, traits: Traits) -> Step:
    """Return the next step that brings an entry to what it should be, by the table above."""
    case = _Case(entry, now, traits)
    step = next(step for row in TABLE if (step := row(case)) is not None)
    if isinstance(step, LookUp | LookUpAll | Read | Send) and entry.rest is not None:
        seconds = entry.rest.left(now)
        if seconds > 0:
            return Wait(why=entry.rest.why, seconds=seconds)
    return step


def seconds_left(entry: Entry, now: Instant, traits: Traits) -> float | None:
    """Return the seconds until the next step of an entry, as `journal.protocol.SecondsLeft` has it."""
    match next_step(entry, now, traits):
        case Nothing(seconds=seconds):
            return seconds
        case Wait(seconds=seconds):
            return math.inf if seconds is None else seconds
        case _:
            return 0.0


def create_body(entry: Entry) -> dict[str, Any]:
    """Return what a create of an entry sends, by Keito's names."""
    desired = entry.desired
    names = ("project_id", "task_id", "spent_date", "notes", "is_billable", "metadata")
    body = {name: value for name in names if (value := getattr(desired, name)) is not None}
    if desired.presence is Presence.RUNNING:
        return body | {"is_running": True}
    return body | {"hours": desired.hours}


def is_ahead(moment: Instant, now: Instant) -> bool:
    """Return whether a moment of another boot lies in the future: the clock was ahead then, and its age is unknown."""
    return now.wall < moment.wall and now.boot_id != moment.boot_id
