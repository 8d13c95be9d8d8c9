"""Take in what became of a step: the other half of `step`, as pure.

`depart` records a request before it leaves, `apply` its answer, or that there was none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from keito_mcp import hours as decimal_hours
from keito_mcp.clock import Instant
from keito_mcp.journal.entry import (
    CHANGEABLE,
    Desired,
    Entry,
    Flight,
    FlightKind,
    Observed,
    Outcome,
    OutcomeKind,
    Presence,
    Rest,
)
from keito_mcp.keito import TimeEntry
from keito_mcp.timesheet import compare, person
from keito_mcp.timesheet.step import (
    Create,
    Delete,
    Forget,
    LeaveToPerson,
    LookUp,
    LookUpAll,
    Nothing,
    Read,
    Send,
    Step,
    Stop,
    Update,
    Wait,
    create_body,
    is_ahead,
)
from keito_mcp.waits import FIRST_PAUSE, LONGEST_PAUSE

_KEPT_BODIES = 3
_STILL_RUNS = "Keito answered the stop, but shows the timer still running."
_MOST_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Shown:
    """Keito's answer to a read or a write: the entry."""

    entry: Observed


@dataclass(frozen=True, slots=True)
class Gone:
    """Keito's answer to a read or a write: there is no such entry, and a second read said so too."""


