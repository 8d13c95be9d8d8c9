"""What is still to be made of an entry, what was refused, and what its agent hears of that."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from keito_mcp.clock import Instant
from keito_mcp.journal.entry import Desired, Entry, Flight, FlightKind, Observed, Outcome, OutcomeKind, Presence, Rest
from keito_mcp.timesheet.pending import Pending, noted, pending, refused
from tests.support.worlds import DAY, NOON, V1, asked

NOW = Instant(NOON, 1000.0, "boot")
WANTED = asked(Desired(presence=Presence.FINISHED, spent_date=DAY, hours=Decimal(1)), NOW)
THERE = replace(
    WANTED,
    observed=Observed(entry_id="te_1", is_running=False, spent_date=DAY, hours=Decimal(1)),
    accepted={"hours": Decimal(1), "metadata": WANTED.desired.metadata},
)
AWAY = Rest(NOW, 60.0, "Keito can't be reached now (refused).")


def absent(entry: Entry) -> Entry:
    return replace(entry, desired=replace(entry.desired, presence=Presence.ABSENT))


def later(entry: Entry, **fields: object) -> Pending | None:
    return pending(replace(entry, **fields), NOW, V1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entry", "kind", "state"),
    [
        (WANTED, "create", "queued"),
        (replace(WANTED, rest=AWAY), "create", "queued"),
        (
            replace(WANTED, in_flight=Flight(kind=FlightKind.CREATE, sent=NOW), creates_sent=1, last_sent=NOW),
            "create",
            "unknown",
        ),
        (replace(THERE, desired=replace(THERE.desired, hours=Decimal(2))), "update", "queued"),
        (replace(THERE, in_flight=Flight(kind=FlightKind.STOP, sent=NOW)), "update", "unknown"),
        (absent(THERE), "delete", "queued"),
        (replace(THERE, creates_sent=2, last_sent=NOW), "update", "confirming"),
        (
            replace(WANTED, desired=replace(WANTED.desired, presence=Presence.RUNNING), blocked="Another one runs."),
            "create",
            "held",
        ),
    ],
)
def test_what_is_still_to_be_made_is_told_in_words(entry: Entry, kind: str, state: str) -> None:
    found = later(entry)
    assert found is not None
    assert (found.kind, found.state) == (kind, state)
    assert found.is_to_be_made is (state in {"queued", "unknown"})


@pytest.mark.parametrize("entry", [THERE, absent(WANTED)], ids=["as it should be", "never there and not wanted"])
def test_what_is_as_it_should_be_waits_for_nothing(entry: Entry) -> None:
    assert later(entry) is None


def test_a_second_copy_that_is_looked_for_just_now_is_nothing_to_be_made() -> None:
    earlier = Instant(NOON - timedelta(minutes=6), 640.0, "boot")
    found = later(THERE, creates_sent=2, last_sent=earlier)
    assert found is not None
    assert found.state == "confirming"


def test_why_it_waits_is_what_kept_it_from_keito_last() -> None:
    found = later(WANTED, rest=AWAY)
    assert found is not None
    assert (found.reason, found.sends) == (AWAY.why, 0)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (WANTED, {"outcome": Outcome(OutcomeKind.REFUSED, "No (403).")}, f"Not made: the create of entry {WANTED.key}"),
        (THERE, {"outcome": Outcome(OutcomeKind.PERSON, "Theirs.")}, "Not made: the update of entry te_1"),
        (absent(THERE), {"outcome": Outcome(OutcomeKind.PERSON, "Theirs.")}, "Not made: the delete of entry te_1"),
        (absent(THERE), {"kept": "Theirs.", "desired": THERE.desired}, "Not made: the delete of entry te_1"),
        (
            THERE,
            {"outcome": Outcome(OutcomeKind.PERSON, "Gone."), "observed": None, "removed": THERE.observed},
            "Not made: the update of entry te_1",
        ),
    ],
)
def test_what_was_promised_and_wont_be_made_is_told_once(before: Entry, after: dict[str, object], said: str) -> None:
    told = noted(before, replace(before, **after))  # type: ignore[arg-type]
    [sentence] = told.unheard
    assert sentence.startswith(f"{said}, which was to be made later. ")
    assert sentence.endswith(".")
    assert not sentence.endswith("..")
    assert noted(told, told).unheard == told.unheard
    assert len(refused(told)) == 1


def test_what_a_person_deleted_first_is_no_news_to_who_discarded_it() -> None:
    gone = {"outcome": Outcome(OutcomeKind.PERSON, "Gone."), "observed": None, "removed": THERE.observed}
    after = replace(absent(THERE), **gone)  # type: ignore[arg-type]
    assert noted(absent(THERE), after).unheard == ()
    assert refused(after) == []
