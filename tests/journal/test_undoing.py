from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from keito_mcp.journal import Entry, EntryState, Journal, Write, WriteKind, WriteState
from tests.journal.builders import (
    ACCOUNT,
    MINE,
    WAITS,
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
    queued,
    settle,
    settlement,
    states,
)

pytestmark = pytest.mark.anyio

TIMER = entry("key-1")
LOGGED = entry("key-1", timer=False)


async def throw(journal: Journal, *keys: str, reason: str | None = "Wrong project") -> list[tuple[str, bool]]:
    """Throw entries away; tells of each whether it is certainly not in Keito."""
    unwanted = [await known(journal, key) for key in keys]
    return [(thrown.entry.entry_key, thrown.is_gone) for thrown in await journal.throw_away(unwanted, reason, after(9))]


async def test_what_never_left_is_dropped_and_gone(journal: Journal, folder: Path) -> None:
    create = await queued(journal, TIMER, promised=True)
    change = await begun(journal, changing(TIMER, entry_id=None, **WAITS))
    assert await throw(journal, "key-1") == [("key-1", True)]
    assert states(folder) == {create: "dropped", change: "dropped"}
    assert (await known(journal, "key-1")).state is EntryState.DISCARDED
    assert await journal.claim(ACCOUNT, after(9)) is None


@pytest.mark.parametrize("state", [WriteState.SENT, WriteState.UNKNOWN, WriteState.CONFIRMING])
async def test_what_may_have_arrived_is_not_said_to_be_gone_and_is_deleted_when_it_did(
    journal: Journal, folder: Path, state: WriteState
) -> None:
    create = await created(journal, TIMER, state=state)
    change = await begun(journal, changing(TIMER, entry_id=None, **WAITS))
    assert await throw(journal, "key-1") == [("key-1", False)]
    assert states(folder) == {create: state, change: "dropped"}
    claimed = await claim(journal, 60)
    assert claimed.write_id == create
    await journal.settle(settlement(create, TIMER, {"entry_id": "te_1"}, arrived=True, at=after(60)))
    [delete] = await journal.unsettled(ACCOUNT)
    assert (delete.kind, delete.entry_id, delete.body["was"]) == (WriteKind.DELETE, "te_1", "running")


async def test_what_is_in_keito_is_deleted_later_and_its_agent_told(journal: Journal, folder: Path) -> None:
    await created(journal, TIMER, "te_1")
    change = await begun(journal, changing(TIMER, **WAITS))
    assert await throw(journal, "key-1") == [("key-1", False)]
    assert states(folder)[change] == "dropped"
    [delete] = await journal.unsettled(ACCOUNT)
    assert (delete.kind, delete.state, delete.sends, delete.promised) == (WriteKind.DELETE, WriteState.QUEUED, 0, True)
    assert (delete.entry_key, delete.entry_id) == ("key-1", "te_1")
    stop = {"hours": 1.5, "is_running": False}
    assert delete.body == {"reason": "Wrong project", "session_id": "session-1", "was": "running", "waiting": stop}
    assert (await claim(journal, 9)).write_id == delete.write_id


async def test_a_change_on_its_way_stays_and_is_not_in_the_way_of_the_delete(journal: Journal, folder: Path) -> None:
    await created(journal, TIMER, "te_1")
    change = await begun(journal, changing(TIMER, lease=MINE))
    await throw(journal, "key-1")
    assert states(folder)[change] == "sent"
    assert (await claim(journal, 9)).kind is WriteKind.DELETE


async def test_what_was_taken_but_not_sent_yet_is_dropped_and_does_not_leave(
    journal: Journal, others: Journal, folder: Path
) -> None:
    write_id = await queued(journal, TIMER)
    theirs = await claim(others)
    assert await throw(journal, "key-1") == [("key-1", True)]
    assert await others.send(theirs, after(10)) is False
    assert states(folder) == {write_id: "dropped"}


async def test_what_is_thrown_away_twice_is_deleted_once(journal: Journal) -> None:
    await created(journal, TIMER, "te_1")
    for _ in range(2):
        assert await throw(journal, "key-1") == [("key-1", False)]
    [delete] = await journal.unsettled(ACCOUNT)
    assert delete.body["was"] == "running"


