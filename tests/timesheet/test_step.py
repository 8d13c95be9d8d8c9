from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from keito_mcp.clock import Instant
from keito_mcp.journal.entry import Desired, Entry, Flight, FlightKind, Observed, Outcome, OutcomeKind, Presence, Rest
from keito_mcp.keito.api import Traits
from keito_mcp.timesheet.answer import Answer, Away, Found, Gone, Refused, Shown, anew, apply, depart, surplus
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
    next_step,
)
from tests.support.worlds import DAY, NOON, V1, V2, asked

Kind = type[Step]
NOW = Instant(NOON, 1000.0, "boot")
LOST = Away("no answer", may_have_arrived=True)
NOT_SENT = Away("refused connection", may_have_arrived=False)


def at(seconds: float) -> Instant:
    return Instant(NOON + timedelta(seconds=seconds), 1000.0 + seconds, "boot")


def desired(presence: Presence = Presence.FINISHED, **fields: Any) -> Desired:
    hours = None if presence is Presence.RUNNING else Decimal("1.5")
    given: dict[str, Any] = {"presence": presence, "project_id": "prj_abc", "spent_date": DAY, "hours": hours}
    return Desired(**given | {"notes": "work"} | fields)


def row(presence: Presence = Presence.FINISHED, **fields: Any) -> Entry:
    """A row that a tool asked for just now, and that Keito never saw."""
    return asked(desired(presence, **fields), NOW)


def shown(**fields: Any) -> Observed:
    given: dict[str, Any] = {"entry_id": "te_1", "project_id": "prj_abc", "spent_date": DAY, "notes": "work"}
    return Observed(**given | {"hours": Decimal("1.5"), "is_running": False} | fields)


def there(presence: Presence = Presence.FINISHED, **fields: Any) -> Entry:
    """A row that Keito has as desired, read a while ago."""
    runs = presence is Presence.RUNNING
    entry = sent(row(presence, **fields), Shown(shown(is_running=runs, hours=Decimal(0) if runs else Decimal("1.5"))))
    return aside(entry)


def sent(entry: Entry, answer: Answer, seconds: float = 0.0, traits: Traits = V1) -> Entry:
    """A row after its next step, a request, and its answer."""
    now = at(seconds)
    step = next_step(entry, now, traits)
    assert isinstance(step, Send), step
    return apply(depart(entry, step, now), step, answer, now)


def looked(entry: Entry, answer: Answer, seconds: float = 0.0, traits: Traits = V1) -> Entry:
    """A row after its next step, which asks and doesn't write, and its answer."""
    now = at(seconds)
    step = next_step(entry, now, traits)
    assert not isinstance(step, Send), step
    return apply(entry, step, answer, now)


def aside(entry: Entry) -> Entry:
    """A row as the next convergence finds it."""
    return replace(entry, is_fresh=False, shown=None, persons_change=None)


def wants(entry: Entry, presence: Presence = Presence.FINISHED, **fields: Any) -> Entry:
    """A row of which something else is asked now."""
    hours = entry.desired.hours or Decimal("1.5")
    given: dict[str, Any] = {"presence": presence, "hours": hours} | fields
    return replace(entry, desired=replace(entry.desired, **given))


def kind(entry: Entry, seconds: float = 0.0, traits: Traits = V1) -> Kind:
    return type(next_step(entry, at(seconds), traits))


def kinds(entry: Entry, seconds: Iterable[float], traits: Traits = V1) -> list[Kind]:
    return [kind(entry, moment, traits) for moment in seconds]


# --- what never arrived, and what may have ---


@pytest.mark.parametrize("presence", [Presence.RUNNING, Presence.FINISHED])
def test_an_entry_that_keito_never_saw_is_created_as_it_should_be(presence: Presence) -> None:
    step = next_step(row(presence), NOW, V1)
    assert isinstance(step, Create)
    counted = {"is_running": True} if presence is Presence.RUNNING else {"hours": Decimal("1.5")}
    about = {"project_id": "prj_abc", "spent_date": DAY, "notes": "work", "metadata": {"entry_key": row().key}}
    assert step.body == about | counted


def test_an_entry_that_keito_answered_needs_nothing_more() -> None:
    assert kind(sent(row(), Shown(shown()))) is Nothing


