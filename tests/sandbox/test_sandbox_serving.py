"""The sandbox on a socket: ready when it says so, gone when it is told to."""

import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from keito_mcp.sandbox import Fault, Faults, RecordedRequest, Store, serve

pytestmark = pytest.mark.anyio

PATH = "/v1/time-entries"
BODY = {"project_id": "prj_abc", "spent_date": "2026-03-06", "hours": 1.5}
HEADERS = {"Authorization": "Bearer keito_sk_test"}

Serving = Callable[..., AbstractAsyncContextManager[str]]
Until = Callable[[Callable[[], object]], Awaitable[None]]


def client_of(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=5, trust_env=False)


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


async def test_it_accepts_connections_at_the_url_it_announces(serving: Serving) -> None:
    async with serving() as url, client_of(url) as client:
        assert url.startswith("http://127.0.0.1:")
        assert (await client.get(PATH)).status_code == 200


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
async def test_it_listens_on_ipv6_too(serving: Serving) -> None:
    async with serving(host="::1") as url, client_of(url) as client:
        assert url.startswith("http://[::1]:")
        assert (await client.get("/")).status_code == 200


async def test_a_port_that_is_taken_is_an_error(serving: Serving, store: Store) -> None:
    async with serving() as url:
        with pytest.raises(OSError, match="in use"):
            await serve(store, port=int(url.rpartition(":")[2]), on_ready=print)


async def test_cancelling_it_ends_promptly_whatever_its_requests_wait_for(
    serving: Serving, store: Store, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    faults = Faults()
    requests: list[RecordedRequest] = []

    async def post(client: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(PATH, json=BODY)

    async with anyio.create_task_group() as tasks:
        async with serving(faults=faults, requests=requests) as url:
            client = client_of(url)
            await client.get("/")
            faults.add(Fault(hang=True), Fault(late_commit=True, delay=60), Fault(delay=60, status=500))
            for _ in range(3):
                tasks.start_soon(post, client)
            await until(lambda: len(requests) == 4)
            start = time.monotonic()
        assert time.monotonic() - start < 1
    await client.aclose()

    assert store.entries() == []
    assert caplog.records == []


async def test_it_leaves_signals_and_standard_output_alone(serving: Serving, capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with serving() as url, client_of(url) as client:
        await client.get(PATH)
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

    assert capfd.readouterr().out == ""


def test_it_runs_in_another_thread_than_the_main_one(store: Store) -> None:
    ready = threading.Event()
    urls: list[str] = []

    def on_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    async def run() -> None:
        await serve(store, on_ready=on_ready)

    with start_blocking_portal() as portal:
        server = portal.start_task_soon(run)
        assert ready.wait(5)
        assert httpx.get(urls[0], trust_env=False).status_code == 200
        server.cancel()


async def test_two_servers_on_one_file_show_the_same_entries(serving: Serving, until: Until, tmp_path: Path) -> None:
    urls: list[str] = []
    with closing(Store(tmp_path / "keito.db")) as second:
        async with serving() as url, anyio.create_task_group() as tasks:

            async def run() -> None:
                await serve(second, on_ready=urls.append)

            tasks.start_soon(run)
            await until(lambda: urls)
            async with client_of(url) as one, client_of(urls[0]) as two:
                entry = (await one.post(PATH, json=BODY)).json()
                assert (await two.get(PATH)).json()["data"] == [entry]
            tasks.cancel_scope.cancel()


async def test_a_body_that_is_too_large_is_answered_on_a_socket_too(serving: Serving) -> None:
    async with serving() as url, client_of(url) as client:
        answer = await client.post(PATH, content=b" " * 5_000_000)
        assert answer.status_code == 413
        assert (await client.get(PATH)).status_code == 200
