"""What API v1 accepts: request bodies and query parameters, checked field by field."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from keito_mcp.sandbox import fields
from keito_mcp.sandbox.entry import Changes
from keito_mcp.sandbox.fields import BodyError, FieldError, Reader
from keito_mcp.sandbox.queries import Filters
from keito_mcp.sandbox.v1_errors import ApiError

SOURCES = ("web", "cli", "api", "agent")
DEFAULT_LIMIT = 50
MAX_LIMIT = 200


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
        return fields.json_object(body)
    except BodyError as error:
        raise ApiError(400, str(error)) from error


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
            sources=_alone(values.get("source")),
            project_ids=_alone(values.get("project_id")),
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


def _read(given: Mapping[str, object], readers: Mapping[str, Reader]) -> dict[str, Any]:
    for name in given:
        if name not in readers:
            raise _invalid(name, f"{name} is unknown; known are {', '.join(readers)}")
    try:
        return {name: readers[name](name, value) for name, value in given.items()}
    except FieldError as error:
        raise _invalid(error.field, error.message, error.code) from error


def _invalid(field: str, message: str, code: str | None = None) -> ApiError:
    return ApiError(422, message, field=field, code=code)


def _alone(value: str | None) -> tuple[str, ...] | None:
    return None if value is None else (value,)


def _limit(field: str, value: object) -> int:
    text = str(value)
    if re.fullmatch("[0-9]{1,3}", text) is None or not 1 <= int(text) <= MAX_LIMIT:
        raise FieldError(field, f"{field} must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _cursor(field: str, value: object) -> int:
    try:
        place = base64.b64decode(str(value), altchars=b"-_", validate=True)
    except ValueError:
        place = b""
    match = re.fullmatch(b"before:([0-9]{1,18})", place)
    if match is None:
        raise FieldError(field, f"{field} is not one that this API gave out")
    return int(match[1])


_UPDATE: dict[str, Reader] = {
    "hours": fields.hours,
    "notes": fields.or_null(fields.text),
    "is_running": fields.boolean,
    "is_billable": fields.boolean,
    "task_id": fields.or_null(fields.identifier),
    "metadata": fields.metadata,
}
_CREATE: dict[str, Reader] = {
    "project_id": fields.identifier,
    "spent_date": fields.day,
    "source": fields.one_of(SOURCES),
    **_UPDATE,
}
_QUERY: dict[str, Reader] = {
    "source": fields.one_of(SOURCES),
    "project_id": fields.text,
    "user_id": fields.text,
    "from": fields.day,
    "to": fields.day,
    "is_running": fields.boolean_word,
    "cursor": _cursor,
    "limit": _limit,
}
