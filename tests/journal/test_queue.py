from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from keito_mcp.clock import Instant
from keito_mcp.journal import Claimed, EntryState, Journal, Write, WriteState
from tests.journal.builders import (
    ACCOUNT,
    ME,
    MINE,
    OTHERS,
    WAITS,
    Work,
    after,
    at_once,
    becomes,
    begun,
    changing,
    claim,
    created,
    deleting,
    entry,
    everything,
    known,
    queued,
    settle,
    states,
    the_write,
)
from tests.kit import NOON

pytestmark = pytest.mark.anyio

A, B = entry("key-1", timer=False), entry("key-2", timer=False)
DAY = timedelta(days=1)


async def test_the_oldest_write_is_taken_first_and_each_only_once(journal: Journal) -> None:
    ids = [await queued(journal, entry(f"key-{number}", timer=False)) for number in (3, 1, 2)]
    assert [(await claim(journal)).write_id for _ in ids] == ids
    assert await journal.claim(ACCOUNT, after(0)) == 60.0


async def test_where_nothing_waits_nothing_is_taken(journal: Journal) -> None:
    assert await journal.claim(ACCOUNT, after(0)) is None
    await settle(journal, await queued(journal, A))
    assert await journal.claim(ACCOUNT, after(0)) is None


async def test_what_waits_for_another_account_is_not_taken(journal: Journal) -> None:
    await queued(journal, entry("key-1", owner=replace(ME, account="account-2")))
    assert await journal.claim(ACCOUNT, after(0)) is None


async def test_a_write_is_taken_with_its_entry_and_one_without_an_entry_alone(journal: Journal) -> None:
    write_id = await queued(journal, A)
    claimed = await journal.claim(ACCOUNT, after(5))
    assert isinstance(claimed, Claimed)
    assert claimed.entry == await known(journal, "key-1")
    assert (claimed.write.write_id, claimed.write.lease, claimed.write.rested) == (write_id, MINE, after(5))
    await begun(journal, deleting(A, entry_key=None, **WAITS))
    claimed = await journal.claim(ACCOUNT, after(5))
    assert isinstance(claimed, Claimed)
    assert claimed.entry is None


async def test_of_each_entry_only_the_first_open_write_is_taken(journal: Journal) -> None:
    first = await queued(journal, A)
    second = await begun(journal, changing(A, entry_id=None, **WAITS))
    other = await queued(journal, B)
    assert [(await claim(journal)).write_id for _ in range(2)] == [first, other]
    assert await journal.claim(ACCOUNT, after(10)) == 50.0
    await settle(journal, first, WriteState.QUEUED, rest=300)
    assert await journal.claim(ACCOUNT, after(10)) == 50.0
    assert await journal.claim(ACCOUNT, after(10), second) is None
    await settle(journal, first)
    assert (await claim(journal, 10)).write_id == second


async def test_writes_of_the_same_entry_that_only_keito_knows_go_one_after_the_other(journal: Journal) -> None:
    first, second = await journal.begin(*[changing(A, entry_key=None, entry_id="te_9", **WAITS)] * 2)
    assert (await claim(journal)).write_id == first
    assert await journal.claim(ACCOUNT, after(0)) == 60.0
    await settle(journal, first)
    assert (await claim(journal)).write_id == second


async def test_a_create_that_is_looked_up_once_more_is_not_in_the_way_of_changes(journal: Journal) -> None:
    first = await queued(journal, A, state=WriteState.CONFIRMING, rest=300.0)
    second = await begun(journal, changing(A, **WAITS))
    assert (await claim(journal)).write_id == second
    assert (await claim(journal, 300)).write_id == first


async def test_a_certain_write_is_taken_where_it_is_asked_for(journal: Journal) -> None:
    first, second = await queued(journal, A), await queued(journal, B)
    assert (await claim(journal, 0, second)).write_id == second
    assert await journal.claim(ACCOUNT, after(1), second) == 59.0
    assert (await claim(journal, 1, first)).write_id == first


