"""The sandbox in process and on a socket."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Unpack

import anyio
import httpx
import pytest

from keito_mcp.sandbox import Store, create_app, serve
from keito_mcp.sandbox.serving import AppOptions
from tests.kit import FakeClock
from tests.openapi import check_answer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "keito.db")) as store:
        yield store


@pytest.fixture
def connect(store: Store) -> Callable[..., httpx.AsyncClient]:
    """`connect(**options)`: a client of the app made with these options, in process."""

    def connect(key: str = "keito_sk_test", **options: Unpack[AppOptions]) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(store, **options)),
            base_url="http://keito.test",
            headers={"Authorization": f"Bearer {key}"},
        )

    return connect


@pytest.fixture
async def client(connect: Callable[..., httpx.AsyncClient]) -> AsyncIterator[httpx.AsyncClient]:
    async with connect() as client:
        yield client


@pytest.fixture
def connect_v2(store: Store, clock: FakeClock) -> Callable[..., httpx.AsyncClient]:
    """`connect_v2(key, **options)`: a client of API v2, each answer to which is checked by Keito's description."""

    async def check(response: httpx.Response) -> None:
        await response.aread()
        assert response.headers["X-Keito-API-Version"] == "2"
        body = response.json() if response.content else None
        check_answer(response.request.method, response.request.url.path, response.status_code, body)

    def connect(key: str = "kto_test", **options: Unpack[AppOptions]) -> httpx.AsyncClient:
        options.setdefault("clock", lambda: clock.wall)
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(store, **options)),
            base_url="http://keito.test/api/v2",
            headers={"Authorization": f"Bearer {key}", "Keito-Account-Id": "cmp_test"},
            event_hooks={"response": [check]},
        )

    return connect


@pytest.fixture
async def v2(connect_v2: Callable[..., httpx.AsyncClient]) -> AsyncIterator[httpx.AsyncClient]:
    async with connect_v2() as client:
        yield client


@pytest.fixture
def serving(store: Store) -> Callable[..., AbstractAsyncContextManager[str]]:
    """`async with serving(**options) as url`: the sandbox on a socket of this machine."""

    @asynccontextmanager
    async def serving(**options: Unpack[AppOptions]) -> AsyncIterator[str]:
        urls: list[str] = []
        ready = anyio.Event()

        def on_ready(url: str) -> None:
            urls.append(url)
            ready.set()

        async def run() -> None:
            await serve(store, on_ready=on_ready, **options)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            with anyio.fail_after(5):
                await ready.wait()
            yield urls[0]
            tasks.cancel_scope.cancel()

    return serving


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """`await until(condition)`: waits until it holds; fails after five seconds."""

    async def until(condition: Callable[[], object]) -> None:
        with anyio.fail_after(5):
            while not condition():  # noqa: ASYNC110 -- other threads bring it about, and they set no event
                await anyio.sleep(0.005)

    return until
