"""The tools' arguments: what each accepts, what the model reads about it, and what is wrong with a value."""

import re
from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema

from keito_mcp import hours as decimal_hours
from keito_mcp.server.shown import on_one_line

NOTES_LIMIT = 10_000
ID_LIMIT = 200

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _date(value: object) -> object:
    if isinstance(value, str) and _ISO_DATE.fullmatch(value.strip()):
        return value.strip()
    raise ValueError("must be a date such as 2026-03-06")


def _hours(value: object) -> Decimal | None:
    return None if value is None else decimal_hours.parse(value)


def _text(value: object) -> object:
    """Nothing in place of empty text: models send "" for what they leave out."""
    return None if isinstance(value, str) and not value.strip() else value


def _visible(value: str) -> str:
    if on_one_line(value) != value:
        raise ValueError(f"must not hold control or invisible characters: {on_one_line(value)}")
    return value


_Word = Annotated[str, Field(max_length=ID_LIMIT), AfterValidator(_visible)]
_Id = Annotated[_Word | None, BeforeValidator(_text)]
_Words = Annotated[Annotated[str, Field(max_length=NOTES_LIMIT)] | None, BeforeValidator(_text)]
_Date = Annotated[date, BeforeValidator(_date), WithJsonSchema({"type": "string", "format": "date"})]

Hours = Annotated[
    Decimal,
    BeforeValidator(decimal_hours.parse),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 24}),
    Field(description="Decimal hours: 1.5 is 1 h 30 min"),
]
HoursInstead = Annotated[
    Decimal | None,
    BeforeValidator(_hours),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 24}),
    Field(description="Decimal hours in place of the elapsed time"),
]
ProjectId = Annotated[_Id, Field(description="Id, code or name (API v1: id). Default: the configured project")]
TaskId = Annotated[_Id, Field(description="Id or name (API v1: id). Default: the configured task")]
EntryId = Annotated[_Id, Field(description="Default: this agent's running timer")]
Notes = Annotated[_Words, Field(description="What the work is; appears on the invoice")]
FinalNotes = Annotated[_Words, Field(description="What was done; replaces the notes")]
IsBillable = Annotated[bool | None, Field(description="Default: the project's")]
Metadata = Annotated[dict[str, Any] | None, Field(description="Extra keys; identity is filled in by itself")]
SpentDate = Annotated[
    _Date | None, Field(description="Day the work started, in the user's time zone. Default: from now and hours")
]
SessionFilter = Annotated[_Id, Field(description='An id, or "current"')]
ProjectFilter = _Id
UserFilter = _Id
FromDate = Annotated[_Date | None, Field(description="First day, included")]
ToDate = Annotated[_Date | None, Field(description="Last day, included")]
IsRunning = bool | None
ReplaceRunning = Annotated[bool, Field(description="Stop a timer that runs for other work first")]
Cursor = Annotated[str | None, BeforeValidator(_text), Field(description="next_cursor of the page before")]
Limit = Annotated[int, Field(ge=1, le=200)]
Source = Annotated[Literal["agent", "any"], Field(description="any: people's entries too")]
Reason = _Words
DiscardedSession = Annotated[
    str,
    Field(min_length=1, max_length=ID_LIMIT, description='An id, or "current"'),
    AfterValidator(_visible),
]


def plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An input schema as small as it can be said: no titles, no nulls; an optional argument is just not required."""
    properties = {name: _plain_property(value) for name, value in schema.get("properties", {}).items()}
    required = schema.get("required", [])
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _plain_property(schema: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: value for key, value in schema.items() if key not in {"anyOf", "title"}}
    for choice in schema.get("anyOf", []):
        if choice.get("type") != "null":
            merged = {**choice, **merged}
    if merged.get("default", "") is None:
        del merged["default"]
    if merged.get("type") == "object":
        merged.pop("additionalProperties", None)
    return merged


def required_only(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An output schema that names only what is always there."""
    definitions = schema.get("$defs", {})
    required = schema.get("required", [])
    properties = {name: _shape(schema["properties"][name], definitions) for name in required}
    return {"type": "object", "properties": properties, "required": required}


def _shape(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if reference := schema.get("$ref"):
        schema = definitions[reference.rsplit("/", 1)[-1]]
    if schema.get("type") == "object":
        return required_only({**schema, "$defs": definitions})
    if schema.get("type") == "array":
        return {"type": "array", "items": _shape(schema["items"], definitions)}
    return {"type": schema["type"]}


def unknown(given: Collection[str], valid: Collection[str]) -> str | None:
    """What is said of arguments that a tool doesn't have; None where all are known."""
    strange = [name for name in given if name not in valid]
    if not strange:
        return None
    named = ", ".join(f'"{name[:60]}"' for name in strange[:10])
    return (
        f"unknown argument{'s' if len(strange) > 1 else ''} {named}; valid arguments: {', '.join(valid)}. "
        "Nothing was sent to Keito. Call again with valid arguments only."
    )


def wrong(error: ValidationError) -> str:
    """What is wrong with a call's arguments, a plain sentence for each."""
    found = [_sentence(str(detail["loc"][0]), str(detail["msg"])) for detail in error.errors(include_url=False)]
    return f"{' '.join(dict.fromkeys(found))} Nothing was sent to Keito. Correct the arguments and call again."


def _sentence(name: str, message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix(f"{name} ")
    message = re.sub(r"^(Input|String|Dictionary) should ", "must ", message)
    return f"{name} {'is required' if message == 'Field required' else message}."