async def test_what_a_person_deleted_meanwhile_is_gone_and_keeps_nothing_else_from_being_thrown_away(
    journal: Journal, folder: Path
) -> None:
    await created(journal, TIMER, "te_1")
    change = await begun(journal, changing(TIMER, **WAITS))
    await created(journal, entry("key-2", timer=False), "te_2")
    unwanted = await journal.of_session(ACCOUNT, "session-1")
    await becomes(journal, TIMER, EntryState.GONE)
    thrown = await journal.throw_away(unwanted, None, after(9))
    assert [(one.entry.entry_key, one.is_gone) for one in thrown] == [("key-1", True), ("key-2", False)]
    assert (await known(journal, "key-1")).state is EntryState.GONE
    assert states(folder)[change] == "dropped"
    assert [write.entry_key for write in await journal.unsettled(ACCOUNT)] == ["key-2"]


async def test_an_entry_is_thrown_away_as_it_is_by_then(journal: Journal) -> None:
    create = await created(journal, TIMER)
    before = await known(journal, "key-1")
    await journal.settle(settlement(create, TIMER, {"entry_id": "te_1"}, arrived=True))
    [thrown] = await journal.throw_away([before], None, after(9))
    assert (thrown.entry.entry_id, thrown.is_gone) == ("te_1", False)
    [delete] = await journal.unsettled(ACCOUNT)
    assert delete.entry_id == "te_1"


async def deleted(journal: Journal, made: Entry = LOGGED) -> Write:
    """The delete of an entry that was made."""
    if not await journal.find(ACCOUNT, made.entry_key):
        await created(journal, made, "te_1")
    write_id = await begun(journal, deleting(made))
    await journal.settle(settlement(write_id, made, {"state": EntryState.DISCARDED}))
    [write] = [write for write in await journal.restorable(ACCOUNT, "session-1") if write.write_id == write_id]
    return write


async def test_deletes_that_were_made_with_the_whole_entry_can_be_restored(journal: Journal) -> None:
    write = await deleted(journal)
    bare = {"reason": None, "session_id": "session-1", "was": "stopped"}
    for other in (
        deleting(LOGGED),
        deleting(LOGGED, state=WriteState.REFUSED),
        deleting(LOGGED, state=WriteState.DONE, body=bare),
        deleting(LOGGED, state=WriteState.DONE, body={**bare, "session_id": "session-2", "entry": {}}),
        deleting(LOGGED, state=WriteState.DONE, account="account-2"),
    ):
        await begun(journal, other)
    assert [found.write_id for found in await journal.restorable(ACCOUNT, "session-1")] == [write.write_id]


async def restore(journal: Journal, write: Write, made: Entry = LOGGED) -> bool:
    again = replace(made, state=EntryState.STOPPING, hours=Decimal("2.5"), hours_answered=True)
    return await journal.restore(write, again, creating(made, sent=after(20), **WAITS))


async def test_what_was_deleted_is_restored_once(journal: Journal, folder: Path) -> None:
    write = await deleted(journal)
    assert await restore(journal, write) is True
    back = await known(journal, "key-1")
    assert (back.state, back.entry_id, back.hours, back.hours_answered) == (
        EntryState.STOPPING,
        None,
        Decimal("2.5"),
        False,
    )
    [create] = await journal.unsettled(ACCOUNT)
    assert (create.kind, create.state, create.sends) == (WriteKind.CREATE, WriteState.QUEUED, 0)
    assert states(folder)[write.write_id] == "undone"
    before = everything(folder)
    assert await restore(journal, write) is False
    assert everything(folder) == before
    assert await journal.restorable(ACCOUNT, "session-1") == []


async def test_what_another_machine_made_is_restored_as_an_entry_of_this_one(journal: Journal) -> None:
    write_id = await begun(journal, deleting(LOGGED, entry_key=None))
    await settle(journal, write_id)
    [write] = await journal.restorable(ACCOUNT, "session-1")
    assert await restore(journal, write) is True
    assert (await known(journal, "key-1")).state is EntryState.STOPPING
    assert [create.entry_key for create in await journal.unsettled(ACCOUNT)] == ["key-1"]


async def test_what_was_restored_arrives_stopped_and_can_be_thrown_away_and_restored_again(journal: Journal) -> None:
    assert await restore(journal, await deleted(journal))
    create = await claim(journal, 20)
    assert await journal.send(create, after(20))
    await journal.settle(settlement(create.write_id, LOGGED, {"entry_id": "te_2"}, arrived=False))
    assert (await known(journal, "te_2")).state is EntryState.STOPPED
    assert await restore(journal, await deleted(journal)) is True


async def test_of_several_servers_that_restore_at_once_exactly_one_does(servers: list[Journal]) -> None:
    write = await deleted(servers[0])
    answers = await at_once(servers, *[lambda journal: restore(journal, write)] * 8)
    assert sorted(answers) == [False] * 7 + [True]
    assert len(await servers[0].unsettled(ACCOUNT)) == 1
