"""An entry counts as gone only once it was looked for again."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from decimal import Decimal

import pytest

from keito_mcp.keito import Client, Connections, KeitoApi, NotFound, TimeEntryCreate, TimeEntryUpdate, UnexpectedAnswer
from keito_mcp.keito import api_for as api_of
from tests.kit import KEY, QUICK, TASK, V2_KEY, Keito

pytestmark = pytest.mark.anyio

DAY = date(2026, 3, 6)
Write = Callable[[KeitoApi, str], Awaitable[object]]
WRITES: dict[str, Write] = {
    "update": lambda api, entry_id: api.update(entry_id, TimeEntryUpdate(notes="n"), near=DAY),
    "stop": lambda api, entry_id: api.stop(entry_id, TimeEntryUpdate(hours=Decimal(1)), near=DAY),
    "delete": lambda api, entry_id: api.delete(entry_id, near=DAY),
}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@pytest.fixture(params=["v1", "v2"])
def api_version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def api(keito: Keito) -> AsyncIterator[KeitoApi]:
    client = Client(keito.url, V2_KEY if keito.wire.counts else KEY, Connections(timeouts=QUICK))
    yield api_of("v2" if keito.wire.counts else "v1", client, account_id="co_made_up", now=lambda: keito.clock.wall)
    await client.aclose()


@pytest.fixture
async def timer(api: KeitoApi, keito: Keito) -> str:
    body = TimeEntryCreate(project_id="prj_abc", task_id=TASK, spent_date=DAY, is_running=True, source="agent")
    entry = await api.create(body, idempotency_key="key-1")
    keito.requests.clear()
    return entry.id


async def test_an_entry_that_is_not_found_once_is_read_again_and_there(api: KeitoApi, keito: Keito, timer: str) -> None:
    nothing = {"body": json.dumps({"time_entries": [], "total_pages": 0})} if keito.wire.counts else {}
    looks = len(keito.wire.looks_for_what_is_gone) // 2
    keito.fails("GET", status=200 if nothing else 404, times=looks, **nothing)
    assert (await api.get(timer, near=DAY)).id == timer
    assert keito.methods == ["GET"] * (looks + 1)


@every_write
async def test_a_404_of_an_entry_that_is_gone_is_believed(
    api: KeitoApi, keito: Keito, timer: str, write: Write
) -> None:
    keito.store.delete(timer)
    with pytest.raises(NotFound) as caught:
        await write(api, timer)
    assert caught.value.nothing_written
    assert tuple(keito.methods[1:]) == keito.wire.looks_for_what_is_gone


@every_write
async def test_a_404_of_an_entry_that_stands_is_no_answer_and_the_write_may_have_happened(
    api: KeitoApi, keito: Keito, timer: str, write: Write
) -> None:
    keito.fails(status=404)
    with pytest.raises(UnexpectedAnswer, match="Keito shows the entry all the same") as caught:
        await write(api, timer)
    assert not caught.value.nothing_written
    assert keito.methods[1:] == ["GET"]


@every_write
@pytest.mark.parametrize("fault", [{"status": 403, "body": "<html>"}, {"cut_before": True}, {"hang": True}], ids=str)
async def test_a_404_that_cannot_be_verified_is_no_answer_and_the_write_may_have_happened(
    api: KeitoApi, keito: Keito, timer: str, write: Write, fault: dict[str, object]
) -> None:
    keito.fails(status=404)
    keito.fails("GET", times=100, **fault)
    with pytest.raises(UnexpectedAnswer, match="couldn't be verified") as caught:
        await write(api, timer)
    assert not caught.value.nothing_written


ANOTHERS = '{"id": "req_7f3", "message": "Blocked by your organization", "is_running": false, "hours": 1, "notes": "n"}'


@pytest.mark.parametrize("name", ["update", "stop"])
async def test_an_answer_with_another_id_is_not_the_entrys(api: KeitoApi, keito: Keito, timer: str, name: str) -> None:
    keito.fails("PATCH", status=200, body=ANOTHERS)
    with pytest.raises(UnexpectedAnswer, match="another id") as caught:
        await WRITES[name](api, timer)
    assert not caught.value.nothing_written
    assert keito.entries()[0]["is_running"]


async def test_a_read_that_shows_another_id_shows_nothing(api: KeitoApi, keito: Keito, timer: str) -> None:
    keito.fails("GET", status=200, body=ANOTHERS, times=2)
    with pytest.raises(UnexpectedAnswer):
        await api.get(timer, near=DAY)


@pytest.mark.parametrize("body", ["{}", '{"ok": true}', "[]", "null", "", "<html>"])
async def test_a_delete_is_made_only_where_keito_answers_204(
    api: KeitoApi, keito: Keito, timer: str, body: str
) -> None:
    keito.fails("DELETE", status=200, body=body)
    with pytest.raises(UnexpectedAnswer) as caught:
        await api.delete(timer)
    assert not caught.value.nothing_written