@dataclass(frozen=True, slots=True)
class Found:
    """Keito's answer to a look-up: each entry with the key, after all that may be the entry were looked at.

    Attributes:
        blocked: Why a timer can't run beside another one that runs, as a sentence, where that was looked for.
        beside: The other one, where it is known which of those that run it is.
    """

    copies: tuple[Observed, ...] = ()
    blocked: str | None = None
    beside: TimeEntry | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Keito's certain no to a write: nothing was written.

    Attributes:
        is_conflict: Whether it said 409.
        is_invalid: Whether it said 400 or 422: what it was to be done to may not be what it was taken for.
        another_runs: Whether another timer of the user may be the reason.
    """

    why: str
    is_conflict: bool = False
    is_invalid: bool = False
    another_runs: bool = False


@dataclass(frozen=True, slots=True)
class Away:
    """No answer of Keito's.

    Attributes:
        may_have_arrived: Whether the request may have done its work all the same.
        retry_after: The seconds after which Keito wants to be asked again, where it says so.
    """

    why: str
    may_have_arrived: bool
    retry_after: float | None = None


Answer = Shown | Gone | Found | Refused | Away | None
"""None is the answer to a step without a request."""


def depart(entry: Entry, step: Send, now: Instant) -> Entry:
    """Return the entry with the request of a step in flight, to be committed before it leaves."""
    match step:
        case Create():
            return replace(
                entry,
                in_flight=Flight(kind=FlightKind.CREATE, body=step.body, sent=now),
                bodies=(*entry.bodies, step.body)[-_KEPT_BODIES:],
                creates_sent=entry.creates_sent + 1,
                first_sent=entry.first_sent or now,
                last_sent=now,
                copies_looked_for=0,
            )
        case Delete():
            flight = Flight(kind=FlightKind.DELETE, sent=now)
            return replace(entry, in_flight=flight, removed=entry.observed)
        case Stop():
            return replace(entry, in_flight=Flight(kind=FlightKind.STOP, body=step.body, sent=now))
        case _:
            return replace(entry, in_flight=Flight(kind=FlightKind.UPDATE, body=step.body, sent=now))


def apply(entry: Entry, step: Step, answer: Answer, now: Instant) -> Entry:
    """Return the entry after a step and its answer. A write's step was taken by `depart` before.

    Raises:
        TypeError: No such step has such an answer.
    """
    if isinstance(answer, Refused) and (isinstance(step, LookUp | LookUpAll) or _is_no_answer(step, answer)):
        # A list that Keito doesn't show tells nothing of the entry; nor does a conflict where nothing is written.
        answer = Away(answer.why, may_have_arrived=False)
    if isinstance(answer, Away):
        return _after_silence(entry, step, answer, now)
    entry = replace(entry, failures=0, rest=None)
    return _after_write(entry, step, answer, now) if isinstance(step, Send) else _after_look(entry, step, answer, now)


def _is_no_answer(step: Step, answer: Refused) -> bool:
    return isinstance(step, Read) and answer.is_conflict


def _after_look(entry: Entry, step: Step, answer: Answer, now: Instant) -> Entry:
    match step, answer:
        case LookUp(), Found():
            return _looked_up(entry, answer, now)
        case LookUpAll(), Found():
            return replace(entry, copies_looked_for=entry.copies_looked_for + 1)
        case Read(), Refused(why):
            return replace(entry, in_flight=None, outcome=Outcome(OutcomeKind.REFUSED, why))
        case Read(), _:
            return _after_answer(entry, answer, now, is_write=False)
        case LeaveToPerson(), None:
            return _left_to_person(entry, step.why)
        case ((Forget() | Wait() | Nothing()), None):
            return replace(entry, in_flight=None) if isinstance(step, Forget) else entry
        case _:
            raise TypeError(f"{answer} is no answer to {step}")


def _after_write(entry: Entry, step: Send, answer: Answer, now: Instant) -> Entry:
    match step, answer:
        case _, Refused():
            return _refused(entry, step, answer)
        case Create(), Shown(shown):
            return replace(_created(entry, shown), arrived=now)
        case _:
            return _after_answer(entry, answer, now, is_write=True)


def _after_answer(entry: Entry, answer: Answer, now: Instant, *, is_write: bool) -> Entry:
    match answer:
        case Gone():
            return _gone(entry)
        case Shown(shown):
            return _read(entry, shown, now, is_answer=is_write)
        case _:
            raise TypeError(f"{answer} is no answer about one entry")


def surplus(entry: Entry, copies: tuple[Observed, ...]) -> tuple[list[Observed], list[Observed]]:
    """Return the copies of an entry that are to be deleted, and those that a person changed."""
    mine = entry.observed.entry_id if entry.observed else None
    others = [copy for copy in copies if copy.entry_id != mine]
    as_made = [copy for copy in others if compare.is_as_made(copy, entry.bodies)]
    return as_made, [copy for copy in others if copy not in as_made]


def _after_silence(entry: Entry, step: Step, answer: Away, now: Instant) -> Entry:
    if isinstance(step, Send) and answer.may_have_arrived:
        # Its look-up is due at once.
        flight = replace(entry.in_flight, why=answer.why) if entry.in_flight else None
        return replace(entry, in_flight=flight)
    rest = Rest(now, _pause(entry, answer), answer.why, is_asked=answer.retry_after is not None)
    entry = replace(entry, failures=entry.failures + 1, rest=rest, is_fresh=False)
    if isinstance(step, Create):
        return replace(entry, in_flight=None, creates_sent=entry.creates_sent - 1, bodies=entry.bodies[:-1])
    return replace(entry, in_flight=None) if isinstance(step, Send) else entry


def _pause(entry: Entry, answer: Away) -> float:
    """Return the seconds of a rest: as Keito asks, else longer each time, and not the same for all entries."""
    if answer.retry_after is not None:
        return answer.retry_after
    doubled: float = FIRST_PAUSE.total_seconds() * 2 ** min(entry.failures, _MOST_DOUBLINGS)
    # Many servers that lost Keito at the same moment must not come back at the same moment.
    spread = 0.75 + 0.5 * (int(entry.key.replace("-", "")[:8], 16) / 0xFFFFFFFF)
    return min(doubled, LONGEST_PAUSE.total_seconds()) * spread


def _looked_up(entry: Entry, found: Found, now: Instant) -> Entry:
    gone = entry.removed.entry_id if entry.removed else None
    # A list that lags behind may still show what was deleted.
    copies = tuple(copy for copy in found.copies if copy.entry_id != gone)
    if copies:
        as_made = [copy for copy in copies if compare.is_as_made(copy, entry.bodies)]
        return replace(_arrived(entry, (as_made or copies)[0]), arrived=entry.arrived or now)
    flight = entry.in_flight
    entry = replace(entry, verified=now)
    if flight is None:
        return entry
    if flight.refusal is None:
        return replace(entry, in_flight=_looked(flight, now))
    entry = replace(entry, in_flight=None)
    if flight.another_runs:
        # Where Keito showed the other one, it certainly refused this one.
        sent = entry.creates_sent - (found.beside is not None)
        return replace(entry, blocked=found.blocked or flight.refusal, creates_sent=sent)
    return replace(entry, outcome=Outcome(OutcomeKind.REFUSED, flight.refusal))


def _looked(flight: Flight, now: Instant) -> Flight:
    if is_ahead(flight.sent, now):
        # How old it is isn't known: it counts from here.
        return replace(flight, looks=1, looked=now, sent=now)
    return replace(flight, looks=flight.looks + 1, looked=now)


def _arrived(entry: Entry, shown: Observed) -> Entry:
    """Take in an entry that Keito didn't answer: what was sent stays the measure of what a person did since."""
    # Without a create of ours another copy of this journal made it.
    bodies = entry.bodies or (create_body(entry),)
    body = next((body for body in reversed(bodies) if compare.is_as_made(shown, (body,))), bodies[-1])
    sent = Observed(entry_id=shown.entry_id, is_running=bool(body.get("is_running")), **_known(body))
    # Keito may keep what was sent a little differently, which is nobody's change.
    is_kept = body.get("hours") is not None and compare.kept_as(body["hours"], shown.hours)
    sent = replace(sent, hours=shown.hours if is_kept or sent.is_running else sent.hours)
    entry = replace(entry, observed=sent, accepted=_accepted(body), in_flight=None, blocked=None)
    # A list may lag behind: it says that the entry is there, not how it stands.
    return replace(_taken(entry, shown), is_fresh=False)