def test_hours_and_notes_that_keito_keeps_its_own_way_are_not_written_again() -> None:
    entry = sent(row(hours=Decimal("1.2345"), notes=" work "), Shown(shown(hours=Decimal("1.23"), notes="work")))
    assert kind(aside(entry), 500) is Nothing


def test_a_timer_that_ran_and_stopped_while_keito_was_away_is_one_create_of_a_finished_entry() -> None:
    step = next_step(wants(row(Presence.RUNNING)), at(60), V1)
    assert isinstance(step, Create)
    assert "is_running" not in step.body


def test_a_create_without_an_answer_is_looked_up_at_once_and_again_before_it_is_made_anew() -> None:
    entry = sent(row(), LOST)
    assert kind(entry) is LookUp
    entry = looked(entry, Found())
    assert kinds(entry, [0, 1, 119]) == [Wait, Wait, Wait]
    assert kind(entry, 120) is LookUp
    entry = looked(entry, Found(), 120)
    assert kind(entry, 120) is Forget
    assert kind(looked(entry, None, 120), 120) is Create


def test_a_create_whose_first_look_up_comes_late_is_looked_up_twice_all_the_same() -> None:
    entry = looked(sent(row(), LOST), Found(), 600)
    assert kinds(entry, [600, 609]) == [Wait, Wait]
    assert kind(entry, 610) is LookUp


def test_a_create_that_turns_up_is_taken_as_made() -> None:
    entry = looked(sent(row(), LOST), Found((shown(),)))
    assert (entry.handle, kind(entry)) == ("te_1", Nothing)


def test_a_create_that_certainly_did_not_arrive_rests_and_is_sent_again_with_the_same_idempotency_key() -> None:
    entry = sent(row(), NOT_SENT)
    assert (entry.creates_sent, entry.idempotency_key) == (0, row().idempotency_key)
    assert kind(entry, 1) is Wait
    assert kind(entry, 10) is Create


def test_each_failure_lets_a_row_rest_longer_up_to_five_minutes_or_as_keito_asks_up_to_an_hour() -> None:
    entry, rests = row(), []
    for _ in range(10):
        entry = replace(sent(replace(entry, rest=None), NOT_SENT), created=NOW)
        rests.append(entry.rest.seconds if entry.rest else 0)
    assert rests == sorted(rests)
    assert rests[-1] <= 375
    asked_for = sent(replace(row(), rest=None), replace(NOT_SENT, retry_after=3_153_600_000.0))
    assert kinds(asked_for, [3599, 3600]) == [Wait, LookUp]


def test_a_rest_from_a_clock_that_was_three_days_ahead_before_the_last_boot_is_over() -> None:
    ahead = Instant(NOON + timedelta(days=3), 5.0, "earlier boot")
    assert kind(replace(row(), rest=Rest(ahead, 300.0, "Keito was away"))) is Create


def test_a_flight_from_a_clock_that_was_ahead_counts_its_two_minutes_from_the_next_look_up() -> None:
    ahead = Instant(NOON + timedelta(days=3), 5.0, "earlier boot")
    entry = depart(row(), Create(why="", body={}), ahead)
    entry = looked(entry, Found())
    assert kinds(entry, [119, 120]) == [Wait, LookUp]


def test_a_row_that_may_come_from_a_copy_of_the_journal_is_looked_up_before_it_is_first_sent() -> None:
    assert kinds(row(), [0, 119, 120]) == [Create, Create, LookUp]
    assert kind(looked(row(), Found(), 500), 500) is Create
    assert kind(looked(row(), Found((shown(),)), 500), 500) is Nothing


def test_a_look_up_that_gets_no_answer_says_nothing() -> None:
    entry = looked(sent(row(), LOST), NOT_SENT)
    assert kinds(entry, [0, 10]) == [Wait, LookUp]
    refused = looked(sent(row(), LOST), Refused("not for you"))
    assert kinds(refused, [0, 10]) == [Wait, LookUp]


def test_what_is_not_wanted_and_was_never_seen_needs_nothing() -> None:
    assert kind(row(Presence.ABSENT), 500) is Nothing


def test_a_create_that_may_have_arrived_and_is_no_longer_wanted_is_deleted_when_it_turns_up() -> None:
    entry = wants(looked(sent(row(), LOST), Found()), Presence.ABSENT)
    entry = looked(entry, Found((shown(),)), 130)
    assert kind(entry, 130) is Read
    assert kind(looked(entry, Shown(shown()), 130), 130) is Delete


