from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from keito_mcp.server import arguments as args
from tests.kit import Agent, Keito

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""


class Everything(BaseModel):
    """One argument of each kind."""

    hours: args.Hours
    hours_instead: args.HoursInstead = None
    project_id: args.ProjectId = None
    notes: args.Notes = None
    is_billable: args.IsBillable = None
    metadata: args.Metadata = None
    spent_date: args.SpentDate = None
    cursor: args.Cursor = None
    limit: args.Limit = 50
    source: args.Source = "agent"
    session_id: args.DiscardedSession = "current"
    reason: args.Reason = None


def accepted(**given_arguments: Any) -> Everything:
    return Everything(**{"hours": 1, **given_arguments})


def complaint(**given_arguments: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        accepted(**given_arguments)
    return args.wrong(caught.value)


# --- values ---


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hours", "1:30", Decimal("1.5")),
        ("hours", 0.25, Decimal("0.25")),
        ("hours_instead", None, None),
        ("hours_instead", "90m", Decimal("1.5")),
        ("spent_date", "2026-03-06", date(2026, 3, 6)),
        ("spent_date", " 2026-03-06 ", date(2026, 3, 6)),
        ("project_id", "", None),
        ("project_id", "  ", None),
        ("project_id", "p" * 200, "p" * 200),
        ("notes", "\n", None),
        ("notes", " as written ", " as written "),
        ("notes", "n" * 10_000, "n" * 10_000),
        ("cursor", "", None),
        ("reason", "", None),
        ("metadata", {}, {}),
        ("is_billable", False, False),
        ("limit", 200, 200),
        ("source", "any", "any"),
    ],
    ids=str,
)
def test_a_value_is_taken_as_it_was_meant(name: str, value: object, expected: object) -> None:
    assert getattr(accepted(**{name: value}), name) == expected


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("hours", 25, "hours must be more than 0 and at most 24."),
        ("hours", 0, "hours must be more than 0 and at most 24."),
        ("hours", "25h", "hours must be more than 0 and at most 24, not '25h'."),
        (
            "hours",
            "soon",
            'hours must be decimal hours such as 1.5 ("1:30", "90m" and "1h 30m" work too), not \'soon\'.',
        ),
        ("spent_date", "yesterday", "spent_date must be a date such as 2026-03-06."),
        ("spent_date", "2026-W10-5", "spent_date must be a date such as 2026-03-06."),
        ("spent_date", 20260306, "spent_date must be a date such as 2026-03-06."),
        ("spent_date", "2026-03-06T12:00", "spent_date must be a date such as 2026-03-06."),
        ("spent_date", "2026-13-01", "spent_date must be a valid date"),
        ("project_id", "p" * 201, "project_id must have at most 200 characters."),
        ("project_id", 7, "project_id must be a valid string."),
        ("notes", "n" * 10_001, "notes must have at most 10000 characters."),
        ("reason", "n" * 10_001, "reason must have at most 10000 characters."),
        ("is_billable", "perhaps", "is_billable must be a valid boolean"),
        ("metadata", "text", "metadata must be a valid dictionary."),
        ("metadata", ["a"], "metadata must be a valid dictionary."),
        ("limit", 0, "limit must be greater than or equal to 1."),
        ("limit", 201, "limit must be less than or equal to 200."),
        ("limit", "many", "limit must be a valid integer"),
        ("source", "web", "source must be 'agent' or 'any'."),
        ("session_id", "", "session_id must have at least 1 character."),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_value_that_is_not_meant_is_refused_in_one_plain_sentence(name: str, value: object, sentence: str) -> None:
    text = complaint(**{name: value})
    assert text.startswith(sentence)
    assert text.endswith(". Nothing was sent to Keito. Correct the arguments and call again.")
    assert len(text) < 300
    assert "pydantic" not in text
    assert "http" not in text


def test_an_argument_that_is_missing_is_said_to_be_required() -> None:
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate({})
    assert args.wrong(caught.value).startswith("hours is required. Nothing was sent to Keito.")


def test_several_wrong_arguments_get_a_sentence_each() -> None:
    text = complaint(hours="soon", limit=0, project_id="p" * 201)
    sentences = [name for name in ("hours must", "project_id must", "limit must") if name in text]
    assert sentences == ["hours must", "project_id must", "limit must"]
    assert text.count("Nothing was sent to Keito.") == 1


