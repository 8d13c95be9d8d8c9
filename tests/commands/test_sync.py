from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio
import pytest

from keito_mcp.commands.sync import sync
from keito_mcp.timesheet import wait_for_turn
from tests.commands.program import another_account, as_json, at_a_terminal, command, program
from tests.kit import LOOKS_FIRST, SPOKEN, TASK, Agent, Desk, FakeClock, Keito, MakeDesk, Neighbour, until
from tests.processes import environment
from tests.support.cores import bring_to_an_end, hold_the_oldest

pytestmark = pytest.mark.anyio

A_LEASE = timedelta(seconds=60)
NEARLY = A_LEASE - timedelta(seconds=6)


async def log_while_keito_is_away(keito: Keito, agent: Agent, *notes: str) -> None:
    async with keito.away():
        for note in notes:
            assert (await agent.call("log_time", hours=1, notes=note))["status"] == "queued"


async def test_what_waits_is_delivered_and_counted(agent: Agent, keito: Keito) -> None:
    await log_while_keito_is_away(keito, agent, "a", "b")
    done = await program(keito, "sync")
    again = await program(keito, "sync")

    assert (done.returncode, done.stdout, done.stderr) == (0, "Delivered 2, refused 0, waiting 0.\n", "")
    assert [entry["notes"] for entry in keito.entries()] == ["a", "b"]
    assert (again.returncode, again.stdout) == (0, "Delivered 0, refused 0, waiting 0.\n")
    assert keito.methods == [*LOOKS_FIRST, "POST"] * 2


async def test_a_program_reads_which_writes_were_delivered(agent: Agent, keito: Keito) -> None:
    await log_while_keito_is_away(keito, agent, "a")
    report = await as_json(keito, "sync")

    [entry] = keito.entries()
    [delivered] = report.pop("delivered")
    assert (delivered["kind"], delivered["entry"]) == ("create", entry["metadata"]["entry_key"])
    assert report == {"refused": [], "waiting": [], "sessions_left": [], "problem": None}


@pytest.mark.parametrize("status", [400, 403, 404, 405, 407, 409, 410, 413, 421, 425, 451, 499])
async def test_a_page_in_keitos_place_refuses_nothing_and_exits_with_1(agent: Agent, keito: Keito, status: int) -> None:
    await log_while_keito_is_away(keito, agent, "a")
    keito.fails("POST", status=status, body="<!doctype html>", content_type="text/html")
    done = await command(keito, "sync")

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("Delivered 0, refused 0, waiting 1.\n")
    assert f"something else answered {status} in Keito's place" in done.stdout


async def test_a_rate_limit_of_a_hundred_years_is_no_held_start_and_is_said_to_wait(agent: Agent, keito: Keito) -> None:
    keito.fails("POST", status=429, retry_after=3_153_600_000, times=2)
    await agent.call("start_timer")
    done = await command(keito, "sync")

    assert done.returncode == 1
    assert done.stdout.startswith("Delivered 0, refused 0, waiting 1.\n")


async def test_keito_down_exits_with_1_and_says_what_waits_and_why(agent: Agent, keito: Keito) -> None:
    await log_while_keito_is_away(keito, agent, "a", "b")
    async with keito.away():
        done = await command(keito, "sync")

    assert (done.returncode, done.stderr) == (1, "")
    head, *lines = done.stdout.splitlines()
    assert head == "Delivered 0, refused 0, waiting 2."
    assert sum(line.startswith("Waiting  create of ") for line in lines) == 2
    assert "Keito can't be reached" in lines[-1]
    assert keito.requests == []


async def test_a_program_reads_what_waits_and_why(agent: Agent, keito: Keito) -> None:
    await log_while_keito_is_away(keito, agent, "a")
    keito.fails("POST", status=503, times=9)
    report = await as_json(keito, "sync", code=1)

    [waiting] = report["waiting"]
    assert (waiting["kind"], waiting["state"], waiting["sent"]) == ("create", "unknown", 1)
    assert "503" in waiting["why"]


