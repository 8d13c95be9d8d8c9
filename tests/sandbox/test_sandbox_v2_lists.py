"""GET /api/v2/time_entries, and the numbered pages of all lists."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from keito_mcp.sandbox import Store, user_of
from tests.kit import FakeClock
from tests.openapi import properties_of

pytestmark = pytest.mark.anyio

Connect = Callable[..., httpx.AsyncClient]

PATH = "/time_entries"
GIVEN: dict[str, Any] = {
    "project_id": "prj_sandbox",
    "task_id": "tsk_development",
    "spent_date": "2026-03-06",
    "hours": 1,
}


async def created(client: httpx.AsyncClient, **more: Any) -> str:
    return str((await client.post(PATH, json=GIVEN | more)).json()["id"])


async def found(client: httpx.AsyncClient, **wanted: str) -> list[str]:
    answer = await client.get(PATH, params=wanted)
    assert answer.status_code == 200
    return [entry["id"] for entry in answer.json()["time_entries"]]


async def test_a_list_without_entries_is_one_empty_page(v2: httpx.AsyncClient) -> None:
    url = "http://keito.test/api/v2/time_entries?page=1&per_page=100"

    assert (await v2.get(PATH)).json() == {
        "time_entries": [],
        "per_page": 100,
        "total_pages": 1,
        "total_entries": 0,
        "page": 1,
        "links": {"first": url, "next": None, "previous": None, "last": url},
    }


async def test_the_latest_day_comes_first_and_on_one_day_the_newest_entry(v2: httpx.AsyncClient) -> None:
    first = await created(v2)
    second = await created(v2)
    later = await created(v2, spent_date="2026-03-07")
    earlier = await created(v2, spent_date="2026-03-05")

    assert await found(v2) == [later, second, first, earlier]


async def test_following_the_links_finds_each_entry_once(v2: httpx.AsyncClient) -> None:
    entries = [await created(v2, source=source) for source in ("cli", "api", "cli", "cli", "cli", "cli")]
    pages = [(await v2.get(PATH, params={"per_page": "2", "source": "cli"})).json()]
    while pages[-1]["links"]["next"]:
        pages.append((await v2.get(pages[-1]["links"]["next"])).json())

    del entries[1]
    assert [entry["id"] for page in pages for entry in page["time_entries"]] == entries[::-1]
    assert [(page["page"], page["total_pages"], page["total_entries"]) for page in pages] == [
        (1, 3, 5),
        (2, 3, 5),
        (3, 3, 5),
    ]
    assert (await v2.get(pages[2]["links"]["previous"])).json() == pages[1]
    assert (await v2.get(pages[0]["links"]["last"])).json() == pages[2]
    assert set(pages[0]) == properties_of("PaginationEnvelope") | {"time_entries"}


async def test_a_page_behind_the_last_is_empty(v2: httpx.AsyncClient) -> None:
    await created(v2)
    page = (await v2.get(PATH, params={"page": "999999999999", "per_page": "2000"})).json()

    assert (page["time_entries"], page["total_entries"], page["links"]["next"]) == ([], 1, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page", "0"),
        ("page", "one"),
        ("page", "9" * 13),
        ("per_page", "0"),
        ("per_page", "2001"),
        ("from", "6 March"),
        ("to", "20260306"),
        ("is_running", "1"),
        ("is_billed", "True"),
        ("updated_since", "2026-03-06T12:00:00"),
        ("updated_since", "yesterday"),
        ("source", "agent,robot"),
        ("source", ""),
    ],
)
async def test_a_parameter_that_is_not_as_described_is_refused_by_name(
    v2: httpx.AsyncClient, name: str, value: str
) -> None:
    answer = await v2.get(PATH, params={name: value})

    assert answer.status_code == 400
    assert answer.json()["error_description"].startswith(f"{name} must be")


async def test_a_parameter_that_is_not_described_is_ignored(v2: httpx.AsyncClient) -> None:
    entry = await created(v2)
    assert await found(v2, limit="none", cursor="x") == [entry]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"source": "agent"}, ["agent"]),
        ({"source": "agent,web"}, ["agent", "web"]),
        ({"project_id": "prj_foods_web"}, ["foods"]),
        ({"project_id": "prj_none"}, []),
        ({"client_id": "cli_orchard"}, ["upkeep", "foods"]),
        ({"client_id": "cli_orchard", "project_id": "prj_upkeep"}, ["upkeep"]),
        ({"client_id": "cli_lighthouse", "project_id": "prj_upkeep"}, []),
        ({"client_id": "cli_none"}, []),
        ({"task_id": "tsk_meeting"}, ["meeting"]),
        ({"is_running": "true"}, ["timer"]),
        ({"is_running": "false", "from": "2026-03-05", "to": "2026-03-05"}, ["yesterday"]),
        ({"to": "2026-03-05"}, ["yesterday"]),
        ({"from": "2026-03-07"}, ["tomorrow"]),
        ({"is_billed": "true"}, ["billed"]),
        ({"user_id": "usr_other"}, ["other"]),
    ],
    ids=str,
)
async def test_each_filter_finds_what_it_names(
    v2: httpx.AsyncClient, store: Store, wanted: dict[str, str], expected: list[str]
) -> None:
    names = {
        await created(v2, source="web"): "web",
        await created(v2, source="agent"): "agent",
        await created(v2, project_id="prj_foods_web"): "foods",
        await created(v2, project_id="prj_upkeep"): "upkeep",
        await created(v2, task_id="tsk_meeting"): "meeting",
        await created(v2, is_running=True): "timer",
        await created(v2, spent_date="2026-03-05"): "yesterday",
        await created(v2, spent_date="2026-03-07"): "tomorrow",
        await created(v2, user_id="usr_other"): "other",
        (billed := await created(v2)): "billed",
    }
    store.bill(billed)

    assert [names[entry] for entry in await found(v2, **wanted)] == expected


async def test_everybody_s_entries_are_listed_and_can_be_told_apart(connect_v2: Connect) -> None:
    async with connect_v2("kto_one") as one, connect_v2("kto_two") as two:
        first, second = await created(one), await created(two)
        assert await found(one) == [second, first]
        assert await found(one, user_id=user_of("kto_two")) == [second]


@pytest.mark.parametrize("since", ["2026-03-06T12:01:00Z", "2026-03-06T13:01:00+01:00", "2026-03-06T12:00:59.9Z"])
async def test_entries_that_changed_since_a_moment_are_found_whatever_its_zone(
    v2: httpx.AsyncClient, clock: FakeClock, since: str
) -> None:
    changed, _ = await created(v2), await created(v2)
    clock.pass_time(timedelta(minutes=1))
    await v2.patch(f"{PATH}/{changed}", json={"notes": "later"})

    assert await found(v2, updated_since=since) == [changed]
