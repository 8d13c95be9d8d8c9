"""Which entries to list, and the two ways through a long list."""

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keito_mcp.sandbox.entry import Entry
from keito_mcp.sandbox.rows import entry_of

# Times are stored as the clock gave them, in whatever zone: only julianday compares them, to the millisecond.
_WANTED = """
FROM entries
WHERE (:sources IS NULL OR source IN (SELECT value FROM json_each(:sources)))
  AND (:project_ids IS NULL OR project_id IN (SELECT value FROM json_each(:project_ids)))
  AND (:task_id IS NULL OR COALESCE(task_id, :task_of_none) = :task_id)
  AND (:user_id IS NULL OR user_id = :user_id)
  AND (:first_date IS NULL OR spent_date >= :first_date)
  AND (:last_date IS NULL OR spent_date <= :last_date)
  AND (:updated_since IS NULL OR julianday(updated_at) >= julianday(:updated_since))
  AND (:is_running IS NULL OR (started_at IS NOT NULL) = :is_running)
  AND (:is_billed IS NULL OR billed = :is_billed)
"""
_AFTER = "SELECT *" + _WANTED + "AND (:before IS NULL OR seq < :before) ORDER BY seq DESC LIMIT :limit"
_NUMBERED = "SELECT *" + _WANTED + "ORDER BY spent_date DESC, seq DESC LIMIT :limit OFFSET :offset"
_COUNT = "SELECT COUNT(*)" + _WANTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which entries to list; `None` means any.

    Dates are inclusive and compare to `spent_date`. An entry without a task counts as one of `task_of_none`.
    """

    sources: tuple[str, ...] | None = None
    project_ids: tuple[str, ...] | None = None
    task_id: str | None = None
    task_of_none: str | None = None
    user_id: str | None = None
    first_date: str | None = None
    last_date: str | None = None
    updated_since: datetime | None = None
    is_running: bool | None = None
    is_billed: bool | None = None

    def parameters(self) -> dict[str, Any]:
        """Return the values of the statements' parameters."""
        return {
            "sources": None if self.sources is None else json.dumps(self.sources),
            "project_ids": None if self.project_ids is None else json.dumps(self.project_ids),
            "task_id": self.task_id,
            "task_of_none": self.task_of_none,
            "user_id": self.user_id,
            "first_date": self.first_date,
            "last_date": self.last_date,
            "updated_since": self.updated_since and self.updated_since.isoformat(),
            "is_running": self.is_running,
            "is_billed": self.is_billed,
        }


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, newest first, and what to hand to `Store.page` for those after them, if there are any."""

    entries: list[Entry]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class NumberedPage:
    """Some entries, the latest day first, and how many there are on all pages."""

    entries: list[Entry]
    total: int


def page_before(connection: sqlite3.Connection, filters: Filters, before: int | None, limit: int) -> Page:
    """Return up to `limit` entries that came before the place `before`, `None` being the end."""
    rows = _rows(connection, _AFTER, filters, {"before": before, "limit": limit + 1})
    more = len(rows) > limit
    return Page([entry_of(row) for row in rows[:limit]], rows[limit - 1]["seq"] if more else None)


def numbered_page(connection: sqlite3.Connection, filters: Filters, number: int, size: int) -> NumberedPage:
    """Return the page of that number, counted from 1."""
    [[total]] = _rows(connection, _COUNT, filters, {})
    rows = _rows(connection, _NUMBERED, filters, {"limit": size, "offset": (number - 1) * size})
    return NumberedPage([entry_of(row) for row in rows], total)


def _rows(
    connection: sqlite3.Connection, statement: str, filters: Filters, others: dict[str, Any]
) -> list[sqlite3.Row]:
    return connection.execute(statement, filters.parameters() | others).fetchall()
