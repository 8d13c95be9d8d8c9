"""Rows of whole sessions and accounts, and many of them changed at once."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keito_mcp.journal import Journal, Recorded
from keito_mcp.journal.entry import Entry, OutcomeKind, Presence
from keito_mcp.journal.protocol import Lease
from keito_mcp.timesheet.answer import anew
from tests.journal.builders import ACCOUNT, ME, MINE, after, sign, stranger
from tests.kit import NOON
from tests.support.rows import add, asked, delivered, edit, key, known, rows, settled, to_be

pytestmark = pytest.mark.anyio

ABSENT = to_be(Presence.ABSENT)


def keys(entries: object) -> list[str]:
    assert isinstance(entries, list)
    return [entry.key for entry in entries]


def broken(_: Entry) -> Entry:
    raise ValueError("it can't be changed")


async def test_many_rows_are_added_and_changed_in_one_commit(journal: Journal, commits: list[str]) -> None:
    table = rows(journal)
    await add(table, asked(1))
    before = len(commits)
    changed = await table.edit_all({key(1): ABSENT, key(2): ABSENT}, after(1), add=[asked(2)])

    assert len(commits) == before + 1
    assert [entry.desired.presence for entry in changed.values() if entry] == [Presence.ABSENT] * 2


async def test_of_many_changes_one_that_fails_undoes_all_of_them(journal: Journal) -> None:
    table = rows(journal)
    await add(table, asked(1))
    with pytest.raises(ValueError, match="can't be changed"):
        await table.edit_all(
            {key(1): ABSENT, key(2): broken}, after(1), add=[asked(2)], discards=(ACCOUNT, "session-1")
        )

    assert (await known(table, 1)).desired.presence is Presence.FINISHED
    assert await table.find(ACCOUNT, key(2)) is None
    assert await journal.recordings.discards(ACCOUNT, "session-1") == []


async def test_a_row_in_another_process_s_hands_stays_and_the_others_change(journal: Journal, others: Journal) -> None:
    table = rows(journal)
    for number in (1, 2):
        await add(table, asked(number, notes=str(number)))
    await edit(rows(others), 1, lambda entry: entry, lease=Lease.TAKE)
    changed = await table.edit_all({key(1): ABSENT, key(2): ABSENT}, after(1), lease=Lease.TAKE)

    assert (changed[key(1)], (await known(table, 1)).desired.presence) == (None, Presence.FINISHED)
    assert (await known(table, 2)).desired.presence is Presence.ABSENT


async def test_a_timer_whose_session_gave_no_sign_of_life_since_is_closed_once(journal: Journal) -> None:
    table = rows(journal)
    await add(table, asked(1, timer=True))
    await journal.sign(sign(at=after(60)))
    [timer] = await table.others_timers(ACCOUNT, None)

    assert (timer.seen, timer.process) == (after(60), MINE)
    assert await table.close(timer, to_be(Presence.FINISHED), after(90)) is not None
    assert await table.close(timer, to_be(Presence.FINISHED), after(90)) is None


async def test_a_timer_whose_session_gave_a_sign_of_life_meanwhile_is_not_closed(journal: Journal) -> None:
    table = rows(journal)
    await add(table, asked(1, timer=True))
    await journal.sign(sign(at=after(60)))
    [timer] = await table.others_timers(ACCOUNT, None)
    await journal.sign(sign(at=after(80)))

    assert await table.close(timer, to_be(Presence.FINISHED), after(90)) is None
    assert (await known(table, 1)).desired.presence is Presence.RUNNING


async def test_a_call_sees_the_timers_of_other_sessions_and_the_news_for_its_agent(journal: Journal) -> None:
    table = rows(journal)
    await add(table, asked(1, timer=True))
    await add(table, asked(2, timer=True, owner=stranger()))
    await add(table, asked(3, unheard=("Not made.",), notes="c"))
    await add(table, asked(4, unheard=("Not made.",), notes="d", owner=replace(ME, agent_id="another")))
    timers, news = await table.left_behind(ME)
    own_too, _ = await table.left_behind(ME, own_too=True)

    assert [timer.entry.key for timer in timers] == [key(2)]
    assert keys(news) == [key(3)]
    assert [timer.entry.key for timer in own_too] == [key(1), key(2)]


async def test_the_heart_of_a_session_beats_while_its_timer_is_open(journal: Journal) -> None:
    table = rows(journal)
    assert await journal.beat(after(1)) is False
    await add(table, asked(1, timer=True), sign=sign(at=after(0)))
    assert await journal.beat(after(60)) is True
    [timer] = await table.others_timers(ACCOUNT, None)
    assert timer.seen == after(60)
    await edit(table, 1, to_be(Presence.FINISHED))
    assert await journal.beat(after(90)) is False


async def test_adopted_rows_are_another_accounts(journal: Journal) -> None:
    table = rows(journal)
    for number in (1, 2):
        await add(table, asked(number, notes=str(number)))
    assert await table.adopt(ACCOUNT, "account-2", [key(1)], after(1)) == 1
    assert await table.adopt(ACCOUNT, "account-2", [key(1)], after(1)) == 1

    assert keys(await table.of_account(ACCOUNT)) == [key(2)]
    [moved] = await table.of_account("account-2")
    assert (moved.key, moved.owner) == (key(1), replace(ME, account="account-2"))


async def test_what_agents_logged_in_a_session_of_their_host_is_counted(journal: Journal) -> None:
    table = rows(journal)
    made_up = replace(stranger("made-up"), session_is_certain=False)
    elsewhere = replace(ME, account="account-2")
    given: dict[int, dict[str, Any]] = {
        1: {},
        2: {"owner": stranger("named"), "host_session": ME.session_id},
        3: {"owner": made_up},
        4: {"owner": elsewhere, "is_recorded": True},
        5: {"owner": stranger("another")},
        6: {"is_recorded": True},
        7: {"owner": elsewhere},
    }
    for number, fields in given.items():
        await add(table, asked(number, notes=str(number), **fields))
    await add(table, asked(8, notes="discarded"))
    await edit(table, 8, ABSENT)
    await add(table, delivered(asked(9, notes="left to a person"), "te_9"))
    await edit(table, 9, lambda entry: settled(OutcomeKind.PERSON)(ABSENT(entry)))

    assert keys(await table.counted_otherwise(ACCOUNT, ME.session_id)) == [key(number) for number in (1, 2, 3, 4, 9)]
    assert keys(await table.recorded(ACCOUNT, ME.session_id)) == [key(6)]
    assert keys(await table.made_in(ACCOUNT, ME.session_id)) == [key(number) for number in (1, 2, 6, 8, 9)]


@pytest.mark.parametrize(
    ("change", "is_recorded", "is_anew"),
    [
        (settled(OutcomeKind.PERSON), True, True),
        (settled(OutcomeKind.PERSON), False, False),
        (anew, False, True),
        (lambda entry: replace(entry, failures=1), True, False),
    ],
    ids=["a person's", "a person's, but asked for", "restored", "another change"],
)
async def test_a_session_is_counted_anew_when_a_person_or_a_restore_changes_what_holds_its_time(
    journal: Journal,
    change: object,
    is_recorded: bool,  # noqa: FBT001 -- a table
    is_anew: bool,  # noqa: FBT001 -- a table
) -> None:
    table = rows(journal)
    await add(table, delivered(asked(1, is_recorded=is_recorded)))
    outcome = Recorded(
        session_id=ME.session_id,
        account=ACCOUNT,
        events=3,
        outcome="logged",
        said="1 turn.",
        is_restored=False,
        recorded_at=NOON + timedelta(minutes=1),
    )
    await journal.recordings.settle(outcome, None)
    assert callable(change)
    await edit(table, 1, change)
    [recorded] = await journal.recordings.recorded(ACCOUNT)

    assert (recorded.events != outcome.events) is is_anew
