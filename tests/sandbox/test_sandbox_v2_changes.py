"""PATCH and DELETE of an entry in API v2, and what stands in their way."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from keito_mcp.sandbox import Catalogue, Project, Store, Task, User, user_of
from tests.kit import FakeClock

pytestmark = pytest.mark.anyio

Connect = Callable[..., httpx.AsyncClient]

PATH = "/time_entries"
GIVEN: dict[str, Any] = {
    "project_id": "prj_sandbox",
    "task_id": "tsk_development",
    "spent_date": "2026-03-06",
    "hours": 1,
    "notes": "first",
    "source": "agent",
    "metadata": {"session_id": "s1", "model": "m1"},
}


async def created(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    entry = (await client.post(PATH, json=GIVEN | more)).json()
    assert isinstance(entry, dict)
    return entry


@pytest.mark.parametrize(
    "changes",
    [
        {"project_id": "prj_upkeep", "project": {"id": "prj_upkeep", "name": "Upkeep"}},
        {"task_id": "tsk_meeting", "task": {"id": "tsk_meeting", "name": "Meeting"}},
        {"spent_date": "2026-03-05"},
        {"hours": 2.25},
        {"notes": "second"},
        {"notes": None},
        {"billable": False},
        {"started_time": "09:00"},
        {"ended_time": None},
        {"metadata": None},
    ],
    ids=str,
)
async def test_an_update_changes_what_it_names_and_nothing_else(
    v2: httpx.AsyncClient, clock: FakeClock, changes: dict[str, Any]
) -> None:
    before = await created(v2)
    clock.pass_time(timedelta(minutes=1))
    answer = await v2.patch(f"{PATH}/{before['id']}", json=changes)

    assert answer.status_code == 200
    assert answer.json() == before | changes | {"updated_at": "2026-03-06T12:01:00Z"}
    assert (await v2.get(PATH)).json()["time_entries"] == [answer.json()]


async def test_an_update_of_nothing_changes_nothing(v2: httpx.AsyncClient, clock: FakeClock) -> None:
    before = await created(v2)
    clock.pass_time(timedelta(minutes=1))

    assert (await v2.patch(f"{PATH}/{before['id']}", json={})).json() == before


async def test_metadata_is_merged_key_by_key(v2: httpx.AsyncClient) -> None:
    entry_id = (await created(v2))["id"]
    merged = await v2.patch(f"{PATH}/{entry_id}", json={"metadata": {"model": {"name": "m2"}, "new": None}})
    await v2.patch(f"{PATH}/{entry_id}", json={"metadata": None})
    afresh = await v2.patch(f"{PATH}/{entry_id}", json={"metadata": {"a": 1}})

    assert merged.json()["metadata"] == {"session_id": "s1", "model": {"name": "m2"}, "new": None}
    assert afresh.json()["metadata"] == {"a": 1}


async def test_metadata_that_becomes_too_large_by_merging_is_refused(v2: httpx.AsyncClient) -> None:
    entry_id = (await created(v2, metadata={"a": "!" * 2500}))["id"]
    answer = await v2.patch(f"{PATH}/{entry_id}", json={"metadata": {"b": "!" * 2500}})

    assert answer.status_code == 400
    assert "at most 4096" in answer.json()["error_description"]


async def test_the_source_is_immutable(v2: httpx.AsyncClient) -> None:
    entry_id = (await created(v2))["id"]

    assert (await v2.patch(f"{PATH}/{entry_id}", json={"source": "web"})).json()["source"] == "agent"


async def test_new_times_of_day_make_new_hours(v2: httpx.AsyncClient) -> None:
    entry_id = (await created(v2, started_time="09:00"))["id"]

    assert (await v2.patch(f"{PATH}/{entry_id}", json={"ended_time": "11:30"})).json()["hours"] == 2.5
    assert (await v2.patch(f"{PATH}/{entry_id}", json={"ended_time": "12:00", "hours": 1})).json()["hours"] == 1
    assert (await v2.patch(f"{PATH}/{entry_id}", json={"ended_time": "08:00"})).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [{"project_id": None}, {"task_id": ""}, {"hours": None}, {"billable": 1}, {"notes": []}, {"metadata": "x"}],
    ids=str,
)
async def test_a_value_that_is_not_as_described_changes_nothing(v2: httpx.AsyncClient, changes: dict[str, Any]) -> None:
    before = await created(v2)

    assert (await v2.patch(f"{PATH}/{before['id']}", json=changes)).status_code == 400
    assert (await v2.get(PATH)).json()["time_entries"] == [before]


async def test_an_update_refuses_projects_and_tasks_as_a_create_does(connect_v2: Connect) -> None:
    async with connect_v2(forbidden_projects=["prj_upkeep"]) as client:
        entry_id = (await created(client))["id"]
        statuses = [
            (await client.patch(f"{PATH}/{entry_id}", json=changes)).status_code
            for changes in ({"project_id": "prj_upkeep"}, {"project_id": "prj_none"}, {"task_id": "tsk_none"})
        ]

    assert statuses == [403, 404, 404]


async def test_a_deleted_entry_is_gone(v2: httpx.AsyncClient) -> None:
    entry_id = (await created(v2))["id"]
    deleted = await v2.delete(f"{PATH}/{entry_id}")

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await v2.get(PATH)).json()["time_entries"] == []
    assert (await v2.delete(f"{PATH}/{entry_id}")).status_code == 404
    assert (await v2.patch(f"{PATH}/{entry_id}", json={})).status_code == 404


@pytest.mark.parametrize(
    ("mark", "status", "shown"),
    [
        ("approve", 409, {"is_closed": True}),
        ("lock", 403, {"is_locked": True}),
        ("bill", 403, {"is_locked": True, "is_billed": True}),
    ],
)
async def test_an_entry_that_was_settled_is_neither_changed_nor_deleted(
    v2: httpx.AsyncClient, store: Store, mark: str, status: int, shown: dict[str, bool]
) -> None:
    before = await created(v2)
    getattr(store, mark)(before["id"])
    statuses = [
        (await v2.patch(f"{PATH}/{before['id']}", json={"notes": "changed"})).status_code,
        (await v2.patch(f"{PATH}/{before['id']}/restart")).status_code,
        (await v2.patch(f"{PATH}/{before['id']}/stop")).status_code,
        (await v2.delete(f"{PATH}/{before['id']}")).status_code,
    ]

    assert statuses == [status] * 4
    assert (await v2.get(PATH)).json()["time_entries"] == [before | shown]


async def test_a_manager_changes_what_others_logged_and_a_member_only_their_own(connect_v2: Connect) -> None:
    catalogue = Catalogue(
        projects=(Project(id="prj_sandbox", name="S", client_id="c"),),
        tasks=(Task(id="tsk_development", name="D"),),
        users=(User(id=user_of("kto_member"), roles=("member",)),),
    )
    async with (
        connect_v2("kto_member", catalogue=catalogue) as member,
        connect_v2("kto_manager", catalogue=catalogue) as manager,
    ):
        members = (await created(member))["id"]
        managers = (await created(manager, is_running=True))["id"]
        refused = [
            await member.patch(f"{PATH}/{managers}", json={"notes": "mine"}),
            await member.patch(f"{PATH}/{managers}/stop"),
            await member.delete(f"{PATH}/{managers}"),
        ]
        allowed = [
            await manager.patch(f"{PATH}/{members}", json={"notes": "seen"}),
            await member.patch(f"{PATH}/{members}", json={"notes": "mine"}),
            await manager.delete(f"{PATH}/{members}"),
        ]

    assert [answer.status_code for answer in refused] == [403] * 3
    assert [answer.status_code for answer in allowed] == [200, 200, 204]
