"""The checks by Keito's description notice what they are there to notice."""

from typing import Any

import pytest

from tests.openapi import check_answer, check_request, properties_of

ENTRIES = "/api/v2/time_entries"
LEAST = {"project_id": "prj_1", "task_id": "tsk_1", "spent_date": "2026-03-06"}


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        ("POST", ENTRIES, "", LEAST),
        ("POST", ENTRIES, "", LEAST | {"hours": 1.5, "metadata": {"any": ["thing"]}, "source": "agent"}),
        ("POST", ENTRIES, "", LEAST | {"metadata": None}),
        ("PATCH", f"{ENTRIES}/te_1", "", {"notes": None, "metadata": None}),
        ("PATCH", f"{ENTRIES}/te_1/stop", "", None),
        ("PATCH", f"{ENTRIES}/te_1/stop", "", {"notes": None}),
        ("DELETE", f"{ENTRIES}/te_1", "", None),
        ("GET", ENTRIES, "source=agent%2Ccli&from=2026-03-05&is_running=true&page=2&per_page=2000", None),
        ("GET", ENTRIES, "updated_since=2026-03-06T14%3A30%3A00Z", None),
        ("GET", "/api/v2/users/me", "", None),
    ],
)
def test_a_request_as_described_is_accepted(method: str, path: str, query: str, body: Any) -> None:
    check_request(method, path, query, body)


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "reason"),
    [
        ("POST", ENTRIES, "", None, "not of type 'object'"),
        ("POST", ENTRIES, "", {}, "'project_id' is a required property"),
        ("POST", ENTRIES, "", LEAST | {"is_billable": True}, "'is_billable' was unexpected"),
        ("POST", ENTRIES, "", LEAST | {"hours": 25}, "25 is greater than the maximum"),
        ("POST", ENTRIES, "", LEAST | {"notes": None}, "None is not of type 'string'"),
        ("POST", ENTRIES, "", LEAST | {"spent_date": "20260306"}, "'20260306' is not a 'date'"),
        ("POST", ENTRIES, "", LEAST | {"metadata": "x"}, "not of type 'object', 'null'"),
        ("PATCH", f"{ENTRIES}/te_1", "", {"is_running": False}, "'is_running' was unexpected"),
        ("PATCH", f"{ENTRIES}/te_1", "", {"source": "agent"}, "'source' was unexpected"),
        ("GET", ENTRIES, "", {}, "takes no body"),
        ("GET", ENTRIES, "limit=50", None, "has no parameter limit"),
        ("GET", ENTRIES, "page=1&page=2", None, "repeats a parameter"),
        ("GET", ENTRIES, "per_page=2001", None, "2001 is greater than the maximum"),
        ("GET", ENTRIES, "page=one", None, "'one' is not of type 'integer'"),
        ("GET", ENTRIES, "is_running=1", None, "'1' is not of type 'boolean'"),
        ("GET", ENTRIES, "source=agent%2Crobot", None, "'robot' is not one of"),
        ("GET", ENTRIES, "updated_since=2026-03-06T14:30:00", None, "is not a 'date-time'"),
        ("GET", f"{ENTRIES}/te_1", "", None, "has no GET"),
        ("GET", "/v1/time-entries", "", None, "there is no /v1/time-entries"),
    ],
)
def test_a_request_that_is_not_as_described_is_refused(
    method: str, path: str, query: str, body: Any, reason: str
) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_request(method, path, query, body)


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("DELETE", f"{ENTRIES}/te_1", 204, None),
        ("DELETE", f"{ENTRIES}/te_1", 429, {"error": "too many requests"}),
        ("GET", ENTRIES, 200, {"time_entries": [{"id": "te_1", "notes": None}], "page": 1, "links": {"next": None}}),
        ("POST", ENTRIES, 409, {"error": "conflict", "error_description": "a timer runs"}),
    ],
)
def test_an_answer_as_described_is_accepted(method: str, path: str, status: int, body: Any) -> None:
    check_answer(method, path, status, body)


@pytest.mark.parametrize(
    ("method", "path", "status", "body", "reason"),
    [
        ("POST", ENTRIES, 201, {}, "never answers 201"),
        ("DELETE", f"{ENTRIES}/te_1", 204, {}, "without a body"),
        ("GET", ENTRIES, 200, {"data": []}, "'data' was unexpected"),
        ("GET", ENTRIES, 200, {"time_entries": [{"is_billable": True}]}, "'is_billable' was unexpected"),
        ("GET", ENTRIES, 200, {"time_entries": [{"project": {"id": "p", "code": "P"}}]}, "'code' was unexpected"),
        ("GET", ENTRIES, 200, {"time_entries": [{"task_id": None}]}, "time_entries.0.task_id: None is not"),
        ("GET", ENTRIES, 200, {"page": "1"}, "page: '1' is not of type 'integer'"),
        ("GET", ENTRIES, 500, {"error": {"code": "internal_error"}}, "error: .* is not of type 'string'"),
        ("POST", ENTRIES, 200, {"timer_started_at": "yesterday"}, "is not a 'date-time'"),
    ],
)
def test_an_answer_that_is_not_as_described_is_refused(
    method: str, path: str, status: int, body: Any, reason: str
) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_answer(method, path, status, body)


def test_the_properties_of_a_schema_are_those_of_the_description() -> None:
    assert properties_of("TimeEntryStop") == {"notes"}
