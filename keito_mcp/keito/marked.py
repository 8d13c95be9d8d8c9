"""One Keito seen by one of several who write there: what carries another's mark isn't there."""

from collections.abc import AsyncIterator, Sequence
from datetime import date

from keito_mcp.keito.api import KeitoApi, Traits
from keito_mcp.keito.errors import NotFound
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


class Marked:
    """An API that shows entries by a mark in their metadata; what it is asked to write is written as it is.

    An entry that isn't shown answers 404, exactly like one that doesn't exist. A page may hold fewer entries than
    its limit, and even none while there are more pages.
    """

    def __init__(self, api: KeitoApi, key: str, mark: str, *, unmarked_too: bool) -> None:
        """An API over the real one.

        Args:
            api: What really answers.
            key: The key of the metadata that holds the mark.
            mark: The mark of the entries that are shown.
            unmarked_too: Whether entries without any mark are shown, too.
        """
        self._api = api
        self._key = key
        self._mark = mark
        self._unmarked_too = unmarked_too

    @property
    def traits(self) -> Traits:
        """How the version that answers differs from others."""
        return self._api.traits

    async def create(self, entry: TimeEntryCreate, *, idempotency_key: str) -> TimeEntry:
        """Create a time entry, once."""
        return await self._api.create(entry, idempotency_key=idempotency_key)

    async def list(self, wanted: TimeEntryFilter) -> TimeEntryPage:
        """What is shown of one page of time entries."""
        return self._shown(await self._api.list(wanted))

    async def pages(self, wanted: TimeEntryFilter, *, at_most: int) -> AsyncIterator[TimeEntryPage]:
        """What is shown of page after page."""
        async for page in self._api.pages(wanted, at_most=at_most):
            yield self._shown(page)

    async def get(self, entry_id: str, *, near: date | None = None) -> TimeEntry:
        """One time entry, where it is shown; else the same is said as where there is none."""
        try:
            entry = await self._api.get(entry_id, near=near)
        except NotFound:
            entry = None
        if entry is None or not self._shows(entry):
            raise NotFound(404, "there is no such time entry")
        return entry

    async def update(self, entry_id: str, changes: TimeEntryUpdate, *, near: date | None = None) -> TimeEntry:
        """Change a time entry, once."""
        return await self._api.update(entry_id, changes, near=near)

    async def stop(self, entry_id: str, changes: TimeEntryUpdate, *, near: date | None = None) -> TimeEntry:
        """Stop a running timer, once."""
        return await self._api.stop(entry_id, changes, near=near)

    async def delete(self, entry_id: str, *, near: date | None = None) -> None:
        """Delete a time entry for good, once."""
        await self._api.delete(entry_id, near=near)

    async def projects(self) -> Sequence[Project]:
        """The active projects that the key's user sees."""
        return await self._api.projects()

    async def tasks(self) -> Sequence[Task]:
        """The active tasks."""
        return await self._api.tasks()

    async def me(self) -> User:
        """The user whose key it is."""
        return await self._api.me()

    def _shown(self, page: TimeEntryPage) -> TimeEntryPage:
        return page.model_copy(update={"data": [entry for entry in page.data if self._shows(entry)]})

    def _shows(self, entry: TimeEntry) -> bool:
        mark = (entry.metadata or {}).get(self._key)
        return mark == self._mark or (self._unmarked_too and mark is None)
