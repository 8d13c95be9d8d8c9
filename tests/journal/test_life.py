from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keito_mcp.clock import Instant
from keito_mcp.journal import Amendment, Earlier, EntryState, Journal, WriteState
from tests.journal.builders import (
    ACCOUNT,
    ME,
    MINE,
    WAITS,
    after,
    at_once,
    becomes,
    begun,
    changing,
    created,
    creating,
    entry,
    everything,
    instant,
    known,
    rows,
    settle,
    settlement,
    sign,
    stranger,
)
from tests.kit import NOON

pytestmark = pytest.mark.anyio

TIMER = entry("key-1")
DAY = timedelta(days=1)


def closing_it(key: str = "key-1") -> Amendment:
    return Amendment(
        entry_key=key,
        body={"hours": 0.5, "is_running": False},
        leave_now=False,
        closed="Its agent is gone.",
        only_while_open=True,
    )


async def the_timers(journal: Journal, session_id: str | None = None) -> dict[str, tuple[Instant, str | None]]:
    return {
        timer.entry.entry_key: (timer.seen, timer.process) for timer in await journal.others_timers(ACCOUNT, session_id)
    }


async def test_a_session_is_seen_when_it_signs_and_where_it_signed_last(journal: Journal) -> None:
    await created(journal, TIMER, "te_1")
    await journal.sign(sign(at=after(10)))
    assert await the_timers(journal) == {"key-1": (after(10), MINE)}
    await journal.sign(sign(at=after(20), process=None))
    assert await the_timers(journal) == {"key-1": (after(20), None)}


async def test_a_sign_of_life_is_recorded_together_with_what_the_session_does(
    journal: Journal, commits: list[str]
) -> None:
    await journal.create(TIMER, creating(TIMER), same_since=NOON, sign=sign(at=after(1)))
    assert await the_timers(journal) == {"key-1": (after(1), MINE)}
    await journal.begin(sign=sign(at=after(2)))
    assert await the_timers(journal) == {"key-1": (after(2), MINE)}
    edit = Amendment(entry_key="key-1", body={"notes": "n"}, leave_now=False)
    await journal.amend(edit, after(3), sign=sign(at=after(3)))
    assert await the_timers(journal) == {"key-1": (after(3), MINE)}
    assert commits == ["create", "begin", "amend"]


async def test_a_timer_of_a_session_that_never_signed_was_seen_when_it_started(journal: Journal) -> None:
    await created(journal, entry("key-1", at=NOON - DAY), "te_1")
    assert await the_timers(journal) == {"key-1": (instant(NOON - DAY), None)}


@pytest.mark.parametrize("state", [EntryState.STOPPING, EntryState.STOPPED, EntryState.REFUSED, EntryState.DISCARDED])
async def test_only_open_timers_of_the_accounts_other_sessions_are_told_oldest_first(
    journal: Journal, state: EntryState
) -> None:
    await created(journal, TIMER, "te_1")
    await created(journal, entry("key-2", owner=stranger()), "te_2")
    await created(journal, entry("key-3", owner=stranger("session-3")))
    over = entry("key-4", owner=stranger("session-4"))
    await created(journal, over, "te_4")
    await becomes(journal, over, state)
    await created(journal, entry("key-5", owner=stranger("session-5"), timer=False))
    await created(journal, entry("key-6", owner=stranger(account="account-2")))
    assert list(await the_timers(journal, "session-1")) == ["key-2", "key-3"]
    assert list(await the_timers(journal)) == ["key-1", "key-2", "key-3"]


async def test_a_beat_moves_only_this_processs_sessions_in_which_a_timer_runs(
    journal: Journal, others: Journal, folder: Path
) -> None:
    idle, theirs, nobodys = stranger("idle"), stranger("theirs"), stranger("nobody's")
    await created(journal, TIMER, "te_1")
    await created(journal, entry("key-2", owner=theirs), "te_2")
    await created(journal, entry("key-3", owner=nobodys), "te_3")
    await created(journal, entry("key-4", owner=idle, timer=False), "te_4")
    for given in (sign(), sign(idle), sign(theirs, process="process-2"), sign(nobodys, process=None)):
        await journal.sign(given)
    assert await journal.beat(after(60)) is True
    moved = rows(folder, "SELECT session_id FROM sessions WHERE seen_monotonic > 1000.25")
    assert moved == [("session-1",)]
    assert await the_timers(journal) == {
        "key-1": (after(60), MINE),
        "key-2": (after(0), "process-2"),
        "key-3": (after(0), None),
    }
    assert await others.beat(after(61)) is True
    assert (await the_timers(journal))["key-2"] == (after(61), "process-2")


async def test_without_a_running_timer_a_beat_writes_nothing(journal: Journal, commits: list[str]) -> None:
    await created(journal, TIMER, "te_1")
    await journal.sign(sign())
    await becomes(journal, TIMER, EntryState.STOPPING)
    commits.clear()
    assert await journal.beat(after(60)) is False
    assert commits == []


