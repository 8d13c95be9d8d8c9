"""Timers of API v2: one for each user, started, stopped and restarted."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from keito_mcp.sandbox import Store
from tests.kit import FakeClock

pytestmark = pytest.mark.anyio

Connect = Callable[..., httpx.AsyncClient]

PATH = "/time_entries"
TIMER: dict[str, Any] = {
    "project_id": "prj_sandbox",
    "task_id": "tsk_development",
    "spent_date": "2026-03-06",
    "is_running": True,
}


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


async def start(client: httpx.AsyncClient, **more: Any) -> str:
    answer = await client.post(PATH, json=TIMER | more)
    assert answer.status_code == 200
    return str(answer.json()["id"])


async def listed(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    return {entry["id"]: entry for entry in (await client.get(PATH)).json()["time_entries"]}


async def test_a_timer_counts_from_its_start_and_keeps_what_it_shows_when_it_is_stopped(
    v2: httpx.AsyncClient, clock: FakeClock
) -> None:
    entry_id = await start(v2)
    clock.pass_time(timedelta(minutes=45))
    running = (await listed(v2))[entry_id]
    clock.pass_time(timedelta(minutes=45))
    stopped = await v2.patch(f"{PATH}/{entry_id}/stop")
    clock.pass_time(timedelta(hours=1))

    assert (running["hours"], running["timer_started_at"]) == (0.75, "2026-03-06T12:00:00Z")
    assert stopped.status_code == 200
    assert (stopped.json()["hours"], stopped.json()["is_running"], stopped.json()["timer_started_at"]) == (
        1.5,
        False,
        None,
    )
    assert (await listed(v2))[entry_id] == stopped.json()


async def test_a_second_timer_of_the_same_user_is_refused_with_409(v2: httpx.AsyncClient, store: Store) -> None:
    first = await start(v2)
    second = await v2.post(PATH, json=TIMER)

    assert error_of(second) == (409, "conflict")
    assert first in second.json()["error_description"]
    assert [entry["id"] for entry in store.entries()] == [first]


async def test_an_entry_that_does_not_run_is_no_second_timer(v2: httpx.AsyncClient) -> None:
    await start(v2)
    assert (await v2.post(PATH, json=TIMER | {"is_running": False})).status_code == 200


async def test_replacing_stops_the_timer_that_ran_and_starts_the_new_one(
    v2: httpx.AsyncClient, clock: FakeClock
) -> None:
    first = await start(v2)
    clock.pass_time(timedelta(hours=1))
    second = await start(v2, replace_running=True)

    entries = await listed(v2)
    assert (entries[first]["is_running"], entries[first]["hours"]) == (False, 1)
    assert (entries[second]["is_running"], entries[second]["hours"]) == (True, 0)


async def test_replacing_without_starting_stops_nothing(v2: httpx.AsyncClient) -> None:
    first = await start(v2)
    await v2.post(PATH, json=TIMER | {"is_running": False, "replace_running": True})

    assert (await listed(v2))[first]["is_running"] is True


@pytest.mark.parametrize(("mark", "status"), [("approve", 409), ("lock", 403)])
async def test_a_timer_that_may_not_be_stopped_is_not_replaced(
    v2: httpx.AsyncClient, store: Store, mark: str, status: int
) -> None:
    getattr(store, mark)(await start(v2))
    answer = await v2.post(PATH, json=TIMER | {"replace_running": True})

    assert answer.status_code == status
    assert len(store.entries()) == 1


async def test_two_users_run_a_timer_each(connect_v2: Connect, store: Store) -> None:
    async with connect_v2("kto_one") as one, connect_v2("kto_two") as two:
        await start(one)
        await start(two)
        await start(two, replace_running=True)

    assert [entry["is_running"] for entry in store.entries()] == [True, False, True]


async def test_a_timer_that_api_v1_started_counts_too(connect: Connect, connect_v2: Connect) -> None:
    v1_timer = {"project_id": "prj_any", "spent_date": "2026-03-06", "is_running": True}
    async with connect("kto_one") as v1, connect_v2("kto_one") as v2:
        await v1.post("/v1/time-entries", json=v1_timer)
        assert error_of(await v2.post(PATH, json=TIMER)) == (409, "conflict")


async def test_stopping_may_change_the_notes_or_clear_them(v2: httpx.AsyncClient) -> None:
    for body, notes in (({}, "first"), ({"notes": "last"}, "last"), ({"notes": None}, None)):
        entry_id = await start(v2, notes="first")
        assert (await v2.patch(f"{PATH}/{entry_id}/stop", json=body)).json()["notes"] == notes


async def test_stopping_what_does_not_run_is_refused(v2: httpx.AsyncClient) -> None:
    entry_id = await start(v2)
    await v2.patch(f"{PATH}/{entry_id}/stop")

    assert error_of(await v2.patch(f"{PATH}/{entry_id}/stop", json={"notes": "again"})) == (400, "bad request")
    assert (await listed(v2))[entry_id]["notes"] is None


async def test_a_restarted_timer_counts_on(v2: httpx.AsyncClient, clock: FakeClock) -> None:
    entry = (await v2.post(PATH, json=TIMER | {"is_running": False, "hours": 2, "ended_time": "10:00"})).json()
    restarted = await v2.patch(f"{PATH}/{entry['id']}/restart")
    clock.pass_time(timedelta(minutes=30))

    assert restarted.status_code == 200
    assert (restarted.json()["is_running"], restarted.json()["hours"], restarted.json()["ended_time"]) == (
        True,
        2,
        None,
    )
    assert (await v2.patch(f"{PATH}/{entry['id']}/stop")).json()["hours"] == 2.5


async def test_restarting_respects_the_timer_that_runs_unless_told_to_replace_it(v2: httpx.AsyncClient) -> None:
    first = await start(v2)
    await v2.patch(f"{PATH}/{first}/stop")
    second = await start(v2)

    assert error_of(await v2.patch(f"{PATH}/{first}/restart")) == (409, "conflict")
    assert error_of(await v2.patch(f"{PATH}/{second}/restart")) == (400, "bad request")
    assert (await v2.patch(f"{PATH}/{first}/restart", json={"replace_running": True})).status_code == 200
    assert [entry["is_running"] for entry in (await listed(v2)).values()] == [False, True]


@pytest.mark.parametrize(
    ("action", "body"), [("stop", {"notes": 7}), ("restart", {"replace_running": None}), ("stop", [])]
)
async def test_stop_and_restart_refuse_what_is_not_as_described(
    v2: httpx.AsyncClient, action: str, body: object
) -> None:
    entry_id = await start(v2)

    assert error_of(await v2.patch(f"{PATH}/{entry_id}/{action}", json=body)) == (400, "bad request")
    assert (await listed(v2))[entry_id]["is_running"] is True


@pytest.mark.parametrize("action", ["stop", "restart"])
async def test_what_does_not_exist_is_neither_stopped_nor_restarted(v2: httpx.AsyncClient, action: str) -> None:
    assert error_of(await v2.patch(f"{PATH}/te_none/{action}")) == (404, "not found")


async def test_an_ordinary_update_neither_stops_nor_starts_a_timer(v2: httpx.AsyncClient) -> None:
    entry_id = await start(v2)
    running = await v2.patch(f"{PATH}/{entry_id}", json={"is_running": False})
    await v2.patch(f"{PATH}/{entry_id}/stop")
    stopped = await v2.patch(f"{PATH}/{entry_id}", json={"is_running": True})

    assert (running.json()["is_running"], stopped.json()["is_running"]) == (True, False)


async def test_hours_given_to_a_running_timer_are_those_it_counts_on_from(
    v2: httpx.AsyncClient, clock: FakeClock
) -> None:
    entry_id = await start(v2)
    clock.pass_time(timedelta(hours=3))
    await v2.patch(f"{PATH}/{entry_id}", json={"hours": 1})
    clock.pass_time(timedelta(hours=1))

    assert (await listed(v2))[entry_id]["hours"] == 2
