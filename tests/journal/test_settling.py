from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keito_mcp.journal import Entry, EntryState, Journal, WriteKind, WriteState
from tests.journal.builders import (
    ACCOUNT,
    MINE,
    WAITS,
    after,
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
    queued,
    rows,
    settle,
    settlement,
    states,
    the_write,
)

pytestmark = pytest.mark.anyio

A, B = entry("key-1", timer=False), entry("key-2", timer=False)
TIMER = entry("key-1")


async def sent_twice(journal: Journal, made: Entry, **fields: Any) -> int:
    """A create that was sent again, long after it got no answer."""
    write_id = await created(journal, made, **fields)
    await settle(journal, write_id, WriteState.UNKNOWN)
    assert await journal.send(await claim(journal, 200), after(200))
    return write_id


async def test_a_write_that_waits_rests_and_counts_how_often_it_could_not_be_delivered(journal: Journal) -> None:
    write_id = await queued(journal, A)
    for attempt in (1, 2):
        at = attempt * 100
        assert await journal.send(await claim(journal, at), after(at))
        await settle(journal, write_id, WriteState.QUEUED, at, reason="Away.", rest=9.0, promised=True)
        write = await the_write(journal, write_id)
        assert (write.state, write.reason, write.attempts, write.sends) == (WriteState.QUEUED, "Away.", attempt, 0)
        assert (write.lease, write.rested, write.rest, write.promised) == (None, after(at), 9.0, True)


async def test_looks_in_vain_are_counted(journal: Journal) -> None:
    write_id = await created(journal, A)
    for looks in (1, 2):
        await settle(journal, write_id, WriteState.UNKNOWN, looked=True)
        assert (await claim(journal)).looks == looks
        await settle(journal, write_id, WriteState.UNKNOWN)
        assert (await claim(journal)).looks == looks


async def test_what_was_sent_before_may_have_arrived_even_if_it_certainly_did_not_this_time(journal: Journal) -> None:
    write_id = await sent_twice(journal, A)
    await settle(journal, write_id, WriteState.QUEUED, 200)
    write = await the_write(journal, write_id)
    assert (write.state, write.sends) == (WriteState.UNKNOWN, 1)
    assert await journal.send(await claim(journal, 300), after(300))
    assert (await the_write(journal, write_id)).sends == 2


@pytest.mark.parametrize("outcome", [WriteState.QUEUED, WriteState.UNKNOWN])
async def test_only_who_holds_a_write_may_say_that_it_waits(
    journal: Journal, others: Journal, folder: Path, outcome: WriteState
) -> None:
    write_id = await queued(journal, A)
    assert await journal.send(await claim(journal), after(0))
    await claim(others, 60)
    before = everything(folder)
    await journal.settle(settlement(write_id, A, {"notes": "n"}, outcome=outcome))
    assert everything(folder) == before


@pytest.mark.parametrize("outcome", [WriteState.DONE, WriteState.REFUSED])
async def test_an_answer_counts_also_of_one_who_no_longer_holds_the_write(
    journal: Journal, others: Journal, folder: Path, outcome: WriteState
) -> None:
    write_id = await queued(journal, A)
    assert await journal.send(await claim(journal), after(0))
    theirs = await claim(others, 60)
    await settle(journal, write_id, outcome, 61)
    assert states(folder) == {write_id: outcome}
    assert await others.send(theirs, after(62)) is False


@pytest.mark.parametrize("outcome", [WriteState.DONE, WriteState.REFUSED])
async def test_a_create_that_was_sent_twice_is_looked_up_once_more_after_five_minutes(
    journal: Journal, folder: Path, outcome: WriteState
) -> None:
    write_id = await sent_twice(journal, A)
    await settle(journal, write_id, outcome, 201, rest=7.0, reason="why", promised=True)
    write = await the_write(journal, write_id)
    assert (write.state, write.rest, write.rested, write.promised) == (WriteState.CONFIRMING, 300.0, after(201), True)
    assert await journal.claim(ACCOUNT, after(500)) == 1.0
    assert (await claim(journal, 501)).write_id == write_id
    await settle(journal, write_id, outcome, 502)
    assert states(folder) == {write_id: outcome}


@pytest.mark.parametrize("late", [WriteState.DONE, WriteState.REFUSED])
@pytest.mark.parametrize("first", [WriteState.DONE, WriteState.REFUSED])
async def test_the_second_answer_to_a_create_that_was_sent_twice_does_not_spare_the_look(
    journal: Journal, others: Journal, folder: Path, first: WriteState, late: WriteState
) -> None:
    write_id = await queued(journal, A)
    assert await journal.send(await claim(journal), after(0))
    assert await others.send(await claim(others, 200), after(200))
    arrived = {"entry_id": "te_1"}, {"arrived": False}
    refused = {"state": EntryState.GONE}, {"reason": "422"}
    changes, fields = arrived if first is WriteState.DONE else refused
    await journal.settle(settlement(write_id, A, changes, outcome=first, at=after(201), **fields))
    before = everything(folder)
    changes, fields = ({"entry_id": "te_2"}, {"arrived": False}) if late is WriteState.DONE else refused
    await others.settle(settlement(write_id, A, changes, outcome=late, at=after(202), **fields))
    assert everything(folder) == before
    assert await others.claim(ACCOUNT, after(202)) == 299.0


