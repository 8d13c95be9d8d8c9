"""What holds for every row and every answer, reachable or not."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from keito_mcp.clock import Instant
from keito_mcp.journal.entry import Desired, Entry, Flight, FlightKind, Observed, Outcome, OutcomeKind, Presence, Rest
from keito_mcp.keito.api import Traits
from keito_mcp.timesheet.answer import Answer, Away, Found, Gone, Refused, Shown, apply, depart
from keito_mcp.timesheet.step import (
    Create,
    Delete,
    LookUp,
    LookUpAll,
    Nothing,
    Read,
    Send,
    Step,
    Update,
    Wait,
    next_step,
)
from tests.profile import profile
from tests.support.worlds import DAY, NOON, V1, V2, owner

NOW = Instant(NOON, 10_000.0, "boot")
_MOST_STEPS = 40
_EXAMPLES = min(profile().operations // 5, 5_000)

hours = st.integers(1, 240_000).map(lambda units: Decimal(units) / 10_000)
notes = st.sampled_from([None, "", "work", " work ", "reworded"])
traits = st.sampled_from([V1, V2])
sentences = st.just("because")


def moments() -> st.SearchStrategy[Instant]:
    """Moments of this boot and of an earlier one, whose clock may have been days ahead."""
    here = st.integers(-9_000, 0).map(lambda s: Instant(NOON + timedelta(seconds=s), 10_000.0 + s, "boot"))
    before = st.integers(-9_000, 300_000).map(lambda s: Instant(NOON + timedelta(seconds=s), 5.0, "earlier"))
    return st.one_of(here, before)


shown = st.builds(
    Observed,
    entry_id=st.sampled_from(["te_1", "te_2"]),
    is_running=st.sampled_from([True, False, None]),
    is_locked=st.booleans(),
    project_id=st.sampled_from(["prj_abc", "prj_other", None]),
    spent_date=st.just(DAY),
    hours=st.none() | hours,
    notes=notes,
    is_billable=st.none() | st.booleans(),
)
desired = st.builds(
    Desired,
    presence=st.sampled_from(Presence),
    hours_are_exact=st.booleans(),
    project_id=st.just("prj_abc"),
    spent_date=st.just(DAY),
    hours=hours,
    notes=notes,
    is_billable=st.none() | st.booleans(),
)
stopped = st.just(value=False)
bodies = st.fixed_dictionaries({}, optional={"hours": hours, "notes": notes.filter(bool), "is_running": stopped})
flights = st.builds(
    Flight,
    kind=st.sampled_from(FlightKind),
    body=bodies,
    sent=moments(),
    looks=st.integers(0, 3),
    looked=st.none() | moments(),
    refusal=st.none() | sentences,
    another_runs=st.booleans(),
)


@st.composite
def rows(draw: st.DrawFn) -> Entry:
    """Any row that its fields can make, also those that nothing leads to."""
    entry = draw(
        st.builds(
            Entry,
            key=st.uuids().map(str),
            owner=st.just(owner()),
            desired=desired,
            created=moments(),
            observed=st.none() | shown,
            accepted=bodies.map(lambda body: {name: value for name, value in body.items() if name != "is_running"}),
            persons=st.sampled_from([frozenset(), frozenset({"notes"})]),
            in_flight=st.none() | flights,
            bodies=st.lists(bodies, max_size=3).map(tuple),
            creates_sent=st.integers(0, 3),
            first_sent=st.none() | moments(),
            last_sent=st.none() | moments(),
            arrived=st.none() | moments(),
            verified=st.none() | moments(),
            copies_looked_for=st.integers(0, 2),
            blocked=st.none() | sentences,
            must_read=st.booleans(),
            outcome=st.none() | st.builds(Outcome, st.sampled_from(OutcomeKind), sentences),
            removed=st.none() | shown,
            rest=st.none() | st.builds(Rest, moments(), st.floats(0, 1e12), sentences),
            failures=st.integers(0, 50),
            started=st.none() | moments(),
        )
    )
    flight = entry.in_flight
    if flight is not None and flight.kind is not FlightKind.CREATE and entry.observed is None:
        # Only what Keito showed can be changed.
        return replace(entry, in_flight=None)
    return entry


def answers(step: Step) -> st.SearchStrategy[Answer]:
    """Each answer that a step can have."""
    away = st.builds(Away, sentences, may_have_arrived=st.booleans(), retry_after=st.none() | st.floats(0, 1e12))
    refused = st.builds(Refused, sentences, is_conflict=st.booleans(), another_runs=st.booleans())
    found = st.lists(shown, max_size=2).map(tuple).map(Found)
    if isinstance(step, LookUp | LookUpAll):
        return st.one_of(away, refused, found)
    if isinstance(step, Create):
        return st.one_of(away, refused, shown.map(Shown))
    if isinstance(step, Read | Send):
        return st.one_of(away, refused, shown.map(Shown), st.just(Gone()))
    return st.none()


def taken(entry: Entry, step: Step, answer: Answer, now: Instant) -> Entry:
    """A row after a step, as the loop does it."""
    return apply(depart(entry, step, now) if isinstance(step, Send) else entry, step, answer, now)


@given(rows(), traits, st.data())
@settings(max_examples=_EXAMPLES, deadline=None)
def test_each_row_has_a_next_step_and_each_answer_leads_to_a_row_with_one(
    entry: Entry, kept: Traits, data: st.DataObject
) -> None:
    step = next_step(entry, NOW, kept)
    assert next_step(entry, NOW, kept) == step
    after = taken(entry, step, data.draw(answers(step)), NOW)
    assert next_step(after, NOW, kept).why


@given(rows(), traits)
@settings(max_examples=_EXAMPLES, deadline=None)
def test_nothing_is_created_while_a_request_may_be_in_flight_or_what_is_observed_stands(
    entry: Entry, kept: Traits
) -> None:
    step = next_step(entry, NOW, kept)
    if isinstance(step, Send):
        assert entry.in_flight is None
        assert entry.outcome is None
    if isinstance(step, Create):
        assert entry.observed is None
        assert entry.desired.presence is not Presence.ABSENT


@given(rows(), traits)
@settings(max_examples=_EXAMPLES, deadline=None)
def test_only_an_entry_that_was_read_in_this_convergence_is_overwritten_or_deleted(entry: Entry, kept: Traits) -> None:
    step = next_step(entry, NOW, kept)
    if isinstance(step, Update | Delete) or (isinstance(step, Send) and "hours" in step.body and entry.observed):
        assert entry.is_fresh


@given(rows(), traits, st.data())
@settings(max_examples=_EXAMPLES, deadline=None)
def test_a_persons_change_that_a_read_shows_is_followed_by_no_write(
    entry: Entry, kept: Traits, data: st.DataObject
) -> None:
    after = apply(entry, Read(why="it is to be changed"), data.draw(shown.map(Shown)), NOW) if entry.observed else entry
    if after.persons_change is None or after.in_flight is not None or after.outcome is not None:
        return
    after = replace(after, rest=None)
    for _ in range(_MOST_STEPS):
        step = next_step(after, NOW, kept)
        if isinstance(step, Wait | Nothing):
            return
        if isinstance(step, Send):
            # The timer of a discarded session is stopped, and otherwise left as the person made it.
            assert entry.desired.presence is Presence.ABSENT
            assert set(step.body) <= {"hours", "is_running"}
            return
        after = taken(after, step, data.draw(answers(step)), NOW)


class _Obedient:
    """A Keito that answers each request as it should."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry.observed

    def answer(self, step: Step) -> Answer:
        match step:
            case LookUp() | LookUpAll():
                return Found((self.entry,) if self.entry else ())
            case Read():
                return Shown(self.entry) if self.entry else Gone()
            case Delete():
                self.entry = None
                return Gone()
            case Send():
                return Shown(self.changed(step))
        return None

    def changed(self, step: Send) -> Observed:
        runs = bool(step.body.get("is_running")) if isinstance(step, Create) else False
        values = {name: value for name, value in step.body.items() if name != "is_running"}
        self.entry = replace(self.entry or Observed(entry_id="te_1"), **values, is_running=runs)
        return self.entry


@given(rows(), traits)
@settings(max_examples=_EXAMPLES, deadline=None)
def test_with_a_keito_that_answers_each_row_comes_to_rest_and_stays_there(entry: Entry, kept: Traits) -> None:
    keito, now = _Obedient(entry), NOW
    for _ in range(_MOST_STEPS):
        step = next_step(entry, now, kept)
        if isinstance(step, Nothing) and step.seconds is None:
            break
        if isinstance(step, Wait | Nothing):
            if step.seconds is None:
                assert isinstance(step, Wait)
                assert entry.blocked
                break
            assert step.seconds <= 3600
            # A second more than asked: moments are kept to the microsecond.
            seconds = step.seconds + 1
            now = Instant(now.wall + timedelta(seconds=seconds), now.monotonic + seconds, "boot")
            entry = replace(entry, is_fresh=False, shown=None, persons_change=None)
            continue
        entry = taken(entry, step, keito.answer(step), now)
    else:
        raise AssertionError("it never came to rest")
    later = Instant(now.wall + timedelta(days=1), now.monotonic + 86_400, "boot")
    assert type(next_step(replace(entry, is_fresh=False), later, kept)) is type(step)
