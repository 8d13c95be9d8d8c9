"""POST /api/v2/time_entries."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from keito_mcp.sandbox import Catalogue, Project, Store, Task, User, user_of
from tests.kit import FakeClock
from tests.openapi import properties_of

pytestmark = pytest.mark.anyio

Connect = Callable[..., httpx.AsyncClient]

PATH = "/time_entries"
LEAST: dict[str, Any] = {"project_id": "prj_sandbox", "task_id": "tsk_development", "spent_date": "2026-03-06"}


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error_description"]


async def test_the_least_that_is_required_makes_an_entry_with_every_property(v2: httpx.AsyncClient) -> None:
    answer = await v2.post(PATH, json=LEAST)

    assert answer.status_code == 200
    entry = answer.json()
    assert set(entry) == properties_of("TimeEntry")
    assert entry == LEAST | {
        "id": entry["id"],
        "user_id": user_of("kto_test"),
        "user": {"id": user_of("kto_test"), "name": user_of("kto_test")},
        "project": {"id": "prj_sandbox", "name": "Sandbox"},
        "task": {"id": "tsk_development", "name": "Development"},
        "hours": 0,
        "notes": None,
        "is_running": False,
        "timer_started_at": None,
        "started_time": None,
        "ended_time": None,
        "is_locked": False,
        "is_closed": False,
        "is_billed": False,
        "billable": True,
        "budgeted": False,
        "billable_rate": None,
        "cost_rate": None,
        "source": "api",
        "metadata": None,
        "created_at": "2026-03-06T12:00:00Z",
        "updated_at": "2026-03-06T12:00:00Z",
    }


async def test_what_is_given_is_kept(v2: httpx.AsyncClient) -> None:
    given = LEAST | {
        "hours": 1.5,
        "notes": "naïve 🕰",
        "billable": False,
        "source": "calendar",
        "metadata": {"session_id": "s", "nested": {"a": [1, None]}},
        "started_time": "09:00",
        "ended_time": "17:30",
    }
    entry = (await v2.post(PATH, json=given)).json()

    assert {name: entry[name] for name in given} == given


@pytest.mark.parametrize("field", ["project_id", "task_id", "spent_date"])
async def test_a_required_field_that_is_missing_is_named(v2: httpx.AsyncClient, store: Store, field: str) -> None:
    answer = await v2.post(PATH, json={name: value for name, value in LEAST.items() if name != field})

    assert answer.json() == {"error": "bad request", "error_description": f"{field} is required"}
    assert answer.status_code == 400
    assert store.entries() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("project_id", 7),
        ("task_id", None),
        ("task_id", ""),
        ("spent_date", "2026-02-30"),
        ("spent_date", "20260306"),
        ("user_id", None),
        ("hours", "1.5"),
        ("hours", -0.1),
        ("hours", 24.0001),
        ("notes", None),
        ("billable", None),
        ("is_running", "yes"),
        ("replace_running", 1),
        ("started_time", "9:00"),
        ("started_time", "24:00"),
        ("ended_time", None),
        ("source", "robot"),
        ("metadata", ["agent"]),
        ("metadata", {"notes": "!" * 4096}),
    ],
)
async def test_a_value_that_is_not_as_described_is_refused_by_name(
    v2: httpx.AsyncClient, store: Store, field: str, value: object
) -> None:
    status, description = error_of(await v2.post(PATH, json=LEAST | {field: value}))

    assert status == 400
    assert description.startswith(f"{field} ")
    assert store.entries() == []


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'{"hours": NaN}'])
async def test_a_body_that_is_no_json_object_is_refused(v2: httpx.AsyncClient, body: bytes) -> None:
    status, description = error_of(await v2.post(PATH, content=body))

    assert status == 400
    assert description.startswith("the request body must be")


async def test_a_property_that_is_not_described_is_ignored(v2: httpx.AsyncClient) -> None:
    entry = (await v2.post(PATH, json=LEAST | {"is_billable": False, "id": "te_mine"})).json()

    assert entry["billable"] is True
    assert entry["id"] != "te_mine"


async def test_an_unknown_project_and_an_unknown_task_are_not_found(v2: httpx.AsyncClient, store: Store) -> None:
    assert error_of(await v2.post(PATH, json=LEAST | {"project_id": "prj_none"})) == (404, "there is no such project")
    assert error_of(await v2.post(PATH, json=LEAST | {"task_id": "tsk_none"})) == (404, "there is no such task")
    assert store.entries() == []


async def test_a_project_without_assignment_is_forbidden(connect_v2: Connect, store: Store) -> None:
    async with connect_v2(forbidden_projects=["prj_sandbox"]) as client:
        answer = await client.post(PATH, json=LEAST)

    assert error_of(answer) == (403, "you are not assigned to this project")
    assert store.entries() == []


@pytest.mark.parametrize(
    ("project_id", "task_id", "billable", "rate"),
    [
        ("prj_books_web", "tsk_development", True, 120),
        ("prj_sandbox", "tsk_review", True, 110),
        ("prj_sandbox", "tsk_development", True, None),
        ("prj_books_web", "tsk_meeting", False, None),
        ("prj_upkeep", "tsk_development", False, None),
    ],
)
async def test_project_and_task_say_whether_an_entry_is_billable_and_at_which_rate(
    v2: httpx.AsyncClient, *, project_id: str, task_id: str, billable: bool, rate: float | None
) -> None:
    entry = (await v2.post(PATH, json=LEAST | {"project_id": project_id, "task_id": task_id})).json()

    assert (entry["billable"], entry["billable_rate"]) == (billable, rate)


async def test_the_names_come_from_the_catalogue_of_the_test(connect_v2: Connect) -> None:
    catalogue = Catalogue(
        projects=(Project(id="p", name="Site", client_id="c", budget=10),),
        tasks=(Task(id="t", name="Coding"),),
        users=(User(id=user_of("kto_ada"), first_name="Ada", cost_rate=50),),
    )
    async with connect_v2("kto_ada", catalogue=catalogue) as client:
        entry = (await client.post(PATH, json=LEAST | {"project_id": "p", "task_id": "t"})).json()

    assert [entry[part]["name"] for part in ("user", "project", "task")] == ["Ada", "Site", "Coding"]
    assert (entry["budgeted"], entry["cost_rate"]) == (True, 50)


async def test_two_times_of_day_make_hours_where_none_are_given(v2: httpx.AsyncClient) -> None:
    times = {"started_time": "09:10", "ended_time": "10:00"}
    assert (await v2.post(PATH, json=LEAST | times)).json()["hours"] == 0.8333
    assert (await v2.post(PATH, json=LEAST | times | {"hours": 2})).json()["hours"] == 2
    assert (await v2.post(PATH, json=LEAST | {"started_time": "09:10"})).json()["hours"] == 0

    backwards = await v2.post(PATH, json=LEAST | {"started_time": "10:00", "ended_time": "09:10"})
    assert error_of(backwards) == (400, "ended_time must not be before started_time")


async def test_a_manager_creates_for_somebody_else_and_a_member_does_not(connect_v2: Connect, store: Store) -> None:
    member = User(id=user_of("kto_member"), roles=("member",))
    catalogue = Catalogue(
        projects=(Project(id="prj_sandbox", name="S", client_id="c"),),
        tasks=(Task(id="tsk_development", name="D"),),
        users=(member,),
    )
    async with connect_v2("kto_manager", catalogue=catalogue) as client:
        entry = (await client.post(PATH, json=LEAST | {"user_id": member.id})).json()
    async with connect_v2("kto_member", catalogue=catalogue) as client:
        own = await client.post(PATH, json=LEAST | {"user_id": member.id})
        other = await client.post(PATH, json=LEAST | {"user_id": "usr_other"})

    assert entry["user_id"] == member.id
    assert (own.status_code, other.status_code) == (200, 403)
    assert len(store.entries()) == 2


async def test_an_idempotency_key_is_ignored_unless_honoured(v2: httpx.AsyncClient, store: Store) -> None:
    for _ in range(2):
        await v2.post(PATH, json=LEAST, headers={"Idempotency-Key": "k1"})
    assert len(store.entries()) == 2


async def test_a_honoured_key_answers_the_first_entry_again(
    connect_v2: Connect, store: Store, clock: FakeClock
) -> None:
    async with connect_v2(honour_idempotency=True) as client:
        headers = {"Idempotency-Key": "k1"}
        timer = LEAST | {"is_running": True}
        first = await client.post(PATH, json=timer, headers=headers)
        again = await client.post(PATH, content=json.dumps(dict(reversed(timer.items()))), headers=headers)
        other = await client.post(PATH, json=LEAST, headers=headers)

    assert (again.status_code, again.json()) == (200, first.json())
    assert error_of(other) == (409, "this idempotency key was used for a different request")
    assert len(store.entries(clock.wall)) == 1