async def test_a_timer_whose_session_is_over_is_stopped_and_waits(journal: Journal) -> None:
    await created(journal, TIMER, "te_1")
    await journal.sign(sign())
    [timer] = await journal.others_timers(ACCOUNT, None)
    write = await journal.close_timer(timer, closing_it(), after(99))
    assert write is not None
    assert (write.state, write.body["hours"]) == (WriteState.QUEUED, 0.5)
    closed = await known(journal, "key-1")
    assert (closed.state, closed.closed) == (EntryState.STOPPING, "Its agent is gone.")
    assert await journal.others_timers(ACCOUNT, None) == []


@pytest.mark.parametrize("meanwhile", ["signed", "beat", "stopped", "closed"])
async def test_a_timer_is_not_closed_whose_session_lived_or_stopped_it_since_it_was_read(
    journal: Journal, folder: Path, meanwhile: str
) -> None:
    await created(journal, TIMER, "te_1")
    await journal.sign(sign())
    [timer] = await journal.others_timers(ACCOUNT, None)
    match meanwhile:
        case "signed":
            await journal.sign(sign(at=after(50)))
        case "beat":
            assert await journal.beat(after(50))
        case "stopped":
            await becomes(journal, TIMER, EntryState.STOPPED)
        case _:
            assert await journal.close_timer(timer, closing_it(), after(99)) is not None
    before = everything(folder)
    assert await journal.close_timer(timer, closing_it(), after(99)) is None
    assert everything(folder) == before


async def test_of_several_servers_that_close_the_same_timer_at_once_exactly_one_does(servers: list[Journal]) -> None:
    await created(servers[0], TIMER)
    [timer] = await servers[0].others_timers(ACCOUNT, None)
    answers = await at_once(servers, *[lambda journal: journal.close_timer(timer, closing_it(), after(9))] * 8)
    assert len([answer for answer in answers if answer is not None]) == 1


async def test_an_agent_is_told_once_what_it_was_promised_and_keito_refused(journal: Journal) -> None:
    await created(journal, TIMER, "te_1")
    ids = await journal.begin(
        changing(TIMER, promised=True),
        changing(TIMER),
        changing(TIMER, promised=True),
        changing(TIMER, promised=True, **WAITS),
    )
    for write_id in ids[:2]:
        await settle(journal, write_id, WriteState.REFUSED, reason="It is approved.")
    await settle(journal, ids[2])
    [(write, its)] = await journal.untold(ME)
    assert (write.write_id, write.reason) == (ids[0], "It is approved.")
    assert its == await known(journal, "key-1")
    await journal.told([write.write_id])
    assert await journal.untold(ME) == []


@pytest.mark.parametrize("other", [{"session_id": "session-2"}, {"agent_id": "a"}, {"subagent_id": "s"}], ids=str)
async def test_another_agent_is_not_told(journal: Journal, other: dict[str, Any]) -> None:
    await created(journal, TIMER, "te_1")
    await settle(journal, await begun(journal, changing(TIMER, promised=True)), WriteState.REFUSED)
    assert await journal.untold(replace(ME, **other)) == []
    assert len(await journal.untold(ME)) == 1


async def test_what_was_settled_long_ago_is_forgotten_with_its_entry_and_session(
    journal: Journal, folder: Path
) -> None:
    create = await journal.create(TIMER, creating(TIMER), same_since=NOON, sign=sign())
    assert isinstance(create, int)
    await journal.settle(settlement(create, TIMER, {"entry_id": "te_1", "state": EntryState.STOPPED}))
    await journal.prune(NOON)
    assert len(rows(folder, "SELECT 1 FROM writes")) == 1
    await journal.prune(NOON + timedelta(microseconds=1))
    for table in ("writes", "entries", "sessions"):
        assert rows(folder, f"SELECT * FROM {table}") == []  # noqa: S608 -- named above


@pytest.mark.parametrize("state", [WriteState.QUEUED, WriteState.SENT, WriteState.UNKNOWN, WriteState.CONFIRMING])
async def test_what_is_not_settled_is_kept_with_its_entry_and_session(
    journal: Journal, folder: Path, state: WriteState
) -> None:
    await journal.create(TIMER, creating(TIMER, state=state), same_since=NOON, sign=sign())
    await becomes(journal, TIMER, EntryState.DISCARDED)
    before = everything(folder)
    await journal.prune(NOON + 365 * DAY)
    assert everything(folder) == before


@pytest.mark.parametrize("state", [EntryState.RUNNING, EntryState.STOPPING])
async def test_an_entry_that_is_not_finished_is_kept_with_its_create(journal: Journal, state: EntryState) -> None:
    create = await created(journal, TIMER, "te_1")
    await becomes(journal, TIMER, state)
    await journal.prune(NOON + 365 * DAY)
    assert (await journal.create_of(TIMER)).write_id == create
    if state is EntryState.RUNNING:
        assert isinstance(await journal.create(entry("key-2"), creating(entry("key-2")), same_since=NOON), Earlier)


async def test_a_session_with_a_recent_entry_is_kept(journal: Journal, folder: Path) -> None:
    await journal.sign(sign())
    await journal.sign(sign(stranger(), at=instant(NOON + DAY)))
    await created(journal, entry("key-1", timer=False, at=NOON + DAY), "te_1")
    await becomes(journal, TIMER, EntryState.STOPPED, NOON + DAY)
    await journal.prune(NOON + DAY)
    assert rows(folder, "SELECT session_id FROM sessions ORDER BY 1") == [("session-1",), ("session-2",)]