# --- refusals ---


def test_what_keito_refuses_to_make_is_settled_with_its_reason() -> None:
    entry = sent(row(), Refused("project_id is unknown"))
    assert entry.outcome == Outcome(OutcomeKind.REFUSED, "project_id is unknown")
    assert (kind(entry, 500), entry.creates_sent) == (Nothing, 0)


def test_a_conflict_on_a_create_is_looked_up_and_found_is_success() -> None:
    entry = sent(row(), Refused("exists already", is_conflict=True))
    assert kind(entry) is LookUp
    assert kind(looked(entry, Found((shown(),)))) is Nothing
    assert looked(entry, Found()).outcome == Outcome(OutcomeKind.REFUSED, "exists already")


def test_a_conflict_that_cannot_be_looked_up_is_not_taken_for_another_timer() -> None:
    entry = sent(row(Presence.RUNNING), Refused("another timer runs", is_conflict=True, another_runs=True), traits=V2)
    entry = looked(entry, NOT_SENT, traits=V2)
    assert entry.blocked is None
    entry = looked(wants(entry), Found((shown(is_running=True, hours=Decimal(0)),)), 20, V2)
    assert (len(entry.bodies), kind(entry, 20, V2)) == (1, Stop)


def test_a_timer_beside_another_one_waits_until_it_is_finished_and_is_one_entry_then() -> None:
    entry = sent(row(Presence.RUNNING), Refused("another timer runs", is_conflict=True, another_runs=True), traits=V2)
    entry = looked(entry, Found(), traits=V2)
    assert next_step(entry, at(30_000), V2) == Wait(why="another timer runs", seconds=None)
    assert kind(wants(entry), 60, V2) is Create
    assert kind(wants(entry, Presence.ABSENT), 60, V2) is Nothing


@pytest.mark.parametrize("presence", [Presence.FINISHED, Presence.ABSENT])
def test_a_change_that_keito_refuses_is_settled(presence: Presence) -> None:
    entry = looked(wants(there(), presence, hours=Decimal(2)), Shown(shown()))
    assert kind(sent(entry, Refused("it is approved", is_conflict=True))) is Nothing


def test_a_conflict_in_place_of_a_read_says_nothing_of_an_unanswered_delete() -> None:
    entry = sent(looked(wants(there(), Presence.ABSENT), Shown(shown())), LOST)
    entry = looked(entry, Refused("409", is_conflict=True))
    assert kinds(aside(entry), [0, 120]) == [Wait, Read]
    assert kind(looked(aside(entry), Gone(), 120), 120) is Nothing


def test_an_entry_that_keito_refuses_to_show_is_settled() -> None:
    assert kind(looked(wants(there(), hours=Decimal(2)), Refused("not for you"))) is Nothing


# --- changes ---


def test_a_change_is_read_before_it_is_written_and_sends_what_differs() -> None:
    entry = wants(there(), hours=Decimal(2), notes="work")
    assert kind(entry) is Read
    assert next_step(looked(entry, Shown(shown())), NOW, V1) == Update(
        why="its hours differ", body={"hours": Decimal(2)}
    )


def test_a_read_of_an_earlier_convergence_is_no_leave_to_write() -> None:
    entry = looked(wants(there(), hours=Decimal(2)), Shown(shown()))
    assert kinds(replace(entry, is_fresh=False), [0]) == [Read]


def test_a_stop_on_version_1_is_read_first_and_carries_the_hours() -> None:
    entry = looked(wants(there(Presence.RUNNING), notes="done"), Shown(shown(is_running=True)))
    step = next_step(entry, NOW, V1)
    assert isinstance(step, Stop)
    assert step.body == {"hours": Decimal("1.5"), "notes": "done", "is_running": False}


def test_a_stop_on_version_2_is_one_request_and_its_given_hours_a_second_one() -> None:
    entry = wants(there(Presence.RUNNING), hours=Decimal("0.0253"))
    assert next_step(entry, at(90), V2) == Stop(why="its timer is to be stopped, which overwrites nothing")
    entry = sent(entry, Shown(shown(hours=Decimal("0.025"))), 90, V2)
    assert next_step(entry, at(90), V2) == Update(why="its hours differ", body={"hours": Decimal("0.0253")})


