"""GET, PATCH and DELETE of one entry, and hours that grow."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from keito_mcp.sandbox import Store

pytestmark = pytest.mark.anyio

PATH = "/v1/time-entries"
MINIMAL: dict[str, Any] = {"project_id": "prj_abc", "spent_date": "2026-03-06", "hours": 1.5}


class Clock:
    """Stands still until it is told otherwise; shows the time of another zone, as clocks may."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 6, 16, 30, 0, 900_000, tzinfo=timezone(timedelta(hours=2)))

    def __call__(self) -> datetime:
        return self.now

    def passes(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(connect: Callable[..., httpx.AsyncClient], clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(clock=clock) as client:
        yield client


async def add(client: httpx.AsyncClient, **fields: object) -> str:
    answer = await client.post(PATH, json=MINIMAL | fields)
    assert answer.status_code == 201
    return f"{PATH}/{answer.json()['id']}"


async def patch(client: httpx.AsyncClient, entry: str, **fields: object) -> dict[str, Any]:
    answer = await client.patch(entry, json=fields)
    assert answer.status_code == 200
    changed: dict[str, Any] = answer.json()
    assert changed == (await client.get(entry)).json()
    return changed


async def hours(client: httpx.AsyncClient, entry: str) -> float:
    return float((await client.get(entry)).json()["hours"])


def error_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error.get("field")


async def test_times_are_utc_in_whole_seconds(client: httpx.AsyncClient, clock: Clock) -> None:
    entry = await add(client)
    clock.passes(seconds=61)
    changed = await patch(client, entry, notes="later")

    assert changed["created_at"] == "2026-03-06T14:30:00Z"
    assert changed["updated_at"] == "2026-03-06T14:31:01Z"


async def test_the_hours_of_a_running_timer_grow_by_themselves(
    client: httpx.AsyncClient, clock: Clock, store: Store
) -> None:
    entry = await add(client, is_running=True, hours=0.25)
    assert await hours(client, entry) == 0.25
    clock.passes(minutes=90)
    assert await hours(client, entry) == 1.75
    clock.passes(milliseconds=179)
    assert await hours(client, entry) == 1.75
    clock.passes(milliseconds=1)
    assert await hours(client, entry) == 1.7501
    assert [shown["hours"] for shown in (await client.get(PATH)).json()["data"]] == [1.7501]
    assert [shown["hours"] for shown in store.entries(clock.now)] == [1.7501]


async def test_a_clock_that_goes_back_takes_no_hours_away(client: httpx.AsyncClient, clock: Clock) -> None:
    entry = await add(client, is_running=True, hours=0.25)
    clock.passes(hours=-1)

    assert await hours(client, entry) == 0.25


async def test_a_timer_that_is_stopped_keeps_the_elapsed_hours(client: httpx.AsyncClient, clock: Clock) -> None:
    entry = await add(client, is_running=True, hours=0)
    clock.passes(minutes=45)
    stopped = await patch(client, entry, is_running=False)
    assert (stopped["hours"], stopped["is_running"]) == (0.75, False)

    clock.passes(hours=5)
    assert await hours(client, entry) == 0.75


async def test_hours_given_when_a_timer_is_stopped_win(client: httpx.AsyncClient, clock: Clock) -> None:
    entry = await add(client, is_running=True)
    clock.passes(hours=3)

    assert (await patch(client, entry, is_running=False, hours=0.5))["hours"] == 0.5


async def test_a_restarted_timer_counts_on_from_its_hours(client: httpx.AsyncClient, clock: Clock) -> None:
    entry = await add(client)
    clock.passes(hours=2)
    assert (await patch(client, entry, is_running=True))["hours"] == 1.5
    clock.passes(minutes=30)
    assert await hours(client, entry) == 2


async def test_a_restart_may_set_the_hours_to_count_from(client: httpx.AsyncClient, clock: Clock) -> None:
    entry = await add(client)
    await patch(client, entry, is_running=True, hours=4)
    clock.passes(minutes=30)

    assert await hours(client, entry) == 4.5


async def test_hours_given_to_a_running_timer_are_its_new_base(client: httpx.AsyncClient, clock: Clock) -> None:
    entry = await add(client, is_running=True)
    clock.passes(hours=3)
    assert (await patch(client, entry, hours=1))["hours"] == 1
    clock.passes(hours=1)
    assert (await patch(client, entry, is_running=True, notes="still at it"))["hours"] == 2


async def test_every_updatable_field_is_updated_and_no_other(client: httpx.AsyncClient) -> None:
    entry = await add(client, metadata={"agent_id": "a", "model": "m"}, source="agent")
    before = (await client.get(entry)).json()
    changes: dict[str, Any] = {
        "hours": 2.25,
        "notes": "done",
        "is_running": False,
        "is_billable": False,
        "task_id": "tsk_002",
        "metadata": {"agent_id": "b"},
    }

    assert await patch(client, entry, **changes) == before | changes


async def test_null_clears_notes_and_task(client: httpx.AsyncClient) -> None:
    entry = await add(client, notes="old", task_id="tsk_001")
    cleared = await patch(client, entry, notes=None, task_id=None)

    assert (cleared["notes"], cleared["task_id"]) == (None, None)


async def test_an_empty_update_changes_nothing(client: httpx.AsyncClient, clock: Clock) -> None:
    entry = await add(client, is_running=True)
    before = (await client.get(entry)).json()
    clock.passes(hours=1)

    assert await patch(client, entry) == before | {"hours": 2.5}


@pytest.mark.parametrize("field", ["source", "project_id"])
async def test_source_and_project_cannot_be_changed(client: httpx.AsyncClient, field: str) -> None:
    answer = await client.patch(await add(client), json={field: "cli"})

    assert error_of(answer) == (422, "validation_error", field)
    assert answer.json()["error"]["message"] == f"{field} cannot be changed after creation"


@pytest.mark.parametrize(
    ("field", "value"),
    [("hours", None), ("hours", -1), ("metadata", None), ("is_running", None), ("spent_date", "2026-03-07")],
)
async def test_a_wrong_update_is_refused_as_a_whole(client: httpx.AsyncClient, field: str, value: object) -> None:
    entry = await add(client)
    answer = await client.patch(entry, json={"notes": "not kept", field: value})

    assert error_of(answer) == (422, "validation_error", field)
    assert (await client.get(entry)).json()["notes"] is None


async def test_too_much_metadata_is_refused_in_an_update_too(client: httpx.AsyncClient) -> None:
    answer = await client.patch(await add(client), json={"metadata": {"k": "x" * 4096}})

    assert error_of(answer) == (422, "metadata_too_large", "metadata")


async def test_a_deleted_entry_is_gone_for_good(client: httpx.AsyncClient, store: Store) -> None:
    entry = await add(client)
    deleted = await client.delete(entry)

    assert (deleted.status_code, deleted.content) == (204, b"")
    for method in ("GET", "DELETE"):
        assert error_of(await client.request(method, entry)) == (404, "not_found", None)
    assert error_of(await client.patch(entry, json={"hours": 1})) == (404, "not_found", None)
    assert store.entries() == []


async def test_an_approved_entry_is_read_but_neither_changed_nor_deleted(
    client: httpx.AsyncClient, store: Store
) -> None:
    entry = await add(client)
    before = (await client.get(entry)).json()
    store.approve(before["id"])

    for answer in (await client.patch(entry, json={"notes": "!"}), await client.delete(entry)):
        assert error_of(answer) == (409, "conflict", None)
        assert "approved" in answer.json()["error"]["message"]
    assert (await client.get(entry)).json() == before
    assert store.entries() == [before]


@pytest.mark.parametrize("spelling", ["te_%C3%A9", "%74e_x", "te%2Fx", "..%2F..%2Fetc%2Fpasswd", "%2e%2e", "te_x/y"])
async def test_an_id_that_is_none_is_not_found(client: httpx.AsyncClient, spelling: str) -> None:
    assert error_of(await client.get(f"{PATH}/{spelling}")) == (404, "not_found", None)


async def test_an_id_may_come_percent_encoded(client: httpx.AsyncClient) -> None:
    entry = await add(client)

    assert (await client.get(entry.replace("te_", "%74%65%5F"))).status_code == 200


async def test_the_machine_clock_is_the_default(store: Store, connect: Callable[..., httpx.AsyncClient]) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    async with connect() as client:
        await add(client)
    [entry] = store.entries()

    assert before <= datetime.fromisoformat(entry["created_at"]) <= datetime.now(UTC)