async def test_a_key_that_keito_refuses_loses_nothing_and_is_said_to_the_person(
    make_desk: MakeDesk, keito: Keito, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    right = make_desk(account_id="acc_1")
    wrong = make_desk(account_id="acc_1", api_key="keito_sk_revoked")
    async with right.client() as agent:
        await log_while_keito_is_away(keito, agent, "a")
    clock.pass_time(timedelta(minutes=1))
    assert not await sync(wrong.runtime, as_json=False, adopt=False, yes=False)
    said = capsys.readouterr().out
    clock.pass_time(timedelta(minutes=10))
    assert await sync(right.runtime, as_json=False, adopt=False, yes=False)

    assert "waiting 1." in said
    assert "KEITO_API_KEY" in said
    assert "sk_revoked" not in said
    assert len(keito.entries()) == 1


async def test_what_keito_refuses_is_said_and_no_longer_waits(agent: Agent, keito: Keito) -> None:
    async with keito.away():
        await agent.call("log_time", hours=1, project_id="prj_forbidden", task_id=TASK)
    done = await command(keito, "sync")

    assert done.returncode == 0
    head, refused = done.stdout.splitlines()
    assert head == "Delivered 0, refused 1, waiting 0."
    assert refused.startswith("Refused  create of ")
    assert "403" in refused


async def test_a_machine_without_a_journal_has_nothing_to_deliver(keito: Keito, tmp_path: Path) -> None:
    done = await command(keito, "sync", KEITO_STATE_DIR=str(tmp_path / "never" / "made"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "Delivered 0, refused 0, waiting 0.\n", "")
    assert keito.requests == []


@pytest.mark.parametrize("arguments", [("sync",), ("discard", "session-1"), ("restore", "session-1")])
async def test_where_the_journal_cant_be_used_nothing_is_written_and_the_person_is_told(
    keito: Keito, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "file").touch()
    done = await command(keito, *arguments, KEITO_STATE_DIR=str(tmp_path / "file" / "state"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "file" / "state") in done.stderr
    assert set(keito.methods) <= {"GET"}


async def test_without_a_key_nothing_is_tried(keito: Keito) -> None:
    done = await command(keito, "sync", KEITO_API_KEY=None)
    assert (done.returncode, done.stdout) == (1, "")
    assert "KEITO_API_KEY is not set" in done.stderr


async def test_what_a_living_process_holds_is_delivered_once_its_lease_is_over(
    make_desk: MakeDesk, neighbour: Neighbour, agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    await log_while_keito_is_away(keito, agent, "a")
    other = make_desk(process=neighbour.name)
    clock.pass_time(datetime.now(UTC) - NEARLY - clock.wall)
    await hold_the_oldest(other)
    async with at_a_terminal("sync", env=environment(keito)) as terminal:
        await terminal.shows("in another process's hands")
        assert keito.requests == []
        code = await terminal.end()

    assert code == 0
    assert "Delivered 1, refused 0, waiting 0." in terminal.shown
    assert keito.methods == [*LOOKS_FIRST, "POST"]


async def test_what_a_living_process_brings_to_an_end_meanwhile_is_not_sent_again(
    make_desk: MakeDesk, neighbour: Neighbour, agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    await log_while_keito_is_away(keito, agent, "a")
    other = make_desk(process=neighbour.name)
    clock.pass_time(datetime.now(UTC) - NEARLY - clock.wall)
    held = await hold_the_oldest(other)
    async with at_a_terminal("sync", env=environment(keito)) as terminal:
        await terminal.shows("in another process's hands")
        await bring_to_an_end(other, held)
        code = await terminal.end()

    assert code == 0
    assert "Delivered 0, refused 0, waiting 0." in terminal.shown
    assert keito.requests == []


async def test_what_a_process_that_ended_held_is_taken_over_at_once(
    make_desk: MakeDesk, neighbour: Neighbour, agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    await log_while_keito_is_away(keito, agent, "a")
    other = make_desk(process=neighbour.name)
    clock.pass_time(datetime.now(UTC) - clock.wall)
    await hold_the_oldest(other)
    neighbour.end()
    done = await command(keito, "sync")

    assert (done.returncode, done.stdout) == (0, "Delivered 1, refused 0, waiting 0.\n")


async def test_progress_is_shown_on_a_terminal_and_cleared_before_the_report(agent: Agent, keito: Keito) -> None:
    await log_while_keito_is_away(keito, agent, "a")
    async with at_a_terminal("sync", env=environment(keito)) as terminal:
        assert await terminal.end() == 0

    assert "Delivering 1 …" in terminal.shown
    assert terminal.shown.split("\r")[-2:] == ["Delivered 1, refused 0, waiting 0.", "\n"]


async def test_the_queue_of_another_account_is_never_delivered(agent: Agent, keito: Keito) -> None:
    await log_while_keito_is_away(keito, agent, "a")
    done = await command(keito, "sync", **another_account(keito))

    assert (done.returncode, done.stdout) == (0, "Delivered 0, refused 0, waiting 0.\n")
    assert keito.requests == []


@pytest.mark.parametrize("answer", ["y", "Yes"])
async def test_adopting_asks_at_a_terminal_and_moves_what_is_agreed_to(agent: Agent, keito: Keito, answer: str) -> None:
    await log_while_keito_is_away(keito, agent, "a")
    async with at_a_terminal("sync", "--adopt", env=environment(keito, **another_account(keito))) as terminal:
        await terminal.shows("[y/N]")
        assert keito.requests == []
        terminal.type(answer)
        code = await terminal.end()

    assert code == 0
    assert f"1 write waits for {keito.url}" in terminal.shown
    assert "It will be billed there." in terminal.shown
    assert "Moved 1 write." in terminal.shown
    assert "Delivered 1, refused 0, waiting 0." in terminal.shown
    assert str(SPOKEN[keito.wire.version]["api_key"]) not in terminal.shown
    assert [entry["notes"] for entry in keito.entries()] == ["a"]


@pytest.mark.parametrize("answer", ["", "n"])
async def test_adopting_leaves_where_it_is_what_isnt_agreed_to(agent: Agent, keito: Keito, answer: str) -> None:
    await log_while_keito_is_away(keito, agent, "a")
    async with at_a_terminal("sync", "--adopt", env=environment(keito, **another_account(keito))) as terminal:
        await terminal.shows("[y/N]")
        terminal.type(answer)
        assert await terminal.end() == 0
    assert "Moved" not in terminal.shown
    assert keito.requests == []
    owner = await command(keito, "sync")
    assert owner.stdout == "Delivered 1, refused 0, waiting 0.\n"


async def test_adopting_with_yes_asks_nobody(agent: Agent, keito: Keito) -> None:
    await log_while_keito_is_away(keito, agent, "a", "b")
    done = await command(keito, "sync", "--adopt", "--yes", **another_account(keito))

    assert (done.returncode, done.stdout) == (0, "Delivered 2, refused 0, waiting 0.\n")
    assert done.stderr == "Moved 2 writes.\n"
    assert len(keito.entries()) == 2


async def test_adopting_is_refused_where_nobody_can_be_asked(agent: Agent, keito: Keito) -> None:
    await log_while_keito_is_away(keito, agent, "a", "b")
    done = await program(keito, "sync", "--adopt", **another_account(keito))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("2 writes wait for ")
    assert "--yes" in done.stderr
    assert keito.requests == []


async def test_adopting_where_nothing_waits_elsewhere_says_so_and_syncs(agent: Agent, keito: Keito) -> None:
    await log_while_keito_is_away(keito, agent, "a")
    done = await command(keito, "sync", "--adopt")

    assert (done.returncode, done.stdout) == (0, "Delivered 1, refused 0, waiting 0.\n")
    assert done.stderr == "No other account has anything waiting here.\n"


async def test_at_most_30_requests_are_made_in_any_minute(
    desk: Desk, agent: Agent, keito: Keito, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log_while_keito_is_away(keito, agent, *(f"work {number}" for number in range(65)))
    clock.pass_time(timedelta(seconds=10))
    made: list[datetime] = []

    def count() -> None:
        made.extend([clock.wall] * (len(keito.requests) - len(made)))

    async def sleep(seconds: float) -> None:
        count()
        clock.pass_time(timedelta(seconds=seconds))
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("keito_mcp.timesheet.wait_for_turn", partial(wait_for_turn, sleep=sleep))
    assert await sync(desk.runtime, as_json=True, adopt=False, yes=False)
    count()

    # What waits for more than two minutes for its turn may be looked up first.
    assert len(keito.entries()) == 65
    assert keito.methods.count("POST") == 65
    assert len(made) == 65 or LOOKS_FIRST
    assert made[-1] > made[0]
    for moment in made:
        assert sum(moment <= other < moment + timedelta(minutes=1) for other in made) <= 30


async def test_turns_that_others_took_are_waited_for(desk: Desk, agent: Agent, keito: Keito, clock: FakeClock) -> None:
    await log_while_keito_is_away(keito, agent, "a")
    account = desk.runtime.settings.account
    clock.pass_time(datetime.now(UTC) - NEARLY - clock.wall)
    for _ in range(30):
        await desk.runtime.journal.take_turn(account, clock.wall, 30)
    async with at_a_terminal("sync", env=environment(keito)) as terminal:
        await terminal.shows("Delivering 1 …")
        assert keito.requests == []
        await until(lambda: keito.requests)
        assert datetime.now(UTC) >= clock.wall + A_LEASE
        assert await terminal.end() == 0
