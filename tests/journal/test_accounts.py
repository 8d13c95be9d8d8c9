import uuid
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keito_mcp.journal import Claimed, Journal, Queue, WriteState
from tests.journal.builders import (
    ACCOUNT,
    ME,
    UNHURRIED,
    WAITS,
    after,
    at_once,
    begun,
    changing,
    created,
    creating,
    entry,
    queued,
    rows,
    settle,
    sign,
)
from tests.kit import NOON

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)
A = entry("key-1", timer=False)
WAITING = [WriteState.QUEUED, WriteState.SENT, WriteState.UNKNOWN, WriteState.CONFIRMING]


async def turn(journal: Journal, seconds: float, at_most: int = 3) -> float:
    return await journal.take_turn(ACCOUNT, NOON + timedelta(seconds=seconds), at_most)


async def test_of_more_requests_than_a_minute_may_have_the_next_waits_for_the_oldest_to_be_a_minute_old(
    journal: Journal,
) -> None:
    assert [await turn(journal, second) for second in (0, 10, 20)] == [0.0] * 3
    assert await turn(journal, 30) == 30.0
    assert await turn(journal, 59.5) == 0.5
    assert await turn(journal, 60) == 0.0
    assert await turn(journal, 60) == 10.0


async def test_accounts_have_turns_of_their_own(journal: Journal) -> None:
    assert [await turn(journal, 0, 1), await turn(journal, 1, 1)] == [0.0, 59.0]
    assert await journal.take_turn("account-2", NOON, 1) == 0.0


async def test_one_who_may_make_more_is_not_held_up_by_one_who_may_make_fewer(journal: Journal) -> None:
    assert [await turn(journal, second, 2) for second in (0, 1)] == [0.0, 0.0]
    assert await turn(journal, 2, 2) == 58.0
    assert [await turn(journal, second, 4) for second in (3, 4)] == [0.0, 0.0]
    assert await turn(journal, 5, 4) == 55.0
    assert await turn(journal, 6, 2) == 57.0


async def test_a_clock_that_was_set_back_gives_no_turns_away_and_holds_nobody_up_for_longer_than_a_minute(
    journal: Journal,
) -> None:
    assert [await turn(journal, second) for second in (0, 1, 2)] == [0.0] * 3
    assert await turn(journal, -3600) == 60.0
    assert await turn(journal, -3570) == 30.0
    assert await turn(journal, -3540) == 0.0


@settings(UNHURRIED, max_examples=50)
@given(
    at_most=st.integers(1, 4),
    steps=st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0, 0, 0, 5, 300])), min_size=1, max_size=40),
)
async def test_in_no_minute_more_turns_are_taken_than_it_may_have_however_the_clock_is_set_back(
    tmp_path: Path, at_most: int, steps: list[tuple[int, int]]
) -> None:
    really, behind = 0, 0
    taken: list[int] = []
    with closing(Journal(tmp_path / uuid.uuid4().hex)) as journal:
        for passed, back in steps:
            really, behind = really + passed, behind + back
            wait = await turn(journal, really - behind, at_most)
            assert 0 <= wait <= MINUTE.total_seconds()
            taken += [really] if wait == 0 else []
    for end in taken:
        assert len([at for at in taken if end - 60 < at <= end]) <= at_most


async def test_several_servers_together_take_no_more_turns_than_one(servers: list[Journal]) -> None:
    answers = await at_once(servers, *[lambda journal: journal.take_turn(ACCOUNT, NOON, 5)] * 16)
    assert sorted(answers) == [0.0] * 5 + [60.0] * 11


async def test_the_accounts_for_which_something_waits_are_told_with_how_much(journal: Journal) -> None:
    other = replace(ME, account="account-2")
    await queued(journal, entry("key-2", owner=other))
    await journal.sign(sign())
    ids = [await queued(journal, entry(f"A-{number}", timer=False)) for number in range(4)]
    await settle(journal, ids[0], WriteState.REFUSED)
    await settle(journal, ids[1], WriteState.SENT)
    assert await journal.queues() == [Queue("account-2", "", 1), Queue(ACCOUNT, f"the account {ACCOUNT}", 3)]


async def test_a_create_that_is_only_looked_up_once_more_is_nothing_that_waits(journal: Journal) -> None:
    await created(journal, A, state=WriteState.CONFIRMING)
    assert await journal.queues() == []


@pytest.mark.parametrize("state", WriteState)
async def test_only_what_waits_moves_to_another_account_with_its_entry_and_its_session(
    journal: Journal, folder: Path, state: WriteState
) -> None:
    await journal.create(A, creating(A, state=state), same_since=NOON, sign=sign(at=after(3)))
    moves = state in WAITING
    assert await journal.adopt(ACCOUNT, "account-2") == int(moves)
    where = "account-2" if moves else ACCOUNT
    assert rows(folder, "SELECT account, state FROM writes") == [(where, state)]
    assert rows(folder, "SELECT account FROM entries") == [(where,)]
    assert (where, "session-1") in rows(folder, "SELECT account, session_id FROM sessions")


async def test_what_was_done_stays_where_it_was_done_when_the_rest_moves(journal: Journal, folder: Path) -> None:
    create = await created(journal, A, "te_1")
    change = await begun(journal, changing(A, **WAITS))
    done = await created(journal, entry("key-2", timer=False), "te_2")
    third = await queued(journal, entry("key-3", timer=False, owner=replace(ME, account="account-3")))
    assert await journal.adopt(ACCOUNT, "account-2") == 1
    accounts = rows(folder, "SELECT write_id, account FROM writes ORDER BY write_id")
    assert accounts == [(create, ACCOUNT), (change, "account-2"), (done, ACCOUNT), (third, "account-3")]
    claimed = await journal.claim("account-2", after(0))
    assert isinstance(claimed, Claimed)
    assert claimed.entry is not None
    assert (claimed.write.write_id, claimed.entry.owner.account) == (change, "account-2")
    assert await journal.find(ACCOUNT, "key-2") is not None
    assert await journal.adopt(ACCOUNT, "account-2") == 0


async def test_a_session_that_lives_in_the_new_account_keeps_its_own_last_sign_of_life(
    journal: Journal, folder: Path
) -> None:
    await journal.create(A, creating(A, **WAITS), same_since=NOON, sign=sign(at=after(3)))
    await journal.sign(sign(replace(ME, account="account-2"), at=after(9)))
    await journal.adopt(ACCOUNT, "account-2")
    seen = rows(folder, "SELECT seen_at FROM sessions WHERE account = 'account-2'")
    assert seen == [(after(9).wall.isoformat(),)]
