import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from keito_mcp.clock import SystemClock
from keito_mcp.journal import Amendment, EntryState, Journal, JournalError, Owner, Settlement, WriteKind, WriteState
from keito_mcp.settings.paths import journal_file
from tests.journal.builders import (
    ACCOUNT,
    ME,
    MINE,
    Work,
    after,
    at_once,
    changing,
    claim,
    create,
    created,
    entry,
    first_of,
    instant,
    queued,
    settlement,
)
from tests.kit import NOON
from tests.processes import PATIENCE, spawned

pytestmark = pytest.mark.anyio


async def test_each_transaction_is_told_once_after_it_was_committed(folder: Path, commits: list[str]) -> None:
    seen: list[int] = []

    def on_commit(name: str) -> None:
        commits.append(name)
        with closing(sqlite3.connect(journal_file(folder))) as other:
            seen.append(other.execute("SELECT count(*) FROM writes").fetchone()[0])

    with closing(Journal(folder, process=MINE, on_commit=on_commit)) as journal:
        made = entry("key-1")
        write_id = await created(journal, made)
        await journal.begin(changing(made), changing(made))
        await journal.settle(*[Settlement(at=instant(), write_id=write_id, outcome=WriteState.UNKNOWN)] * 3)
        assert await journal.send(await claim(journal, 60), after(60))
        await journal.open_timer(ME)
        await journal.unsettled(ACCOUNT)
        await journal.restorable(ACCOUNT, "session-1")
        await journal.sessions(ACCOUNT)
        await journal.queues()
        await journal.untold(ME)
        await journal.others_timers(ACCOUNT, None)
        await journal.take_turn(ACCOUNT, NOON, 1)
    assert commits == ["create", "begin", "settle", "claim", "send", "turn"]
    assert seen == [1, 3, 3, 3, 3, 3]


async def test_a_create_that_something_stands_in_the_way_of_changes_nothing(journal: Journal) -> None:
    await created(journal, entry("key-1"), "te_1")
    before = await journal.of_session("account-1", "session-1")
    await create(journal, entry("key-2"))
    assert await journal.of_session("account-1", "session-1") == before
    assert await journal.unsettled("account-1") == []


async def test_of_several_settlements_all_are_recorded_or_none(journal: Journal, commits: list[str]) -> None:
    made = entry("key-1")
    write_id = await created(journal, made)
    before = await journal.of_session("account-1", "session-1"), await journal.unsettled("account-1")
    commits.clear()
    with pytest.raises(ValueError, match="changed_at"):
        await journal.settle(
            settlement(write_id, made, {"state": EntryState.RUNNING}), settlement(None, made, {"changed_at": NOON})
        )
    assert (await journal.of_session("account-1", "session-1"), await journal.unsettled("account-1")) == before
    assert commits == []


async def test_of_several_writes_all_are_begun_or_none(journal: Journal, commits: list[str]) -> None:
    made = entry("key-1")
    await created(journal, made, "te_1")
    commits.clear()
    with pytest.raises(JournalError, match="FOREIGN KEY"):
        await journal.begin(changing(made), changing(entry("nobody's")))
    assert await journal.unsettled("account-1") == []
    timer = await journal.open_timer(ME)
    assert timer is not None
    assert timer.state is EntryState.RUNNING
    assert commits == []


async def test_a_transaction_that_sqlite_itself_rolled_back_is_an_error_and_the_next_one_works(
    journal: Journal, folder: Path, commits: list[str]
) -> None:
    made = entry("key-1")
    await created(journal, made, "te_1")
    with closing(sqlite3.connect(journal_file(folder), isolation_level=None)) as other:
        # A full disk does this.
        other.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON writes BEGIN SELECT RAISE(ROLLBACK, 'disk is full'); END"
        )
        commits.clear()
        with pytest.raises(JournalError, match="disk is full"):
            await journal.begin(changing(made))
        assert commits == []
        other.execute("DROP TRIGGER full_disk")
    assert await journal.unsettled("account-1") == []
    assert len(await journal.begin(changing(made))) == 1


