"""What API v1 accepts: request bodies and query parameters, checked field by field."""

import base64
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, cast

from keito_mcp.sandbox.entry import Changes, units_of
from keito_mcp.sandbox.store import Filters
from keito_mcp.sandbox.v1_errors import ApiError

SOURCES = ("web", "cli", "api", "agent")
MAX_METADATA_BYTES = 4096
DEFAULT_LIMIT = 50
MAX_LIMIT = 200

_Reader = Callable[[str, object], object]


@dataclass(frozen=True, slots=True)
class Query:
    """The checked query of a list request."""

    filters: Filters
    before: int | None
    limit: int


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that is the body.

    Raises:
        ApiError: 400, the body is not JSON, or no object, or holds what JSON in UTF-8 cannot express.
    """
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
        # Refuses what json.loads lets through but no answer could repeat: lone surrogates, 1e999.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "the request body must be valid JSON") from error
    if not isinstance(value, dict):
        raise ApiError(400, "the request body must be a JSON object")
    return value


def read_new_entry(body: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields of an entry to create, with defaults filled in and hours as `units`.

    Raises:
        ApiError: 422, naming the field that is missing, unknown or wrong.
    """
    values = _read(body, _CREATE)
    required = ("project_id", "spent_date") if values.get("is_running") else ("project_id", "spent_date", "hours")
    for field in required:
        if field not in values:
            raise _invalid(field, f"{field} is required")
    return {
        "project_id": values["project_id"],
        "task_id": values.get("task_id"),
        "spent_date": values["spent_date"],
        "units": values.get("hours", 0),
        "is_running": values.get("is_running", False),
        "notes": values.get("notes"),
        "is_billable": values.get("is_billable", True),
        "source": values.get("source", "api"),
        "metadata": values.get("metadata"),
    }


def read_changes(body: Mapping[str, object]) -> Changes:
    """Return what an update is to change, with hours as `units`.

    Raises:
        ApiError: 422, naming the field that is unknown, wrong, or cannot be changed.
    """
    for field in ("source", "project_id"):
        if field in body:
            raise _invalid(field, f"{field} cannot be changed after creation")
    values = _read(body, _UPDATE)
    if "hours" in values:
        values["units"] = values.pop("hours")
    return cast("Changes", values)


def read_query(parameters: list[tuple[str, str]]) -> Query:
    """Return what a list request asks for.

    Raises:
        ApiError: 422, naming the parameter that is unknown, repeated or wrong.
    """
    names = [name for name, _ in parameters]
    for name in names:
        if names.count(name) > 1:
            raise _invalid(name, f"{name} is given more than once")
    values = _read(dict(parameters), _QUERY)
    return Query(
        filters=Filters(
            source=values.get("source"),
            project_id=values.get("project_id"),
            user_id=values.get("user_id"),
            first_date=values.get("from"),
            last_date=values.get("to"),
            is_running=values.get("is_running"),
        ),
        before=values.get("cursor"),
        limit=values.get("limit", DEFAULT_LIMIT),
    )


def write_cursor(before: int | None) -> str | None:
    """Return the opaque form of a place in the list."""
    return None if before is None else base64.urlsafe_b64encode(f"before:{before}".encode()).decode()


def _read(given: Mapping[str, object], readers: Mapping[str, _Reader]) -> dict[str, Any]:
    for name in given:
        if name not in readers:
            raise _invalid(name, f"{name} is unknown; known are {', '.join(readers)}")
    return {name: readers[name](name, value) for name, value in given.items()}


def _invalid(field: str, message: str, code: str | None = None) -> ApiError:
    return ApiError(422, message, field=field, code=code)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise _invalid(field, f"{field} must be a string")
    return value


def _identifier(field: str, value: object) -> str:
    if not _text(field, value):
        raise _invalid(field, f"{field} must not be empty")
    return cast("str", value)


def _or_null(reader: _Reader) -> _Reader:
    return lambda field, value: None if value is None else reader(field, value)


def _one_of(choices: Collection[str]) -> _Reader:
    def read(field: str, value: object) -> str:
        if _text(field, value) not in choices:
            raise _invalid(field, f"{field} must be one of {', '.join(choices)}")
        return cast("str", value)

    return read


def _boolean(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _invalid(field, f"{field} must be true or false")
    return value


def _boolean_word(field: str, value: object) -> bool:
    return _boolean(field, {"true": True, "false": False}.get(str(value)))


def _day(field: str, value: object) -> str:
    text = _text(field, value)
    try:
        day = date.fromisoformat(text).isoformat()
    except ValueError:
        day = None
    # Not only what is no date at all: fromisoformat also takes 20260306 and 2026-W10-5.
    if text != day:
        raise _invalid(field, f"{field} must be a date, YYYY-MM-DD")
    return text


def _hours(field: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(field, f"{field} must be a number")
    if value < 0:
        raise _invalid(field, f"{field} must not be negative")
    try:
        # By way of the text: 1.00005 is meant as written, not as the nearest binary fraction.
        return units_of(Decimal(str(value)))
    except OverflowError as error:
        raise _invalid(field, f"{field} is too large") from error


def _metadata(field: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(field, f"{field} must be an object")
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_METADATA_BYTES:
        message = f"{field} is {size} bytes of JSON; at most {MAX_METADATA_BYTES} are allowed"
        raise _invalid(field, message, "metadata_too_large")
    return value


def _limit(field: str, value: object) -> int:
    text = str(value)
    if re.fullmatch("[0-9]{1,3}", text) is None or not 1 <= int(text) <= MAX_LIMIT:
        raise _invalid(field, f"{field} must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _cursor(field: str, value: object) -> int:
    try:
        place = base64.b64decode(str(value), altchars=b"-_", validate=True)
    except ValueError:
        place = b""
    match = re.fullmatch(b"before:([0-9]{1,18})", place)
    if match is None:
        raise _invalid(field, f"{field} is not one that this API gave out")
    return int(match[1])


_UPDATE: dict[str, _Reader] = {
    "hours": _hours,
    "notes": _or_null(_text),
    "is_running": _boolean,
    "is_billable": _boolean,
    "task_id": _or_null(_identifier),
    "metadata": _metadata,
}
_CREATE: dict[str, _Reader] = {
    "project_id": _identifier,
    "spent_date": _day,
    "source": _one_of(SOURCES),
    **_UPDATE,
}
_QUERY: dict[str, _Reader] = {
    "source": _one_of(SOURCES),
    "project_id": _text,
    "user_id": _text,
    "from": _day,
    "to": _day,
    "is_running": _boolean_word,
    "cursor": _cursor,
    "limit": _limit,
}
