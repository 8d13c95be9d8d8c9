from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from keito_mcp.keito import (
    InvalidRequest,
    KeitoV2,
    NotFound,
    OutOfSight,
    TimeEntryFilter,
    UnexpectedAnswer,
)
from tests.keito.v2_kit import ENTRIES, SmallKeito, entry

pytestmark = pytest.mark.anyio

DAY = date(2026, 3, 6)


def stands(small: SmallKeito, count: int) -> list[str]:
    small.rows["time_entries"] = [entry(number) for number in range(count)]
    return [row["id"] for row in small.rows["time_entries"]]


async def test_a_list_asks_for_the_first_page_of_as_many_as_the_filter_says(v2: KeitoV2, small: SmallKeito) -> None:
    ids = stands(small, 3)
    page = await v2.list(TimeEntryFilter())
    assert [shown.id for shown in page.data] == ids
    assert page.following is None
    assert small.sent == [("GET", ENTRIES)]
    assert small.queries == [{"page": "1", "per_page": "50"}]


async def test_a_filter_is_sent_by_version_2s_names(v2: KeitoV2, small: SmallKeito) -> None:
    await v2.list(
        TimeEntryFilter(
            source="agent",
            project_id="prj & Söhne",
            user_id="usr_1",
            from_date=date(2026, 3, 1),
            to_date=date(2026, 3, 6),
            is_running=True,
            limit=200,
        )
    )
    assert small.queries == [
        {
            "source": "agent",
            "project_id": "prj & Söhne",
            "user_id": "usr_1",
            "from": "2026-03-01",
            "to": "2026-03-06",
            "is_running": "true",
            "page": "1",
            "per_page": "200",
        }
    ]


async def test_a_cursor_carries_the_page(v2: KeitoV2, small: SmallKeito) -> None:
    ids = stands(small, 5)
    first = await v2.list(TimeEntryFilter(source="agent", limit=2))
    second = await v2.list(TimeEntryFilter(source="agent", limit=2, cursor=first.following))
    third = await v2.list(TimeEntryFilter(source="agent", limit=2, cursor=second.following))
    assert [shown.id for page in (first, second, third) for shown in page.data] == ids
    assert [query["page"] for query in small.queries] == ["1", "2", "3"]
    assert (first.has_more, third.has_more, third.following) == (True, False, None)


@pytest.mark.parametrize(
    "other",
    [{"limit": 3}, {"source": "web"}, {"source": None}, {"project_id": "prj_1"}, {"from_date": DAY}],
    ids=str,
)
async def test_a_cursor_of_another_list_is_refused_and_not_sent(
    v2: KeitoV2, small: SmallKeito, other: dict[str, Any]
) -> None:
    stands(small, 5)
    cursor = (await v2.list(TimeEntryFilter(source="agent", limit=2))).following
    fields = {"source": "agent", "limit": 2, "cursor": cursor, **other}
    with pytest.raises(InvalidRequest, match="another limit") as caught:
        await v2.list(TimeEntryFilter(**fields))
    assert (caught.value.field, len(small.requests)) == ("cursor", 1)


@pytest.mark.parametrize("cursor", ["", "2", "0.0123456789ab", "2.0123456789AB", "YmVmb3JlOjE=", "2.0123456789ab\n"])
async def test_a_cursor_that_nobody_gave_out_is_refused_and_not_sent(
    v2: KeitoV2, small: SmallKeito, cursor: str
) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        await v2.list(TimeEntryFilter(cursor=cursor))
    assert small.requests == []


async def test_a_default_that_is_named_is_the_same_filter(v2: KeitoV2, small: SmallKeito) -> None:
    stands(small, 60)
    cursor = (await v2.list(TimeEntryFilter(source="agent"))).following
    page = await v2.list(TimeEntryFilter(source="agent", limit=50, project_id=None, cursor=cursor))
    assert len(page.data) == 10


async def test_pages_walk_the_whole_list(v2: KeitoV2, small: SmallKeito) -> None:
    ids = stands(small, 5)
    pages = [page async for page in v2.pages(TimeEntryFilter(limit=2), at_most=10)]
    assert [shown.id for page in pages for shown in page.data] == ids
    assert len(small.requests) == 3


async def test_pages_are_never_more_than_were_asked_for_and_the_last_says_where_to_go_on(
    v2: KeitoV2, small: SmallKeito
) -> None:
    ids = stands(small, 5)
    first = [page async for page in v2.pages(TimeEntryFilter(limit=1), at_most=3)]
    rest = [page async for page in v2.pages(TimeEntryFilter(limit=1, cursor=first[-1].following), at_most=10)]
    assert [len(first), len(rest)] == [3, 2]
    assert [shown.id for page in first + rest for shown in page.data] == ids


async def test_an_entry_that_moves_to_the_next_page_meanwhile_is_given_once(v2: KeitoV2, small: SmallKeito) -> None:
    ids = stands(small, 4)
    walked: list[str] = []
    async for page in v2.pages(TimeEntryFilter(limit=2), at_most=10):
        if not walked:
            small.rows["time_entries"].insert(0, entry("new"))
        walked += [shown.id for shown in page.data]
    assert walked == ids


