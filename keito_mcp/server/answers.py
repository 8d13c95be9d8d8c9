"""The small results that the five tools give; hours are decimal hours, as Keito answered them."""

from __future__ import annotations

from datetime import date  # noqa: TC003 -- pydantic reads it
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

if TYPE_CHECKING:
    from keito_mcp.journal import Entry
    from keito_mcp.keito import TimeEntry

Hours = Annotated[Decimal, PlainSerializer(float), WithJsonSchema({"type": "number"})]

LISTED_NOTES = 80
"""How much of an entry's notes a list shows, in characters."""


class Status(StrEnum):
    """What became of an entry."""

    RUNNING = "running"
    RUNNING_LOCALLY = "running_locally"
    STOPPED = "stopped"
    LOGGED = "logged"
    QUEUED = "queued"
    ALREADY_RUNNING = "already_running"
    ALREADY_STOPPED = "already_stopped"
    UPDATED = "updated"
    DUPLICATE = "duplicate"


class _Answer(BaseModel):
    """What every answer may carry: what its agent must know beside."""

    model_config = ConfigDict(frozen=True)

    message: str | None = None

    def saying(self, *more: str) -> Self:
        """The same answer with more for the agent to know."""
        said = [text for text in (self.message, *more) if text]
        return self.model_copy(update={"message": " ".join(said) or None})


class EntryAnswer(_Answer):
    """One time entry, and what became of it."""

    id: str
    status: Status
    project_id: str | None = None
    task_id: str | None = None
    spent_date: date | None = None
    hours: Hours
    notes: str | None = None
    is_billable: bool | None = None
    session_id: str | None = None
    agent_id: str | None = None

    @classmethod
    def of(
        cls,
        status: Status,
        answered: TimeEntry | None = None,
        *,
        known: Entry | None = None,
        message: str | None = None,
    ) -> Self:
        """What Keito answered, completed by what this machine knows where an answer leaves something out."""
        fields = {"hours": Decimal(0), **_known(known), **_answered(answered)}
        return cls(status=status, message=message, **fields)


class EntryRow(EntryAnswer):
    """One time entry of a list, with its notes cut, and marked only where it is not billable."""

    @classmethod
    def listed(cls, entry: TimeEntry) -> Self:
        """An entry as a list shows it."""
        row = cls.of(Status.RUNNING if entry.is_running else Status.STOPPED, entry)
        notes = row.notes
        if notes is not None and len(notes) > LISTED_NOTES:
            notes = notes[: LISTED_NOTES - 1] + "…"
        return row.model_copy(update={"notes": notes, "is_billable": None if row.is_billable else row.is_billable})


class ListAnswer(_Answer):
    """One page of time entries, and the hours of what is shown."""

    entries: list[EntryRow]
    total_hours: Hours
    has_more: bool
    next_cursor: str | None = None


class Kept(_Answer):
    """An entry that was not discarded, and why."""

    id: str
    reason: str


class DiscardAnswer(_Answer):
    """What became of a session's entries."""

    session_id: str
    discarded: list[str]
    hours: Hours
    kept: list[Kept]
    queued: list[str] | None = None


def _known(entry: Entry | None) -> dict[str, Any]:
    if entry is None:
        return {}
    return {
        "id": entry.handle,
        "project_id": entry.project_id,
        "task_id": entry.task_id,
        "spent_date": entry.spent_date,
        "hours": entry.hours,
        "notes": entry.notes,
        "is_billable": entry.is_billable,
        "session_id": entry.owner.session_id,
        "agent_id": entry.owner.agent_id,
    }


def _answered(entry: TimeEntry | None) -> dict[str, Any]:
    if entry is None:
        return {}
    names = ("id", "project_id", "task_id", "spent_date", "hours", "notes", "is_billable")
    fields = {name: getattr(entry, name) for name in names}
    fields |= {name: entry.fact(name) for name in ("session_id", "agent_id")}
    return {name: value for name, value in fields.items() if value is not None}
