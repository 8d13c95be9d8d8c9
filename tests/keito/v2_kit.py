"""A small version 2 of Keito in this process: it pages over given entries, and says what it is told to say."""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

KEY = "kto_made_up"
ENTRIES = "/api/v2/time_entries"


@dataclass(frozen=True)
class Sent:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: Any


def entry(number: int | str, **fields: Any) -> dict[str, Any]:
    """An entry as version 2 shows it."""
    return {
        "id": f"te_{number}",
        "user": {"id": "usr_1", "name": "Ada"},
        "project": {"id": "prj_1", "name": "Website"},
        "task": {"id": "tsk_1", "name": "Development"},
        "spent_date": "2026-03-06",
        "hours": 1.5,
        "notes": None,
        "is_running": False,
        "is_locked": False,
        "is_closed": False,
        "is_billed": False,
        "billable": True,
        "source": "agent",
        "metadata": {"session_id": "s-1"},
        "created_at": "2026-03-06T12:00:00Z",
        "updated_at": "2026-03-06T12:00:00Z",
        **fields,
    }


@dataclass
class SmallKeito:
    """What it has, what it says next, and what came in."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    most_rows: int = 2000
    said: deque[tuple[int, str]] = field(default_factory=deque)
    requests: list[Sent] = field(default_factory=list)

    @property
    def app(self) -> Starlette:
        methods = ["GET", "POST", "PATCH", "DELETE"]
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=methods)])

    @property
    def sent(self) -> list[tuple[str, str]]:
        return [(request.method, request.path) for request in self.requests]

    @property
    def queries(self) -> list[dict[str, str]]:
        return [request.query for request in self.requests]

    def says(self, body: object, status: int = 200, times: int = 1) -> None:
        """The next answers, as JSON or as text."""
        text = body if isinstance(body, str) else json.dumps(body)
        self.said.extend([(status, text)] * times)

    def refuses(self, status: int, error: str, description: str) -> None:
        self.says({"error": error, "error_description": description}, status)

    async def _answer(self, request: Request) -> Response:
        content = await request.body()
        path = request.scope["raw_path"].decode()
        body = json.loads(content) if content else None
        self.requests.append(Sent(request.method, path, dict(request.query_params), dict(request.headers), body))
        if self.said:
            status, text = self.said.popleft()
            return Response(text, status)
        if request.method == "DELETE":
            return Response(status_code=204)
        name = path.rpartition("/")[2]
        return Response(json.dumps(self._page(name, request.query_params) if request.method == "GET" else entry(1)))

    def _page(self, name: str, query: Mapping[str, str]) -> dict[str, Any]:
        rows = [row for row in self.rows.get(name, []) if _meets(row, query)]
        page, size = int(query["page"]), min(int(query["per_page"]), self.most_rows)
        pages = -(-len(rows) // size)
        following = f"https://app.keito.ai/api/v2/{name}?page={page + 1}" if page < pages else None
        return {
            name: rows[(page - 1) * size : page * size],
            "page": page,
            "per_page": size,
            "total_pages": pages,
            "total_entries": len(rows),
            "links": {"next": following},
        }


def _meets(row: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    return (
        query.get("from", "") <= row.get("spent_date", "9") <= query.get("to", "9")
        and query.get("source") in {None, row.get("source")}
        and query.get("updated_since", "") <= row.get("updated_at", "9")
    )