def test_given_hours_near_keitos_own_count_are_written_though_the_stop_got_no_answer() -> None:
    entry = sent(wants(there(Presence.RUNNING), hours=Decimal("0.0253")), LOST, 90, V2)
    entry = looked(entry, Shown(shown(hours=Decimal("0.025"))), 90, V2)
    assert kind(entry, 90, V2) is Update


@pytest.mark.parametrize(
    ("counted", "then"),
    [
        pytest.param("0.0252", Nothing, id="as here"),
        pytest.param("0", Update, id="nothing at all"),
        pytest.param("0.06", Update, id="more, since the stop came late"),
    ],
)
def test_keitos_own_count_of_a_timer_stands_where_it_can_be_right(counted: str, then: Kind) -> None:
    entry = wants(there(Presence.RUNNING), hours=Decimal("0.025"), hours_are_exact=False)
    assert kind(sent(entry, Shown(shown(hours=Decimal(counted))), 90, V2), 90, V2) is then


def test_a_timer_that_reached_keito_later_than_its_work_began_gets_the_hours_of_the_work() -> None:
    entry = replace(there(Presence.RUNNING), started=at(-3600))
    entry = wants(entry, hours=Decimal("1.025"), hours_are_exact=False)
    assert kind(sent(entry, Shown(shown(hours=Decimal("0.025"))), 90, V2), 90, V2) is Update


def test_a_timer_of_which_a_person_took_time_away_keeps_keitos_count() -> None:
    entry = wants(there(Presence.RUNNING), hours=Decimal(1), hours_are_exact=False)
    assert kind(sent(entry, Shown(shown(hours=Decimal("0.4"))), 3600, V2), 3600, V2) is Nothing


def test_capped_hours_are_written_though_the_wall_clock_was_set_back() -> None:
    entry = wants(there(Presence.RUNNING), hours=Decimal(8), hours_are_exact=True)
    now = Instant(NOON + timedelta(seconds=29_940), 31_000.0, "boot")
    step = next_step(entry, now, V2)
    assert isinstance(step, Stop)
    entry = apply(depart(entry, step, now), step, Shown(shown(hours=Decimal("8.3333"))), now)
    assert next_step(entry, now, V2) == Update(why="its hours differ", body={"hours": Decimal(8)})


@pytest.mark.parametrize(
    ("hours", "said"), [("8.3333", None), ("8.3666", None), ("8.25", "A person stopped it in Keito.")]
)
@pytest.mark.parametrize("moved", [timedelta(), timedelta(days=-1), timedelta(hours=-2)], ids=str)
def test_an_unanswered_stop_is_known_by_the_time_that_passed_however_the_wall_clock_was_set_back(
    hours: str, said: str | None, moved: timedelta
) -> None:
    entry = wants(there(Presence.RUNNING), hours=Decimal(8), hours_are_exact=True)
    now = Instant(at(30_000).wall + moved, at(30_000).monotonic, "boot")
    step = next_step(entry, now, V2)
    assert isinstance(step, Stop)
    entry = apply(depart(entry, step, now), step, LOST, now)
    look = next_step(entry, now, V2)
    assert isinstance(look, Read)
    assert apply(entry, look, Shown(shown(hours=Decimal(hours))), now).persons_change == said


def test_a_stop_that_version_2_refuses_unread_is_read_and_a_person_who_was_there_first_is_left_alone() -> None:
    entry = sent(wants(there(Presence.RUNNING)), Refused("it does not run", is_invalid=True), traits=V2)
    assert kind(entry, traits=V2) is Read
    assert kind(looked(entry, Shown(shown(hours=Decimal("0.4"))), traits=V2), traits=V2) is LeaveToPerson


def test_a_stop_that_keito_keeps_refusing_is_settled() -> None:
    entry = sent(wants(there(Presence.RUNNING)), Refused("no", is_invalid=True), traits=V2)
    entry = looked(entry, Shown(shown(is_running=True)), traits=V2)
    assert kind(sent(entry, Refused("no", is_invalid=True), traits=V2), traits=V2) is Nothing


def test_a_stop_that_keito_answers_with_a_running_timer_is_not_made() -> None:
    entry = looked(wants(there(Presence.RUNNING)), Shown(shown(is_running=True)))
    entry = sent(entry, Shown(shown(is_running=True)))
    assert kinds(entry, [0, 119, 120]) == [Wait, Wait, Read]


