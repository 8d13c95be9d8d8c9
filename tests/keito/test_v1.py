import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest

from keito_mcp.keito import (
    Client,
    Connections,
    InvalidRequest,
    KeitoV1,
    NotFound,
    PermissionDenied,
    TimeEntry,
    TimeEntryCreate,
    TimeEntryFilter,
    TimeEntryUpdate,
    UnexpectedAnswer,
)
from keito_mcp.version import __version__
from tests.kit import KEY, QUICK, Keito

pytestmark = pytest.mark.anyio

PATH = "/v1/time-entries"
DAY = date(2026, 3, 6)
METADATA = {"agent_id": "review-bot-01", "agent_type": "claude-code", "session_id": "550e8400", "model": "opus"}

OneEntryCall = Callable[[KeitoV1, str], Awaitable[object]]
ONE_ENTRY_CALLS: list[OneEntryCall] = [
    lambda api, entry_id: api.get(entry_id),
    lambda api, entry_id: api.update(entry_id, TimeEntryUpdate(is_running=False)),
    lambda api, entry_id: api.delete(entry_id),
]


@pytest.fixture
async def api(keito: Keito) -> AsyncIterator[KeitoV1]:
    client = Client(keito.url, KEY, Connections(timeouts=QUICK))
    yield KeitoV1(client)
    await client.aclose()


async def made(api: KeitoV1, **fields: Any) -> TimeEntry:
    body = {"project_id": "prj_abc", "spent_date": DAY, "hours": Decimal(1), "source": "agent", **fields}
    return await api.create(TimeEntryCreate(**body), idempotency_key="key-1")


def answers(keito: Keito, body: object, *, status: int = 200, method: str | None = None, times: int = 1) -> None:
    keito.fails(method, status=status, body=json.dumps(body), times=times)


async def test_a_create_sends_every_documented_field_and_its_answer_has_them_all(api: KeitoV1, keito: Keito) -> None:
    entry = await made(
        api,
        task_id="tsk_001",
        hours=Decimal("1.2346"),
        is_running=False,
        notes="Refactored authentication module",
        is_billable=True,
        metadata=METADATA,
    )

    assert keito.sent == [("POST", PATH)]
    assert keito.body() == {
        "project_id": "prj_abc",
        "task_id": "tsk_001",
        "spent_date": "2026-03-06",
        "hours": 1.2346,
        "is_running": False,
        "notes": "Refactored authentication module",
        "is_billable": True,
        "source": "agent",
        "metadata": METADATA,
    }
    assert isinstance(keito.body()["hours"], float)
    assert entry.id.startswith("te_")
    assert (entry.project_id, entry.task_id) == ("prj_abc", "tsk_001")
    assert entry.user_id
    assert entry.spent_date == DAY
    assert entry.hours == Decimal("1.2346")
    assert entry.notes == "Refactored authentication module"
    assert (entry.is_running, entry.is_billable, entry.source) == (False, True, "agent")
    assert entry.metadata == METADATA
    assert entry.created_at == entry.updated_at == datetime(2026, 3, 6, 12, 0, tzinfo=UTC)


async def test_a_create_carries_the_key_of_the_write_and_says_who_sends_it(api: KeitoV1, keito: Keito) -> None:
    await api.create(
        TimeEntryCreate(project_id="prj_abc", spent_date=DAY, is_running=True), idempotency_key="3f1c-made-once"
    )
    [request] = keito.requests
    assert request.headers["idempotency-key"] == "3f1c-made-once"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"] == f"keito-mcp/{__version__}"
    assert request.body == {"project_id": "prj_abc", "spent_date": "2026-03-06", "is_running": True}


async def test_a_list_without_a_filter_asks_for_nothing_in_particular(api: KeitoV1, keito: Keito) -> None:
    page = await api.list(TimeEntryFilter())
    assert (page.data, page.next_cursor, page.has_more, page.following) == ([], None, False, None)
    assert (keito.sent, keito.requests[0].query) == ([("GET", PATH)], "")


