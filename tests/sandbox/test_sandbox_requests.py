"""What is known of the requests that came in, and the HTTP side door."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import httpx
import pytest

from keito_mcp.sandbox import Fault, Faults, RecordedRequest, Store, create_app, gate

pytestmark = pytest.mark.anyio

PATH = "/v1/time-entries"
BODY = {"project_id": "prj_abc", "spent_date": "2026-03-06", "hours": 1.5}

Serving = Callable[..., AbstractAsyncContextManager[str]]
Connect = Callable[..., httpx.AsyncClient]


async def test_a_request_is_recorded_as_it_came_but_without_its_key(connect: Connect) -> None:
    requests: list[RecordedRequest] = []
    async with connect(requests=requests) as client:
        await client.post(PATH, json=BODY, headers={"Idempotency-Key": "k1"})
        await client.get(f"{PATH}/te%2Fx?a=%20b&c")
        await client.patch(f"{PATH}/te_x", content=b"{")

    post, get, patch = requests
    assert (post.method, post.path, post.query, post.body, post.status) == ("POST", PATH, "", BODY, 201)
    assert post.headers["idempotency-key"] == "k1"
    assert post.headers["authorization"] == ""
    assert (get.method, get.path, get.query, get.body, get.status) == (
        "GET",
        f"{PATH}/te%2Fx",
        "a=%20b&c",
        None,
        404,
    )
    assert (patch.body, patch.status) == (None, 400)


async def test_the_path_is_encoded_again_where_a_server_does_not_hand_it_on_raw(store: Store) -> None:
    app = create_app(store)

    async def without_raw_path(scope: dict[str, Any], receive: Any, send: Any) -> None:
        del scope["raw_path"]
        await app(scope, receive, send)

    transport = httpx.ASGITransport(without_raw_path)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://keito.test") as client:
        await client.get("/v1/%C3%A9")

    assert [request.path for request in app.state.requests] == ["/v1/%C3%A9"]
    assert "authorization" not in app.state.requests[0].headers


async def test_only_the_last_requests_are_kept(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_RECORDED", 3)
    requests: list[RecordedRequest] = []
    async with connect(requests=requests) as client:
        for number in range(5):
            await client.get(PATH, params={"limit": number + 1})

    assert [request.query for request in requests] == ["limit=3", "limit=4", "limit=5"]


async def test_a_request_that_never_became_complete_is_not_recorded(store: Store) -> None:
    app = create_app(store)

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        raise AssertionError(message)

    await app({"type": "http", "method": "POST", "path": PATH, "headers": []}, receive, send)
    assert app.state.requests == []


async def test_another_process_programs_the_sandbox_and_looks_into_it_over_http(serving: Serving, store: Store) -> None:
    headers = {"Authorization": "Bearer keito_sk_test"}
    async with (
        serving(control=True) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as side_door,
        httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client,
    ):
        planned = await side_door.post("/_sandbox/faults", json={"cut_after": True, "method": "POST"})
        assert (planned.status_code, planned.json()) == (201, {"planned": 1})
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(PATH, json=BODY)

        await side_door.post("/_sandbox/faults", json=[{"status": 500}, {"status": 502, "times": 9}])
        assert (await client.get(PATH)).status_code == 500
        assert (await client.get(PATH)).status_code == 502
        assert (await side_door.delete("/_sandbox/faults")).status_code == 204
        assert (await client.get(PATH)).status_code == 200

        requests = (await side_door.get("/_sandbox/requests")).json()
        assert [(request["method"], request["status"]) for request in requests] == [
            ("POST", None),
            ("GET", 500),
            ("GET", 502),
            ("GET", 200),
        ]
        assert requests[0]["body"] == BODY
        assert (await side_door.delete("/_sandbox/requests")).status_code == 204
        assert (await side_door.get("/_sandbox/requests")).json() == []

        [entry] = (await side_door.get("/_sandbox/entries")).json()
        assert [entry] == store.entries()
        assert (await side_door.post(f"/_sandbox/entries/{entry['id']}/approve")).status_code == 204
        assert (await client.delete(f"{PATH}/{entry['id']}")).status_code == 409


async def test_the_side_door_refuses_what_it_does_not_know(connect: Connect) -> None:
    async with connect(control=True) as client:
        assert (await client.post("/_sandbox/faults", json={"explode": True})).status_code == 422
        assert (await client.post("/_sandbox/faults", content=b"{")).status_code == 422
        assert (await client.post("/_sandbox/entries/te_none/approve")).status_code == 404
        assert (await client.get("/_sandbox/nothing")).status_code == 404
        assert (await client.get("/_sandbox/faults")).status_code == 405


async def test_the_app_hands_out_its_store_faults_and_requests(store: Store) -> None:
    faults = Faults()
    requests: list[RecordedRequest] = []
    app = create_app(store, faults=faults, requests=requests)

    assert app.state.store is store
    assert app.state.faults is faults
    assert app.state.requests is requests


async def test_each_fault_happens_once_however_many_requests_come_at_once(connect: Connect) -> None:
    faults = Faults()
    faults.add(*[Fault(status=500)] * 5)
    statuses: list[int] = []
    async with connect(faults=faults) as client:

        async def get() -> None:
            statuses.append((await client.get(PATH)).status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(get)

    assert sorted(statuses) == [200] * 15 + [500] * 5
