import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from keito_mcp.clock import Instant, SystemClock
from keito_mcp.journal import Journal, JournalError
from keito_mcp.journal.entry import Entry, OutcomeKind, Presence
from keito_mcp.journal.protocol import Lease
from keito_mcp.settings.paths import journal_file
from tests.journal.builders import ACCOUNT, ME, after, instant, sign, stranger
from tests.journal.builders import rows as in_the_file
from tests.kit import NOON
from tests.support.rows import add, asked, delivered, edit, gone, key, known, rows, settled, to_be

pytestmark = pytest.mark.anyio


def itself(entry: Entry) -> Entry:
    return entry


def once_more(entry: Entry) -> Entry:
    return replace(entry, failures=entry.failures + 1)


# --- what is kept is found ---


async def test_a_row_is_found_by_its_key_and_by_keitos_id_within_its_account(journal: Journal) -> None:
    table, made = rows(journal), asked(1)
    assert await add(table, made) is None
    assert await table.find(ACCOUNT, key(1)) == made
    await edit(table, 1, lambda entry: delivered(entry, "te_7"))
    assert await table.find(ACCOUNT, "te_7") == delivered(made, "te_7")
    assert await table.find(ACCOUNT, key(1)) == delivered(made, "te_7")
    assert await table.find("account-2", "te_7") is None
    assert await table.find(ACCOUNT, "te_8") is None


async def test_a_deleted_entry_is_still_found_by_the_id_that_it_had(journal: Journal) -> None:
    table = rows(journal)
    await add(table, delivered(asked(1)))
    await edit(table, 1, gone)
    assert await table.find(ACCOUNT, "te_1") == gone(delivered(asked(1)))


async def test_the_rows_of_a_session_are_told_oldest_first_and_no_others(journal: Journal) -> None:
    table = rows(journal)
    numbers = [3, 1, 2]
    for number in numbers:
        await add(table, asked(number))
    for number, other in ((8, stranger()), (9, replace(ME, account="account-2"))):
        await add(table, asked(number, owner=other))
    assert [entry.key for entry in await table.of_session(ACCOUNT, "session-1")] == [key(one) for one in numbers]


async def test_the_timer_that_was_finished_last_is_told_apart_from_a_persons_and_what_keito_refused(
    journal: Journal,
) -> None:
    table = rows(journal)
    assert await table.last_finished(ME) is None
    for number, minute in enumerate((10, 30, 20, 40, 50, 60, 70), start=1):
        await add(table, delivered(asked(number, timer=True), f"te_{number}"))
        ended = instant(NOON + timedelta(minutes=minute))

        def finish(entry: Entry, ended: Instant = ended) -> Entry:
            finished = replace(entry, ended=ended, desired=replace(entry.desired, presence=Presence.FINISHED))
            return delivered(finished, str(entry.observed and entry.observed.entry_id))

        await edit(table, number, finish)
    await add(table, asked(9, at=NOON + timedelta(hours=9)))
    await edit(table, 4, settled(OutcomeKind.PERSON))
    await edit(table, 5, lambda entry: replace(settled(OutcomeKind.REFUSED)(entry), observed=None))
    await edit(table, 6, lambda _: settled(OutcomeKind.REFUSED)(delivered(asked(6, timer=True))))
    await edit(table, 7, to_be(Presence.ABSENT))
    assert await table.last_finished(ME) == await known(table, 2)
    # A refused change of a finished entry leaves it what it is.
    await edit(table, 2, settled(OutcomeKind.REFUSED))
    assert await table.last_finished(ME) == await known(table, 2)
    assert await table.last_finished(replace(ME, subagent_id="sub-1")) is None


async def test_what_is_left_to_do_is_told_and_what_is_settled_is_not(journal: Journal) -> None:
    table = rows(journal)
    for number in range(1, 5):
        await add(table, asked(number))
    await edit(table, 2, delivered)
    await edit(table, 3, to_be(Presence.ABSENT))
    assert [entry.key for entry in await table.pending(ACCOUNT)] == [key(1), key(4)]
    assert await table.pending("account-2") == []


# --- one open timer of each owner ---


@pytest.mark.parametrize("change", [itself, delivered], ids=["never seen in Keito", "it runs"])
async def test_an_open_timer_stands_in_the_way_of_another_of_its_owner(
    journal: Journal, change: Callable[[Entry], Entry]
) -> None:
    table, first = rows(journal), change(asked(1, timer=True))
    await add(table, first)
    assert await table.open_timer(ME) == first
    assert await add(table, asked(2, timer=True)) == first
    assert await table.of_session(ACCOUNT, "session-1") == [first]


@pytest.mark.parametrize(
    "change",
    [to_be(Presence.FINISHED), to_be(Presence.ABSENT), settled(OutcomeKind.PERSON), settled(OutcomeKind.REFUSED)],
    ids=["finished", "thrown away", "a person's", "refused"],
)
async def test_a_timer_that_is_over_stands_in_nobodys_way(journal: Journal, change: Callable[[Entry], Entry]) -> None:
    table = rows(journal)
    await add(table, delivered(asked(1, timer=True)))
    await edit(table, 1, change)
    assert await table.open_timer(ME) is None
    assert await add(table, asked(2, timer=True)) is None
    assert await table.open_timer(ME) == asked(2, timer=True)


