"""API v2's time entries: `/time_entries` and what is below it."""

import json
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keito_mcp.sandbox.catalogue import Catalogue
from keito_mcp.sandbox.entry import Entry
from keito_mcp.sandbox.queries import Filters
from keito_mcp.sandbox.store import (
    EntryApprovedError,
    EntryLockedError,
    EntryNotFoundError,
    KeyReusedError,
    Once,
    Others,
    Store,
    TimerRunningError,
)
from keito_mcp.sandbox.v2_access import Visitor
from keito_mcp.sandbox.v2_errors import RefusedError
from keito_mcp.sandbox.v2_input import (
    NewEntry,
    changed,
    read_changes,
    read_new_entry,
    read_object,
    read_query,
    read_restart,
    read_stop,
)
from keito_mcp.sandbox.v2_shown import show_entry, show_page


class TimeEntries:
    """The endpoints of time entries; the arguments are those of `create_app`.

    Each user has one running timer at most, whichever API version started it. Everybody sees all entries; who
    may change those of others is in the catalogue.
    """

    def __init__(
        self,
        store: Store,
        *,
        honour_idempotency: bool,
        clock: Callable[[], datetime],
        forbidden_projects: Collection[str],
        catalogue: Catalogue,
    ) -> None:
        self._store = store
        self._honour_idempotency = honour_idempotency
        self._clock = clock
        self._forbidden_projects = forbidden_projects
        self._catalogue = catalogue

    async def collection(self, request: Request, visitor: Visitor) -> Response:
        """Answer `GET` and `POST /time_entries`."""
        if request.method != "POST":
            return await self._list(request)
        with _refusals():
            return await self._create(request, visitor)

    async def entry(self, request: Request, visitor: Visitor) -> Response:
        """Answer `PATCH` and `DELETE /time_entries/{id}`."""
        if request.method == "DELETE":
            return await self._delete(request.path_params["id"], visitor)
        changes = read_changes(read_object(await request.body()))
        self._check(changes.get("project_id"), changes.get("task_id"))
        now = self._clock()
        return await self._change(request, visitor, lambda entry: changed(entry, changes, now), now)

    async def stop(self, request: Request, visitor: Visitor) -> Response:
        """Answer `PATCH /time_entries/{id}/stop`: the hours are those that have passed."""
        changes = read_stop(read_object(await request.body()))
        now = self._clock()

        def stopped(entry: Entry) -> Entry:
            if not entry.is_running:
                raise RefusedError(400, "the time entry is not running")
            return entry.changed(changes, now)

        return await self._change(request, visitor, stopped, now)

    async def restart(self, request: Request, visitor: Visitor) -> Response:
        """Answer `PATCH /time_entries/{id}/restart`: the timer counts on from the hours that there are."""
        others = Others.STOP if read_restart(read_object(await request.body())) else Others.REFUSE
        now = self._clock()

        def restarted(entry: Entry) -> Entry:
            if entry.is_running:
                raise RefusedError(400, "the time entry is running already")
            return entry.changed({"is_running": True, "ended_time": None}, now)

        return await self._change(request, visitor, restarted, now, others)

    async def _list(self, request: Request) -> Response:
        wanted, paging = read_query(request.query_params)
        filters = self._filters(wanted)
        page = await to_thread.run_sync(
            lambda: self._store.numbered_page(filters, number=paging.number, size=paging.size)
        )
        now = self._clock()
        shown = [show_entry(entry, now, self._catalogue) for entry in page.entries]
        return JSONResponse(show_page("time_entries", shown, page.total, paging, request.url))

    async def _create(self, request: Request, visitor: Visitor) -> Response:
        body = read_object(await request.body())
        new = read_new_entry(body)
        user_id = new.user_id or visitor.user.id
        _check_owner(user_id, visitor)
        self._check(new.project_id, new.task_id)
        entry = self._made(new, user_id, self._clock())
        others = Others.STOP if new.replace_running else Others.REFUSE
        shown = show_entry(entry, entry.created_at, self._catalogue)
        key = request.headers.get("idempotency-key")
        if not (key and self._honour_idempotency):
            await to_thread.run_sync(self._store.create, entry, others)
            return JSONResponse(shown)
        once = Once(
            user_id=visitor.user.id,
            # The versions answer differently: what v1 was asked with a key says nothing of v2.
            key=f"v2:{key}",
            fingerprint=json.dumps(body, sort_keys=True),
            answer=json.dumps(shown),
        )
        return JSONResponse(json.loads(await to_thread.run_sync(self._store.create_once, entry, once, others)))

    async def _change(
        self,
        request: Request,
        visitor: Visitor,
        change: Callable[[Entry], Entry],
        now: datetime,
        others: Others = Others.RUN_ON,
    ) -> Response:
        def checked(entry: Entry) -> Entry:
            _check_owner(entry.user_id, visitor)
            return change(entry)

        with _refusals():
            entry = await to_thread.run_sync(self._store.update, request.path_params["id"], checked, others)
        return JSONResponse(show_entry(entry, now, self._catalogue))

    async def _delete(self, entry_id: str, visitor: Visitor) -> Response:
        with _refusals():
            entry = await to_thread.run_sync(self._store.get, entry_id)
            _check_owner(entry.user_id, visitor)
            await to_thread.run_sync(self._store.delete, entry_id)
        return Response(status_code=204)

    def _made(self, new: NewEntry, user_id: str, now: datetime) -> Entry:
        project, task = self._catalogue.project(new.project_id), self._catalogue.task(new.task_id)
        billable = project is not None and project.is_billable and task is not None and task.billable_by_default
        return Entry(
            id=f"te_{secrets.token_hex(8)}",
            user_id=user_id,
            project_id=new.project_id,
            task_id=new.task_id,
            spent_date=new.spent_date,
            units=new.units,
            started_at=now if new.is_running else None,
            started_time=new.started_time,
            ended_time=new.ended_time,
            notes=new.notes,
            is_billable=billable if new.billable is None else new.billable,
            source=new.source,
            metadata=new.metadata,
            created_at=now,
            updated_at=now,
        )

    def _check(self, project_id: str | None, task_id: str | None) -> None:
        if project_id in self._forbidden_projects:
            raise RefusedError(403, "you are not assigned to this project")
        if project_id is not None and self._catalogue.project(project_id) is None:
            raise RefusedError(404, "there is no such project")
        if task_id is not None and self._catalogue.task(task_id) is None:
            raise RefusedError(404, "there is no such task")

    def _filters(self, wanted: dict[str, Any]) -> Filters:
        project_ids: tuple[str, ...] | None = None
        if "client_id" in wanted:
            project_ids = tuple(
                project.id for project in self._catalogue.projects if project.client_id == wanted["client_id"]
            )
        if "project_id" in wanted:
            chosen = wanted["project_id"]
            project_ids = (chosen,) if project_ids is None or chosen in project_ids else ()
        default_task = self._catalogue.default_task
        return Filters(
            sources=wanted.get("source"),
            project_ids=project_ids,
            task_id=wanted.get("task_id"),
            task_of_none=default_task.id if default_task else None,
            user_id=wanted.get("user_id"),
            first_date=wanted.get("from"),
            last_date=wanted.get("to"),
            updated_since=wanted.get("updated_since"),
            is_running=wanted.get("is_running"),
            is_billed=wanted.get("is_billed"),
        )


def _check_owner(user_id: str, visitor: Visitor) -> None:
    if user_id != visitor.user.id and not visitor.user.manages_others:
        raise RefusedError(403, "only managers and administrators work with the time entries of others")


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what the store refuses into answers."""
    try:
        yield
    except EntryNotFoundError as error:
        raise RefusedError(404, "there is no such time entry") from error
    except EntryApprovedError as error:
        raise RefusedError(409, "the time entry was approved: it can no longer be changed or deleted") from error
    except EntryLockedError as error:
        raise RefusedError(403, "the time entry is locked: it can no longer be changed or deleted") from error
    except TimerRunningError as error:
        raise RefusedError(409, f"another timer is already running: {error}") from error
    except KeyReusedError as error:
        raise RefusedError(409, "this idempotency key was used for a different request") from error
