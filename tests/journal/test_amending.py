from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keito_mcp.journal import Amendment, EntryState, Journal, Write, WriteKind, WriteState
from tests.journal.builders import (
    ACCOUNT,
    ME,
    MINE,
    WAITS,
    Work,
    after,
    at_once,
    becomes,
    begun,
    changing,
    claim,
    created,
    creating,
    deleting,
    entry,
    everything,
    known,
    open_ids,
    queued,
    settle,
    the_write,
)

pytestmark = pytest.mark.anyio

TIMER = entry("key-1")
LOGGED = entry("key-1", timer=False)
STOP = {"hours": 1.5, "is_running": False, "notes": "Done"}


def amendment(**fields: Any) -> Amendment:
    return Amendment(**{"entry_key": "key-1", "body": STOP, "leave_now": True, **fields})


async def amend(journal: Journal, at: float = 0, **fields: Any) -> Write:
    write = await journal.amend(amendment(**fields), after(at))
    assert write is not None
    return write


async def running(journal: Journal) -> None:
    await created(journal, TIMER, "te_1")


@pytest.mark.parametrize("leave_now", [True, False])
async def test_a_stop_is_folded_into_a_create_that_waits(journal: Journal, leave_now: bool) -> None:  # noqa: FBT001
    write_id = await queued(journal, TIMER)
    write = await amend(journal, leave_now=leave_now)
    assert (write.write_id, write.kind) == (write_id, WriteKind.CREATE)
    assert write.body == {"project_id": "prj_abc", "hours": 1.5, "notes": "Done"}
    assert [kept.body for kept in await journal.unsettled(ACCOUNT)] == [write.body]
    stopped = await known(journal, "key-1")
    assert (stopped.state, stopped.hours, stopped.notes) == (EntryState.STOPPING, Decimal("1.5"), "Done")
    assert await journal.open_timer(ME) is None


async def test_a_correction_is_folded_into_a_create_that_waits_and_the_entry_is_as_it_will_be_made(
    journal: Journal,
) -> None:
    await queued(journal, LOGGED)
    body = {"hours": 2.25, "spent_date": "2026-03-05", "task_id": None, "is_billable": False}
    write = await amend(journal, body=body, leave_now=False)
    assert write.body == {"project_id": "prj_abc", "notes": "Überstunden", **body}
    corrected = await known(journal, "key-1")
    assert (corrected.state, corrected.hours, corrected.spent_date, corrected.is_billable) == (
        EntryState.CREATING,
        Decimal("2.25"),
        date(2026, 3, 5),
        False,
    )


async def test_an_edit_of_a_timer_whose_start_waits_leaves_it_running(journal: Journal) -> None:
    await queued(journal, TIMER)
    write = await amend(journal, body={"notes": "Other"}, leave_now=False)
    assert write.body["is_running"] is True
    assert (await known(journal, "key-1")).state is EntryState.CREATING


async def test_a_change_is_folded_into_a_change_that_waits(journal: Journal) -> None:
    await running(journal)
    first = await amend(journal, body={"notes": "First", "task_id": "tsk_1"}, leave_now=False)
    second = await amend(journal, leave_now=False)
    assert second.write_id == first.write_id
    assert second.body == {**STOP, "task_id": "tsk_1"}
    stopped = await known(journal, "key-1")
    assert (stopped.state, stopped.notes, stopped.hours) == (EntryState.STOPPING, "Fix the login", Decimal(0))


@pytest.mark.parametrize("state", [WriteState.SENT, WriteState.UNKNOWN])
async def test_a_change_is_put_behind_a_create_that_may_have_arrived(journal: Journal, state: WriteState) -> None:
    create = await created(journal, TIMER, state=state)
    write = await amend(journal)
    assert (write.kind, write.state, write.sends, write.lease) == (WriteKind.UPDATE, WriteState.QUEUED, 0, None)
    assert write.promised
    assert await open_ids(journal) == [create, write.write_id]
    stopped = await known(journal, "key-1")
    assert (stopped.state, stopped.hours) == (EntryState.STOPPING, Decimal(0))


@pytest.mark.parametrize("state", [WriteState.SENT, WriteState.UNKNOWN])
async def test_a_change_is_put_behind_one_that_may_have_arrived(journal: Journal, state: WriteState) -> None:
    await running(journal)
    first = await begun(journal, changing(TIMER, body={"notes": "n"}, state=state))
    write = await amend(journal)
    assert (write.state, write.body) == (WriteState.QUEUED, STOP)
    assert await open_ids(journal) == [first, write.write_id]
    third = await amend(journal, body={"notes": "Third"})
    assert (third.write_id, third.body) == (write.write_id, {**STOP, "notes": "Third"})


async def test_a_change_is_put_behind_a_write_that_is_about_to_be_sent(journal: Journal, others: Journal) -> None:
    create = await queued(journal, TIMER)
    theirs = await claim(others)
    write = await amend(journal)
    assert (write.kind, write.state) == (WriteKind.UPDATE, WriteState.QUEUED)
    assert await others.send(theirs, after(1))
    assert (await the_write(journal, create)).body == creating(TIMER).body


async def test_what_was_folded_in_since_a_lease_was_lost_is_not_overwritten(journal: Journal, others: Journal) -> None:
    write_id = await queued(journal, TIMER)
    late = await claim(others)
    await claim(journal, 60)
    await settle(journal, write_id, WriteState.QUEUED)
    await amend(journal, 61, leave_now=False)
    assert await others.send(late, after(62)) is False
    assert (await the_write(journal, write_id)).body["hours"] == 1.5


