import pytest

from keito_mcp.keito.refusal import Refusal


def test_version_1s_refusal_names_its_field_itself() -> None:
    error = {"code": "validation_error", "message": "hours is required", "field": "hours"}
    assert Refusal.read({"error": error}) == Refusal("hours is required", "validation_error", "hours")


def test_version_2s_refusal_is_a_word_and_a_description() -> None:
    content = {"error": "bad request", "error_description": "project_id is required"}
    assert Refusal.read(content) == Refusal("project_id is required", "bad request", "project_id")


@pytest.mark.parametrize("description", [None, "", "  ", 7])
def test_a_word_without_a_description_is_keitos_only_beside_the_header_of_version_2(description: object) -> None:
    content = {"error": "unauthorized", "error_description": description}
    assert Refusal.read(content) is None
    assert Refusal.read(content, is_marked=True) == Refusal("unauthorized", "unauthorized")


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "no",
        7,
        {},
        {"message": "no"},
        {"error": "blocked"},
        {"error": None, "error_description": "no"},
        {"error": {"code": "blocked"}},
        {"error": {"message": "blocked"}},
        {"error": {"code": 404, "message": "the requested entity was not found", "status": "NOT_FOUND"}},
        {"error": {"code": "", "message": "no"}},
        {"error": {"code": "c", "message": " "}},
        {"timestamp": "2026-03-06T12:00:00Z", "status": 404, "error": "Not Found", "path": "/v1/time-entries"},
    ],
    ids=str,
)
def test_what_has_not_the_shape_of_keitos_errors_is_not_keitos_word(content: object) -> None:
    assert Refusal.read(content) is None


@pytest.mark.parametrize(
    ("description", "field"),
    [
        ("task_id is required", "task_id"),
        ("The given task_id is unknown", "task_id"),
        ("hours must be at most 24", "hours"),
        ("Hours must be at most 24", "hours"),
        ('"notes" is too long', "notes"),
        ("invalid value for 'source'", "source"),
        ("billable must be a boolean", "is_billable"),
        ("per_page must be at most 2000", "limit"),
        ("You may not log hours on this project", None),
        ("The source of an entry never changes", None),
        ("sourced elsewhere", None),
        ("Another timer is already running", None),
    ],
)
def test_a_field_is_blamed_only_where_a_description_clearly_names_it(description: str, field: str | None) -> None:
    said = Refusal.read({"error": "bad request", "error_description": description})
    assert said == Refusal(description, "bad request", field)