@pytest.mark.parametrize(
    ("envelope", "has_more"),
    [
        ({"total_pages": 2}, True),
        ({"total_pages": 1}, False),
        ({"links": {"next": "https://app.keito.ai/api/v2/time_entries?page=2"}}, True),
        ({"links": {"next": None}}, False),
        ({"total_pages": None, "links": {"first": ""}}, True),
        ({}, True),
    ],
    ids=str,
)
async def test_whether_more_follows_is_read_from_what_the_envelope_tells(
    v2: KeitoV2, small: SmallKeito, envelope: dict[str, Any], *, has_more: bool
) -> None:
    small.says({"time_entries": [entry(1), entry(2)], **envelope})
    assert (await v2.list(TimeEntryFilter(limit=2))).has_more is has_more


async def test_a_page_without_entries_is_the_last(v2: KeitoV2, small: SmallKeito) -> None:
    small.says({"time_entries": [], "total_pages": 9})
    assert (await v2.list(TimeEntryFilter())).following is None


async def test_a_page_that_is_not_full_is_the_last_where_nothing_else_is_told(v2: KeitoV2, small: SmallKeito) -> None:
    small.says({"time_entries": [entry(1)]})
    assert (await v2.list(TimeEntryFilter(limit=2))).following is None


@pytest.mark.parametrize("answer", [{}, {"data": []}, {"time_entries": None}, {"time_entries": [{}]}, [], 7], ids=str)
async def test_an_answer_that_is_no_list_is_unexpected(v2: KeitoV2, small: SmallKeito, answer: object) -> None:
    small.says(answer)
    with pytest.raises(UnexpectedAnswer, match="not a list of time entries"):
        await v2.list(TimeEntryFilter())


async def test_one_entry_is_found_among_the_agents_of_its_day(v2: KeitoV2, small: SmallKeito) -> None:
    stands(small, 3)
    assert (await v2.get("te_2", near=DAY)).id == "te_2"
    assert small.sent == [("GET", ENTRIES)]
    assert small.queries == [
        {"from": "2026-03-05", "to": "2026-03-07", "source": "agent", "page": "1", "per_page": "2000"}
    ]


async def test_one_entry_is_looked_for_page_by_page_until_it_is_found(v2: KeitoV2, small: SmallKeito) -> None:
    stands(small, 6)
    small.most_rows = 2
    assert (await v2.get("te_3", near=DAY)).id == "te_3"
    assert [query["page"] for query in small.queries] == ["1", "2"]


async def test_an_entry_that_a_person_moved_to_another_day_is_found_by_that_change(
    v2: KeitoV2, small: SmallKeito
) -> None:
    small.rows["time_entries"] = [entry(1, spent_date="2026-01-02", updated_at="2026-03-20T08:00:00Z")]
    assert (await v2.get("te_1", near=DAY)).spent_date == date(2026, 1, 2)
    assert small.queries[1] == {"updated_since": "2026-03-04T00:00:00Z", "page": "1", "per_page": "2000"}


async def test_an_entry_of_a_day_to_come_is_looked_for_among_the_changes_of_the_last_two_days(
    v2: KeitoV2, small: SmallKeito
) -> None:
    now = datetime.now(UTC)
    small.rows["time_entries"] = [entry(1, updated_at=now.strftime("%Y-%m-%dT%H:%M:%SZ"))]
    assert (await v2.get("te_1", near=now.date() + timedelta(days=20))).id == "te_1"


async def test_an_entry_of_an_unknown_day_is_found_whoever_made_it(v2: KeitoV2, small: SmallKeito) -> None:
    now = datetime.now(UTC)
    changed = (now - timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    small.rows["time_entries"] = [entry(1, source="web", updated_at=changed)]
    assert (await v2.get("te_1")).source == "web"
    [query] = small.queries
    assert query.keys() == {"updated_since", "page", "per_page"}
    since = datetime.fromisoformat(query["updated_since"])
    assert timedelta(days=31) <= now - since <= timedelta(days=31, seconds=60)


@pytest.mark.parametrize(("near", "requests"), [(DAY, 4), (None, 2)])
async def test_an_entry_that_is_nowhere_is_looked_for_twice_and_not_found(
    v2: KeitoV2, small: SmallKeito, near: date | None, requests: int
) -> None:
    stands(small, 3)
    with pytest.raises(NotFound):
        await v2.get("te_9", near=near)
    assert len(small.requests) == requests


async def test_a_list_that_is_not_there_says_nothing_of_an_entry(v2: KeitoV2, small: SmallKeito) -> None:
    small.refuses(404, "not found", "there is nothing at this address")
    with pytest.raises(UnexpectedAnswer):
        await v2.get("te_1")


async def test_an_entry_behind_too_many_others_is_not_taken_for_deleted(v2: KeitoV2, small: SmallKeito) -> None:
    small.rows["time_entries"] = [entry(number, updated_at="2099-01-01T00:00:00Z") for number in range(9)]
    small.most_rows = 2
    with pytest.raises(OutOfSight) as caught:
        await v2.get("te_8", near=DAY)
    assert not caught.value.nothing_written
    assert len(small.requests) == 6