async def test_a_change_is_put_behind_a_delete(journal: Journal) -> None:
    await created(journal, LOGGED, "te_1")
    delete = await begun(journal, deleting(LOGGED, **WAITS))
    write = await amend(journal, body={"notes": "n"})
    assert (write.state, write.kind) == (WriteState.QUEUED, WriteKind.UPDATE)
    assert await open_ids(journal) == [delete, write.write_id]


async def test_a_change_leaves_at_once_where_nothing_must_go_first(journal: Journal) -> None:
    await running(journal)
    write = await amend(journal, 7)
    assert (write.state, write.sends, write.lease, write.sent) == (WriteState.SENT, 1, MINE, after(7))
    assert (write.entry_id, write.body, write.promised) == ("te_1", STOP, False)
    assert await journal.unsettled(ACCOUNT) == [replace(write, rested=after(7))]
    assert (await known(journal, "key-1")).state is EntryState.STOPPING


async def test_a_change_does_not_wait_for_the_second_look_at_a_create(journal: Journal) -> None:
    create = await created(journal, TIMER, state=WriteState.CONFIRMING, rest=300.0)
    write = await amend(journal)
    assert write.state is WriteState.SENT
    assert await open_ids(journal) == [create, write.write_id]


async def test_a_change_that_is_not_to_leave_now_waits(journal: Journal) -> None:
    await running(journal)
    write = await amend(journal, leave_now=False)
    assert (write.state, write.sends, write.lease, write.promised) == (WriteState.QUEUED, 0, None, True)
    assert await journal.unsettled(ACCOUNT) == [replace(write, rested=after(0))]


async def test_what_a_change_is_folded_into_leaves_at_once_and_is_held(journal: Journal, others: Journal) -> None:
    write_id = await queued(journal, TIMER, promised=True)
    write = await amend(journal, 9)
    assert (write.write_id, write.state, write.sends, write.lease) == (write_id, WriteState.SENT, 1, MINE)
    assert (write.sent, write.rested, write.promised) == (after(9), after(9), True)
    assert await journal.unsettled(ACCOUNT) == [write]
    assert await others.claim(ACCOUNT, after(10)) == 59.0


@pytest.mark.parametrize(("at", "leaves"), [(29, False), (30, True)])
async def test_what_rests_does_not_leave_because_of_a_change(
    journal: Journal,
    at: float,
    leaves: bool,  # noqa: FBT001
) -> None:
    await queued(journal, TIMER, rest=30.0)
    write = await amend(journal, at)
    assert (write.state is WriteState.SENT) is leaves
    assert (write.lease == MINE) is leaves
    if not leaves:
        assert await journal.claim(ACCOUNT, after(at)) == 1.0


async def test_a_change_does_not_leave_before_one_that_waits_before_it(journal: Journal) -> None:
    await created(journal, TIMER, state=WriteState.UNKNOWN)
    first = await amend(journal, body={"notes": "n"})
    write = await amend(journal)
    assert (write.write_id, write.state) == (first.write_id, WriteState.QUEUED)


async def test_why_a_timer_was_closed_is_kept_with_it(journal: Journal) -> None:
    await running(journal)
    await amend(journal, closed="Its agent is gone.")
    assert (await known(journal, "key-1")).closed == "Its agent is gone."


async def test_a_stop_that_keito_refused_may_be_asked_for_again(journal: Journal) -> None:
    await running(journal)
    await becomes(journal, TIMER, EntryState.REFUSED)
    assert (await amend(journal)).state is WriteState.SENT
    assert (await known(journal, "key-1")).state is EntryState.STOPPING


async def test_a_correction_of_what_was_stopped_leaves_its_state(journal: Journal) -> None:
    await running(journal)
    await becomes(journal, TIMER, EntryState.STOPPED)
    await amend(journal)
    assert (await known(journal, "key-1")).state is EntryState.STOPPED


@pytest.mark.parametrize("state", [EntryState.STOPPING, EntryState.STOPPED, EntryState.REFUSED])
async def test_a_timer_that_was_stopped_meanwhile_is_not_closed_again(
    journal: Journal, folder: Path, state: EntryState
) -> None:
    await running(journal)
    await becomes(journal, TIMER, state)
    before = everything(folder)
    assert await journal.amend(amendment(only_while_open=True), after(0)) is None
    assert everything(folder) == before


@pytest.mark.parametrize("state", [EntryState.GONE, EntryState.DISCARDED])
async def test_nothing_is_asked_for_of_an_entry_that_is_no_longer_wanted(
    journal: Journal, folder: Path, state: EntryState
) -> None:
    await running(journal)
    await becomes(journal, TIMER, state)
    before = everything(folder)
    assert await journal.amend(amendment(leave_now=False), after(0)) is None
    assert everything(folder) == before


async def test_of_several_servers_that_change_the_same_at_once_one_sends_and_nothing_is_lost(
    servers: list[Journal],
) -> None:
    await queued(servers[0], TIMER)
    names = [f"field-{number}" for number in range(12)]

    def work(name: str) -> Work:
        return lambda journal: journal.amend(amendment(body={name: 1}), after(0))

    answers = await at_once(servers, *map(work, names))
    assert [answer.state for answer in answers].count(WriteState.SENT) == 1
    create, *changes = await servers[0].unsettled(ACCOUNT)
    assert [write.state for write in changes] == [WriteState.QUEUED]
    fields = [name for write in (create, *changes) for name in write.body if name in names]
    assert sorted(fields) == sorted(names)