@pytest.mark.parametrize(
    "other",
    [{"account": "account-2"}, {"session_id": "session-2"}, {"agent_id": "agent-2"}, {"subagent_id": "sub-1"}],
    ids=str,
)
async def test_another_owners_timer_stands_in_nobodys_way(journal: Journal, other: dict[str, Any]) -> None:
    table, others = rows(journal), replace(ME, **other)
    await add(table, asked(1, timer=True))
    assert await table.open_timer(others) is None
    assert await add(table, asked(2, timer=True, owner=others)) is None
    assert [entry.key for entry in await table.open_timers(others.account)] == (
        [key(2)] if "account" in other else [key(1), key(2)]
    )


async def test_finished_work_is_logged_beside_a_running_timer(journal: Journal) -> None:
    table = rows(journal)
    await add(table, asked(1, timer=True))
    assert await add(table, asked(2)) is None


async def test_a_timer_that_comes_back_when_another_runs_is_not_the_open_one_until_that_is_over(
    journal: Journal,
) -> None:
    table = rows(journal)
    await add(table, asked(1, timer=True))
    await edit(table, 1, to_be(Presence.FINISHED))
    await add(table, asked(2, timer=True))
    back = await edit(table, 1, to_be(Presence.RUNNING))
    assert back is not None
    assert await table.open_timers(ACCOUNT) == [await known(table, 2)]
    await edit(table, 2, once_more)
    assert await table.open_timer(ME) == await known(table, 2)
    await edit(table, 2, to_be(Presence.FINISHED))
    assert await edit(table, 1, itself) == await table.open_timer(ME) == back


async def test_the_file_itself_refuses_a_second_open_timer_and_states_that_there_are_not(
    journal: Journal, folder: Path
) -> None:
    table = rows(journal)
    await add(table, asked(1, timer=True))
    await add(table, asked(2))
    broken = (
        "UPDATE rows SET presence = 'running', is_open_timer = 1",
        "UPDATE rows SET presence = 'asleep'",
        "UPDATE rows SET outcome = 'happy'",
        "UPDATE rows SET outcome = 'person' WHERE is_open_timer",
        "UPDATE rows SET is_pending = 0",
        "UPDATE rows SET is_pending = 2",
        "UPDATE rows SET lease_holder = 'process-1'",
    )
    with closing(sqlite3.connect(journal_file(folder))) as other:
        for statement in broken:
            with pytest.raises(sqlite3.IntegrityError):
                other.execute(statement)


# --- one change, whole or not at all ---


class Refused(Exception):
    pass


async def test_a_change_that_raises_changes_nothing_and_raises_what_it_raised(
    journal: Journal, folder: Path, commits: list[str]
) -> None:
    table, made = rows(journal), asked(1)
    await add(table, made)
    commits.clear()
    raised = Refused("no")

    def refuse(entry: Entry) -> Entry:
        assert entry == made
        raise raised

    with pytest.raises(Refused) as caught:
        await table.edit(key(1), refuse, after(1), lease=Lease.TAKE, sign=sign(at=after(1)))
    assert caught.value is raised
    assert commits == []
    assert await table.pending(ACCOUNT) == [made]
    assert in_the_file(folder, "SELECT * FROM sessions") == []
    assert (await table.due(ACCOUNT, after(1))).entry == made


async def test_an_edit_returns_the_entry_with_what_the_convergence_saw_which_is_not_kept(journal: Journal) -> None:
    table = rows(journal)
    await add(table, delivered(asked(1)))
    seen = await edit(table, 1, lambda entry: replace(entry, is_fresh=True, shown=entry.observed, persons_change="No."))
    assert seen is not None
    assert (seen.is_fresh, seen.persons_change) == (True, "No.")
    assert await known(table, 1) == delivered(asked(1))
    # What the row itself says counts for what is left to do.
    assert await table.pending(ACCOUNT) == []


async def test_there_is_no_row_to_change_under_an_unknown_key_and_a_row_keeps_its_key(journal: Journal) -> None:
    table = rows(journal)
    assert await edit(table, 1, itself) is None
    await add(table, asked(1))
    with pytest.raises(ValueError, match="keeps its key"):
        await edit(table, 1, lambda _: asked(2))
    assert await table.pending(ACCOUNT) == [asked(1)]


async def test_a_row_may_move_to_another_account(journal: Journal) -> None:
    table = rows(journal)
    await add(table, asked(1, timer=True))
    await edit(table, 1, lambda entry: replace(entry, owner=replace(entry.owner, account="account-2")))
    assert await table.open_timer(ME) is None
    assert [entry.key for entry in await table.pending("account-2")] == [key(1)]


