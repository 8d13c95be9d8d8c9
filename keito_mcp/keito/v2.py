"""Version 2 of Keito's API: its paths, its headers, its paging, its answers (`keito-openapi-v2.yaml`)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from keito_mcp.keito.api import Traits
from keito_mcp.keito.client import Client
from keito_mcp.keito.entries import address, check_deleted, confirmed, named, read_twice
from keito_mcp.keito.errors import NotFound, OutOfSight, UnexpectedAnswer
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
from keito_mcp.keito.v2_names import (
    create_body,
    cursor_of,
    entry_from,
    flat,
    has_more,
    page_of,
    query_of,
    rows_of,
    update_body,
)
from keito_mcp.keito.walking import walk

_API = "/api/v2"
_ENTRIES = f"{_API}/time_entries"
_MOST_ROWS = 2000
"""The most that Keito gives in one page."""
_MOST_PAGES = 3
_ONE_DAY = timedelta(days=1)
_LOOKED_BACK = timedelta(days=31)

Known = TypeVar("Known", bound=BaseModel)


class KeitoV2:
    """The documented endpoints as `KeitoApi` has them. All raise `KeitoError`.

    What Keito calls `billable` is `is_billable` here, and a nested `project` is `project_id` and `project_name`.
    """

    traits: ClassVar[Traits] = Traits(
        requires_task=True, computes_hours=True, one_timer_per_user=True, lists_projects=True
    )

    def __init__(
        self, client: Client, account_id: str | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Nothing is sent yet.

        Args:
            client: Sends the requests.
            account_id: The company's id, which Keito wants beside an API key.
            now: Tells the time, from which an entry is looked for backwards.
        """
        self._client = client
        self._now = now
        # A header takes no other characters, and an id that has them is none of Keito's: let Keito say so.
        self._headers = {"Keito-Account-Id": quote(account_id, safe=":@+=,")} if account_id else {}

    async def create(self, entry: TimeEntryCreate, *, idempotency_key: str) -> TimeEntry:
        """Create a time entry, once. One without a task is refused with `InvalidRequest`, and not sent.

        `Conflict` is also what Keito answers while another timer of the user runs.
        """
        body = create_body(entry)
        return entry_from(await self._write("POST", _ENTRIES, body, idempotency_key=idempotency_key))

    async def list(self, wanted: TimeEntryFilter) -> TimeEntryPage:
        """One page of time entries.

        Raises:
            InvalidRequest: The cursor is another list's, or nobody's; nothing was sent.
        """
        query = query_of(wanted)
        envelope = await self._read(_ENTRIES, query)
        entries = _entries(envelope)
        if not has_more(envelope, "time_entries", query):
            return TimeEntryPage(data=entries, has_more=False)
        return TimeEntryPage(data=entries, next_cursor=cursor_of(wanted, page_of(wanted) + 1), has_more=True)

    def pages(self, wanted: TimeEntryFilter, *, at_most: int) -> AsyncIterator[TimeEntryPage]:
        """Page after page from the filter's cursor on: as many as there are, and never more than `at_most`."""
        return walk(self.list, wanted, at_most=at_most)

    async def get(self, entry_id: str, *, near: date | None = None) -> TimeEntry:
        """One time entry, by listing: Keito shows no single one.

        With `near`, the agents' entries of that day and its neighbours are looked through first. One that isn't
        among them may have been moved: then it was changed since, so everything that changed from two days
        before `near` on is looked through; without `near`, everything that changed within 31 days.

        Raises:
            NotFound: It isn't there; without `near`, it may be older than 31 days.
            OutOfSight: More than 6,000 entries would have to be looked through.
        """
        address(_ENTRIES, entry_id)
        return await read_twice(lambda: self._look(entry_id, near))

    async def _look(self, entry_id: str, near: date | None) -> TimeEntry:
        if near is not None:
            days = {"from": (near - _ONE_DAY).isoformat(), "to": (near + _ONE_DAY).isoformat(), "source": "agent"}
            found, _ = await self._find(entry_id, days)
            if found is not None:
                return found
            # One day for time zones, and one for the midnight that a look-up may cross.
            since = min(datetime.combine(near, time(), UTC), self._now()) - 2 * _ONE_DAY
        else:
            since = self._now() - _LOOKED_BACK
        found, is_all = await self._find(entry_id, {"updated_since": since.strftime("%Y-%m-%dT%H:%M:%SZ")})
        if found is not None:
            return found
        if not is_all:
            raise OutOfSight(f"more entries changed since {since:%Y-%m-%d} than can be looked through for this one")
        raise NotFound(404, f"no time entry that changed since {since:%Y-%m-%d} has this id")

    async def _find(self, entry_id: str, conditions: Mapping[str, str]) -> tuple[TimeEntry | None, bool]:
        """An entry among those that meet the conditions, and whether all of them were seen."""
        for page in range(1, _MOST_PAGES + 1):
            query = {**conditions, "page": str(page), "per_page": str(_MOST_ROWS)}
            try:
                envelope = await self._read(_ENTRIES, query)
            except NotFound as error:
                # That there is no list says nothing of an entry.
                raise UnexpectedAnswer(error.status, error.message) from error
            for entry in _entries(envelope):
                if entry.id == entry_id:
                    return entry, True
            if not has_more(envelope, "time_entries", query):
                return None, True
        return None, False

    async def update(self, entry_id: str, changes: TimeEntryUpdate, *, near: date | None = None) -> TimeEntry:
        """Change a time entry, once.

        Keito merges the metadata that is sent into what it has: a key that the new metadata lacks stays, and only
        metadata of None clears it.

        Raises:
            ValueError: The change is to stop or start the timer; nothing was sent. There is `stop`.
        """
        written = self._write("PATCH", address(_ENTRIES, entry_id), update_body(changes))
        return named(entry_from(await self._confirmed(written, entry_id, near)), entry_id)

    async def stop(self, entry_id: str, changes: TimeEntryUpdate, *, near: date | None = None) -> TimeEntry:  # noqa: ARG002 -- see below
        """Stop a running timer, once; Keito computes its hours.

        Nothing of `changes` is sent, so that the stop changes nothing that a person may have edited meanwhile.
        """
        written = self._write("PATCH", f"{address(_ENTRIES, entry_id)}/stop")
        return named(entry_from(await self._confirmed(written, entry_id, near)), entry_id)

    async def delete(self, entry_id: str, *, near: date | None = None) -> None:
        """Delete a time entry for good, once; one that is locked or approved is refused."""
        written = self._write("DELETE", address(_ENTRIES, entry_id))
        check_deleted(await self._confirmed(written, entry_id, near))

    async def _confirmed(self, written: Awaitable[Any], entry_id: str, near: date | None) -> Any:  # noqa: ANN401 -- JSON
        return await confirmed(written, lambda: self.get(entry_id, near=near), self._client.timeouts.write)

    async def projects(self) -> Sequence[Project]:
        """The active projects that the key's user sees, at most 6,000."""
        return await self._known("projects", Project)

    async def tasks(self) -> Sequence[Task]:
        """The account's active tasks, at most 6,000."""
        return await self._known("tasks", Task)

    async def me(self) -> User:
        """The user whose key it is."""
        answer = await self._read(f"{_API}/users/me")
        try:
            return User.model_validate(flat(answer, "company") if isinstance(answer, Mapping) else answer)
        except ValidationError as error:
            raise UnexpectedAnswer(200, "the answer is not a user") from error

    async def _known(self, name: str, kind: type[Known]) -> Sequence[Known]:
        """All active ones of a kind, in Keito's order, as far as three full pages go."""
        known: dict[object, Known] = {}
        for page in range(1, _MOST_PAGES + 1):
            query = {"is_active": "true", "page": str(page), "per_page": str(_MOST_ROWS)}
            envelope = await self._read(f"{_API}/{name}", query)
            for row in rows_of(envelope, name):
                try:
                    one = kind.model_validate(flat(row, "client") if isinstance(row, Mapping) else row)
                except ValidationError as error:
                    raise UnexpectedAnswer(200, f"the answer is not a list of {name}") from error
                known[getattr(one, "id", None)] = one
            if not has_more(envelope, name, query):
                break
        return tuple(known.values())

    async def _read(self, path: str, query: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 -- JSON
        return await self._client.read(path, query, headers=self._headers)

    async def _write(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> Any:  # noqa: ANN401 -- JSON
        return await self._client.write(method, path, body, idempotency_key=idempotency_key, headers=self._headers)


def _entries(envelope: object) -> list[TimeEntry]:
    try:
        return [entry_from(row) for row in rows_of(envelope, "time_entries")]
    except UnexpectedAnswer as error:
        raise UnexpectedAnswer(200, "the answer is not a list of time entries") from error
