from collections.abc import Awaitable, Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from keito_mcp.keito import (
    AuthenticationFailed,
    Client,
    Conflict,
    Connections,
    InvalidRequest,
    KeitoError,
    KeitoV2,
    NotFound,
    PermissionDenied,
    ServerFailed,
    StatusError,
    TimeEntry,
    TimeEntryCreate,
    TimeEntryFilter,
    TimeEntryUpdate,
    UnexpectedAnswer,
)
from tests.keito.v2_kit import ENTRIES, KEY, SmallKeito, entry
from tests.kit import QUICK

pytestmark = pytest.mark.anyio

DAY = date(2026, 3, 6)
METADATA = {"agent_id": "review-bot-01", "session_id": "550e8400"}

OneEntryCall = Callable[[KeitoV2, str], Awaitable[object]]
ONE_ENTRY_CALLS: list[OneEntryCall] = [
    lambda v2, entry_id: v2.update(entry_id, TimeEntryUpdate(notes="n")),
    lambda v2, entry_id: v2.stop(entry_id, TimeEntryUpdate()),
    lambda v2, entry_id: v2.delete(entry_id),
]


async def made(v2: KeitoV2, **fields: Any) -> TimeEntry:
    body = {"project_id": "prj_1", "task_id": "tsk_1", "spent_date": DAY, "hours": Decimal(1), **fields}
    return await v2.create(TimeEntryCreate(**body), idempotency_key="key-1")


async def test_every_request_names_the_key_and_the_account(v2: KeitoV2, small: SmallKeito) -> None:
    await made(v2)
    await v2.update("te_1", TimeEntryUpdate(notes="n"))
    await v2.stop("te_1", TimeEntryUpdate())
    await v2.list(TimeEntryFilter())
    await v2.projects()
    await v2.delete("te_1")
    assert {request.headers["authorization"] for request in small.requests} == {f"Bearer {KEY}"}
    assert [request.headers["keito-account-id"] for request in small.requests] == ["cmp_1"] * 6


async def test_without_an_account_none_is_named(small: SmallKeito) -> None:
    client = Client("http://small.keito", KEY, Connections(timeouts=QUICK, app=small.app))
    await KeitoV2(client).list(TimeEntryFilter())
    await client.aclose()
    assert "keito-account-id" not in small.requests[0].headers


async def test_an_account_id_that_no_header_takes_is_left_to_keito_to_refuse(small: SmallKeito) -> None:
    client = Client("http://small.keito", KEY, Connections(timeouts=QUICK, app=small.app))
    await KeitoV2(client, "Zürich\r\nX-Evil: 1").list(TimeEntryFilter())
    await client.aclose()
    assert small.requests[0].headers["keito-account-id"] == "Z%C3%BCrich%0D%0AX-Evil:%201"
    assert "x-evil" not in small.requests[0].headers


async def test_a_create_is_sent_by_version_2s_names(v2: KeitoV2, small: SmallKeito) -> None:
    await made(v2, hours=Decimal("1.2346"), notes="Refactored", is_billable=False, source="agent", metadata=METADATA)
    assert small.sent == [("POST", ENTRIES)]
    assert small.requests[0].headers["idempotency-key"] == "key-1"
    assert small.requests[0].body == {
        "project_id": "prj_1",
        "task_id": "tsk_1",
        "spent_date": "2026-03-06",
        "hours": 1.2346,
        "notes": "Refactored",
        "billable": False,
        "source": "agent",
        "metadata": METADATA,
    }


async def test_what_a_create_gives_as_nothing_is_left_out(v2: KeitoV2, small: SmallKeito) -> None:
    await made(v2, hours=None, notes=None, is_billable=None, metadata=None, is_running=True, source="agent")
    assert small.requests[0].body == {
        "project_id": "prj_1",
        "task_id": "tsk_1",
        "spent_date": "2026-03-06",
        "is_running": True,
        "source": "agent",
    }


async def test_a_create_without_a_task_is_refused_and_not_sent(v2: KeitoV2, small: SmallKeito) -> None:
    with pytest.raises(InvalidRequest, match="task_id is required") as caught:
        await made(v2, task_id=None)
    assert (caught.value.field, caught.value.nothing_written) == ("task_id", True)
    assert small.requests == []