@pytest.mark.parametrize("word", ["true", "false"])
async def test_a_filter_is_sent_by_keitos_own_names(api: KeitoV1, keito: Keito, word: str) -> None:
    for number in range(2):
        await made(api, notes=f"entry {number}", source="agent")
    cursor = (await api.list(TimeEntryFilter(limit=1))).following
    wanted = TimeEntryFilter(
        source="agent",
        project_id="prj & Söhne",
        user_id="usr_1",
        from_date=date(2026, 3, 1),
        to_date=date(2026, 3, 6),
        is_running=word == "true",
        cursor=cursor,
        limit=200,
    )
    await api.list(wanted)
    assert cursor
    assert dict(parse_qsl(keito.requests[-1].query, strict_parsing=True)) == {
        "source": "agent",
        "project_id": "prj & Söhne",
        "user_id": "usr_1",
        "from": "2026-03-01",
        "to": "2026-03-06",
        "is_running": word,
        "cursor": cursor,
        "limit": "200",
    }


async def test_a_list_is_what_the_filter_lets_through(api: KeitoV1) -> None:
    wanted = await made(api, spent_date=date(2026, 3, 5))
    await made(api, spent_date=date(2026, 3, 4))
    await made(api, spent_date=date(2026, 3, 5), source="web")
    page = await api.list(TimeEntryFilter(source="agent", from_date=date(2026, 3, 5), to_date=date(2026, 3, 6)))
    assert page.data == [wanted]


async def test_pages_walk_the_whole_list_and_see_each_entry_once(api: KeitoV1, keito: Keito) -> None:
    ids = [(await made(api)).id for _ in range(5)]
    keito.requests.clear()
    pages = [page async for page in api.pages(TimeEntryFilter(limit=2), at_most=10)]
    assert [entry.id for page in pages for entry in page.data] == ids[::-1]
    assert keito.methods == ["GET"] * 3
    assert [dict(parse_qsl(request.query)).get("limit") for request in keito.requests] == ["2"] * 3


async def test_pages_are_never_more_than_were_asked_for_and_the_last_says_where_to_go_on(
    api: KeitoV1, keito: Keito
) -> None:
    ids = [(await made(api)).id for _ in range(5)]
    keito.requests.clear()
    first = [page async for page in api.pages(TimeEntryFilter(limit=1), at_most=3)]
    assert len(keito.requests) == 3
    rest = [page async for page in api.pages(TimeEntryFilter(limit=1, cursor=first[-1].following), at_most=10)]
    assert [entry.id for page in first + rest for entry in page.data] == ids[::-1]


async def test_pages_that_nobody_goes_on_to_are_not_fetched(api: KeitoV1, keito: Keito) -> None:
    answers(keito, {"data": [], "next_cursor": "YmVmb3JlOjE=", "has_more": True}, times=5)
    async for _ in api.pages(TimeEntryFilter(), at_most=5):
        break
    assert keito.methods == ["GET"]


async def test_a_cursor_that_leads_to_itself_ends_the_walk(api: KeitoV1, keito: Keito) -> None:
    answers(keito, {"data": [{"id": "te_1"}], "next_cursor": "same", "has_more": True}, times=50)
    pages = [page async for page in api.pages(TimeEntryFilter(), at_most=50)]
    assert len(pages) == len(keito.requests) == 2


async def test_cursors_that_lead_in_a_circle_end_at_the_bound(api: KeitoV1, keito: Keito) -> None:
    for number in range(20):
        answers(keito, {"data": [], "next_cursor": f"c-{number % 2}", "has_more": True})
    assert len([page async for page in api.pages(TimeEntryFilter(), at_most=7)]) == len(keito.requests) == 7


async def test_a_cursor_beside_has_more_false_is_not_followed(api: KeitoV1, keito: Keito) -> None:
    answers(keito, {"data": [{"id": "te_1"}], "next_cursor": "more", "has_more": False}, times=5)
    assert len([page async for page in api.pages(TimeEntryFilter(), at_most=5)]) == len(keito.requests) == 1


async def test_an_empty_cursor_is_no_cursor(api: KeitoV1, keito: Keito) -> None:
    answers(keito, {"data": [{"id": "te_1"}], "next_cursor": ""}, times=5)
    assert len([page async for page in api.pages(TimeEntryFilter(), at_most=5)]) == len(keito.requests) == 1