async def test_a_write_that_rests_is_left_alone_and_the_next_one_taken(journal: Journal) -> None:
    first, second = await queued(journal, A), await queued(journal, B)
    await claim(journal)
    await settle(journal, first, WriteState.QUEUED, rest=30.0)
    assert (await claim(journal, 5)).write_id == second
    await settle(journal, second, WriteState.QUEUED, at=5, rest=120.0)
    assert await journal.claim(ACCOUNT, after(29)) == 1.0
    assert (await claim(journal, 30)).write_id == first


@pytest.mark.parametrize(
    ("wall", "monotonic", "boot", "left"),
    [
        (timedelta(seconds=10), 10, "boot-1", 20),
        (DAY, 10, "boot-1", 20),
        (-DAY, 10, "boot-1", 20),
        (timedelta(seconds=10), 1000, "boot-1", 20),
        (timedelta(seconds=10), -500, "boot-2", 20),
        (timedelta(seconds=10), 9999, "boot-2", 20),
        (-timedelta(minutes=10), 9999, "boot-2", 30),
    ],
    ids=["as it goes", "set ahead", "set back", "set back a little", "rebooted", "rebooted late", "rebooted, set back"],
)
async def test_a_clock_that_is_set_does_not_shorten_a_rest(
    journal: Journal, wall: timedelta, monotonic: float, boot: str, left: float
) -> None:
    write_id = await queued(journal, A)
    await claim(journal)
    await settle(journal, write_id, WriteState.QUEUED, rest=30.0)
    assert await journal.claim(ACCOUNT, Instant(NOON + wall, 1000.25 + monotonic, boot)) == left


@pytest.mark.parametrize("rest", [0.0, 30.0, 3600.0])
async def test_a_rest_that_began_by_a_clock_that_was_days_ahead_is_over_after_a_reboot(
    journal: Journal, rest: float
) -> None:
    write_id = await queued(journal, A)
    await claim(journal)
    await settle(journal, write_id, WriteState.QUEUED, rest=rest)
    assert (await claim(journal, Instant(NOON - 3 * DAY, 5.0, "boot-2"))).write_id == write_id


async def test_what_was_sent_by_a_clock_that_was_days_ahead_was_sent_just_now_at_the_latest(journal: Journal) -> None:
    write_id = await queued(journal, A)
    claimed = await claim(journal)
    await journal.send(claimed, after(0))
    await settle(journal, write_id, WriteState.UNKNOWN, rest=120.0)
    back = Instant(NOON - 3 * DAY, 5.0, "boot-2")
    assert (await claim(journal, back)).sent == back


@pytest.mark.parametrize("wall", [DAY, -DAY], ids=["set ahead", "set back"])
async def test_a_clock_that_is_set_does_not_end_a_lease(journal: Journal, others: Journal, wall: timedelta) -> None:
    write_id = await queued(journal, A)
    await claim(journal)
    assert await others.claim(ACCOUNT, Instant(NOON + wall, 1059.25, "boot-1")) == 1.0
    assert (await claim(others, Instant(NOON + wall, 1060.25, "boot-1"))).write_id == write_id


async def test_what_a_living_process_holds_is_taken_over_after_a_minute(journal: Journal, others: Journal) -> None:
    write_id = await queued(journal, A)
    await claim(journal)
    assert await others.claim(ACCOUNT, after(59)) == 1.0
    taken = await claim(others, 60)
    assert (taken.write_id, taken.lease) == (write_id, OTHERS)
    assert await journal.claim(ACCOUNT, after(61)) == 59.0


async def test_what_a_process_that_ended_holds_is_taken_over_at_once(
    journal: Journal, others: Journal, ended: set[str]
) -> None:
    write_id = await queued(journal, A, rest=5.0)
    await claim(journal, 10)
    ended.add(MINE)
    taken = await claim(others, 10)
    assert (taken.write_id, taken.state, taken.sends) == (write_id, WriteState.QUEUED, 0)


async def test_a_process_does_not_take_its_own_for_that_of_one_that_ended(journal: Journal, ended: set[str]) -> None:
    await queued(journal, A)
    await claim(journal)
    ended.add(MINE)
    assert await journal.claim(ACCOUNT, after(1)) == 59.0
    assert journal.has_ended(MINE) is False
    assert journal.has_ended(None) is False