def test_a_change_without_an_answer_is_read_and_sent_again_only_after_two_minutes_and_a_second_read() -> None:
    entry = sent(looked(wants(there(), hours=Decimal(2)), Shown(shown())), LOST)
    assert kind(entry) is Read
    entry = looked(entry, Shown(shown()))
    assert kinds(aside(entry), [0, 119, 120]) == [Wait, Wait, Read]
    entry = looked(aside(entry), Shown(shown()), 120)
    assert kind(entry, 120) is Forget
    assert kind(looked(entry, None, 120), 120) is Update


def test_a_change_that_was_read_often_is_read_once_more_when_it_can_no_longer_arrive() -> None:
    entry = sent(looked(wants(there(), hours=Decimal(2)), Shown(shown())), LOST)
    for seconds in (0, 30, 119):
        entry = apply(aside(entry), Read(why="somebody asks"), Shown(shown()), at(seconds))
    assert kinds(aside(entry), [119, 128, 129]) == [Wait, Wait, Read]


@pytest.mark.parametrize("hours", ["2", "2.00"])
def test_a_change_that_a_read_shows_is_made(hours: str) -> None:
    entry = sent(looked(wants(there(), hours=Decimal("2.0011")), Shown(shown())), LOST)
    assert kind(looked(entry, Shown(shown(hours=Decimal(hours))))) is Nothing


def test_hours_that_keito_rounds_to_what_they_were_are_not_taken_for_written() -> None:
    entry = sent(looked(wants(there(), hours=Decimal("1.5011")), Shown(shown())), LOST)
    assert kind(looked(entry, Shown(shown()))) is Wait


# --- a person ---


PERSON: list[tuple[dict[str, Any], str]] = [
    ({"hours": Decimal("1.75")}, "A person changed its hours from 1.5 to 1.75."),
    ({"notes": "reworded"}, "A person changed its notes."),
    ({"is_billable": False}, "A person changed its is_billable."),
    ({"task_id": "tsk_2"}, "A person changed its task_id."),
    ({"project_id": "prj_other"}, "A person changed its project_id."),
    ({"is_running": True}, "A person started it again in Keito."),
    ({"is_locked": True}, "It was approved, locked or invoiced in Keito."),
]


def with_everything() -> Entry:
    said: dict[str, Any] = {"is_billable": True, "task_id": "tsk_1"}
    return aside(sent(row(**said), Shown(shown(**said))))


@pytest.mark.parametrize(("change", "said"), PERSON, ids=[str(next(iter(change))) for change, _ in PERSON])
@pytest.mark.parametrize("presence", [Presence.FINISHED, Presence.ABSENT])
def test_what_a_person_did_to_a_finished_entry_is_final(change: dict[str, Any], said: str, presence: Presence) -> None:
    entry = wants(with_everything(), presence, hours=Decimal(2))
    entry = looked(entry, Shown(shown(**{"is_billable": True, "task_id": "tsk_1"} | change)))
    assert next_step(entry, NOW, V1) == LeaveToPerson(why=said)
    entry = aside(looked(entry, None))
    assert (kind(entry, 5000), entry.outcome) == (Nothing, Outcome(OutcomeKind.PERSON, said))


@pytest.mark.parametrize(
    "spelling",
    [{"project_id": "PRJ_ABC"}, {"task_id": "17 "}, {"notes": "work\n"}, {"hours": Decimal("1.50")}],
    ids=str,
)
def test_another_spelling_of_the_same_is_no_persons_change(spelling: dict[str, Any]) -> None:
    entry = wants(aside(sent(row(task_id="17"), Shown(shown(task_id="17")))), hours=Decimal(2))
    assert kind(looked(entry, Shown(shown(**{"task_id": "17"} | spelling)))) is Update


def test_notes_stay_as_they_are_where_a_person_edited_anything_of_a_running_timer() -> None:
    running: dict[str, Any] = {"is_running": True, "hours": Decimal(0)}
    timer = aside(sent(row(Presence.RUNNING, task_id="tsk_1"), Shown(shown(task_id="tsk_1", **running))))
    entry = looked(wants(timer, notes="mine"), Shown(shown(task_id="tsk_2", **running)))
    stop = next_step(entry, NOW, V1)
    assert isinstance(stop, Stop)
    assert set(stop.body) == {"hours", "is_running"}


