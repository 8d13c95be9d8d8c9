"""API v1 and v2 over the same entries, behind the same gate."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from keito_mcp.sandbox import Catalogue, Fault, Faults, RecordedRequest, Store, Task

pytestmark = pytest.mark.anyio

Connect = Callable[..., httpx.AsyncClient]
Serving = Callable[..., AbstractAsyncContextManager[str]]

V1 = "/v1/time-entries"
V2 = "/api/v2/time_entries"
OF_V1: dict[str, Any] = {"project_id": "prj_any", "spent_date": "2026-03-06", "hours": 1.5}
OF_V2: dict[str, Any] = {"project_id": "prj_sandbox", "task_id": "tsk_review", "spent_date": "2026-03-06", "hours": 1.5}


@pytest.fixture
def account(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client whose key both versions accept."""
    client.headers["Authorization"] = "Bearer kto_test"
    client.headers["Keito-Account-Id"] = "cmp_test"
    return client


async def test_an_entry_of_v1_is_an_entry_of_v2_with_ids_for_names(account: httpx.AsyncClient) -> None:
    of_v1 = (await account.post(V1, json=OF_V1 | {"task_id": "tsk_any", "is_billable": False})).json()
    [entry] = (await account.get(V2)).json()["time_entries"]

    assert (entry["id"], entry["user_id"], entry["hours"]) == (of_v1["id"], of_v1["user_id"], 1.5)
    assert entry["project"] == {"id": "prj_any", "name": "prj_any"}
    assert entry["task"] == {"id": "tsk_any", "name": "tsk_any"}
    assert entry["billable"] is False


async def test_an_entry_of_v1_without_a_task_has_the_default_one_in_v2(account: httpx.AsyncClient) -> None:
    await account.post(V1, json=OF_V1)
    [entry] = (await account.get(V2, params={"task_id": "tsk_development"})).json()["time_entries"]

    assert entry["task"] == {"id": "tsk_development", "name": "Development"}
    assert (await account.get(V2, params={"task_id": "tsk_review"})).json()["time_entries"] == []


@pytest.mark.parametrize(("tasks", "expected"), [((), ""), ((Task(id="t1", name="One"),), "t1")])
async def test_the_default_task_is_the_first_where_none_is_named(
    connect: Connect, tasks: tuple[Task, ...], expected: str
) -> None:
    async with connect("a.jwt", catalogue=Catalogue(tasks=tasks)) as client:
        await client.post(V1, json=OF_V1)
        [entry] = (await client.get(V2)).json()["time_entries"]

    assert entry["task_id"] == expected


async def test_an_entry_of_v2_is_an_entry_of_v1(account: httpx.AsyncClient) -> None:
    of_v2 = (await account.post(V2, json=OF_V2 | {"source": "desktop"})).json()
    of_v1 = (await account.get(f"{V1}/{of_v2['id']}")).json()

    assert of_v1 == {
        "id": of_v2["id"],
        "user_id": of_v2["user_id"],
        "is_running": False,
        "is_billable": True,
        "source": "desktop",
        "notes": None,
        "metadata": None,
        "created_at": of_v2["created_at"],
        "updated_at": of_v2["updated_at"],
        **OF_V2,
    }


async def test_a_change_by_either_version_is_seen_by_the_other(account: httpx.AsyncClient) -> None:
    entry_id = (await account.post(V1, json=OF_V1)).json()["id"]
    await account.patch(f"{V2}/{entry_id}", json={"project_id": "prj_upkeep", "metadata": {"a": 1}})
    of_v1 = (await account.patch(f"{V1}/{entry_id}", json={"notes": "v1"})).json()
    [of_v2] = (await account.get(V2)).json()["time_entries"]
    await account.delete(f"{V2}/{entry_id}")

    assert (of_v1["project_id"], of_v1["metadata"]) == ("prj_upkeep", {"a": 1})
    assert of_v2["notes"] == "v1"
    assert (await account.get(f"{V1}/{entry_id}")).status_code == 404


