"""Every fault as a client meets it, on a real socket and in process."""

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from pydantic import ValidationError

from keito_mcp.sandbox import ConnectionCut, Fault, Faults, RecordedRequest, Store, gate

pytestmark = pytest.mark.anyio

PATH = "/v1/time-entries"
BODY = {"project_id": "prj_abc", "spent_date": "2026-03-06", "hours": 1.5}
HEADERS = {"Authorization": "Bearer keito_sk_test"}

Serving = Callable[..., AbstractAsyncContextManager[str]]
Connect = Callable[..., httpx.AsyncClient]
Until = Callable[[Callable[[], object]], Awaitable[None]]


def client_of(url: str, timeout: float = 5) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=timeout, trust_env=False)


async def bytes_answered(url: str) -> bytes:
    """Return all that comes back on the wire for a complete request, until the connection is closed."""
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    answer = b""
    with anyio.fail_after(5):
        async with await anyio.connect_tcp(address.hostname, address.port) as stream:
            await stream.send(
                b"POST /v1/time-entries HTTP/1.1\r\nHost: keito\r\nAuthorization: Bearer k\r\n"
                b"Content-Length: 65\r\n\r\n"
                b'{"project_id": "prj_abc", "spent_date": "2026-03-06", "hours": 1}'
            )
            try:
                async for chunk in stream:
                    answer += chunk
            except anyio.BrokenResourceError:
                pass
    return answer


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "validation_error"),
        (401, "authentication_error"),
        (403, "authorization_error"),
        (404, "not_found"),
        (409, "conflict"),
        (422, "validation_error"),
        (429, "rate_limit_exceeded"),
        (500, "internal_error"),
        (503, "internal_error"),
    ],
)
async def test_a_status_is_answered_with_the_documented_body_and_nothing_is_done(
    connect: Connect, store: Store, status: int, code: str
) -> None:
    faults = Faults()
    faults.add(Fault(status=status))
    async with connect(faults=faults) as client:
        answer = await client.post(PATH, json=BODY)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert "X-Request-Id" in answer.headers
        assert store.entries() == []
        assert (await client.post(PATH, json=BODY)).status_code == 201


async def test_a_status_may_come_with_a_time_to_wait_and_a_body_of_its_own(serving: Serving) -> None:
    faults = Faults()
    faults.add(
        Fault(status=429, retry_after=7),
        Fault(status=502, body="<h1>Bad gateway</h1>", content_type="text/html"),
        Fault(status=200, body=b"\xff{"),
        Fault(status=204),
    )
    async with serving(faults=faults) as url, client_of(url) as client:
        limited, gateway, garbage, empty = [await client.get(PATH) for _ in range(4)]

        faults.add(Fault(status=429, retry_after="Fri, 06 Mar 2026 12:00:00 GMT"))
        later = await client.get(PATH)

    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "7")
    assert later.headers["Retry-After"] == "Fri, 06 Mar 2026 12:00:00 GMT"
    assert (gateway.status_code, gateway.text) == (502, "<h1>Bad gateway</h1>")
    assert gateway.headers["Content-Type"].startswith("text/html")
    assert (garbage.status_code, garbage.content) == (200, b"\xff{")
    assert (empty.status_code, empty.content) == (204, b"")


async def test_a_status_with_commit_hides_work_that_was_done(serving: Serving, store: Store) -> None:
    faults = Faults()
    faults.add(Fault(status=503, commit=True))
    async with serving(faults=faults) as url, client_of(url) as client:
        answer = await client.post(PATH, json=BODY)

    assert answer.status_code == 503
    assert [entry["hours"] for entry in store.entries()] == [1.5]


async def test_a_delay_holds_the_answer_back(serving: Serving) -> None:
    faults = Faults()
    faults.add(Fault(delay=0.1), Fault(delay=0.1, status=500))
    async with serving(faults=faults) as url, client_of(url) as client:
        for status in (201, 500):
            start = time.monotonic()
            assert (await client.post(PATH, json=BODY)).status_code == status
            assert time.monotonic() - start >= 0.1


async def test_a_delayed_request_is_carried_out_although_its_client_has_gone(
    serving: Serving, store: Store, until: Until
) -> None:
    faults = Faults()
    faults.add(Fault(delay=60))
    async with serving(faults=faults) as url:
        async with client_of(url, timeout=0.1) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(PATH, json=BODY)
        await until(store.entries)


async def test_a_hanging_request_is_never_answered_and_nothing_is_done(serving: Serving, store: Store) -> None:
    faults = Faults()
    faults.add(Fault(hang=True))
    requests: list[RecordedRequest] = []
    async with serving(faults=faults, requests=requests) as url, client_of(url, timeout=0.1) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(PATH, json=BODY)
        assert (await client.get(PATH)).json()["data"] == []

    assert [request.status for request in requests] == [None, 200]
    assert store.entries() == []


