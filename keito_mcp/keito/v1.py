"""Version 1 of Keito's API: its paths, its paging, its answers (`keito-api-v1.md`)."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from keito_mcp.keito.client import Client
from keito_mcp.keito.errors import NotFound, UnexpectedAnswer
from keito_mcp.keito.models import TimeEntry, TimeEntryCreate, TimeEntryFilter, TimeEntryPage, TimeEntryUpdate

_ENTRIES = "/v1/time-entries"


class KeitoV1:
    """The documented endpoints, one method each. All raise `KeitoError`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(self, entry: TimeEntryCreate, *, idempotency_key: str) -> TimeEntry:
        """Create a time entry, once."""
        answer = await self._client.write("POST", _ENTRIES, entry.body(), idempotency_key=idempotency_key)
        return _entry(answer)

    async def list(self, wanted: TimeEntryFilter) -> TimeEntryPage:
        """One page of time entries."""
        answer = await self._client.read(_ENTRIES, wanted.query())
        try:
            return TimeEntryPage.model_validate(answer)
        except ValidationError as error:
            raise UnexpectedAnswer(200, "the answer is not a list of time entries") from error

    async def pages(self, wanted: TimeEntryFilter, *, at_most: int) -> AsyncIterator[TimeEntryPage]:
        """Page after page from the filter's cursor on: as many as there are, and never more than `at_most`."""
        for _ in range(at_most):
            page = await self.list(wanted)
            yield page
            # A cursor that leads to itself would never end.
            if page.following is None or page.following == wanted.cursor:
                return
            wanted = wanted.model_copy(update={"cursor": page.following})

    async def get(self, entry_id: str) -> TimeEntry:
        """One time entry."""
        return _entry(await self._client.read(_path(entry_id)))

    async def update(self, entry_id: str, changes: TimeEntryUpdate) -> TimeEntry:
        """Change a time entry, once."""
        return _entry(await self._client.write("PATCH", _path(entry_id), changes.body()))

    async def delete(self, entry_id: str) -> None:
        """Delete a time entry for good, once."""
        await self._client.write("DELETE", _path(entry_id))


def _path(entry_id: str) -> str:
    """The path of an entry, whatever its id is made of: an id must never lead anywhere else.

    Raises:
        NotFound: The id is empty or made of dots. Percent-encoding can't protect those: an encoded dot
            segment is still one to whatever normalises addresses on the way.
    """
    if not entry_id.strip("."):
        raise NotFound(404, "no time entry has such an id")
    return f"{_ENTRIES}/{quote(entry_id, safe='')}"


def _entry(answer: Any) -> TimeEntry:  # noqa: ANN401 -- JSON
    try:
        return TimeEntry.model_validate(answer)
    except ValidationError as error:
        raise UnexpectedAnswer(200, "the answer has no entry id") from error
