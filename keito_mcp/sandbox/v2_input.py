"""What API v2 accepts: request bodies and query parameters, as its OpenAPI file describes them.

Its schemas are open, so what they do not name is ignored. That is why `is_running` and `source` in an update change
nothing: the first is for stop and restart, and the second is immutable.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from keito_mcp.sandbox import fields
from keito_mcp.sandbox.entry import UNITS_PER_HOUR, Changes, Entry, units_of
from keito_mcp.sandbox.fields import BodyError, FieldError, Reader
from keito_mcp.sandbox.v2_errors import RefusedError

SOURCES = ("web", "cli", "api", "agent", "calendar", "desktop")
MAX_HOURS = 24
DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 2000

_TIME = re.compile("([01][0-9]|2[0-3]):[0-5][0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """The checked body of a create; `None` where nothing was said. Hours are `units`."""

    project_id: str
    task_id: str
    spent_date: str
    user_id: str | None = None
    units: int = 0
    notes: str | None = None
    billable: bool | None = None
    is_running: bool = False
    replace_running: bool = False
    started_time: str | None = None
    ended_time: str | None = None
    source: str = "api"
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of a list is asked for: its number, counted from 1, and how many items a page has."""

    number: int
    size: int


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that is the body; no body at all is an empty one.

    Raises:
        RefusedError: 400, it is something else.
    """
    try:
        return fields.json_object(body) if body else {}
    except BodyError as error:
        raise RefusedError(400, str(error)) from error


def read_new_entry(body: Mapping[str, object]) -> NewEntry:
    """Return what a create asks for. Without `hours`, they are those from `started_time` to `ended_time`, or none.

    Raises:
        RefusedError: 400, naming the field that is missing or wrong.
    """
    for field in ("project_id", "task_id", "spent_date"):
        if field not in body:
            raise RefusedError(400, f"{field} is required")
    values = _read(body, _CREATE)
    if "hours" in values:
        values["units"] = values.pop("hours")
    elif "started_time" in values and "ended_time" in values:
        values["units"] = _units_between(values["started_time"], values["ended_time"])
    return NewEntry(**values)


def read_changes(body: Mapping[str, object]) -> Changes:
    """Return what an update asks for, with hours as `units` and the metadata that is to be merged.

    Raises:
        RefusedError: 400, naming the field that is wrong.
    """
    values = _read(body, _UPDATE)
    changes: Changes = {}
    for field, value in values.items():
        changes[_CHANGED.get(field, field)] = value  # type: ignore[literal-required]  # _UPDATE names Changes' keys
    return changes


def changed(entry: Entry, changes: Changes, now: datetime) -> Entry:
    """Return the entry after an update: metadata is merged, key by key, and `None` clears it.

    Where a time of day changes, nobody gave hours, and no timer runs, the hours are those between the two times.

    Raises:
        RefusedError: 400, naming the field that does not go with what the entry has.
    """
    whole: Changes = {**changes}
    given = changes.get("metadata")
    if given is not None:
        try:
            whole["metadata"] = fields.metadata("metadata", (entry.metadata or {}) | given)
        except FieldError as error:
            raise RefusedError(400, error.message) from error
    started = changes.get("started_time", entry.started_time)
    ended = changes.get("ended_time", entry.ended_time)
    retimed = ("started_time" in changes or "ended_time" in changes) and "units" not in changes
    if retimed and started and ended and not entry.is_running:
        whole["units"] = _units_between(started, ended)
    return entry.changed(whole, now)


def read_stop(body: Mapping[str, object]) -> Changes:
    """Return what a stop changes.

    Raises:
        RefusedError: 400, the notes are no text.
    """
    values = _read(body, {"notes": _UPDATE["notes"]})
    return {"is_running": False, **values}  # type: ignore[typeddict-item]  # only notes are in it


def read_restart(body: Mapping[str, object]) -> bool:
    """Return whether a restart stops the timer that runs now.

    Raises:
        RefusedError: 400, `replace_running` is no boolean.
    """
    return bool(_read(body, {"replace_running": fields.boolean}).get("replace_running"))


def read_query(parameters: Mapping[str, str]) -> tuple[dict[str, Any], Paging]:
    """Return the filters that a list request gives, each as its type, and the page that it asks for.

    Raises:
        RefusedError: 400, naming the parameter that is wrong.
    """
    values = _read(parameters, _QUERY)
    return values, Paging(values.pop("page", 1), values.pop("per_page", DEFAULT_PAGE_SIZE))


def _read(given: Mapping[str, object], readers: Mapping[str, Reader]) -> dict[str, Any]:
    try:
        return {name: readers[name](name, value) for name, value in given.items() if name in readers}
    except FieldError as error:
        raise RefusedError(400, error.message) from error


def _units_between(started_time: str, ended_time: str) -> int:
    # Both are of one day and of two digits each, so that they compare as text.
    if ended_time < started_time:
        raise RefusedError(400, "ended_time must not be before started_time")
    minutes = _minutes(ended_time) - _minutes(started_time)
    return units_of(Decimal(minutes) / 60)


def _minutes(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


def _hours(field: str, value: object) -> int:
    units = fields.hours(field, value)
    if units > MAX_HOURS * UNITS_PER_HOUR:
        raise FieldError(field, f"{field} must be at most {MAX_HOURS}")
    return units


def _time(field: str, value: object) -> str:
    text = fields.text(field, value)
    if _TIME.fullmatch(text) is None:
        raise FieldError(field, f"{field} must be a time of day, HH:mm")
    return text


def _moment(field: str, value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise FieldError(field, f"{field} must be a date and a time with its zone, as in 2026-03-06T14:30:00Z")
    return moment


def _sources(field: str, value: object) -> tuple[str, ...]:
    read = fields.one_of(SOURCES)
    return tuple(str(read(field, source)) for source in str(value).split(","))


def _number(most: int | None = None) -> Reader:
    def read(field: str, value: object) -> int:
        text = str(value)
        # SQLite's integers have 64 bits: a page of so many digits and items still has its place among them.
        if re.fullmatch("[0-9]{1,12}", text) is None or int(text) < 1 or (most is not None and int(text) > most):
            limits = "from 1" if most is None else f"from 1 to {most}"
            raise FieldError(field, f"{field} must be a whole number {limits}")
        return int(text)

    return read


_CHANGED = {"hours": "units", "billable": "is_billable"}

_UPDATE: dict[str, Reader] = {
    "project_id": fields.identifier,
    "task_id": fields.identifier,
    "spent_date": fields.day,
    "hours": _hours,
    "notes": fields.or_null(fields.text),
    "billable": fields.boolean,
    "started_time": fields.or_null(_time),
    "ended_time": fields.or_null(_time),
    "metadata": fields.or_null(fields.metadata),
}
_CREATE: dict[str, Reader] = {
    **_UPDATE,
    "user_id": fields.identifier,
    "notes": fields.text,
    "is_running": fields.boolean,
    "replace_running": fields.boolean,
    "started_time": _time,
    "ended_time": _time,
    "source": fields.one_of(SOURCES),
}
_QUERY: dict[str, Reader] = {
    "page": _number(),
    "per_page": _number(MAX_PAGE_SIZE),
    "user_id": fields.text,
    "client_id": fields.text,
    "project_id": fields.text,
    "task_id": fields.text,
    "is_billed": fields.boolean_word,
    "is_running": fields.boolean_word,
    "is_active": fields.boolean_word,
    "from": fields.day,
    "to": fields.day,
    "updated_since": _moment,
    "source": _sources,
}
