"""API v2's lists of what is in the catalogue, and who the visitor is."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keito_mcp.sandbox.catalogue import Catalogue
from keito_mcp.sandbox.v2_access import Visitor
from keito_mcp.sandbox.v2_input import Paging, read_query
from keito_mcp.sandbox.v2_shown import show_client, show_page, show_project, show_task, show_user


class _Listed(Protocol):
    @property
    def is_active(self) -> bool: ...

    @property
    def updated_at(self) -> datetime: ...


_Item = TypeVar("_Item", bound=_Listed)


class CatalogueLists:
    """The endpoints that only read the catalogue, each list in the catalogue's own order."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def projects(self, request: Request, _visitor: Visitor) -> Response:
        """Answer `GET /projects`: the active ones, unless `is_active` says otherwise."""
        wanted, paging = read_query(request.query_params)
        client_id = wanted.get("client_id")
        projects = [
            project
            for project in _matching(self._catalogue.projects, {"is_active": True} | wanted)
            if client_id in (None, project.client_id)
        ]
        shown = [show_project(project, self._catalogue) for project in _on_page(projects, paging)]
        return JSONResponse(show_page("projects", shown, len(projects), paging, request.url))

    async def clients(self, request: Request, _visitor: Visitor) -> Response:
        """Answer `GET /clients`."""
        wanted, paging = read_query(request.query_params)
        clients = _matching(self._catalogue.clients, wanted)
        shown = [show_client(client) for client in _on_page(clients, paging)]
        return JSONResponse(show_page("clients", shown, len(clients), paging, request.url))

    async def tasks(self, request: Request, _visitor: Visitor) -> Response:
        """Answer `GET /tasks`."""
        wanted, paging = read_query(request.query_params)
        tasks = _matching(self._catalogue.tasks, wanted)
        shown = [show_task(task) for task in _on_page(tasks, paging)]
        return JSONResponse(show_page("tasks", shown, len(tasks), paging, request.url))

    async def me(self, _request: Request, visitor: Visitor) -> Response:
        """Answer `GET /users/me`."""
        return JSONResponse(show_user(visitor.user, visitor.company_id, self._catalogue))


def _matching(items: Sequence[_Item], wanted: Mapping[str, Any]) -> list[_Item]:
    is_active, since = wanted.get("is_active"), wanted.get("updated_since")
    return [
        item for item in items if is_active in (None, item.is_active) and (since is None or item.updated_at >= since)
    ]


def _on_page(items: Sequence[_Item], paging: Paging) -> Sequence[_Item]:
    start = (paging.number - 1) * paging.size
    return items[start : start + paging.size]