def test_a_timer_that_a_replica_of_this_server_stopped_is_finished_as_it_is_and_no_persons() -> None:
    metadata = {"entry_key": there().key, "hours_written": "0.5"}
    seen = shown(is_running=False, hours=Decimal("0.5"), metadata=metadata)
    entry = looked(wants(there(Presence.RUNNING)), Shown(seen))
    assert entry.outcome is None
    assert (entry.desired.presence, entry.desired.hours) == (Presence.FINISHED, Decimal("0.5"))
    assert kind(entry) is Nothing


def test_hours_of_a_running_timer_are_not_taken_for_those_of_its_end() -> None:
    running = replace(there(Presence.RUNNING), observed=shown(is_running=True, hours=Decimal("1.5")))
    entry = sent(wants(running, hours=Decimal("1.5")), Shown(shown(is_running=False, hours=None)), traits=V2)
    assert kind(entry, traits=V2) is Update


def test_an_entry_that_a_person_deleted_stays_deleted() -> None:
    entry = looked(wants(there(), hours=Decimal(2)), Gone())
    assert entry.outcome == Outcome(OutcomeKind.PERSON, "It is no longer in Keito: it was deleted there.")
    assert kind(entry, 5000) is Nothing


def test_a_timer_that_a_person_stopped_keeps_the_persons_hours() -> None:
    entry = looked(wants(there(Presence.RUNNING)), Shown(shown(hours=Decimal("0.4"))))
    assert next_step(entry, NOW, V1) == LeaveToPerson(why="A person stopped it in Keito.")


def test_a_running_timer_that_a_person_edited_is_stopped_and_the_notes_stay_theirs() -> None:
    entry = looked(wants(there(Presence.RUNNING), notes="done"), Shown(shown(is_running=True, notes="reworded")))
    step = next_step(entry, NOW, V1)
    assert isinstance(step, Stop)
    assert step.body == {"hours": Decimal("1.5"), "is_running": False}


def test_a_running_timer_that_a_person_edited_is_kept_when_its_session_is_discarded_and_stops() -> None:
    entry = looked(wants(there(Presence.RUNNING), Presence.ABSENT), Shown(shown(is_running=True, notes="reworded")))
    assert kind(entry) is LeaveToPerson
    entry = looked(entry, None)
    assert (kind(entry), entry.kept) == (Stop, "A person changed its notes.")


def test_a_timer_that_a_person_edited_before_it_was_discarded_is_kept_too() -> None:
    entry = looked(wants(there(Presence.RUNNING), Presence.FINISHED), Shown(shown(is_running=True, notes="reworded")))
    entry = wants(aside(sent(entry, NOT_SENT)), Presence.ABSENT)
    assert kind(entry, 60) is LeaveToPerson


def test_an_unanswered_change_of_ours_does_not_hide_a_persons_edit() -> None:
    entry = sent(looked(wants(there(), hours=Decimal("0.4263")), Shown(shown())), LOST)
    entry = aside(wants(looked(entry, Shown(shown())), hours=Decimal("0.1909")))
    entry = looked(entry, Shown(shown(hours=Decimal("0.4263"), notes="reworded")), 130)
    assert next_step(entry, at(130), V1) == LeaveToPerson(why="A person changed its notes.")


def test_an_answer_that_shows_a_persons_edit_beside_our_change_is_the_last_we_write() -> None:
    entry = looked(wants(there(), hours=Decimal(2)), Shown(shown()))
    entry = sent(entry, Shown(shown(hours=Decimal(2), notes="reworded")))
    assert kind(entry) is LeaveToPerson


def test_a_person_who_changed_an_entry_before_its_create_was_found_is_left_alone() -> None:
    entry = looked(sent(row(), LOST), Found((shown(hours=Decimal(3)),)))
    assert kind(looked(wants(aside(entry), notes="else"), Shown(shown(hours=Decimal(3))))) is LeaveToPerson


# --- deleting, restoring, second copies ---


def test_an_entry_that_is_to_be_absent_is_read_and_deleted_and_kept_whole_for_restore() -> None:
    entry = looked(wants(there(), Presence.ABSENT), Shown(shown()))
    entry = sent(entry, Gone())
    assert (kind(entry), entry.observed, entry.removed) == (Nothing, None, shown(metadata={"entry_key": entry.key}))