@pytest.mark.parametrize("outcome", [WriteState.DONE, WriteState.REFUSED])
async def test_a_change_or_delete_that_was_sent_twice_needs_no_second_look(
    journal: Journal, folder: Path, outcome: WriteState
) -> None:
    await created(journal, A, "te_1")
    for write in (changing(A, sends=2), deleting(A, sends=2)):
        write_id = await begun(journal, write)
        await settle(journal, write_id, outcome)
        assert states(folder)[write_id] == outcome


async def test_a_refused_create_drops_what_waits_behind_it_and_nothing_else(journal: Journal, folder: Path) -> None:
    create, other = await created(journal, A), await queued(journal, B)
    behind = await begun(journal, changing(A, entry_id=None, **WAITS, promised=True))
    await journal.settle(settlement(create, A, {"state": EntryState.GONE}, outcome=WriteState.REFUSED, reason="422"))
    assert states(folder) == {create: "refused", other: "queued", behind: "dropped"}
    assert (await known(journal, "key-1")).state is EntryState.GONE


async def test_a_refused_change_or_delete_drops_nothing(journal: Journal, folder: Path) -> None:
    await created(journal, A, "te_1")
    change, delete, behind = await journal.begin(changing(A), deleting(A), changing(A, **WAITS))
    await settle(journal, change, WriteState.REFUSED)
    await settle(journal, delete, WriteState.REFUSED)
    assert states(folder)[behind] == "queued"


async def test_a_finished_delete_drops_what_waits_for_its_entry_and_nothing_else(
    journal: Journal, folder: Path
) -> None:
    await created(journal, A, "te_1")
    await created(journal, B, "te_2")
    settled = await begun(journal, changing(A))
    await settle(journal, settled)
    waiting = await journal.begin(
        changing(A, **WAITS),
        changing(A, state=WriteState.UNKNOWN),
        changing(A, lease="process-9"),
        changing(A, entry_key=None, **WAITS),
        deleting(A, entry_id=None, **WAITS),
    )
    confirming = await begun(journal, creating(A, state=WriteState.CONFIRMING))
    others = await journal.begin(
        changing(B, entry_id="te_2", **WAITS), replace(changing(A, entry_key=None, **WAITS), account="account-2")
    )
    delete = await begun(journal, deleting(A))
    await settle(journal, delete)
    became = states(folder)
    assert [became[write_id] for write_id in waiting] == ["dropped"] * 5
    assert [became[write_id] for write_id in others] == ["queued"] * 2
    assert (became[delete], became[settled], became[confirming]) == ("done", "done", "confirming")


@pytest.mark.parametrize("outcome", [WriteState.QUEUED, WriteState.UNKNOWN, WriteState.REFUSED])
async def test_a_delete_that_is_not_made_drops_nothing(journal: Journal, folder: Path, outcome: WriteState) -> None:
    await created(journal, A, "te_1")
    waiting = await begun(journal, changing(A, **WAITS))
    await settle(journal, await begun(journal, deleting(A, lease=MINE)), outcome)
    assert states(folder)[waiting] == "queued"


async def test_what_a_killed_process_sent_for_a_deleted_entry_is_not_left_open_for_ever(
    journal: Journal, others: Journal, ended: set[str]
) -> None:
    await created(journal, A, "te_1")
    await begun(journal, changing(A, lease=MINE))
    ended.add(MINE)
    await others.throw_away([await known(others, "key-1")], None, after(0))
    await settle(others, (await claim(others, 0)).write_id)
    assert await others.unsettled(ACCOUNT) == []
    assert await others.queues() == []


@pytest.mark.parametrize(
    ("was", "runs", "change", "becomes_"),
    [
        (EntryState.CREATING, True, None, EntryState.RUNNING),
        (EntryState.CREATING, False, None, EntryState.STOPPED),
        (EntryState.STOPPING, True, WriteState.QUEUED, EntryState.STOPPING),
        (EntryState.STOPPING, True, WriteState.SENT, EntryState.STOPPING),
        (EntryState.STOPPING, True, WriteState.UNKNOWN, EntryState.STOPPING),
        (EntryState.STOPPING, False, WriteState.DONE, EntryState.STOPPED),
        (EntryState.STOPPING, False, None, EntryState.STOPPED),
        (EntryState.RUNNING, True, None, EntryState.RUNNING),
        (EntryState.STOPPED, False, None, EntryState.STOPPED),
        (EntryState.REFUSED, True, None, EntryState.REFUSED),
    ],
)
async def test_what_was_asked_for_before_a_create_arrived_stays_so(
    journal: Journal,
    was: EntryState,
    runs: bool,  # noqa: FBT001
    change: WriteState | None,
    becomes_: EntryState,
) -> None:
    write_id = await created(journal, replace(TIMER, state=was))
    if change is not None:
        await begun(journal, changing(TIMER, state=change))
    await journal.settle(settlement(write_id, TIMER, {"entry_id": "te_1"}, arrived=runs))
    arrived = await known(journal, "key-1")
    assert (arrived.state, arrived.entry_id) == (becomes_, "te_1")
    assert [write.kind for write in await journal.unsettled(ACCOUNT)].count(WriteKind.DELETE) == 0