def _created(entry: Entry, answer: Observed) -> Entry:
    """Take in the answer to a create, completed by what was sent in place of what it leaves out."""
    body = entry.in_flight.body if entry.in_flight else {}
    missing = {name: value for name, value in _known(body).items() if getattr(answer, name) is None}
    runs = bool(body.get("is_running")) if answer.is_running is None else answer.is_running
    observed = replace(answer, is_running=runs, **missing)
    return replace(
        entry, observed=observed, accepted=_accepted(body), in_flight=None, blocked=None, shown=None, is_fresh=True
    )


def _read(entry: Entry, shown: Observed, now: Instant, *, is_answer: bool) -> Entry:
    """Take in what a read shows, or the answer to a stop or an update."""
    flight, before = entry.in_flight, entry.observed
    if before is not None:
        shown = _completed(shown, before, flight if is_answer else None)
    if flight is None or flight.kind is FlightKind.CREATE:
        return _taken(entry, shown)
    is_stopped = flight.kind is not FlightKind.STOP or shown.is_running is False
    is_made = is_stopped if is_answer else flight.kind is not FlightKind.DELETE and compare.shows(flight, entry, shown)
    taken = _taken(entry, shown, is_answer=is_answer)
    if not is_made:
        why = _STILL_RUNS if is_answer else flight.why
        return replace(taken, in_flight=replace(_looked(flight, now), why=why))
    made = dict(flight.body)
    if flight.kind is FlightKind.STOP and not made and compare.count_is_right(flight, entry, shown):
        made = {"hours": entry.desired.hours}
    return replace(taken, in_flight=None, must_read=False, accepted={**entry.accepted, **_accepted(made)})


def _completed(shown: Observed, before: Observed, answered: Flight | None) -> Observed:
    sent = _known(answered.body) if answered else {}
    runs = shown.is_running
    if runs is None:
        runs = False if answered is not None and answered.kind is FlightKind.STOP else before.is_running
    names = ("project_id", "task_id", "spent_date", "hours", "notes", "is_billable", "metadata")
    missing = {name: sent.get(name, getattr(before, name)) for name in names if getattr(shown, name) is None}
    if before.is_running and not runs and shown.hours is None:
        # The hours of a timer that runs say nothing of those that it has at its end.
        missing["hours"] = sent.get("hours")
    return replace(shown, is_running=runs, **missing)


def _taken(entry: Entry, shown: Observed, *, is_answer: bool = False) -> Entry:
    """Make what Keito shows the new measure, unless a person's change stands in it."""
    done = person.change(entry, shown, is_answer=is_answer)
    if done is not None and person.is_of_another_server(shown):
        return _of_another_server(entry, shown)
    if done is not None:
        return replace(entry, shown=shown, persons_change=done, is_fresh=True)
    persons = entry.persons | person.edits_of_running(entry, shown)
    return replace(entry, observed=shown, persons=persons, shown=None, persons_change=None, is_fresh=True)


