"""A world in values, for the pure half: one entry, a Keito that fails in every way, a person, deaths and a clock.

Nothing here does I/O. A world plays some acts at random, then everything works again, and what stands in Keito is
compared with what was asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Any
from uuid import UUID

from keito_mcp.clock import Instant
from keito_mcp.hours import of_duration
from keito_mcp.journal import Owner
from keito_mcp.journal.entry import Desired, Entry, FlightKind, Observed, Presence
from keito_mcp.keito.api import Traits
from keito_mcp.timesheet.answer import Answer, Away, Found, Gone, Refused, Shown, apply, depart, surplus
from keito_mcp.timesheet.step import (
    Create,
    Delete,
    LookUp,
    LookUpAll,
    Nothing,
    Read,
    Send,
    Step,
    Stop,
    Update,
    Wait,
    next_step,
)

NOON = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
DAY = date(2026, 3, 6)
LATE = 115.0
"""Seconds within which a request that got no answer arrives, if it does."""

UNCERTAIN = 160.0
"""Seconds around an unanswered stop within which Keito's own count doesn't tell it from a person's."""

V1 = Traits(requires_task=False, computes_hours=False, one_timer_per_user=False, lists_projects=False)
V2 = Traits(requires_task=True, computes_hours=True, one_timer_per_user=True, lists_projects=True)

_MOST_STEPS = 60
_ROUNDING = Decimal("0.01")


@dataclass(frozen=True)
class Habits:
    """How this world's Keito keeps what it is sent.

    Attributes:
        lag: Seconds by which its list is behind.
        rounds: Whether it keeps two places of the hours.
        trims: Whether it trims notes.
        drops: Whether it drops metadata.
    """

    lag: float = 0.0
    rounds: bool = False
    trims: bool = False
    drops: bool = False


@dataclass
class Stored:
    """One entry in Keito."""

    entry_id: str
    key: str
    made: float
    values: dict[str, Any]
    is_running: bool
    began: float
    gone: float | None = None
    is_locked: bool = False
    touched: float | None = None
    persons: dict[str, Any] = field(default_factory=dict)
    history: list[tuple[float, dict[str, Any] | None]] = field(default_factory=list)


class Overwritten(AssertionError):
    """A request that left after a person's change undid it."""