async def test_v1_runs_as_many_timers_as_ever(account: httpx.AsyncClient, store: Store) -> None:
    for _ in range(2):
        assert (await account.post(V1, json=OF_V1 | {"is_running": True})).status_code == 201
    assert [entry["is_running"] for entry in store.entries()] == [True, True]


async def test_a_locked_entry_is_forbidden_in_v1_too(account: httpx.AsyncClient, store: Store) -> None:
    entry_id = (await account.post(V1, json=OF_V1)).json()["id"]
    store.lock(entry_id)

    for answer in (await account.delete(f"{V1}/{entry_id}"), await account.patch(f"{V1}/{entry_id}", json={})):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "authorization_error")


async def test_an_idempotency_key_of_one_version_says_nothing_to_the_other(connect: Connect, store: Store) -> None:
    async with connect("a.jwt", honour_idempotency=True) as client:
        headers = {"Idempotency-Key": "k1"}
        statuses = [
            (await client.post(V1, json=OF_V1, headers=headers)).status_code,
            (await client.post(V2, json=OF_V2, headers=headers)).status_code,
        ]

    assert statuses == [201, 200]
    assert len(store.entries()) == 2


@pytest.mark.parametrize(("status", "name"), [(429, "too many requests"), (503, "service unavailable"), (599, "error")])
async def test_a_planned_failure_of_v2_is_told_in_its_own_words(connect: Connect, status: int, name: str) -> None:
    faults = Faults()
    faults.add(Fault(status=status, path="/api/v2", retry_after=3))
    async with connect("a.jwt", faults=faults) as client:
        of_v1 = await client.get(V1)
        answer = await client.get(V2)

    assert of_v1.status_code == 200
    assert (answer.status_code, answer.json()["error"]) == (status, name)
    assert (answer.headers["Retry-After"], answer.headers["X-Keito-API-Version"]) == ("3", "2")


async def test_a_body_that_is_too_large_is_refused_in_the_words_of_v2(account: httpx.AsyncClient) -> None:
    answer = await account.post(V2, content=b" " * (1024 * 1024 + 1))

    assert (answer.status_code, answer.json()["error"]) == (413, HTTPStatus(413).phrase.lower())


async def test_requests_to_v2_are_recorded(connect: Connect) -> None:
    requests: list[RecordedRequest] = []
    async with connect("kto_test", requests=requests) as client:
        await client.post(f"{V2}?a=b", json=OF_V2)

    [post] = requests
    assert (post.method, post.path, post.query, post.body, post.status) == ("POST", V2, "a=b", OF_V2, 401)
    assert post.headers["authorization"] == ""


async def test_lost_answers_and_a_person_s_marks_work_on_v2_over_a_socket(serving: Serving, store: Store) -> None:
    faults = Faults()
    faults.add(Fault(method="POST", path=V2, cut_after=True))
    async with (
        serving(control=True, faults=faults) as url,
        httpx.AsyncClient(base_url=url, headers={"Authorization": "Bearer a.jwt"}, trust_env=False) as client,
        httpx.AsyncClient(base_url=f"{url}/_sandbox/entries", trust_env=False) as side_door,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(V2, json=OF_V2)
        [entry] = store.entries()
        [listed] = (await client.get(V2)).json()["time_entries"]
        assert listed["id"] == entry["id"]

        assert (await side_door.post(f"/{entry['id']}/lock")).status_code == 204
        assert (await client.delete(f"{V2}/{entry['id']}")).status_code == 403
        assert (await side_door.post(f"/{entry['id']}/approve")).status_code == 204
        assert (await client.delete(f"{V2}/{entry['id']}")).status_code == 409
        assert (await side_door.post(f"/{entry['id']}/bill")).status_code == 204
        assert (await side_door.post("/te_none/lock")).status_code == 404

        [settled] = (await client.get(V2)).json()["time_entries"]
        assert [settled[mark] for mark in ("is_locked", "is_closed", "is_billed")] == [True] * 3