async def test_an_answer_is_read_by_the_models_names(v2: KeitoV2, small: SmallKeito) -> None:
    small.says(entry(1, client={"id": "cli_1", "name": "Acme"}, billable=False, billable_rate=90), 201)
    created = await made(v2)
    assert (created.id, created.hours, created.spent_date) == ("te_1", Decimal("1.5"), DAY)
    assert (created.project_id, created.project_name) == ("prj_1", "Website")
    assert (created.task_id, created.task_name) == ("tsk_1", "Development")
    assert (created.user_id, created.client_name) == ("usr_1", "Acme")
    assert (created.is_billable, created.source, created.fact("session_id")) == (False, "agent", "s-1")
    assert created.is_locked is False


async def test_an_entry_that_is_kept_is_read_again_as_it_was(v2: KeitoV2, small: SmallKeito) -> None:
    small.says(entry(1, is_billed=True, billable_rate=90))
    shown = await made(v2)
    kept = shown.model_dump(mode="json")
    assert TimeEntry.model_validate(kept) == shown
    assert kept["billable_rate"] == 90
    assert "client_name" not in kept


async def test_ids_beside_nested_names_are_kept(v2: KeitoV2, small: SmallKeito) -> None:
    small.says(
        {"id": 7, "project_id": "prj_2", "project": {"id": "prj_9", "name": "Shop"}, "task": None, "user": "Ada"}
    )
    created = await made(v2)
    assert (created.id, created.project_id, created.project_name) == ("7", "prj_2", "Shop")
    assert (created.task_id, created.user_id) == (None, None)


@pytest.mark.parametrize(
    ("fields", "is_locked"),
    [
        ({}, False),
        ({"is_locked": True}, True),
        ({"is_closed": True}, True),
        ({"is_billed": True}, True),
        ({"approval_status": "approved"}, True),
        ({"approval_status": "submitted"}, False),
        ({"approval_status": "rejected"}, False),
        ({"is_locked": None}, None),
        ({"is_locked": 5, "is_billed": "perhaps"}, None),
    ],
    ids=str,
)
async def test_an_entry_is_locked_for_whatever_reason_keito_gives(
    v2: KeitoV2, small: SmallKeito, fields: dict[str, Any], *, is_locked: bool | None
) -> None:
    small.says(entry(1, **fields))
    assert (await made(v2)).is_locked is is_locked


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"hours": Decimal("1.5")}, {"hours": 1.5}),
        ({"notes": None}, {"notes": None}),
        ({"is_billable": False}, {"billable": False}),
        ({"task_id": "tsk_2"}, {"task_id": "tsk_2"}),
        ({"metadata": METADATA}, {"metadata": METADATA}),
    ],
    ids=str,
)
async def test_an_update_sends_the_changes_and_nothing_else(
    v2: KeitoV2, small: SmallKeito, changes: dict[str, Any], body: dict[str, Any]
) -> None:
    changed = await v2.update("te_1", TimeEntryUpdate(**changes))
    assert small.sent == [("PATCH", f"{ENTRIES}/te_1")]
    assert small.requests[0].body == body
    assert changed.project_name == "Website"


@pytest.mark.parametrize("is_running", [False, True])
async def test_an_update_that_should_stop_or_start_a_timer_is_a_mistake_and_not_sent(
    v2: KeitoV2, small: SmallKeito, *, is_running: bool
) -> None:
    with pytest.raises(ValueError, match="call stop"):
        await v2.update("te_1", TimeEntryUpdate(is_running=is_running, hours=Decimal(1), notes="n"))
    assert small.requests == []


async def test_a_stop_changes_nothing_that_a_person_may_have_edited(v2: KeitoV2, small: SmallKeito) -> None:
    small.says(entry(1, hours=0.25, notes="A person's words"))
    changes = TimeEntryUpdate(is_running=False, hours=Decimal(1), notes="Mine", metadata=METADATA)
    stopped = await v2.stop("te_1", changes)
    assert small.sent == [("PATCH", f"{ENTRIES}/te_1/stop")]
    assert small.requests[0].body is None
    assert (stopped.hours, stopped.notes, stopped.is_running) == (Decimal("0.25"), "A person's words", False)


