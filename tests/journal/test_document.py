import json
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from keito_mcp.journal import JournalError
from keito_mcp.journal.document import UnreadableDocument, from_document, stored, to_document
from keito_mcp.journal.entry import Entry, Flight, FlightKind, Observed
from tests.journal.builders import UNHURRIED, instant
from tests.support.rows import ANY_ENTRY, asked, delivered

FLYING = replace(
    delivered(asked(1, timer=True)),
    in_flight=Flight(kind=FlightKind.STOP, body={"hours": Decimal("1.50"), "is_running": False}, sent=instant()),
    bodies=({"spent_date": asked(1).desired.spent_date, "metadata": {"entry_key": "k", "depth": [1, None]}},),
)


@UNHURRIED
@given(ANY_ENTRY)
def test_any_entry_comes_back_exactly_apart_from_what_holds_within_one_convergence(entry: Entry) -> None:
    back = from_document(to_document(entry))
    assert back == replace(entry, is_fresh=False, shown=None, persons_change=None) == stored(entry)
    # Decimals and dates are equal to others that are written otherwise.
    assert repr(back) == repr(from_document(to_document(back)))
    assert str(back.desired.hours) == str(entry.desired.hours)


@UNHURRIED
@given(ANY_ENTRY)
def test_the_same_entry_gives_the_same_document(entry: Entry) -> None:
    assert to_document(from_document(to_document(entry))) == to_document(entry)


def test_what_a_convergence_saw_is_in_no_document() -> None:
    seen = replace(FLYING, is_fresh=True, shown=FLYING.observed, persons_change="A person changed its notes.")
    assert to_document(seen) == to_document(FLYING)
    assert json.loads(to_document(seen)).keys().isdisjoint({"is_fresh", "shown", "persons_change"})


def test_hours_and_days_are_text_enums_their_values_and_moments_three_fields() -> None:
    document = json.loads(to_document(FLYING))
    assert document["in_flight"] == {
        "kind": "stop",
        "body": {"hours": "1.50", "is_running": False},
        "sent": {"wall": "2026-03-06T12:00:00+00:00", "monotonic": 1000.25, "boot_id": "boot-1"},
        "looks": 0,
        "another_runs": False,
    }
    assert document["bodies"] == [{"spent_date": "2026-03-06", "metadata": {"entry_key": "k", "depth": [1, None]}}]
    assert document["desired"]["presence"] == "running"


@pytest.mark.parametrize("field", [one.name for one in fields(Entry) if one.name not in {"key", "owner", "desired"}])
def test_a_field_that_an_earlier_version_didnt_know_takes_its_default(field: str) -> None:
    document = json.loads(to_document(asked(1)))
    document.pop(field, None)
    if field == "created":
        with pytest.raises(UnreadableDocument):
            from_document(json.dumps(document))
    else:
        assert from_document(json.dumps(document)) == asked(1)


@pytest.mark.parametrize("place", [(), ("desired",), ("observed",), ("in_flight",), ("in_flight", "sent"), ("owner",)])
def test_a_field_that_a_later_version_wrote_is_refused_and_the_sentence_says_to_update(place: tuple[str, ...]) -> None:
    document = json.loads(to_document(FLYING))
    part: dict[str, Any] = document
    for name in place:
        part = part[name]
    part["colour"] = "green"
    with pytest.raises(
        JournalError, match=r"field 'colour' of its \w+, which a newer keito-mcp wrote; update this one"
    ):
        from_document(json.dumps(document))


@pytest.mark.parametrize(
    "change",
    [
        {"desired": {"presence": "sleeping"}},
        {"desired": {"presence": "finished", "hours": "many"}},
        {"desired": {"presence": "finished", "spent_date": "yesterday"}},
        {"desired": {}},
        {"created": {"wall": 7, "monotonic": 1.0, "boot_id": ""}},
        {"owner": None},
        {"bodies": 7},
        {"accepted": []},
    ],
    ids=str,
)
def test_a_document_that_makes_no_sense_is_an_error_in_a_sentence(change: dict[str, Any]) -> None:
    document = json.loads(to_document(asked(1)))
    if change == {"owner": None}:
        document.pop("owner")
    else:
        document |= change
    with pytest.raises(UnreadableDocument, match="an entry in the journal can't be read"):
        from_document(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '"text"'])
def test_what_is_no_document_at_all_is_an_error_in_a_sentence(text: str) -> None:
    with pytest.raises(JournalError, match="an entry in the journal"):
        from_document(text)


def test_a_locked_and_a_running_entry_come_back_as_such() -> None:
    shown = Observed(entry_id="te_1", is_running=None, is_locked=True, hours=Decimal(0))
    back = from_document(to_document(replace(asked(1), observed=shown, removed=shown)))
    assert (back.observed, back.removed) == (shown, shown)
