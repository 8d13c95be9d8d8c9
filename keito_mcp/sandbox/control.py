"""The opt-in HTTP side door: programs the sandbox and looks into it from another process."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime

from anyio import to_thread
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from keito_mcp.sandbox.faults import Fault, Faults
from keito_mcp.sandbox.gate import RecordedRequest
from keito_mcp.sandbox.store import EntryNotFoundError, Store
from keito_mcp.sandbox.v1_errors import refusal

_PROGRAM: TypeAdapter[list[Fault] | Fault] = TypeAdapter(list[Fault] | Fault)


def control_routes(
    store: Store, *, faults: Faults, requests: list[RecordedRequest], clock: Callable[[], datetime]
) -> list[BaseRoute]:
    """Return the routes, to be mounted at `CONTROL_PREFIX`. They ask for no key."""
    control = _Control(store, faults, requests, clock)
    return [
        Route("/faults", control.faults, methods=["POST", "DELETE"]),
        Route("/requests", control.requests, methods=["GET", "DELETE"]),
        Route("/entries", control.entries, methods=["GET"]),
        Route("/entries/{id}/approve", control.marking(store.approve), methods=["POST"]),
        Route("/entries/{id}/lock", control.marking(store.lock), methods=["POST"]),
        Route("/entries/{id}/bill", control.marking(store.bill), methods=["POST"]),
    ]


class _Control:
    def __init__(
        self,
        store: Store,
        faults: Faults,
        requests: list[RecordedRequest],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._faults = faults
        self._requests = requests
        self._clock = clock

    async def faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._faults.clear()
            return Response(status_code=204)
        try:
            program = _PROGRAM.validate_json(await request.body())
        except ValidationError as error:
            return refusal(422, str(error))
        self._faults.add(*(program if isinstance(program, list) else [program]))
        return JSONResponse({"planned": len(self._faults.planned)}, 201)

    async def requests(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._requests.clear()
            return Response(status_code=204)
        return JSONResponse([asdict(recorded) for recorded in self._requests])

    async def entries(self, _request: Request) -> Response:
        return JSONResponse(await to_thread.run_sync(self._store.entries, self._clock()))

    def marking(self, mark: Callable[[str], None]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                await to_thread.run_sync(mark, request.path_params["id"])
            except EntryNotFoundError:
                return refusal(404, "there is no such time entry")
            return Response(status_code=204)

        return endpoint