class World:
    """One entry's life."""

    def __init__(self, random: Random, traits: Traits, habits: Habits) -> None:
        self.random = random
        self.traits = traits
        self.habits = habits
        self.seconds = 0.0
        self.stored: list[Stored] = []
        self.late: list[tuple[float, float, Send, Stored | None]] = []
        self.target: Stored | None = None
        self.rows: list[Entry] = []
        self.is_well = False
        self.log: list[str] = []
        self.other_runs = False

    # --- time ---

    @property
    def now(self) -> Instant:
        return Instant(NOON + timedelta(seconds=self.seconds), 1000.0 + self.seconds, "boot")

    def pass_time(self, seconds: float) -> None:
        until = self.seconds + seconds
        for one in sorted(self.late, key=lambda one: one[0]):
            due, sent, step, target = one
            if due <= until:
                self.seconds = max(self.seconds, due)
                self.late.remove(one)
                self.target = target
                self.note(f"arrives late: {type(step).__name__} -> {self.do(step, sent)}")
        self.seconds = until

    def note(self, what: str) -> None:
        self.log.append(f"{self.seconds:8.1f} {what}")

    # --- Keito ---

    def keep(self, values: Mapping[str, Any]) -> dict[str, Any]:
        kept = dict(values)
        if self.habits.rounds and isinstance(kept.get("hours"), Decimal):
            kept["hours"] = kept["hours"].quantize(_ROUNDING, ROUND_HALF_UP)
        if self.habits.trims and kept.get("notes"):
            kept["notes"] = kept["notes"].strip()
        if self.habits.drops and "metadata" in kept:
            kept["metadata"] = {"entry_key": kept["metadata"]["entry_key"]}
        return kept

    def do(self, step: Step, sent: float) -> Answer:
        """What Keito makes of a request that arrived; `sent` is when it left."""
        row = self.rows[0]
        match step:
            case Create(body=body):
                if body.get("is_running") and self.other_runs and self.traits.one_timer_per_user:
                    return Refused("another timer runs", is_conflict=True, another_runs=True)
                values = self.keep({name: value for name, value in body.items() if name != "is_running"})
                made = Stored(
                    f"te_{len(self.stored) + 1}",
                    row.key,
                    self.seconds,
                    {"hours": Decimal(0), **values},
                    bool(body.get("is_running")),
                    self.seconds,
                )
                self.stored.append(made)
                self.remember(made)
                return Shown(self.show(made))
            case Stop() | Update() | Delete():
                return self.change(step, sent)
        raise AssertionError(step)

    def change(self, step: Send, sent: float) -> Answer:
        assert self.target is not None
        found = self.target
        if found.gone is not None:
            return Gone()
        if found.is_locked and not isinstance(step, Stop):
            return Refused("it is locked", is_conflict=True)
        if isinstance(step, Delete):
            if found.touched is not None and sent >= found.touched:
                raise Overwritten(f"deleted what a person had changed: {found}")
            found.gone = self.seconds
            found.history.append((self.seconds, None))
            return Gone()
        if isinstance(step, Stop) and not step.body:
            if not found.is_running:
                return Refused("it does not run", is_invalid=True)
            self.stop(found)
            if found.touched is not None and found.persons.pop("is_running", None) is not None and not found.persons:
                found.touched = None
            self.remember(found)
            return Shown(self.show(found))
        self.guard(found, step, sent)
        if found.is_running and step.body.get("is_running") is False:
            found.is_running = False
        found.values |= self.keep({name: value for name, value in step.body.items() if name != "is_running"})
        self.remember(found)
        return Shown(self.show(found))

    def guard(self, found: Stored, step: Send, sent: float) -> None:
        if found.touched is None:
            return
        if sent < found.touched:
            self.forgive(found, step)
            return
        undone = [
            name
            for name, value in found.persons.items()
            if name in step.body and name != "is_running" and self.keep({name: step.body[name]})[name] != value
        ]
        if undone or ("is_running" in found.persons):
            raise Overwritten(f"{type(step).__name__} {dict(step.body)} over {found.persons}")

    def forgive(self, found: Stored, step: Send) -> None:
        """Forget what a request undid that had left before a person's change: nobody can see it any more."""
        for name in step.body:
            found.persons.pop(name, None)
        if not found.persons and not found.is_locked:
            found.touched = None

    def forgive_a_stop(self) -> None:
        """Forget a person's stop so near to one of ours without an answer that nobody can tell them apart."""
        found = self.target
        if found is None or found.touched is None or not self.stop_is_on_its_way(found):
            return
        is_near = self.seconds - found.touched < UNCERTAIN
        if is_near and found.persons.pop("is_running", None) is False and not found.persons:
            found.touched = None

    def stop(self, found: Stored) -> None:
        found.is_running = False
        counted = of_duration(timedelta(seconds=self.seconds - found.began))
        found.values["hours"] = self.keep({"hours": counted})["hours"]

    def show(self, found: Stored) -> Observed:
        values = found.values
        return Observed(
            entry_id=found.entry_id,
            is_running=found.is_running,
            is_locked=found.is_locked,
            **{one.name: values.get(one.name) for one in fields(Desired) if one.name in Observed.__dataclass_fields__},
        )

    def remember(self, found: Stored) -> None:
        found.history.append((self.seconds, {"shown": self.show(found)}))

    def listed(self) -> tuple[Observed, ...]:
        """What the list shows, which may be behind."""
        lag = 0.0 if self.is_well else self.habits.lag
        found = []
        for one in self.stored:
            past = [what for moment, what in one.history if moment <= self.seconds - lag]
            if past and past[-1] is not None:
                found.append(past[-1]["shown"])
        return tuple(found)

    # --- the loop ---

    def converge(self, *, die_after: int | None = None) -> None:
        """The loop of `converge`, which may die between any two of its parts."""
        entry = replace(self.rows[0], is_fresh=False, shown=None, persons_change=None)
        for number in range(_MOST_STEPS):
            step = next_step(entry, self.now, self.traits)
            if next_step(entry, self.now, self.traits) != step:
                raise AssertionError("the same row gave two steps")
            if isinstance(step, Wait | Nothing):
                self.note(f"{type(step).__name__} {step.why}")
                return
            if isinstance(step, Create) and entry.in_flight is not None:
                raise AssertionError("a create while another may be in flight")
            if isinstance(step, Send):
                entry = depart(entry, step, self.now)
                self.rows[0] = entry
                if die_after == number and self.random.random() < 0.3:
                    self.note(f"died before {type(step).__name__} left")
                    return
            self.target = next(
                (one for one in self.stored if entry.observed and one.entry_id == entry.observed.entry_id), None
            )
            answer = self.ask(step)
            self.note(f"{type(step).__name__} ({step.why}) -> {answer}")
            if die_after == number or isinstance(answer, Away):
                self.forgive_a_stop()
            if die_after == number:
                self.note("died before it was recorded")
                return
            entry = apply(entry, step, answer, self.now)
            if isinstance(step, LookUpAll) and isinstance(answer, Found):
                self.delete_surplus(entry, answer.copies)
            self.rows[0] = entry
        raise AssertionError("the loop did not come to rest")

    def delete_surplus(self, entry: Entry, copies: tuple[Observed, ...]) -> None:
        as_made, changed = surplus(entry, copies)
        for copy in as_made:
            [found] = [one for one in self.stored if one.entry_id == copy.entry_id]
            if found.gone is None and found.touched is None:
                self.note(f"second copy {copy.entry_id} deleted")
                found.gone = self.seconds
                found.history.append((self.seconds, None))
        for copy in changed:
            self.note(f"second copy {copy.entry_id} left to a person")

    def ask(self, step: Step) -> Answer:
        match step:
            case LookUp() | LookUpAll():
                if not self.is_well and self.random.random() < 0.2:
                    return Away("no list", may_have_arrived=False)
                return Found(self.listed())
            case Read():
                if not self.is_well and self.random.random() < 0.2:
                    return Away("no answer", may_have_arrived=False)
                assert self.target is not None
                return Gone() if self.target.gone is not None else Shown(self.show(self.target))
            case Send():
                return self.send(step)
        return None

    def stop_is_on_its_way(self, found: Stored) -> bool:
        """Whether a stop of ours has left that leads to the same hours, and wasn't answered."""
        flight = self.rows[0].in_flight
        if flight is None or flight.kind is not FlightKind.STOP:
            return False
        return not flight.body or self.keep({"hours": flight.body["hours"]})["hours"] == found.values["hours"]

    def is_as_observed(self, found: Stored) -> bool:
        """Whether an entry looks as Keito last showed it to us."""
        before, shown = self.rows[0].observed, self.show(found)
        if before is None or before.entry_id != found.entry_id or found.is_locked:
            return False
        same = (before.is_running, before.notes) == (shown.is_running, shown.notes)
        return same and (found.is_running or before.hours == shown.hours)

    def send(self, step: Send) -> Answer:
        fate = self.random.random()
        if self.is_well or fate < 0.5:
            return self.do(step, self.seconds)
        if fate < 0.6:
            return Away("refused connection", may_have_arrived=False)
        if fate < 0.7:
            self.do(step, self.seconds)
        elif fate < 0.82:
            due = self.seconds + self.random.uniform(0, LATE)
            self.late.append((due, self.seconds, step, self.target))
        return Away("no answer", may_have_arrived=True)


def owner() -> Owner:
    return Owner("account", "session", "agent", "", session_is_certain=True, process="process")


def asked(desired: Desired, now: Instant, number: int = 1) -> Entry:
    """A row as a tool makes it."""
    key = str(UUID(int=number))
    metadata = {**(desired.metadata or {}), "entry_key": key}
    is_timer = desired.presence is Presence.RUNNING
    return Entry(
        key=key,
        owner=owner(),
        desired=replace(desired, metadata=metadata),
        created=now,
        started=now if is_timer else None,
    )
