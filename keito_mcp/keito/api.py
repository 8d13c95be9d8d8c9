"""Keito's API as the rest of the program sees it, whichever version answers."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from keito_mcp.keito.models import (
    Project,
    Task,
    TimeEntry,
    TimeEntryCreate,
    TimeEntryFilter,
    TimeEntryPage,
    TimeEntryUpdate,
    User,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """How a version of the API differs, as far as it matters to those who track time with it.

    Attributes:
        requires_task: Whether every entry has a task.
        computes_hours: Whether Keito itself computes the hours of a timer that stops; else they are sent with the
            stop. A stop then changes nothing else of the entry.
        one_timer_per_user: Whether Keito refuses a second running timer of a user, with `Conflict`.
        lists_projects: Whether Keito tells the projects, the tasks and the key's user.
        reads_one: Whether a single entry can be read, which then shows what a list may leave out.
    """

    requires_task: bool
    computes_hours: bool
    one_timer_per_user: bool
    lists_projects: bool
    reads_one: bool = False


class KeitoApi(Protocol):
    """One account's Keito. All methods raise `KeitoError`.

    `NotFound` of a single entry is certain: it was looked for twice. Where Keito shows an entry whose change or delete
    was answered 404, `UnexpectedAnswer` is raised. `near` is the day on which an entry was made, where that is known: a
    version that can't read a single entry looks there first.
    """

    @property
    def traits(self) -> Traits:
        """How this version differs from others."""
        ...

    async def create(self, entry: TimeEntryCreate, *, idempotency_key: str) -> TimeEntry:
        """Create a time entry, once."""
        ...

    async def list(self, wanted: TimeEntryFilter) -> TimeEntryPage:
        """One page of time entries; a cursor leads on only beside the filter that it was given for."""
        ...

    def pages(self, wanted: TimeEntryFilter, *, at_most: int) -> AsyncIterator[TimeEntryPage]:
        """Page after page from the filter's cursor on: as many as there are, and never more than `at_most`.

        No entry is given twice.
        """
        ...

    async def get(self, entry_id: str, *, near: date | None = None) -> TimeEntry:
        """One time entry.

        Raises:
            NotFound: There is no such entry.
            OutOfSight: It was looked for, but not everywhere.
        """
        ...

    async def update(self, entry_id: str, changes: TimeEntryUpdate, *, near: date | None = None) -> TimeEntry:
        """Change a time entry, once. What a change doesn't name stays as it is; metadata is always sent whole.

        To stop a timer there is `stop`: not every version can do it by a change.
        """
        ...

    async def stop(self, entry_id: str, changes: TimeEntryUpdate, *, near: date | None = None) -> TimeEntry:
        """Stop a running timer, once.

        The changes are the hours, and what else is to be different. Where Keito computes the hours itself
        (`Traits.computes_hours`) none of them is sent: what the answer doesn't show is for an `update` to make.
        """
        ...

    async def delete(self, entry_id: str, *, near: date | None = None) -> None:
        """Delete a time entry for good, once."""
        ...

    async def projects(self) -> Sequence[Project]:
        """The active projects that the key's user sees; `NotFound` where they aren't listed."""
        ...

    async def tasks(self) -> Sequence[Task]:
        """The active tasks; `NotFound` where they aren't listed."""
        ...

    async def me(self) -> User:
        """The user whose key it is; `NotFound` where Keito doesn't tell."""
        ...