@pytest.mark.parametrize(("runs", "was"), [(True, "running"), (False, "stopped")])
@pytest.mark.parametrize("state", [EntryState.DISCARDED, EntryState.GONE])
async def test_what_arrives_although_it_is_no_longer_wanted_is_deleted_once(
    journal: Journal,
    state: EntryState,
    runs: bool,  # noqa: FBT001
    was: str,
) -> None:
    write_id = await created(journal, TIMER)
    await becomes(journal, TIMER, state)
    for _ in range(2):
        await journal.settle(settlement(write_id, TIMER, {"entry_id": "te_1"}, at=after(9), arrived=runs))
    arrived = await known(journal, "key-1")
    assert (arrived.state, arrived.entry_id) == (state, "te_1")
    [delete] = await journal.unsettled(ACCOUNT)
    assert (delete.kind, delete.state, delete.entry_key, delete.entry_id) == (
        WriteKind.DELETE,
        WriteState.QUEUED,
        "key-1",
        "te_1",
    )
    assert (delete.sends, delete.body["was"], delete.body["session_id"]) == (0, was, "session-1")
    assert (await claim(journal, 9)).write_id == delete.write_id


@pytest.mark.parametrize("state", [EntryState.DISCARDED, EntryState.GONE])
async def test_a_change_that_is_answered_does_not_bring_back_what_was_thrown_away(
    journal: Journal, folder: Path, state: EntryState
) -> None:
    await created(journal, TIMER, "te_1")
    change = await begun(journal, changing(TIMER))
    await becomes(journal, TIMER, state)
    await journal.settle(settlement(change, TIMER, {"state": EntryState.STOPPED, "hours": Decimal("1.5")}))
    assert states(folder)[change] == "done"
    thrown = await known(journal, "key-1")
    assert (thrown.state, thrown.hours) == (state, Decimal("1.5"))


@pytest.mark.parametrize(
    ("outcome", "is_settled"),
    [
        (WriteState.DONE, True),
        (WriteState.REFUSED, True),
        (WriteState.UNKNOWN, False),
        (WriteState.QUEUED, False),
        (WriteState.CONFIRMING, False),
    ],
)
async def test_a_write_is_unsettled_until_its_outcome_is_known(
    journal: Journal,
    folder: Path,
    outcome: WriteState,
    is_settled: bool,  # noqa: FBT001
) -> None:
    write_id = await created(journal, A)
    await settle(journal, write_id, outcome, 5, reason="why")
    assert (await journal.unsettled(ACCOUNT) == []) is is_settled
    settled_at = after(5).wall.isoformat() if is_settled else None
    assert rows(folder, "SELECT state, reason, settled_at FROM writes") == [(outcome, "why", settled_at)]


async def test_a_settlement_says_what_the_entry_is_now(journal: Journal) -> None:
    write_id = await created(journal, TIMER)
    changes: dict[str, object] = {
        "entry_id": "te_1",
        "state": EntryState.STOPPED,
        "hours": Decimal("2.2500"),
        "hours_answered": True,
        "notes": "Done",
        "is_billable": False,
        "person": "A person changed its notes.",
        "task_id": "tsk_1",
    }
    await journal.settle(settlement(write_id, TIMER, changes, at=after(3600)))
    expected = {**changes, "changed_at": after(3600).wall}
    now = await known(journal, "te_1")
    assert {name: getattr(now, name) for name in expected} == expected


@pytest.mark.parametrize("column", ["changed_at", "started_wall", "session_id", "account", "entry_key"])
async def test_what_never_changes_of_an_entry_cannot_be_settled(journal: Journal, folder: Path, column: str) -> None:
    write_id = await created(journal, TIMER)
    before = everything(folder)
    with pytest.raises(ValueError, match=column):
        await journal.settle(settlement(write_id, TIMER, {"notes": "Done", column: "2026-03-05"}))
    assert everything(folder) == before


async def test_a_settlement_without_changes_leaves_the_entry(journal: Journal) -> None:
    write_id = await created(journal, TIMER)
    await journal.settle(settlement(write_id, TIMER, at=after(3600)))
    assert await journal.of_session(ACCOUNT, "session-1") == [TIMER]


async def test_the_unsettled_writes_of_one_entry_are_told_oldest_first(journal: Journal) -> None:
    ids = [await created(journal, A)]
    await created(journal, B)
    ids += await journal.begin(changing(A, **WAITS), deleting(A, state=WriteState.UNKNOWN))
    assert [write.write_id for write in await journal.unsettled(ACCOUNT, "key-1")] == ids
    assert len(await journal.unsettled(ACCOUNT)) == 4
    assert await journal.unsettled("account-2") == []
