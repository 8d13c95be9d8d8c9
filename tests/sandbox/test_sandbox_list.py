"""GET /v1/time-entries."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keito_mcp.sandbox import Store, create_app

PATH = "/v1/time-entries"
MINIMAL: dict[str, Any] = {"project_id": "prj_abc", "spent_date": "2026-03-06", "hours": 1.5}


async def add(client: httpx.AsyncClient, **fields: object) -> str:
    answer = await client.post(PATH, json=MINIMAL | fields)
    assert answer.status_code == 201
    return str(answer.json()["id"])


async def ids(client: httpx.AsyncClient, **query: str | int) -> list[str]:
    answer = await client.get(PATH, params=query)
    assert answer.status_code == 200
    return [entry["id"] for entry in answer.json()["data"]]


async def refused(client: httpx.AsyncClient, query: str) -> str:
    answer = await client.get(f"{PATH}?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "validation_error")
    return str(answer.json()["error"]["field"])


@pytest.mark.anyio
async def test_nothing_yet_is_an_empty_page(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH)

    assert answer.json() == {"data": [], "next_cursor": None, "has_more": False}


@pytest.mark.anyio
async def test_the_newest_by_creation_comes_first_whatever_its_day(client: httpx.AsyncClient) -> None:
    first = await add(client, spent_date="2026-03-09")
    second = await add(client, spent_date="2026-03-01")

    assert await ids(client) == [second, first]


@pytest.mark.anyio
async def test_every_filter_narrows_and_filters_combine(connect: Callable[..., httpx.AsyncClient]) -> None:
    async with connect() as client, connect("keito_sk_other") as other:
        agent = await add(client, source="agent", project_id="prj_x")
        running = await add(client, is_running=True)
        theirs = await add(other, spent_date="2026-03-08")
        user = (await client.get(f"{PATH}/{theirs}")).json()["user_id"]

        assert await ids(client, source="agent") == [agent]
        assert await ids(client, project_id="prj_x") == [agent]
        assert await ids(client, user_id=user) == [theirs]
        assert await ids(client, is_running="true") == [running]
        assert await ids(client, is_running="false") == [theirs, agent]
        assert await ids(client, source="api", is_running="false") == [theirs]
        assert await ids(client, source="agent", is_running="true") == []


@pytest.mark.anyio
async def test_both_ends_of_a_date_range_are_included(client: httpx.AsyncClient) -> None:
    days = {day: await add(client, spent_date=f"2026-03-0{day}") for day in (1, 2, 3, 4)}

    assert await ids(client, **{"from": "2026-03-02", "to": "2026-03-03"}) == [days[3], days[2]]
    assert await ids(client, **{"from": "2026-03-04"}) == [days[4]]
    assert await ids(client, to="2026-03-01") == [days[1]]
    assert await ids(client, **{"from": "2026-03-03", "to": "2026-03-02"}) == []


@pytest.mark.anyio
async def test_a_page_has_50_entries_unless_asked_and_says_whether_there_are_more(
    client: httpx.AsyncClient,
) -> None:
    for _ in range(51):
        await add(client)

    page = (await client.get(PATH)).json()
    rest = (await client.get(PATH, params={"cursor": page["next_cursor"]})).json()
    whole = (await client.get(PATH, params={"limit": 51})).json()

    assert (len(page["data"]), page["has_more"]) == (50, True)
    assert (len(rest["data"]), rest["has_more"], rest["next_cursor"]) == (1, False, None)
    assert (len(whole["data"]), whole["has_more"], whole["next_cursor"]) == (51, False, None)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=1.5", "limit"),
        ("limit=%EF%BC%91", "limit"),
        ("limit=", "limit"),
        ("from=yesterday", "from"),
        ("to=2026-13-01", "to"),
        ("is_running=1", "is_running"),
        ("is_running=True", "is_running"),
        ("source=any", "source"),
        ("cursor=", "cursor"),
        ("cursor=42", "cursor"),
        ("cursor=%C3%A9", "cursor"),
        ("cursor=YmVmb3JlOng=", "cursor"),
        ("page=2", "page"),
        ("source=agent&source=cli", "source"),
    ],
)
async def test_a_wrong_unknown_or_repeated_parameter_is_refused_by_name(
    client: httpx.AsyncClient, query: str, field: str
) -> None:
    assert await refused(client, query) == field


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [1, 200])
async def test_the_ends_of_the_range_of_limits_are_accepted(client: httpx.AsyncClient, limit: int) -> None:
    assert await ids(client, limit=limit) == []


@pytest.mark.anyio
async def test_a_cursor_outlives_the_entry_it_was_made_from(client: httpx.AsyncClient) -> None:
    oldest, middle, newest = [await add(client) for _ in range(3)]
    page = (await client.get(PATH, params={"limit": 2})).json()
    for entry in (middle, newest):
        await client.delete(f"{PATH}/{entry}")

    assert await ids(client, cursor=page["next_cursor"]) == [oldest]


@settings(max_examples=25, deadline=None, database=None)
@given(
    standing=st.integers(0, 12),
    limit=st.integers(1, 7),
    added=st.lists(st.integers(0, 3), max_size=4),
)
def test_paging_meets_each_entry_exactly_once_while_others_are_added(
    standing: int, limit: int, added: list[int]
) -> None:
    async def scenario(store: Store) -> None:
        transport = httpx.ASGITransport(create_app(store))
        headers = {"Authorization": "Bearer keito_sk_test"}
        async with httpx.AsyncClient(transport=transport, base_url="http://keito.test", headers=headers) as client:
            before = [await add(client) for _ in range(standing)]
            met: list[str] = []
            query: dict[str, str | int] = {"limit": limit}
            additions = iter(added)
            while True:
                page = (await client.get(PATH, params=query)).json()
                met += [entry["id"] for entry in page["data"]]
                assert page["has_more"] is (page["next_cursor"] is not None)
                if not page["has_more"]:
                    break
                query["cursor"] = page["next_cursor"]
                for _ in range(next(additions, 0)):
                    await add(client)
        assert met == before[::-1]

    with tempfile.TemporaryDirectory() as folder, closing(Store(Path(folder) / "keito.db")) as store:
        anyio.run(scenario, store)
