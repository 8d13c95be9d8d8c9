"""One time entry as the store keeps it: exact hours, aware times, no API's spelling of errors or paths."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypedDict

UNITS_PER_HOUR = 10_000
"""Hours are kept as integers of 1/10,000 hour: four decimal places, exactly."""

MAX_UNITS = 2**53
"""The most that are kept: beyond it a JSON number would no longer show them exactly."""

_UNIT = timedelta(hours=1) / UNITS_PER_HOUR


def units_of(hours: Decimal) -> int:
    """Return decimal hours as units of 1/10,000 hour, rounded half up.

    Raises:
        OverflowError: There are more than `MAX_UNITS`.
    """
    if hours > Decimal(MAX_UNITS) / UNITS_PER_HOUR:
        raise OverflowError("more hours than can be shown exactly")
    return int((hours * UNITS_PER_HOUR).quantize(Decimal(1), ROUND_HALF_UP))


class Changes(TypedDict, total=False):
    """What an update may change; a key that is absent stays as it is."""

    units: int
    is_running: bool
    project_id: str
    task_id: str | None
    spent_date: str
    started_time: str | None
    ended_time: str | None
    notes: str | None
    is_billable: bool
    metadata: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A time entry; a running one has a `started_at`.

    `units` are the hours in units of 1/10,000. While the timer runs they are its base: the time since
    `started_at` comes on top of them. `started_time` and `ended_time` are what was told of a working day, `HH:MM`.
    An approved entry, and a locked one, is neither changed nor deleted any more.
    """

    id: str
    user_id: str
    project_id: str
    task_id: str | None
    spent_date: str
    units: int
    started_at: datetime | None
    notes: str | None
    is_billable: bool
    source: str
    metadata: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    approved: bool = False
    started_time: str | None = None
    ended_time: str | None = None
    locked: bool = False
    billed: bool = False

    @property
    def is_running(self) -> bool:
        """Whether the timer runs."""
        return self.started_at is not None

    def units_at(self, now: datetime) -> int:
        """Return the hours at that time, in units; a clock that went back takes nothing away."""
        if self.started_at is None:
            return self.units
        elapsed = max(now - self.started_at, timedelta())
        return self.units + (elapsed + _UNIT / 2) // _UNIT

    def changed(self, changes: Changes, now: datetime) -> "Entry":
        """Return the entry with the changes applied at that time.

        Hours that are given win. A timer that stops without them keeps what it shows; one that restarts
        counts on from there.
        """
        if not changes:
            return self
        runs = changes.get("is_running", self.is_running)
        rebased = "units" in changes or runs != self.is_running
        return replace(
            self,
            units=changes.get("units", self.units_at(now) if rebased else self.units),
            started_at=(now if runs else None) if rebased else self.started_at,
            project_id=changes.get("project_id", self.project_id),
            task_id=changes.get("task_id", self.task_id),
            spent_date=changes.get("spent_date", self.spent_date),
            started_time=changes.get("started_time", self.started_time),
            ended_time=changes.get("ended_time", self.ended_time),
            notes=changes.get("notes", self.notes),
            is_billable=changes.get("is_billable", self.is_billable),
            metadata=changes.get("metadata", self.metadata),
            updated_at=now,
        )

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """Return the entry as the v1 API shows it at that time."""
        return {
            "id": self.id,
            "project_id": self.project_id,
            "task_id": self.task_id,
            "user_id": self.user_id,
            "spent_date": self.spent_date,
            "hours": self.units_at(now) / UNITS_PER_HOUR,
            "notes": self.notes,
            "is_running": self.is_running,
            "is_billable": self.is_billable,
            "source": self.source,
            "metadata": self.metadata,
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
        }


def rfc3339(time: datetime) -> str:
    """Return a time as Keito writes it: UTC, in whole seconds."""
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