async def test_a_reopened_journal_knows_what_was_committed(folder: Path) -> None:
    with closing(Journal(folder, process=MINE)) as before:
        await created(before, entry("key-1"), "te_1", call_id="call-1", fingerprint="f-1")
        await before.amend(Amendment(entry_key="key-1", body={"is_running": False}, leave_now=True), instant())
    with closing(Journal(folder)) as after:
        timer = await after.last_stopped(ME)
        assert timer is not None
        assert (timer.entry_id, timer.state) == ("te_1", EntryState.STOPPING)
        assert [write.kind for write in await after.unsettled("account-1")] == [WriteKind.UPDATE]
        made = entry("key-2", timer=False, at=NOON + timedelta(days=1))
        again = await create(after, made, call_id="call-1", fingerprint="f-1")
        assert first_of(again) == "key-1"


async def test_a_closed_journal_opens_again_when_it_is_used(journal: Journal) -> None:
    journal.close()
    await created(journal, entry("key-1"), "te_1")
    journal.close()
    journal.close()
    assert await journal.open_timer(ME) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_what_was_committed_survives_a_kill(journal: Journal, folder: Path) -> None:
    await created(journal, entry("key-1"), "te_1")
    journal.close()
    program = """
import anyio, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from keito_mcp.clock import Instant
from keito_mcp.journal import Journal, Settlement

async def main() -> None:
    journal = Journal(Path(sys.argv[1]))
    at = Instant(datetime(2026, 3, 6, 13, 0, tzinfo=UTC), 1.0, "boot-1")
    await journal.settle(Settlement(at=at, entry_key="key-1", changes={"notes": "just before the kill"}))
    os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""
    killed = await anyio.run_process(
        [sys.executable, "-c", program, str(folder)], check=False, stdin=subprocess.DEVNULL
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    timer = await journal.open_timer(ME)
    assert timer is not None
    assert timer.notes == "just before the kill"


TAKE = """
import anyio, os, signal, sys
from pathlib import Path
from keito_mcp.clock import SystemClock
from keito_mcp.journal import Claimed, Journal