@pytest.mark.parametrize("fault", [Fault(hang=True), Fault(late_commit=True)], ids=["hang", "late commit"])
async def test_no_request_hangs_for_ever(serving: Serving, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_SECONDS", 0.05)
    faults = Faults()
    faults.add(fault)
    async with serving(faults=faults) as url:
        assert await bytes_answered(url) == b""


@pytest.mark.parametrize(
    ("fault", "done"),
    [(Fault(cut_before=True), 0), (Fault(cut_after=True), 1), (Fault(cut_after=True, delay=0.01), 1)],
    ids=["before", "after", "after a delay"],
)
async def test_a_cut_connection_carries_not_one_byte_of_an_answer(
    serving: Serving, store: Store, fault: Fault, done: int, caplog: pytest.LogCaptureFixture
) -> None:
    faults = Faults()
    faults.add(fault)
    async with serving(faults=faults) as url:
        assert await bytes_answered(url) == b""

    assert len(store.entries()) == done
    assert caplog.records == []


@pytest.mark.parametrize(
    ("fault", "done"), [(Fault(cut_before=True), 1), (Fault(cut_after=True), 2)], ids=["before", "after"]
)
async def test_a_client_sees_a_cut_as_a_lost_connection_and_can_come_back(
    serving: Serving, store: Store, fault: Fault, done: int
) -> None:
    faults = Faults()
    requests: list[RecordedRequest] = []
    async with serving(faults=faults, requests=requests) as url, client_of(url) as client:
        assert (await client.get(PATH)).status_code == 200
        faults.add(fault)
        with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending a response"):
            await client.post(PATH, json=BODY)
        assert (await client.post(PATH, json=BODY)).status_code == 201

    assert [request.status for request in requests] == [200, None, 201]
    assert len(store.entries()) == done


async def test_a_late_commit_happens_after_the_client_gave_up(serving: Serving, store: Store, until: Until) -> None:
    faults = Faults()
    faults.add(Fault(late_commit=True, delay=0.2))
    async with serving(faults=faults) as url:
        async with client_of(url, timeout=0.1) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(PATH, json=BODY)
        assert store.entries() == []
        await until(store.entries)

    assert [entry["hours"] for entry in store.entries()] == [1.5]


async def test_a_late_commit_that_is_refused_changes_nothing(
    serving: Serving, store: Store, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    faults = Faults()
    faults.add(Fault(late_commit=True), Fault(late_commit=True))
    async with serving(faults=faults) as url, client_of(url, timeout=0.1) as client:
        for body in ({"hours": "many"}, BODY):
            with pytest.raises(httpx.ReadTimeout):
                await client.post(PATH, json=body)
        await until(store.entries)

    assert len(store.entries()) == 1
    assert caplog.records == []


async def test_a_late_commit_in_process_happens_although_its_task_was_cancelled(
    connect: Connect, store: Store, until: Until
) -> None:
    faults = Faults()
    faults.add(Fault(late_commit=True, delay=0.05))
    async with connect(faults=faults) as client:
        with anyio.move_on_after(0.02) as scope:
            await client.post(PATH, json=BODY)
    assert scope.cancelled_caught
    assert store.entries() == []
    await until(store.entries)


async def test_a_late_commit_that_comes_too_late_for_the_store_is_logged(
    connect: Connect, store: Store, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    faults = Faults()
    faults.add(Fault(late_commit=True, delay=0.05))
    async with connect(faults=faults) as client:
        with anyio.move_on_after(0.02):
            await client.post(PATH, json=BODY)
    store.close()
    await until(lambda: caplog.records)

    assert (caplog.records[0].levelno, caplog.records[0].message) == (logging.ERROR, "a late commit failed")


async def test_a_server_that_ends_takes_its_late_commits_along(serving: Serving, store: Store) -> None:
    faults = Faults()
    faults.add(Fault(late_commit=True, delay=60))
    async with serving(faults=faults) as url, client_of(url, timeout=0.1) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(PATH, json=BODY)

    assert store.entries() == []


@pytest.mark.parametrize(
    ("fault", "done"), [(Fault(cut_before=True), 0), (Fault(cut_after=True), 1)], ids=["before", "after"]
)
async def test_a_cut_in_process_is_an_exception_of_the_app(
    connect: Connect, store: Store, fault: Fault, done: int
) -> None:
    faults = Faults()
    faults.add(fault)
    async with connect(faults=faults) as client:
        with pytest.raises(ConnectionCut):
            await client.post(PATH, json=BODY)

    assert len(store.entries()) == done


async def test_a_fault_meets_only_the_requests_it_is_meant_for(connect: Connect) -> None:
    faults = Faults()
    faults.add(
        Fault(status=500, method="POST"),
        Fault(status=501, path=f"{PATH}/"),
        Fault(status=502, method="DELETE", path=f"{PATH}/te_b"),
    )
    async with connect(faults=faults) as client:
        assert (await client.get(PATH)).status_code == 200
        assert (await client.delete(f"{PATH}/te_a")).status_code == 501
        assert (await client.delete(f"{PATH}/te_a")).status_code == 404
        assert (await client.delete(f"{PATH}/te_b")).status_code == 502
        assert (await client.post(PATH, json=BODY)).status_code == 500
    assert faults.planned == []


async def test_a_fault_waits_for_its_turn_and_happens_as_often_as_planned(connect: Connect) -> None:
    faults = Faults()
    faults.add(Fault(status=500, after=1, times=2), Fault(status=501), Fault(status=502, after=5))
    async with connect(faults=faults) as client:
        statuses = [(await client.get(PATH)).status_code for _ in range(7)]
    assert statuses == [501, 500, 500, 200, 200, 502, 200]


async def test_faults_that_were_cleared_do_not_happen(connect: Connect) -> None:
    faults = Faults()
    faults.add(Fault(status=500, times=9))
    async with connect(faults=faults) as client:
        assert (await client.get(PATH)).status_code == 500
        faults.clear()
        assert (await client.get(PATH)).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"method": "POST"},
        {"hang": True, "cut_after": True},
        {"status": 500, "late_commit": True},
        {"status": 99},
        {"hang": True, "commit": True},
        {"cut_before": True, "body": "!"},
        {"delay": 1, "retry_after": 1},
        {"delay": 61},
        {"hang": True, "times": 0},
        {"hang": True, "after": -1},
        {"explode": True},
    ],
)
def test_a_fault_that_makes_no_sense_cannot_be_made(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Fault(**fields)