@pytest.mark.parametrize(("has_ended", "seconds"), [(True, 1), (False, 60)], ids=["ended", "silent"])
async def test_what_was_sent_by_a_process_that_is_gone_may_have_arrived(
    journal: Journal,
    others: Journal,
    ended: set[str],
    has_ended: bool,  # noqa: FBT001
    seconds: float,
) -> None:
    write_id = await queued(journal, A)
    assert await journal.send(await claim(journal), after(0))
    if has_ended:
        ended.add(MINE)
    taken = await claim(others, seconds)
    assert (taken.write_id, taken.state, taken.sends, taken.sent) == (write_id, WriteState.UNKNOWN, 1, after(0))
    assert await the_write(others, write_id) == taken


async def test_a_write_leaves_with_its_body_as_it_is_then(journal: Journal) -> None:
    write_id = await queued(journal, A, reason="Keito can't be reached.")
    taken = await claim(journal, 5)
    assert await journal.send(replace(taken, body={"notes": "n"}, entry_id="te_1"), after(9)) is True
    write = await the_write(journal, write_id)
    assert (write.state, write.sends, write.sent, write.rested) == (WriteState.SENT, 1, after(9), after(9))
    assert (write.body, write.entry_id, write.reason, write.lease) == ({"notes": "n"}, "te_1", None, MINE)


async def test_a_lease_lasts_a_minute_from_the_sending_on(journal: Journal, others: Journal) -> None:
    await queued(journal, A)
    assert await journal.send(await claim(journal), after(50))
    assert await others.claim(ACCOUNT, after(60)) == 50.0


async def test_nothing_is_sent_that_was_taken_away(journal: Journal, others: Journal, folder: Path) -> None:
    await queued(journal, A)
    mine = await claim(journal)
    theirs = await claim(others, 60)
    before = everything(folder)
    assert await journal.send(mine, after(61)) is False
    assert everything(folder) == before
    assert await others.send(theirs, after(61)) is True
    assert await others.send(theirs, after(61)) is False


@pytest.mark.parametrize("outcome", [WriteState.DONE, WriteState.REFUSED, WriteState.DROPPED, WriteState.QUEUED])
async def test_nothing_is_sent_that_was_settled_since_it_was_taken(
    journal: Journal, folder: Path, outcome: WriteState
) -> None:
    write_id = await queued(journal, A)
    mine = await claim(journal)
    await settle(journal, write_id, outcome)
    assert await journal.send(mine, after(1)) is False
    assert states(folder) == {write_id: outcome}


async def test_of_several_servers_that_take_at_once_no_two_get_the_same(servers: list[Journal]) -> None:
    ids = [await queued(servers[0], entry(f"key-{number}", timer=False)) for number in range(24)]
    answers = await at_once(servers, *[lambda journal: journal.claim(ACCOUNT, after(0))] * 32)
    taken = [answer.write.write_id for answer in answers if isinstance(answer, Claimed)]
    assert sorted(taken) == ids
    assert [answer for answer in answers if not isinstance(answer, Claimed)] == [60.0] * 8


async def test_of_two_servers_that_both_send_the_same_write_again_exactly_one_does(servers: list[Journal]) -> None:
    write_id = await queued(servers[0], A)
    for number in range(10):
        now = after(60 * number)
        reads = [(await the_write(server, write_id)) for server in servers[:2]]

        def work(write: Write, now: Instant = now) -> Work:
            async def resend(journal: Journal) -> bool:
                claimed = await journal.claim(ACCOUNT, now, write.write_id)
                return isinstance(claimed, Claimed) and await journal.send(claimed.write, now)

            return resend

        assert sorted(await at_once(servers[:2], *map(work, reads))) == [False, True]
        assert (await the_write(servers[2], write_id)).sends == number + 1


async def test_changes_of_an_entry_that_is_no_longer_wanted_are_not_made_and_not_in_the_way(journal: Journal) -> None:
    await created(journal, A, "te_1")
    await begun(journal, changing(A, state=WriteState.UNKNOWN))
    await becomes(journal, A, EntryState.DISCARDED)
    assert await journal.claim(ACCOUNT, after(60)) is None
    delete = await begun(journal, deleting(A, **WAITS))
    assert (await claim(journal, 60)).write_id == delete