async def main() -> None:
    journal, clock = Journal(Path(sys.argv[1])), SystemClock()
    while isinstance(claimed := await journal.claim("account-1", clock.now()), Claimed):
        print(claimed.write.write_id, flush=True)
        if len(sys.argv) > 2:
            assert await journal.send(claimed.write, clock.now())
            print("sent", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    print("that is all", flush=True)
    sys.stdin.read()

anyio.run(main)
"""
SEVERAL = 3


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="whether a process has ended is seen in /proc")
async def test_what_a_killed_process_has_sent_is_taken_over_at_once_and_may_have_arrived(folder: Path) -> None:
    clock = SystemClock()
    with closing(Journal(folder)) as journal:
        write_id = await queued(journal, entry("key-1"), sent=clock.now())
        killed = await anyio.run_process(
            [sys.executable, "-c", TAKE, str(folder), "kill"], check=False, stdin=subprocess.DEVNULL
        )
        assert killed.stdout.split() == [str(write_id).encode(), b"sent"], killed.stderr.decode()
        taken = await claim(journal, clock.now())
    assert (taken.write_id, taken.state, taken.sends) == (write_id, WriteState.UNKNOWN, 1)
    assert taken.lease == journal.process


async def test_of_several_processes_that_take_what_waits_no_two_get_the_same(folder: Path) -> None:
    with closing(Journal(folder)) as journal:
        ids = [
            await queued(journal, entry(f"key-{number}", timer=False), sent=SystemClock().now()) for number in range(40)
        ]
    taken: list[int] = []
    finished: list[bool] = []
    all_took = anyio.Event()

    async def take() -> None:
        process = await anyio.open_process([sys.executable, "-c", TAKE, str(folder)], stderr=None)
        async with spawned(process):
            assert process.stdout is not None
            said = BufferedByteReceiveStream(process.stdout)
            with anyio.fail_after(PATIENCE):
                while (line := await said.receive_until(b"\n", 100)) != b"that is all":
                    taken.append(int(line))
                finished.append(True)
                if len(finished) == SEVERAL:
                    all_took.set()
                # What a process holds that has ended would be taken by the others.
                await all_took.wait()

    async with anyio.create_task_group() as tasks:
        for _ in range(SEVERAL):
            tasks.start_soon(take)
    assert sorted(taken) == ids


@pytest.mark.parametrize("what", ["timer", "call", "work"])
async def test_of_several_servers_that_create_the_same_at_once_exactly_one_does(
    servers: list[Journal], what: str
) -> None:
    for number in range(10):
        # A call is the same even where its work alone would not be: in two sessions, both for certain.
        owners = [
            replace(ME, session_id=f"session-{number}-{contender if what == 'call' else ''}") for contender in range(8)
        ]
        same = {
            "timer": {},
            "call": {"call_id": f"call-{number}", "fingerprint": f"f-{number}"},
            "work": {"fingerprint": f"f-{number}"},
        }[what]

        def work(key: str, owner: Owner, same: dict[str, str] = same) -> Work:
            return lambda journal: create(journal, entry(key, owner=owner, timer=what == "timer"), **same)

        answers = await at_once(
            servers, *[work(f"{number}-{contender}", owner) for contender, owner in enumerate(owners)]
        )
        sessions = {owner.session_id for owner in owners}
        [known] = [made for session in sessions for made in await servers[0].of_session("account-1", session)]
        assert len([answer for answer in answers if isinstance(answer, int)]) == 1
        assert {first_of(answer) for answer in answers} == {None, known.entry_key}


async def test_different_agents_at_once_all_get_their_timer(servers: list[Journal]) -> None:
    def work(number: int) -> Work:
        made = entry(f"key-{number}", owner=replace(ME, subagent_id=f"sub-{number}"))
        return lambda journal: create(journal, made)

    answers = await at_once(servers, *map(work, range(24)))
    numbers = {answer for answer in answers if isinstance(answer, int)}
    assert len(numbers) == 24


@pytest.mark.usefixtures("any_mode")
async def test_several_servers_may_make_the_file_at_the_same_time(tmp_path: Path) -> None:
    for number in range(10):
        journals = [Journal(tmp_path / str(number)) for _ in range(6)]
        assert await at_once(journals, *[lambda journal: journal.open_timer(ME)] * 6) == [None] * 6
        for journal in journals:
            journal.close()


async def test_a_journal_that_somebody_else_holds_is_an_error_and_works_again_afterwards(
    journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch, commits: list[str]
) -> None:
    monkeypatch.setattr("keito_mcp.journal.file._BUSY_SECONDS", 0.05)
    await created(journal, entry("key-1"), "te_1")
    commits.clear()
    with closing(sqlite3.connect(journal_file(folder), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="locked") as caught:
            await journal.begin(changing(entry("key-1")))
        assert str(folder) in str(caught.value)
        other.execute("ROLLBACK")
    assert commits == []
    timer = await journal.open_timer(ME)
    assert timer is not None
    assert timer.state is EntryState.RUNNING
    assert len(await journal.begin(changing(entry("key-1")))) == 1


async def test_a_journal_that_was_damaged_is_an_error_with_the_folders_name(journal: Journal, folder: Path) -> None:
    await created(journal, entry("key-1"), "te_1")
    with closing(sqlite3.connect(journal_file(folder), isolation_level=None)) as other:
        other.execute("DROP TABLE writes")
    with pytest.raises(JournalError, match="no such table") as caught:
        await journal.unsettled("account-1")
    assert str(folder) in str(caught.value)


def test_nothing_is_made_before_the_first_use(folder: Path) -> None:
    Journal(folder).close()
    assert not folder.exists()
