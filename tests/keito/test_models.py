import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from keito_mcp.keito import TimeEntry, TimeEntryCreate, TimeEntryFilter, TimeEntryPage, TimeEntryUpdate, metadata_size

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""

DAY = date(2026, 3, 6)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
documented = st.sampled_from([name for name in TimeEntry.model_fields if name != "id"])


def create(**fields: Any) -> TimeEntryCreate:
    return TimeEntryCreate(**{"project_id": "prj_abc", "spent_date": DAY, **fields})


@pytest.mark.parametrize("field", ["source", "project_id", "spent_date", "id", "user_id"])
def test_an_update_refuses_a_field_that_keito_never_changes(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        TimeEntryUpdate.model_validate({field: "anything"})


@pytest.mark.parametrize("field", ["user_id", "id", "started_at", "hour"])
def test_a_create_refuses_a_field_that_keito_does_not_document(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        create(hours=Decimal(1), **{field: "anything"})


@pytest.mark.parametrize("field", ["session_id", "from", "to", "offset"])
def test_a_filter_refuses_a_field_that_keito_does_not_document(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        TimeEntryFilter.model_validate({field: "anything"})


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_a_filter_refuses_a_limit_that_keito_does_not_take(limit: int) -> None:
    with pytest.raises(ValidationError, match="limit"):
        TimeEntryFilter(limit=limit)


@pytest.mark.parametrize(
    "fields",
    [
        {"project_id": ""},
        {"project_id": True},
        {"task_id": ""},
        {"hours": "1.5"},
        {"hours": True},
        {"hours": Decimal("NaN")},
        {"is_running": "yes"},
        {"is_billable": 1},
        {"notes": 7},
        {"spent_date": "2026-03-06"},
        {"metadata": ["a", "list"]},
    ],
    ids=str,
)
def test_a_create_refuses_a_value_of_another_type(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        create(**fields)


def test_only_the_fields_that_were_given_are_sent() -> None:
    assert create(hours=Decimal("1.5")).body() == {"project_id": "prj_abc", "spent_date": "2026-03-06", "hours": 1.5}
    assert TimeEntryUpdate(is_running=False).body() == {"is_running": False}
    assert TimeEntryUpdate().body() == {}
    assert TimeEntryFilter().query() == {}


def test_a_field_that_was_given_as_nothing_is_sent_as_null() -> None:
    assert TimeEntryUpdate(notes=None, task_id=None).body() == {"notes": None, "task_id": None}


@UNHURRIED
@given(st.integers(min_value=1, max_value=240_000))
def test_hours_with_four_places_are_sent_as_exactly_that_json_number(units: int) -> None:
    hours = Decimal(units) / 10_000
    sent = json.dumps(create(hours=hours).body())
    assert json.loads(sent, parse_float=Decimal, parse_int=str)["hours"] == hours


@UNHURRIED
@given(st.integers(min_value=1, max_value=240_000))
def test_hours_of_an_answer_are_exactly_what_keito_wrote(units: int) -> None:
    hours = Decimal(units) / 10_000
    answer = json.loads(f'{{"id": "te_1", "hours": {hours}}}')
    assert TimeEntry.model_validate(answer).hours == hours


@UNHURRIED
@given(
    answer=st.dictionaries(documented | st.text(), json_values),
    entry_id=st.text(min_size=1) | st.integers(),
)
def test_an_answer_with_an_id_is_accepted_whatever_else_is_in_it(answer: dict[str, Any], entry_id: str | int) -> None:
    entry = TimeEntry.model_validate({**answer, "id": entry_id})
    assert entry.id == str(entry_id)
    assert isinstance(entry.hours, Decimal | None)
    assert isinstance(entry.spent_date, date | None)
    assert isinstance(entry.metadata, dict | None)
    assert all(isinstance(text, str | None) for text in (entry.notes, entry.project_id, entry.task_id, entry.source))


@pytest.mark.parametrize(
    ("answer", "field", "value"),
    [
        ({"id": 4711}, "id", "4711"),
        ({"id": "te_1", "hours": "1.5"}, "hours", Decimal("1.5")),
        ({"id": "te_1", "hours": 2}, "hours", Decimal(2)),
        ({"id": "te_1", "hours": "many"}, "hours", None),
        ({"id": "te_1", "hours": True}, "hours", None),
        ({"id": "te_1", "hours": [1]}, "hours", None),
        ({"id": "te_1", "hours": None}, "hours", None),
        ({"id": "te_1", "project_id": 7}, "project_id", "7"),
        ({"id": "te_1", "project_id": {"id": 7}}, "project_id", None),
        ({"id": "te_1", "task_id": False}, "task_id", None),
        ({"id": "te_1", "spent_date": "yesterday"}, "spent_date", None),
        ({"id": "te_1", "created_at": "soon"}, "created_at", None),
        ({"id": "te_1", "updated_at": {}}, "updated_at", None),
        ({"id": "te_1", "is_running": "perhaps"}, "is_running", None),
        ({"id": "te_1", "is_billable": []}, "is_billable", None),
        ({"id": "te_1", "notes": 5}, "notes", None),
        ({"id": "te_1", "source": {}}, "source", None),
        ({"id": "te_1", "metadata": "text"}, "metadata", None),
        ({"id": "te_1", "metadata": None}, "metadata", None),
        ({"id": "te_1"}, "notes", None),
        ({"id": "te_1", "invoice": {"no": 5}}, "notes", None),
    ],
    ids=str,
)
def test_a_field_of_another_type_than_documented_is_read_as_it_can_be_or_left_out(
    answer: dict[str, Any], field: str, value: object
) -> None:
    assert getattr(TimeEntry.model_validate(answer), field) == value


@pytest.mark.parametrize("answer", [{}, {"id": ""}, {"id": None}, {"id": True}, {"id": ["te_1"]}, [], "te_1", None])
def test_an_answer_without_an_id_is_refused(answer: object) -> None:
    with pytest.raises(ValidationError):
        TimeEntry.model_validate(answer)


def test_an_entry_is_kept_as_keito_answered_it() -> None:
    answer = {"id": "te_1", "hours": 1.5, "notes": None, "invoice": {"no": 5}}
    assert TimeEntry.model_validate(answer).model_dump(mode="json") == answer


def test_a_fact_is_read_from_metadata_only_where_it_is_text() -> None:
    entry = TimeEntry.model_validate({"id": "te_1", "metadata": {"session_id": "s-1", "turn": 5, "agent_id": None}})
    assert entry.fact("session_id") == "s-1"
    assert entry.fact("turn") is None
    assert entry.fact("agent_id") is None
    assert entry.fact("missing") is None
    assert TimeEntry.model_validate({"id": "te_1"}).fact("session_id") is None


@pytest.mark.parametrize(
    ("page", "following"),
    [
        ({"next_cursor": "c-2", "has_more": True}, "c-2"),
        ({"next_cursor": "c-2"}, "c-2"),
        ({"next_cursor": "c-2", "has_more": "perhaps"}, "c-2"),
        ({"next_cursor": "c-2", "has_more": False}, None),
        ({"next_cursor": None, "has_more": True}, None),
        ({"next_cursor": 7, "has_more": True}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_page_leads_on_only_by_a_cursor_and_never_against_has_more(
    page: dict[str, Any], following: str | None
) -> None:
    assert TimeEntryPage.model_validate({"data": [], **page}).following == following


def test_metadata_is_measured_in_bytes_of_compact_utf_8_json() -> None:
    assert metadata_size({}) == 2
    assert metadata_size({"a": "b"}) == len(b'{"a":"b"}')
    assert metadata_size({"ä": "€"}) == len('{"ä":"€"}'.encode())


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_metadata_that_json_cannot_carry_is_refused_when_it_is_measured(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        metadata_size({"number": number})
