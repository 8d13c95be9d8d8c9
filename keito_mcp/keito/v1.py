"""Version 1 of Keito's API: its paths, its paging, its answers (`keito-api-v1.md`)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date
from typing import Any, ClassVar, NoReturn

from pydantic import ValidationError

from keito_mcp.keito.api import Traits
from keito_mcp.keito.client import Client
from keito_mcp.keito.entries import address, check_deleted, confirmed, entry_of, named, read_twice
from keito_mcp.keito.errors import NotFound, UnexpectedAnswer
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
from keito_mcp.keito.walking import walk

_ENTRIES = "/v1/time-entries"


class KeitoV1:
    """The documented endpoints, one method each, as `KeitoApi` has them. All raise `KeitoError`."""

    traits: ClassVar[Traits] = Traits(
        requires_task=False, computes_hours=False, one_timer_per_user=False, lists_projects=False, reads_one=True
    )

    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(self, entry: TimeEntryCreate, *, idempotency_key: str) -> TimeEntry:
        """Create a time entry, once."""
        answer = await self._client.write("POST", _ENTRIES, entry.body(), idempotency_key=idempotency_key)
        return entry_of(answer)

    async def list(self, wanted: TimeEntryFilter) -> TimeEntryPage:
        """One page of time entries."""
        answer = await self._client.read(_ENTRIES, wanted.query())
        try:
            return TimeEntryPage.model_validate(answer)
        except ValidationError as error:
            raise UnexpectedAnswer(200, "the answer is not a list of time entries") from error

    def pages(self, wanted: TimeEntryFilter, *, at_most: int) -> AsyncIterator[TimeEntryPage]:
        """Page after page from the filter's cursor on: as many as there are, and never more than `at_most`."""
        return walk(self.list, wanted, at_most=at_most)

    async def get(self, entry_id: str, *, near: date | None = None) -> TimeEntry:  # noqa: ARG002 -- it is read by its id
        """One time entry."""
        path = address(_ENTRIES, entry_id)

        async def read() -> TimeEntry:
            return named(entry_of(await self._client.read(path)), entry_id)

        return await read_twice(read)

    async def update(self, entry_id: str, changes: TimeEntryUpdate, *, near: date | None = None) -> TimeEntry:
        """Change a time entry, once."""
        return named(entry_of(await self._write("PATCH", entry_id, near, changes.body())), entry_id)

    async def stop(self, entry_id: str, changes: TimeEntryUpdate, *, near: date | None = None) -> TimeEntry:
        """Stop a running timer, once, with all of the changes in the same request."""
        return await self.update(entry_id, changes.model_copy(update={"is_running": False}), near=near)

    async def delete(self, entry_id: str, *, near: date | None = None) -> None:
        """Delete a time entry for good, once."""
        check_deleted(await self._write("DELETE", entry_id, near))

    async def _write(self, method: str, entry_id: str, near: date | None, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 -- JSON
        written = self._client.write(method, address(_ENTRIES, entry_id), body)
        return await confirmed(written, lambda: self.get(entry_id, near=near), self._client.timeouts.write)

    async def projects(self) -> Sequence[Project]:
        """No list of projects is documented; always raises `NotFound`, and sends nothing."""
        _not_documented("projects")

    async def tasks(self) -> Sequence[Task]:
        """No list of tasks is documented; always raises `NotFound`, and sends nothing."""
        _not_documented("tasks")

    async def me(self) -> User:
        """The key's user isn't told; always raises `NotFound`, and sends nothing."""
        _not_documented("users")


def _not_documented(what: str) -> NoReturn:
    raise NotFound(404, f"version 1 of Keito's API tells nothing of {what}")