def _of_another_server(entry: Entry, shown: Observed) -> Entry:
    """Take in what a replica of this HTTP server did, but for what is still to be changed of a finished entry."""
    before = entry.observed
    asked = {} if before is not None and before.is_running else compare.difference(entry)
    made = {name: value for name in CHANGEABLE if (value := getattr(shown, name)) is not None} | asked
    is_absent = entry.desired.presence is Presence.ABSENT
    presence = Presence.ABSENT if is_absent else Presence.FINISHED
    desired = replace(entry.desired, presence=presence, **made)
    return replace(entry, desired=desired, observed=shown, accepted={}, shown=None, persons_change=None, is_fresh=True)


def _left_to_person(entry: Entry, why: str) -> Entry:
    before, shown = entry.observed, entry.shown or entry.observed
    left = replace(entry, observed=shown, shown=None, persons_change=None)
    still_runs = before is not None and before.is_running and shown is not None and shown.is_running
    if still_runs and shown is not None and entry.desired.presence is Presence.ABSENT:
        # The timer of a discarded session is kept, as a person edited it; its work is over all the same.
        persons = entry.persons | person.edits_of_running(entry, shown)
        return replace(left, desired=_only_stopped(entry.desired), persons=persons, kept=why)
    return replace(left, outcome=Outcome(OutcomeKind.PERSON, why), in_flight=None)


def _only_stopped(desired: Desired) -> Desired:
    """Return a desired entry of which nothing is wanted any more but that it doesn't run."""
    return replace(desired, presence=Presence.FINISHED, notes=None, is_billable=None, task_id=None, metadata=None)


def _gone(entry: Entry) -> Entry:
    flight = entry.in_flight
    is_ours = flight is not None and flight.kind is FlightKind.DELETE
    gone = replace(
        entry,
        observed=None,
        removed=entry.removed or entry.observed,
        in_flight=None,
        shown=None,
        persons_change=None,
    )
    if entry.desired.presence is Presence.ABSENT:
        # What a person deleted first isn't ours to restore.
        return gone if is_ours else replace(gone, outcome=Outcome(OutcomeKind.PERSON, person.DELETED))
    if is_ours:
        # It was restored while its delete was on its way.
        return anew(gone)
    return replace(gone, outcome=Outcome(OutcomeKind.PERSON, person.DELETED))


def anew(entry: Entry) -> Entry:
    """Return the entry in its next generation, to be created again."""
    return replace(
        entry,
        generation=entry.generation + 1,
        observed=None,
        accepted={},
        persons=frozenset(),
        bodies=(),
        creates_sent=0,
        first_sent=None,
        last_sent=None,
        arrived=None,
        copies_looked_for=0,
        blocked=None,
        must_read=False,
        outcome=None,
        kept=None,
    )


def _refused(entry: Entry, step: Send, answer: Refused) -> Entry:
    flight = entry.in_flight
    if isinstance(step, Create) and answer.is_conflict and flight is not None:
        # It may stand there: what says so is a look-up.
        return replace(
            entry, in_flight=replace(flight, refusal=answer.why, another_runs=answer.another_runs), is_fresh=False
        )
    entry = replace(entry, in_flight=None)
    if isinstance(step, Create):
        entry = replace(entry, creates_sent=entry.creates_sent - 1, bodies=entry.bodies[:-1])
    if isinstance(step, Stop) and answer.is_invalid and not (step.body or entry.is_fresh or entry.must_read):
        # It may have been stopped by a person, who was there first.
        return replace(entry, must_read=True)
    if isinstance(step, Delete) and entry.observed is not None and entry.observed.is_running:
        # The work of a discarded timer is over, also where it has to stand.
        return replace(entry, desired=replace(entry.desired, presence=Presence.FINISHED), kept=answer.why)
    why = answer.why
    if isinstance(step, Update) and entry.started is not None and "hours" in step.body and entry.observed is not None:
        counted = decimal_hours.text(entry.observed.hours or Decimal(0))
        why = f"{why}. The timer itself is stopped, with {counted} h as Keito counts them."
    return replace(entry, outcome=Outcome(OutcomeKind.REFUSED, why))


def _known(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "is_running"}


def _accepted(body: Mapping[str, Any]) -> dict[str, Any]:
    names = ("hours", "notes", "is_billable", "task_id", "metadata")
    return {name: body[name] for name in names if body.get(name) is not None}