async def test_one_entry_is_read_by_its_id(api: KeitoV1, keito: Keito) -> None:
    entry = await made(api, notes="to be read")
    assert await api.get(entry.id) == entry
    assert keito.sent[-1] == ("GET", f"{PATH}/{entry.id}")


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"hours": Decimal("1.5")}, {"hours": 1.5}),
        ({"hours": Decimal("0.0001")}, {"hours": 0.0001}),
        ({"hours": Decimal(2)}, {"hours": 2.0}),
        ({"notes": "Completed OAuth"}, {"notes": "Completed OAuth"}),
        ({"is_running": False}, {"is_running": False}),
        ({"is_billable": False}, {"is_billable": False}),
        ({"task_id": "tsk_2"}, {"task_id": "tsk_2"}),
        ({"metadata": METADATA}, {"metadata": METADATA}),
        (
            {"hours": Decimal("1.5"), "is_running": False, "notes": "Done"},
            {"hours": 1.5, "is_running": False, "notes": "Done"},
        ),
    ],
    ids=str,
)
async def test_an_update_sends_the_changes_and_nothing_else_and_answers_the_changed_entry(
    api: KeitoV1, keito: Keito, changes: dict[str, Any], body: dict[str, Any]
) -> None:
    entry = await made(api)
    changed = await api.update(entry.id, TimeEntryUpdate(**changes))
    assert keito.sent[1:] == [("PATCH", f"{PATH}/{entry.id}")]
    assert keito.body() == body
    assert {name: getattr(changed, name) for name in changes} == changes
    assert changed.id == entry.id


async def test_a_delete_has_no_body_and_no_answer_and_the_entry_is_gone(api: KeitoV1, keito: Keito) -> None:
    entry = await made(api)
    await api.delete(entry.id)
    assert keito.sent[1:] == [("DELETE", f"{PATH}/{entry.id}")]
    assert keito.requests[-1].body is None
    assert keito.entries() == []
    with pytest.raises(NotFound):
        await api.delete(entry.id)


async def test_a_stop_is_one_change_with_all_that_is_different(api: KeitoV1, keito: Keito) -> None:
    timer = await made(api, is_running=True)
    keito.requests.clear()
    stopped = await api.stop(timer.id, TimeEntryUpdate(hours=Decimal("1.5"), notes="Done"))
    assert keito.sent == [("PATCH", f"{PATH}/{timer.id}")]
    assert keito.body() == {"hours": 1.5, "notes": "Done", "is_running": False}
    assert (stopped.is_running, stopped.hours, stopped.notes) == (False, Decimal("1.5"), "Done")


async def test_a_day_that_an_entry_is_near_makes_no_difference(api: KeitoV1, keito: Keito) -> None:
    entry = await made(api)
    assert await api.get(entry.id, near=date(2020, 1, 1)) == entry
    assert keito.sent[-1] == ("GET", f"{PATH}/{entry.id}")


async def test_what_this_version_does_not_list_is_not_found_and_nothing_is_sent(api: KeitoV1, keito: Keito) -> None:
    calls: list[Callable[[], Awaitable[object]]] = [api.projects, api.tasks, api.me]
    for call in calls:
        with pytest.raises(NotFound, match="version 1"):
            await call()
    assert keito.requests == []


@pytest.mark.parametrize(
    ("entry_id", "on_the_wire"),
    [
        ("te/../te_1", "te%2F..%2Fte_1"),
        ("../projects", "..%2Fprojects"),
        ("..\\projects", "..%5Cprojects"),
        ("te 1", "te%201"),
        ("Zürich", "Z%C3%BCrich"),
        ("te_1?x=1", "te_1%3Fx%3D1"),
        ("te_1#top", "te_1%23top"),
        ("te%2e1", "te%252e1"),
        ("https://evil.example/", "https%3A%2F%2Fevil.example%2F"),
    ],
)
async def test_an_id_leads_to_one_entry_whatever_it_is_made_of(
    api: KeitoV1, keito: Keito, entry_id: str, on_the_wire: str
) -> None:
    for call in ONE_ENTRY_CALLS:
        with pytest.raises(NotFound):
            await call(api, entry_id)
    # Each looks for it twice before it counts as gone.
    assert keito.methods == ["GET", "GET", "PATCH", "GET", "GET", "DELETE", "GET", "GET"]
    assert {(request.path, request.query) for request in keito.requests} == {(f"{PATH}/{on_the_wire}", "")}


STRANGE = ["te_1\r\nX-Evil: 1", "te_1\x1b[31m", "te_1\x9b", "te_\u202e1", "te_\u200b1", "te_1\ud800", "te_1\x00"]


@pytest.mark.parametrize("entry_id", ["", ".", "..", "...", *STRANGE])
async def test_an_id_that_would_be_another_address_is_not_found_and_never_sent(
    api: KeitoV1, keito: Keito, entry_id: str
) -> None:
    entry = await made(api)
    keito.requests.clear()
    for call in ONE_ENTRY_CALLS:
        with pytest.raises(NotFound) as caught:
            await call(api, entry_id)
        assert caught.value.nothing_written
    assert keito.requests == []
    assert [kept["id"] for kept in keito.entries()] == [entry.id]


