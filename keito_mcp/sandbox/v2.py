"""Keito's API v2, below `/api/v2`, over the same store as v1."""

from collections.abc import Callable, Collection
from datetime import datetime

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keito_mcp.sandbox.catalogue import Catalogue
from keito_mcp.sandbox.store import Store
from keito_mcp.sandbox.v2_access import Door
from keito_mcp.sandbox.v2_entries import TimeEntries
from keito_mcp.sandbox.v2_errors import VERSION, VERSION_HEADER, RefusedError, answer_exception
from keito_mcp.sandbox.v2_lists import CatalogueLists

V2_PREFIX = "/api/v2"
"""Where the API is to be mounted."""


def create_v2(
    store: Store,
    *,
    api_keys: Collection[str] | None,
    honour_idempotency: bool,
    clock: Callable[[], datetime],
    forbidden_projects: Collection[str],
    catalogue: Catalogue,
) -> ASGIApp:
    """Return API v2 as an app of its own, to be mounted at `V2_PREFIX`; the arguments are those of `create_app`."""
    behind = Door(api_keys, catalogue).behind
    lists = CatalogueLists(catalogue)
    entries = TimeEntries(
        store,
        honour_idempotency=honour_idempotency,
        clock=clock,
        forbidden_projects=forbidden_projects,
        catalogue=catalogue,
    )
    app = Starlette(
        routes=[
            Route("/time_entries", behind(entries.collection), methods=["GET", "POST"]),
            Route("/time_entries/{id}", behind(entries.entry), methods=["PATCH", "DELETE"]),
            Route("/time_entries/{id}/stop", behind(entries.stop), methods=["PATCH"]),
            Route("/time_entries/{id}/restart", behind(entries.restart), methods=["PATCH"]),
            Route("/projects", behind(lists.projects), methods=["GET"]),
            Route("/clients", behind(lists.clients), methods=["GET"]),
            Route("/tasks", behind(lists.tasks), methods=["GET"]),
            Route("/users/me", behind(lists.me), methods=["GET"]),
        ],
        exception_handlers={
            RefusedError: answer_exception,
            HTTPException: answer_exception,
            Exception: answer_exception,
        },
    )
    app.router.redirect_slashes = False
    return _versioned(app)


def _versioned(app: ASGIApp) -> ASGIApp:
    """Return the app with the version in the headers of each answer, whoever makes it."""

    async def versioned(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_versioned(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[VERSION_HEADER] = VERSION
            await send(message)

        await app(scope, receive, send_versioned)

    return versioned
