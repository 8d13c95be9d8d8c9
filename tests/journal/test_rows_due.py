import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keito_mcp.clock import Instant
from keito_mcp.journal import Journal
from keito_mcp.journal.entry import Entry, Presence
from keito_mcp.journal.protocol import Due, Lease
from tests.journal.builders import ACCOUNT, ME, MINE, OTHERS, after, at_once, instant
from tests.journal.builders import rows as in_the_file
from tests.kit import NOON
from tests.support.rows import add, asked, delivered, edit, key, known, resting, rows, to_be

pytestmark = pytest.mark.anyio


def itself(entry: Entry) -> Entry:
    return entry


def once_more(entry: Entry) -> Entry:
    return replace(entry, failures=entry.failures + 1)


# --- leases ---


async def take(journal: Journal, at: Instant | float = 0) -> bool:
    moment = at if isinstance(at, Instant) else after(at)
    return await rows(journal).edit(key(1), itself, moment, lease=Lease.TAKE) is not None


async def test_a_row_that_another_process_holds_is_not_taken_before_a_minute_has_passed(
    journal: Journal, others: Journal
) -> None:
    await add(rows(journal), asked(1))
    assert await take(journal)
    assert await take(journal, 1)
    assert not await take(others, 60)
    assert await take(others, 61)
    assert not await take(journal, 61)


async def test_a_row_is_added_held_or_free_as_asked_for(journal: Journal, others: Journal) -> None:
    await add(rows(journal), asked(1), held=True)
    assert not await take(others)
    await edit(rows(journal), 1, itself, lease=Lease.RELEASE)
    assert await take(others)


async def test_what_a_process_held_that_has_ended_is_free_at_once(
    journal: Journal, others: Journal, ended: set[str]
) -> None:
    await add(rows(journal), asked(1), held=True)
    assert not await take(others)
    ended.add(MINE)
    assert await take(others)
    assert in_the_file(others._folder, "SELECT lease_holder FROM rows") == [(OTHERS,)]  # noqa: SLF001


async def test_a_row_that_somebody_holds_can_be_changed_by_others_but_not_released(
    journal: Journal, others: Journal
) -> None:
    await add(rows(journal), asked(1), held=True)
    assert await edit(rows(others), 1, once_more) is not None
    assert await edit(rows(others), 1, once_more, lease=Lease.RELEASE) is not None
    assert not await take(others)
    assert (await known(rows(journal), 1)).failures == 2
    await edit(rows(journal), 1, itself, lease=Lease.RELEASE)
    assert await take(others)


@pytest.mark.parametrize(
    ("now", "is_free"),
    [
        (Instant(NOON - timedelta(hours=1), 1000.25 + 30, "boot-1"), False),
        (Instant(NOON - timedelta(hours=1), 1000.25 + 60, "boot-1"), True),
        (Instant(NOON + timedelta(hours=1), 1000.25 + 30, "boot-1"), False),
        (Instant(NOON - timedelta(days=3), 5.0, "boot-2"), True),
        (Instant(NOON + timedelta(seconds=30), 5.0, "boot-2"), False),
        (Instant(NOON + timedelta(seconds=60), 5.0, "boot-2"), True),
    ],
    ids=["set back, 30 s", "set back, 60 s", "set forward, 30 s", "was ahead before the boot", "booted", "60 s"],
)
async def test_a_lease_lasts_a_minute_however_the_clock_is_set(
    journal: Journal,
    others: Journal,
    now: Instant,
    is_free: bool,  # noqa: FBT001
) -> None:
    await add(rows(journal), asked(1), held=True)
    assert await take(others, now) is is_free


# --- what is due ---


async def due(journal: Journal, at: Instant | float = 0) -> str | float | None:
    """The key of the row that is taken, else the seconds until one may be due."""
    found = await rows(journal).due(ACCOUNT, at if isinstance(at, Instant) else after(at))
    return found.entry.key if found.entry else found.seconds


async def test_the_oldest_row_that_is_due_is_taken_first_and_by_one_alone(journal: Journal, others: Journal) -> None:
    for number in (3, 1, 2):
        await add(rows(journal), asked(number))
    assert [await due(one) for one in (journal, others, journal)] == [key(3), key(1), key(2)]
    assert await due(journal, 10) == await due(others, 10) == 50.0
    await edit(rows(others), 1, itself, 20, lease=Lease.RELEASE)
    assert await due(journal, 20) == key(1)
    assert await due(journal, 60) == key(3)


async def test_nothing_is_due_where_nothing_is_left_to_do(journal: Journal) -> None:
    assert await due(journal) is None
    await add(rows(journal), delivered(asked(1)))
    await add(rows(journal), asked(2, owner=replace(ME, account="account-2")))
    assert await due(journal) is None


async def test_a_row_that_rests_is_due_when_its_rest_is_over_and_lets_younger_ones_go_first(journal: Journal) -> None:
    for number, seconds in ((1, 30), (2, 20), (3, 40)):
        await add(rows(journal), asked(number))
        await edit(rows(journal), number, resting(seconds))
    assert await due(journal) == 20.0
    assert await due(journal, 25) == key(2)
    assert await due(journal, 25) == 5.0
    # Of those that are due the oldest goes first, whichever had to wait the least.
    assert await due(journal, 45) == key(1)
    assert await due(journal, 45) == key(3)


async def test_a_timer_that_another_one_blocks_is_due_only_once_it_is_finished(journal: Journal) -> None:
    table = rows(journal)
    await add(table, asked(1, timer=True, blocked="Another timer of yours runs."))
    assert await due(journal, 30) is None
    assert [entry.key for entry in await table.pending(ACCOUNT)] == [key(1)]
    await edit(table, 1, to_be(Presence.FINISHED), 30)
    assert await due(journal, 30) == key(1)


