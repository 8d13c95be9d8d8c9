"""The embedded Keito as one ASGI app: the API versions side by side over one store, behind the gate."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from keito_mcp.sandbox import v2_errors
from keito_mcp.sandbox.catalogue import SANDBOX, Catalogue
from keito_mcp.sandbox.control import control_routes
from keito_mcp.sandbox.faults import Faults
from keito_mcp.sandbox.gate import CONTROL_PREFIX, Gate, LateWork, RecordedRequest
from keito_mcp.sandbox.store import Store
from keito_mcp.sandbox.v1 import create_v1
from keito_mcp.sandbox.v1_errors import answer_exception, refusal
from keito_mcp.sandbox.v2 import V2_PREFIX, create_v2


def utc_now() -> datetime:
    """Return the machine's time."""
    return datetime.now(UTC)


def create_app(  # noqa: PLR0913 -- independent knobs, each by its name only
    store: Store,
    *,
    api_keys: Collection[str] | None = None,
    honour_idempotency: bool = False,
    faults: Faults | None = None,
    clock: Callable[[], datetime] = utc_now,
    forbidden_projects: Collection[str] = (),
    control: bool = False,
    requests: list[RecordedRequest] | None = None,
    catalogue: Catalogue = SANDBOX,
) -> Starlette:
    """Return the embedded Keito as an ASGI app.

    `app.state` has its `store`, its `faults` and its `requests`: the last 10,000 that came in, oldest first.

    Args:
        store: Where the entries are.
        api_keys: The keys that are valid; `None` accepts any.
        honour_idempotency: Whether a create with a known `Idempotency-Key` answers the first entry again.
        faults: What goes wrong; nothing by default.
        clock: Tells the time, with its zone.
        forbidden_projects: Projects that nobody is assigned to.
        control: Whether `/_sandbox/…` programs faults and shows requests and entries, without a key.
        requests: The list to record requests in; one of the app's own by default.
        catalogue: The projects, tasks, clients and users that v2 knows; v1 accepts any project.
    """
    faults = Faults() if faults is None else faults
    requests = [] if requests is None else requests
    late = LateWork()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await to_thread.run_sync(late.cancel)

    v1 = create_v1(
        store,
        api_keys=api_keys,
        honour_idempotency=honour_idempotency,
        clock=clock,
        forbidden_projects=forbidden_projects,
    )
    v2 = create_v2(
        store,
        api_keys=api_keys,
        honour_idempotency=honour_idempotency,
        clock=clock,
        forbidden_projects=forbidden_projects,
        catalogue=catalogue,
    )
    routes: list[BaseRoute] = [Route("/", _welcome), Mount("/v1", v1), Mount(V2_PREFIX, v2)]
    if control:
        steering = control_routes(store, faults=faults, requests=requests, clock=clock)
        routes.append(Mount(CONTROL_PREFIX, routes=steering))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Gate, faults=faults, requests=requests, late=late, refusal=_refusal)],
        exception_handlers={HTTPException: answer_exception},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.store = store
    app.state.faults = faults
    app.state.requests = requests
    return app


def _refusal(path: str, status: int, message: str) -> Response:
    if path.startswith(f"{V2_PREFIX}/"):
        return v2_errors.refusal(status, message)
    return refusal(status, message)


async def _welcome(_request: Request) -> Response:
    return JSONResponse(
        {
            "service": "embedded Keito",
            "hint": "GET /v1/time-entries with any 'Authorization: Bearer <key>'; nothing here is billed.",
            "hint_v2": "GET /api/v2/time_entries with 'Authorization: Bearer kto_…' and 'Keito-Account-Id: …'.",
        }
    )