def test_a_delete_without_an_answer_is_read_and_a_404_means_that_it_was_made() -> None:
    entry = sent(looked(wants(there(), Presence.ABSENT), Shown(shown())), LOST)
    assert kind(entry) is Read
    assert kind(looked(entry, Gone())) is Nothing


def test_an_entry_that_is_restored_is_created_anew_with_another_idempotency_key() -> None:
    gone = sent(looked(wants(there(), Presence.ABSENT), Shown(shown())), Gone())
    again = anew(wants(gone))
    assert (kind(again), again.idempotency_key != gone.idempotency_key) == (Create, True)


def test_an_entry_that_is_restored_while_its_delete_is_on_its_way_is_created_anew_once_it_is_gone() -> None:
    entry = sent(looked(wants(there(), Presence.ABSENT), Shown(shown())), LOST)
    entry = looked(wants(entry), Gone())
    assert (kind(entry), entry.generation) == (Create, 1)


def test_a_list_that_still_shows_what_was_deleted_does_not_bring_it_back() -> None:
    gone = sent(looked(wants(there(), Presence.ABSENT), Shown(shown())), Gone())
    entry = looked(sent(anew(wants(gone)), LOST), Found((shown(),)))
    assert (entry.observed, kind(entry)) == (None, Wait)


def test_what_was_sent_twice_is_looked_for_after_five_minutes_and_after_an_hour() -> None:
    entry = looked(looked(looked(sent(row(), LOST), Found()), Found(), 120), None, 120)
    entry = sent(entry, Shown(shown()), 120)
    assert kinds(entry, [120, 419, 420]) == [Nothing, Nothing, LookUpAll]
    entry = looked(entry, Found((shown(),)), 420)
    assert kinds(entry, [420, 3719, 3720]) == [Nothing, Nothing, LookUpAll]
    assert kind(looked(entry, Found((shown(),)), 3720), 10**6) is Nothing


def test_an_unanswered_create_that_is_no_longer_wanted_is_looked_for_later_too() -> None:
    entry = wants(looked(looked(sent(row(), LOST), Found()), Found(), 120), Presence.ABSENT)
    entry = looked(entry, None, 120)
    assert kinds(entry, [120, 299, 300]) == [Nothing, Nothing, LookUpAll]


def test_an_entry_that_was_sent_once_and_answered_is_never_looked_for() -> None:
    assert next_step(there(), at(10**6), V1) == Nothing(why="it is as it should be")


def test_a_second_copy_is_surplus_as_it_was_made_and_a_persons_once_it_was_changed() -> None:
    entry = sent(row(), Shown(shown()))
    second, changed = shown(entry_id="te_2"), shown(entry_id="te_3", notes="reworded")
    assert surplus(entry, (shown(), second, changed)) == ([second], [changed])


def test_a_copy_of_a_timer_that_runs_is_as_made_also_when_the_timer_is_finished() -> None:
    entry = replace(sent(row(Presence.RUNNING), LOST), in_flight=None)
    entry = sent(wants(entry), Shown(shown()))
    runs = shown(entry_id="te_2", is_running=True, hours=Decimal("0.3"))
    assert surplus(entry, (shown(), runs)) == ([runs], [])


# --- the whole table ---


def test_each_step_names_its_reason_for_the_log() -> None:
    entries = [row(), there(), sent(row(), LOST), row(Presence.ABSENT), wants(there(), hours=Decimal(2))]
    assert all(next_step(entry, NOW, V1).why for entry in entries)


def test_an_answer_that_no_step_can_have_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="is no answer"):
        apply(row(), LookUp(why=""), Gone(), NOW)
    with pytest.raises(TypeError, match="is no answer"):
        apply(row(), Read(why=""), Found(), NOW)


def test_a_flight_of_each_kind_is_recorded_before_it_leaves() -> None:
    steps: dict[FlightKind, Send] = {
        FlightKind.CREATE: Create(why="", body={"hours": 1}),
        FlightKind.STOP: Stop(why=""),
        FlightKind.UPDATE: Update(why="", body={"hours": 2}),
        FlightKind.DELETE: Delete(why=""),
    }
    for flight, step in steps.items():
        assert depart(there(), step, NOW).in_flight == Flight(kind=flight, body=step.body, sent=NOW)