async def test_a_second_copy_is_looked_for_when_that_is_due(journal: Journal) -> None:
    twice = replace(delivered(asked(1)), creates_sent=2, last_sent=instant())
    await add(rows(journal), twice)
    assert await due(journal) == 300.0
    assert await due(journal, 300) == key(1)
    await edit(rows(journal), 1, lambda entry: replace(entry, copies_looked_for=1), 300, lease=Lease.RELEASE)
    assert await due(journal, 300) == 3300.0
    assert await due(journal, 3600) == key(1)


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (Instant(NOON - timedelta(days=3), 7.0, "boot-2"), key(1)),
        (Instant(NOON - timedelta(days=3), 1000.25 + 31, "boot-1"), key(1)),
        (Instant(NOON - timedelta(minutes=10), 1000.25 + 31, "boot-1"), key(1)),
        (Instant(NOON - timedelta(minutes=10), 1000.25 + 10, "boot-1"), 20.0),
        (Instant(NOON - timedelta(days=3), 1000.25 + 10, "boot-1"), 20.0),
        (Instant(NOON + timedelta(days=1), 1000.25 + 10, "boot-1"), 20.0),
        (Instant(NOON + timedelta(days=1), 7.0, "boot-2"), key(1)),
    ],
    ids=[
        "it was days ahead before the boot",
        "set back by days, and over",
        "set back a little, and over",
        "set back a little",
        "set back by days",
        "set forward",
        "the next day",
    ],
)
async def test_a_rest_lasts_as_long_as_it_is_meant_to_however_the_clock_is_set(
    journal: Journal, now: Instant, then: str | float
) -> None:
    await add(rows(journal), asked(1))
    await edit(rows(journal), 1, resting(30))
    await add(rows(journal), asked(2))
    await edit(rows(journal), 2, resting(60))
    assert await due(journal, now) == then


async def test_what_rested_while_the_clock_was_days_ahead_doesnt_wait_behind_what_rests_now(journal: Journal) -> None:
    ahead = Instant(NOON + timedelta(days=3), 9e6, "boot-0")
    await rows(journal).add(asked(1), ahead, held=False)
    await rows(journal).edit(key(1), resting(30, since=ahead), ahead)
    await add(rows(journal), asked(2))
    await edit(rows(journal), 2, resting(60))
    assert await due(journal) == key(1)


async def test_where_one_is_held_and_one_rests_the_shorter_of_both_is_told(journal: Journal) -> None:
    await add(rows(journal), asked(1), held=True)
    await add(rows(journal), asked(2))
    await edit(rows(journal), 2, resting(30))
    assert await due(journal) == 30.0
    assert await due(journal, 29) == 1.0
    await edit(rows(journal), 2, resting(300), 29)
    assert await due(journal, 29) == 31.0


async def test_the_journal_takes_what_is_left_to_do_from_whoever_knows_the_steps(journal: Journal) -> None:
    left: dict[str, float | None] = {key(1): 5.0, key(2): math.inf, key(3): None}
    table = journal.rows(lambda entry, _: left[entry.key])
    for number in (1, 2, 3):
        await add(table, asked(number))
    assert [entry.key for entry in await table.pending(ACCOUNT)] == [key(1), key(2)]
    assert await table.due(ACCOUNT, instant()) == Due(None, 5.0)
    left[key(1)] = 0.0
    assert await table.due(ACCOUNT, after(5)) == Due(asked(1))


# --- several servers at once ---


@pytest.mark.parametrize("what", ["timer", "call", "work", "key"])
async def test_of_several_servers_that_add_the_same_at_once_exactly_one_does(servers: list[Journal], what: str) -> None:
    for number in range(5):
        alike: dict[str, dict[str, Any]] = {
            "timer": {"timer": True},
            "call": {"call_id": f"call-{number}", "fingerprint": f"f-{number}"},
            "work": {"fingerprint": f"f-{number}"},
            "key": {},
        }
        same = alike[what]
        owner = replace(ME, session_id=f"session-{number}")
        base = 100 * number + 1

        def work(one: int, owner: Any = owner, same: dict[str, Any] = same, base: int = base) -> Any:
            made = asked(base if what == "key" else base + one, owner=owner, **same)
            return lambda journal: add(rows(journal), made, same_since=NOON)

        answers = await at_once(servers, *[work(one) for one in range(8)])
        [made] = await rows(servers[0]).of_session(ACCOUNT, owner.session_id)
        assert len([answer for answer in answers if answer is None]) == 1
        assert [answer for answer in answers if answer is not None] == [made] * 7


async def test_no_change_of_several_servers_at_once_is_lost(servers: list[Journal]) -> None:
    await add(rows(servers[0]), asked(1))
    await at_once(servers, *[lambda journal: edit(rows(journal), 1, once_more)] * 40)
    assert (await known(rows(servers[0]), 1)).failures == 40


async def test_of_several_servers_that_take_what_is_due_no_two_get_the_same(servers: list[Journal]) -> None:
    for number in range(1, 25):
        await add(rows(servers[0]), asked(number))
    taken = await at_once(servers, *[due] * 30)
    assert sorted(one for one in taken if isinstance(one, str)) == sorted(key(number) for number in range(1, 25))
    assert [one for one in taken if not isinstance(one, str)] == [60.0] * 6


async def test_of_several_servers_that_take_one_row_one_gets_it(servers: list[Journal]) -> None:
    await add(rows(servers[0]), asked(1))
    assert sorted(await at_once(servers, *[take] * 4)) == [False, False, False, True]
