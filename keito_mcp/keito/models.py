"""Keito's time entries and what they are booked on: lenient about what comes back, strict about what is sent.

There is one set of models for every version of the API. Its names are those of version 1 (`keito-api-v1.md`); a
version that has others translates them.
"""

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
)

METADATA_LIMIT = 4096
"""The most that an entry's metadata may take, in bytes of UTF-8 JSON."""


def _or_none(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    """None in place of a value of another type: a committed write must not turn into an error over its echo."""
    try:
        return handler(value)
    except ValidationError:
        return None


def _exact(value: object) -> object:
    if isinstance(value, float):
        return Decimal(repr(value))
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _identifier(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


T = TypeVar("T")
Lenient = Annotated[T | None, WrapValidator(_or_none)]
Identifier = Annotated[str, BeforeValidator(_identifier), Field(min_length=1)]
Hours = Annotated[Decimal, BeforeValidator(_exact), PlainSerializer(float, when_used="json")]


class TimeEntry(BaseModel):
    """A time entry as Keito answered it. Only `id` is certain to be there; unknown fields are kept.

    Attributes:
        hours: Decimal hours; those of a running timer are what Keito makes of them.
        is_locked: Whether Keito keeps it from being changed, for whatever reason: it is locked, closed, approved or
            billed. None where Keito doesn't say.
        is_closed: Whether it is closed, by itself.
        is_billed: Whether it is on an invoice.
        approval_status: `unsubmitted`, `submitted`, `approved` or `rejected`.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    id: Identifier
    project_id: Lenient[Identifier] = None
    project_name: Lenient[str] = None
    client_name: Lenient[str] = None
    task_id: Lenient[Identifier] = None
    task_name: Lenient[str] = None
    user_id: Lenient[Identifier] = None
    spent_date: Lenient[date] = None
    hours: Lenient[Hours] = None
    notes: Lenient[str] = None
    is_running: Lenient[bool] = None
    is_billable: Lenient[bool] = None
    is_locked: Lenient[bool] = None
    is_closed: Lenient[bool] = None
    is_billed: Lenient[bool] = None
    approval_status: Lenient[str] = None
    source: Lenient[str] = None
    metadata: Lenient[dict[str, Any]] = None
    created_at: Lenient[datetime] = None
    updated_at: Lenient[datetime] = None

    @model_serializer(mode="wrap")
    def _as_answered(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only what Keito answered: an entry that is kept whole says nothing of fields that it never had."""
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if name in self.model_fields_set}

    def fact(self, key: str) -> str | None:
        """One value of the entry's metadata, where it is text."""
        value = (self.metadata or {}).get(key)
        return value if isinstance(value, str) else None


class TimeEntryPage(BaseModel):
    """One page of a list of time entries."""

    data: list[TimeEntry]
    next_cursor: Lenient[str] = None
    has_more: Lenient[bool] = None

    @property
    def following(self) -> str | None:
        """The cursor of the next page; None where this page is the last."""
        return self.next_cursor or None if self.has_more is not False else None


class _Known(BaseModel):
    """What Keito tells beside time entries: only `id` is certain to be there."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Identifier


class Project(_Known):
    """What work is booked on, for a client."""

    name: Lenient[str] = None
    code: Lenient[str] = None
    client_id: Lenient[Identifier] = None
    client_name: Lenient[str] = None
    is_active: Lenient[bool] = None
    is_billable: Lenient[bool] = None


class Task(_Known):
    """A kind of work. Tasks belong to the account, not to a project.

    Attributes:
        is_default: Whether new projects get it.
    """

    name: Lenient[str] = None
    is_default: Lenient[bool] = None
    is_active: Lenient[bool] = None


class User(_Known):
    """Whose key it is.

    Attributes:
        timezone: As Keito names it.
        user_type: `human` or `agent`.
        company_id: The account's id.
    """

    first_name: Lenient[str] = None
    last_name: Lenient[str] = None
    email: Lenient[str] = None
    timezone: Lenient[str] = None
    user_type: Lenient[str] = None
    company_id: Lenient[Identifier] = None
    company_name: Lenient[str] = None


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def body(self) -> dict[str, Any]:
        """What is sent, as JSON: only the fields that were given."""
        return self.model_dump(mode="json", exclude_unset=True)


class TimeEntryCreate(_Sent):
    """What creates a time entry. Without `is_running`, `hours` is required."""

    project_id: Identifier
    task_id: Identifier | None = None
    spent_date: date
    hours: Hours | None = None
    is_running: bool = False
    notes: str | None = None
    is_billable: bool | None = None
    source: str = "api"
    metadata: dict[str, Any] | None = None


class TimeEntryUpdate(_Sent):
    """What changes a time entry. `source` and `project_id` can't be changed, so they aren't here."""

    hours: Hours | None = None
    notes: str | None = None
    is_running: bool | None = None
    is_billable: bool | None = None
    task_id: Identifier | None = None
    metadata: dict[str, Any] | None = None


class TimeEntryFilter(_Sent):
    """Which time entries to list; both dates are included."""

    source: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    from_date: Annotated[date | None, Field(serialization_alias="from")] = None
    to_date: Annotated[date | None, Field(serialization_alias="to")] = None
    is_running: bool | None = None
    cursor: str | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50

    def query(self) -> dict[str, str]:
        """The query parameters, by Keito's names; what wasn't given is left out."""
        fields = self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}


def metadata_size(metadata: Mapping[str, Any]) -> int:
    """The bytes that metadata takes as UTF-8 JSON; raises `ValueError` for a number that JSON can't carry."""
    text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return len(text.encode("utf-8", "surrogatepass"))