def test_the_same_sentence_is_said_once() -> None:
    class Days(BaseModel):
        days: list[args.FromDate]

    with pytest.raises(ValidationError) as caught:
        Days.model_validate({"days": ["soon", "later", "never"]})
    assert args.wrong(caught.value).count("days must be a date such as 2026-03-06.") == 1


@UNHURRIED
@given(st.dictionaries(st.sampled_from(list(Everything.model_fields)), st.text() | st.integers() | st.lists(st.text())))
def test_whatever_is_wrong_each_sentence_begins_with_an_arguments_name(given_arguments: dict[str, Any]) -> None:
    try:
        Everything.model_validate(given_arguments)
    except ValidationError as error:
        said = args.wrong(error)
    else:
        said = "hours were given."
    assert said.startswith(tuple(f"{name} " for name in Everything.model_fields))


# --- names ---


def test_arguments_that_are_all_known_are_nothing_to_speak_of() -> None:
    assert args.unknown([], ["notes"]) is None
    assert args.unknown(["notes"], ["notes", "hours"]) is None


def test_an_unknown_argument_is_named_with_the_ones_that_are_valid() -> None:
    assert args.unknown(["nots", "hours"], ["hours", "notes"]) == (
        'unknown argument "nots"; valid arguments: hours, notes. '
        "Nothing was sent to Keito. Call again with valid arguments only."
    )


def test_several_unknown_arguments_are_all_named() -> None:
    text = args.unknown(["b", "hours", "a"], ["hours"])
    assert text is not None
    assert text.startswith('unknown arguments "b", "a"; valid arguments: hours. ')


def test_what_is_said_of_unknown_arguments_is_bounded() -> None:
    text = args.unknown([f"{number:03}{'x' * 1000}" for number in range(100)], ["hours"])
    assert text is not None
    assert '"009xxx' in text
    assert '"010' not in text
    assert len(text) < 900


# --- schemas ---


def test_an_input_schema_has_no_titles_and_no_nulls_and_names_what_is_required() -> None:
    plain = args.plain(Everything.model_json_schema())
    assert plain["required"] == ["hours"]
    assert set(plain) == {"type", "properties", "required"}
    properties = plain["properties"]
    assert properties["hours"] == {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 24,
        "description": "Decimal hours: 1.5 is 1 h 30 min",
    }
    assert properties["project_id"] == {
        "type": "string",
        "maxLength": 200,
        "description": "Id, code or name (API v1: id). Default: the configured project",
    }
    assert properties["spent_date"]["format"] == "date"
    assert properties["is_billable"] == {"type": "boolean", "description": "Default: the project's"}
    assert properties["metadata"] == {
        "type": "object",
        "description": "Extra keys; identity is filled in by itself",
    }
    assert properties["limit"] == {"type": "integer", "default": 50, "minimum": 1, "maximum": 200}
    assert properties["source"]["enum"] == ["agent", "any"]
    for schema in properties.values():
        assert not {"anyOf", "title"} & schema.keys()
        assert schema.get("default", "none") is not None


def test_an_input_schema_of_optional_arguments_requires_nothing() -> None:
    schema = {"type": "object", "title": "T", "properties": {"a": {"type": "string", "default": "x", "title": "A"}}}
    assert args.plain(schema) == {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}}
    assert args.plain({}) == {"type": "object", "properties": {}}


class Part(BaseModel):
    number: int
    note: str | None = None


class Whole(BaseModel):
    name: str
    parts: list[Part]
    first: Part
    names: list[str]
    more: str | None = None


def test_an_output_schema_names_only_what_is_always_there_down_to_its_parts() -> None:
    part = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
    assert args.required_only(Whole.model_json_schema()) == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "parts": {"type": "array", "items": part},
            "first": part,
            "names": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name", "parts", "first", "names"],
    }
    assert args.required_only({}) == {"type": "object", "properties": {}, "required": []}


# --- as an agent meets them ---


@pytest.mark.anyio
async def test_a_call_with_wrong_arguments_sends_nothing(agent: Agent, keito: Keito) -> None:
    wrong = await agent.call("log_time", hours="soon", spent_date="later")
    unknown = await agent.call("log_time", hours=1, nots="x")
    assert wrong.is_error
    assert wrong.text.startswith("hours must be decimal hours")
    assert " spent_date must be a date such as 2026-03-06. " in wrong.text
    assert unknown.is_error
    assert 'unknown argument "nots"; valid arguments: hours, ' in unknown.text
    assert keito.requests == []