async def test_each_change_is_one_commit_with_the_sign_of_life_in_it_and_reading_is_none(
    journal: Journal, folder: Path, commits: list[str]
) -> None:
    table = rows(journal)
    await table.add(asked(1), instant(), held=False, sign=sign())
    await table.edit(key(1), once_more, instant(), sign=sign(at=after(60)))
    assert in_the_file(folder, "SELECT session_id, seen_at FROM sessions") == [
        ("session-1", (NOON + timedelta(seconds=60)).isoformat())
    ]
    assert in_the_file(folder, "SELECT described FROM accounts") == [("the account account-1",)]
    assert (await table.due(ACCOUNT, instant())).entry is not None
    assert (await table.due(ACCOUNT, instant())).entry is None
    await table.find(ACCOUNT, key(1))
    await table.open_timer(ME)
    await table.open_timers(ACCOUNT)
    await table.last_finished(ME)
    await table.of_session(ACCOUNT, "session-1")
    await table.pending(ACCOUNT)
    assert commits == ["add", "edit", "due"]


async def test_a_row_that_a_newer_version_wrote_is_an_error_in_a_sentence(journal: Journal, folder: Path) -> None:
    table = rows(journal)
    await add(table, asked(1))
    with closing(sqlite3.connect(journal_file(folder))) as other, other:
        other.execute("UPDATE rows SET document = json_set(document, '$.colour', 'green')")
    with pytest.raises(JournalError, match="update this one"):
        await table.pending(ACCOUNT)
    with pytest.raises(JournalError, match="update this one"):
        await edit(table, 1, itself)


# --- what is forgotten ---


async def test_what_was_settled_long_ago_is_forgotten_and_nothing_else(journal: Journal) -> None:
    table, long_ago = rows(journal), NOON - timedelta(days=91)
    for number in range(1, 6):
        await add(table, asked(number, timer=number == 3, at=long_ago))
    await table.edit(key(1), delivered, instant(long_ago))
    await table.edit(key(3), delivered, instant(long_ago))
    await table.edit(key(4), to_be(Presence.ABSENT), instant(long_ago))
    await table.edit(key(5), delivered, instant(NOON - timedelta(days=89)))
    await journal.prune(NOON - timedelta(days=90))
    # 2 is still to be made, 3 runs, and of 5 something became since.
    assert [entry.key for entry in await table.of_session(ACCOUNT, "session-1")] == [key(2), key(3), key(5)]


async def test_a_session_is_known_for_as_long_as_a_row_of_it_is(journal: Journal, folder: Path) -> None:
    long_ago = NOON - timedelta(days=91)
    for number, session in ((1, "session-1"), (2, "session-2")):
        owner = replace(ME, session_id=session)
        await rows(journal).add(
            delivered(asked(number, owner=owner)), instant(long_ago), sign=sign(owner, instant(long_ago)), held=False
        )
    await edit(rows(journal), 1, once_more)
    await journal.prune(NOON - timedelta(days=90))
    assert in_the_file(folder, "SELECT session_id FROM sessions") == [("session-1",)]


# --- death ---

KILLED = """
import anyio, os, signal, sys
from dataclasses import replace
from pathlib import Path
from keito_mcp.clock import SystemClock
from keito_mcp.journal import Journal
from keito_mcp.journal.protocol import Lease

async def main():
    clock, rows = SystemClock(), Journal(Path(sys.argv[1])).rows(lambda entry, now: 0.0)

    def change(entry):
        if sys.argv[2] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(entry, failures=7)

    assert await rows.edit("00000000-0000-0000-0000-000000000001", change, clock.now(), lease=Lease.TAKE)
    os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="whether a process has ended is seen in /proc")
@pytest.mark.parametrize(("when", "failures"), [("before", 0), ("after", 7)])
async def test_a_killed_change_is_whole_or_not_at_all_and_its_row_is_free_at_once(
    folder: Path, when: str, failures: int
) -> None:
    clock = SystemClock()
    with closing(Journal(folder)) as journal:
        await add(rows(journal), asked(1, at=clock.now().wall))
        killed = await anyio.run_process(
            [sys.executable, "-c", KILLED, str(folder), when], check=False, stdin=subprocess.DEVNULL
        )
        assert killed.returncode == -9, killed.stderr.decode()
        assert (await known(rows(journal), 1)).failures == failures
        assert bool(in_the_file(folder, "SELECT 1 FROM rows WHERE lease_holder IS NOT NULL")) is (when == "after")
        due = await rows(journal).due(ACCOUNT, clock.now())
        assert due.entry is not None


async def test_a_full_disk_is_an_error_and_the_row_stands_as_it_was(
    journal: Journal, folder: Path, commits: list[str]
) -> None:
    table = rows(journal)
    await add(table, asked(1))
    commits.clear()
    with closing(sqlite3.connect(journal_file(folder), isolation_level=None)) as other:
        other.execute(
            "CREATE TRIGGER full_disk BEFORE UPDATE ON rows BEGIN SELECT RAISE(ROLLBACK, 'disk is full'); END"
        )
        with pytest.raises(JournalError, match="disk is full"):
            await edit(table, 1, once_more)
        other.execute("DROP TRIGGER full_disk")
    assert commits == []
    assert await edit(table, 1, once_more) == replace(asked(1), failures=1)
    assert asked(1).desired.hours == Decimal("1.5")