async def test_a_delete_has_no_body_and_no_answer(v2: KeitoV2, small: SmallKeito) -> None:
    await v2.delete("te_1")
    assert small.sent == [("DELETE", f"{ENTRIES}/te_1")]
    assert small.requests[0].body is None


@pytest.mark.parametrize(
    ("entry_id", "on_the_wire"),
    [("te/../te_1", "te%2F..%2Fte_1"), ("te_1?x=1", "te_1%3Fx%3D1"), ("Zürich", "Z%C3%BCrich"), ("te_1#a", "te_1%23a")],
)
async def test_an_id_leads_to_one_entry_whatever_it_is_made_of(
    v2: KeitoV2, small: SmallKeito, entry_id: str, on_the_wire: str
) -> None:
    small.says(entry(1, id=entry_id), times=2)
    for call in ONE_ENTRY_CALLS:
        await call(v2, entry_id)
    path = f"{ENTRIES}/{on_the_wire}"
    assert small.sent == [("PATCH", path), ("PATCH", f"{path}/stop"), ("DELETE", path)]


@pytest.mark.parametrize("entry_id", ["", ".", "..", "..."])
async def test_an_id_that_would_be_another_address_is_not_found_and_never_sent(
    v2: KeitoV2, small: SmallKeito, entry_id: str
) -> None:
    for call in [*ONE_ENTRY_CALLS, KeitoV2.get]:
        with pytest.raises(NotFound):
            await call(v2, entry_id)
    assert small.requests == []


@pytest.mark.parametrize("answer", [{}, {"id": ""}, {"time_entry": {"id": "te_1"}}, [], 7, "te_1"], ids=str)
async def test_an_answer_without_an_id_is_unexpected_and_says_nothing_of_what_was_written(
    v2: KeitoV2, small: SmallKeito, answer: object
) -> None:
    small.says(answer, times=2)
    with pytest.raises(UnexpectedAnswer) as caught:
        await made(v2)
    assert not caught.value.nothing_written
    with pytest.raises(UnexpectedAnswer):
        await v2.stop("te_1", TimeEntryUpdate())


@pytest.mark.parametrize(
    ("status", "error", "description", "kind", "field"),
    [
        (400, "bad request", "project_id is required", InvalidRequest, "project_id"),
        (400, "bad request", "hours must be at most 24", InvalidRequest, "hours"),
        (400, "bad request", "billable must be a boolean", InvalidRequest, "is_billable"),
        (401, "unauthorized", "Invalid API key", AuthenticationFailed, None),
        (403, "forbidden", "The entry is locked", PermissionDenied, None),
        (404, "not found", "Project not found", NotFound, None),
        (409, "conflict", "Another timer is already running", Conflict, None),
        (500, "server error", "Something broke", ServerFailed, None),
    ],
)
async def test_a_refusal_becomes_the_same_error_as_version_1s(
    v2: KeitoV2,
    small: SmallKeito,
    status: int,
    error: str,
    description: str,
    kind: type[StatusError],
    field: str | None,
) -> None:
    small.refuses(status, error, description)
    with pytest.raises(kind) as caught:
        await made(v2)
    assert (caught.value.status, caught.value.code, caught.value.message) == (status, error, description)
    assert caught.value.field == field


async def test_a_redirect_and_a_page_are_no_answers_of_keitos(v2: KeitoV2, small: SmallKeito) -> None:
    small.says("<html>moved</html>", 302)
    with pytest.raises(UnexpectedAnswer):
        await made(v2)
    small.says("<html>hello</html>")
    with pytest.raises(UnexpectedAnswer):
        await made(v2)


async def test_a_write_that_failed_is_not_sent_again(v2: KeitoV2, small: SmallKeito) -> None:
    small.says({}, 503, times=2)
    with pytest.raises(KeitoError):
        await v2.stop("te_1", TimeEntryUpdate())
    assert len(small.requests) == 1
