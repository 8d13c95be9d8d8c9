"""Keito's API v1, `/v1/time-entries`, over the store."""

import json
import secrets
from collections.abc import Callable, Collection
from datetime import datetime

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keito_mcp.sandbox.access import UnauthenticatedError, key_of, user_of
from keito_mcp.sandbox.entry import Entry
from keito_mcp.sandbox.store import (
    EntryApprovedError,
    EntryLockedError,
    EntryNotFoundError,
    KeyReusedError,
    Once,
    Store,
)
from keito_mcp.sandbox.v1_errors import ApiError, answer_exception
from keito_mcp.sandbox.v1_input import read_changes, read_new_entry, read_object, read_query, write_cursor


def create_v1(
    store: Store,
    *,
    api_keys: Collection[str] | None,
    honour_idempotency: bool,
    clock: Callable[[], datetime],
    forbidden_projects: Collection[str],
) -> Starlette:
    """Return API v1 as an app of its own, to be mounted at `/v1`; the arguments are those of `create_app`."""
    api = _TimeEntries(
        store,
        api_keys=api_keys,
        honour_idempotency=honour_idempotency,
        clock=clock,
        forbidden_projects=forbidden_projects,
    )
    app = Starlette(
        routes=[
            Route("/time-entries", api.collection, methods=["GET", "POST"]),
            Route("/time-entries/{id}", api.entry, methods=["GET", "PATCH", "DELETE"]),
        ],
        exception_handlers={
            ApiError: answer_exception,
            HTTPException: answer_exception,
            Exception: answer_exception,
        },
    )
    app.router.redirect_slashes = False
    return app


class _TimeEntries:
    def __init__(
        self,
        store: Store,
        *,
        api_keys: Collection[str] | None,
        honour_idempotency: bool,
        clock: Callable[[], datetime],
        forbidden_projects: Collection[str],
    ) -> None:
        self._store = store
        self._api_keys = api_keys
        self._honour_idempotency = honour_idempotency
        self._clock = clock
        self._forbidden_projects = forbidden_projects

    async def collection(self, request: Request) -> Response:
        user_id = self._authenticate(request)
        if request.method == "POST":
            return await self._create(request, user_id)
        return await self._list(request)

    async def entry(self, request: Request) -> Response:
        self._authenticate(request)
        entry_id = request.path_params["id"]
        try:
            match request.method:
                case "PATCH":
                    return await self._update(request, entry_id)
                case "DELETE":
                    return await self._delete(entry_id)
                case _:
                    return await self._get(entry_id)
        except EntryNotFoundError as error:
            raise ApiError(404, "there is no such time entry") from error
        except EntryApprovedError as error:
            raise ApiError(409, "the time entry was approved: it can no longer be changed or deleted") from error
        except EntryLockedError as error:
            raise ApiError(403, "the time entry is locked: it can no longer be changed or deleted") from error

    def _authenticate(self, request: Request) -> str:
        try:
            return user_of(key_of(request.headers, self._api_keys))
        except UnauthenticatedError as error:
            raise ApiError(401, str(error), headers={"WWW-Authenticate": "Bearer"}) from error

    async def _create(self, request: Request, user_id: str) -> Response:
        body = read_object(await request.body())
        values = read_new_entry(body)
        if values["project_id"] in self._forbidden_projects:
            raise ApiError(403, "you are not assigned to this project", field="project_id", code="project_not_assigned")
        now = self._clock()
        entry = Entry(
            id=f"te_{secrets.token_hex(8)}",
            user_id=user_id,
            started_at=now if values.pop("is_running") else None,
            created_at=now,
            updated_at=now,
            **values,
        )
        key = request.headers.get("idempotency-key")
        if not (key and self._honour_idempotency):
            await to_thread.run_sync(self._store.create, entry)
            return JSONResponse(entry.as_dict(now), 201)
        once = Once(
            user_id=user_id,
            key=key,
            fingerprint=json.dumps(body, sort_keys=True),
            answer=json.dumps(entry.as_dict(now)),
        )
        try:
            answer = await to_thread.run_sync(self._store.create_once, entry, once)
        except KeyReusedError as error:
            raise ApiError(409, "this idempotency key was used for a different request", code="duplicate") from error
        return JSONResponse(json.loads(answer), 201)

    async def _list(self, request: Request) -> Response:
        query = read_query(request.query_params.multi_items())
        page = await to_thread.run_sync(lambda: self._store.page(query.filters, before=query.before, limit=query.limit))
        now = self._clock()
        return JSONResponse(
            {
                "data": [entry.as_dict(now) for entry in page.entries],
                "next_cursor": write_cursor(page.next_before),
                "has_more": page.next_before is not None,
            }
        )

    async def _get(self, entry_id: str) -> Response:
        entry = await to_thread.run_sync(self._store.get, entry_id)
        return JSONResponse(entry.as_dict(self._clock()))

    async def _update(self, request: Request, entry_id: str) -> Response:
        changes = read_changes(read_object(await request.body()))
        now = self._clock()
        entry = await to_thread.run_sync(self._store.update, entry_id, lambda entry: entry.changed(changes, now))
        return JSONResponse(entry.as_dict(now))

    async def _delete(self, entry_id: str) -> Response:
        await to_thread.run_sync(self._store.delete, entry_id)
        return Response(status_code=204)