async def test_an_answer_needs_an_id_and_nothing_else(api: KeitoV1, keito: Keito) -> None:
    answers(keito, {"id": 4711, "hours": "1.5", "notes": 5, "spent_date": "soon", "invoice": {"no": 7}}, times=3)
    for entry in (await made(api), await api.get("4711"), await api.update("4711", TimeEntryUpdate(notes="n"))):
        assert (entry.id, entry.hours, entry.notes, entry.spent_date) == ("4711", Decimal("1.5"), None, None)


@pytest.mark.parametrize("answer", [{}, {"id": ""}, {"data": {"id": "te_1"}}, [], 7, "te_1"], ids=str)
async def test_an_answer_without_an_id_is_unexpected_and_says_nothing_of_what_was_written(
    api: KeitoV1, keito: Keito, answer: object
) -> None:
    answers(keito, answer, times=2)
    with pytest.raises(UnexpectedAnswer, match="no entry id") as created:
        await made(api)
    with pytest.raises(UnexpectedAnswer, match="no entry id") as updated:
        await api.update("te_1", TimeEntryUpdate(notes="n"))
    assert not created.value.nothing_written
    assert not updated.value.nothing_written
    assert keito.methods == ["POST", "PATCH"]


@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": [{"hours": 1}]}, [], 7], ids=str)
async def test_an_answer_that_is_no_list_is_unexpected(api: KeitoV1, keito: Keito, answer: object) -> None:
    answers(keito, answer)
    with pytest.raises(UnexpectedAnswer, match="not a list"):
        await api.list(TimeEntryFilter())


# An emoji is two units of UTF-16, and a JSON text may hold one of them.
@pytest.mark.parametrize("half", [b"\\ud83d", b"\\uD83D", b"\\uDE00", b"\xed\xa0\xbd"], ids=repr)
async def test_a_character_that_keito_cut_in_half_becomes_text_that_can_be_passed_on(
    api: KeitoV1, keito: Keito, half: bytes
) -> None:
    whole = b"\\ud83d\\ude00"
    body = b'{"id": "te_1", "notes": "%s done %s", "metadata": {"session_id": "s%s"}}' % (whole, half, half)
    keito.fails(status=200, body=body)
    entry = await api.get("te_1")
    assert (entry.notes or "").startswith("\U0001f600 done ")
    assert (entry.fact("session_id") or "").startswith("s")
    entry.model_dump_json().encode()


async def test_half_a_character_that_is_no_escape_becomes_text_that_can_be_passed_on(
    api: KeitoV1, keito: Keito
) -> None:
    keito.fails(status=200, body=b'{"id": "te_1", "notes": "\xed\xa0\xbd done"}')
    assert ((await api.get("te_1")).notes or "").encode().endswith(b" done")


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-be", "utf-32", "utf-32-le"])
async def test_an_answer_that_is_not_utf_8_is_not_keitos(api: KeitoV1, keito: Keito, coding: str) -> None:
    keito.fails(status=200, body=f'{{"id": "te_1", "notes": "{KEY}"}}'.encode(coding))
    with pytest.raises(UnexpectedAnswer):
        await api.get("te_1")


async def test_a_refusal_with_half_a_character_can_be_passed_on(api: KeitoV1, keito: Keito) -> None:
    keito.fails(status=422, body=b'{"error": {"message": "too long: \\uD83D", "code": "c\\ud83d"}}')
    with pytest.raises(InvalidRequest) as caught:
        await made(api)
    assert str(caught.value).encode()
    assert "too long: " in str(caught.value)


async def test_keitos_refusals_name_what_they_are_about(api: KeitoV1, keito: Keito) -> None:
    with pytest.raises(PermissionDenied) as forbidden:
        await made(api, project_id="prj_forbidden")
    assert (forbidden.value.status, forbidden.value.field) == (403, "project_id")
    with pytest.raises(InvalidRequest) as invalid:
        await api.create(TimeEntryCreate(project_id="prj_abc", spent_date=DAY), idempotency_key="k")
    assert (invalid.value.status, invalid.value.code, invalid.value.field) == (422, "validation_error", "hours")
    assert keito.entries() == []
