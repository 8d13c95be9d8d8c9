"""Sessions that are over, and what is in Keito then."""

from dataclasses import replace
from datetime import UTC, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from keito_mcp.commands.embedded import embedded_runtime
from keito_mcp.commands.sync import deliver
from keito_mcp.sessions import spool
from keito_mcp.sessions.rules import Rules
from tests.identity.calls import SESSION as THEIR_SESSION
from tests.identity.calls import SUBAGENT, ClaudeFiles
from tests.kit import PROJECT, Agent, Desk, FakeClock, Keito, MakeDesk, Neighbour
from tests.sessions.story import NOON, row
from tests.support.cores import recorded, want_hours
from tests.timesheet.claude import Claude

pytestmark = pytest.mark.anyio

SESSION = "session-1"


class Host:
    """A host whose hooks leave word in the spool, in a repository of its own."""

    def __init__(self, desk: Desk, clock: FakeClock, folder: Path) -> None:
        self.desk = desk
        self.clock = clock
        self.root = folder / "shop"
        (self.root / ".keito").mkdir(parents=True)
        (self.root / ".keito" / "config.yml").touch()
        settings = desk.runtime.settings
        self.rules: Rules | None = Rules(
            account=settings.account, is_enabled=True, project_id=PROJECT, task_id=settings.task_id, zone=UTC
        )
        self._number = 0

    def tell(self, what: str, seconds: float, subagent: str = "", **more: Any) -> None:
        """An event, so many seconds after noon."""
        self._number += 1
        left = row(what, seconds, subagent=subagent, **{"folder": str(self.root), "host": "claude-code", **more})
        state = self.desk.runtime.settings.folder
        spool.write(Path(spool.folder(str(state))) / f"{self._number:020}.1.json", left)
        self.at(seconds)

    def turn(self, start: float, end: float, *, how: str = "stop", **more: Any) -> None:
        self.tell("prompt", start)
        self.tell(how, end, **more)

    def at(self, seconds: float) -> None:
        """Let the clocks show that many seconds after noon, unless they are beyond it."""
        moment = NOON + timedelta(seconds=seconds)
        if moment > self.clock.wall:
            self.clock.pass_time(moment - self.clock.wall)

    async def rules_of(self, _: str) -> Rules | None:
        return self.rules

    async def record(self) -> None:
        await self.desk.runtime.own.recorder(self.rules_of).run()
        await self.desk.deliver_all()

    async def said(self) -> tuple[str, str]:
        """What became of the session."""
        [told] = await self.desk.runtime.journal.recordings.told()
        assert told.recorded is not None
        return told.recorded.outcome, told.recorded.said


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    return make_desk(session_id=SESSION, agent_id="claude-code@here")


@pytest.fixture
def host(desk: Desk, clock: FakeClock, tmp_path: Path) -> Host:
    return Host(desk, clock, tmp_path)


def standing(keito: Keito) -> list[tuple[float, str]]:
    return [(entry["hours"], entry["spent_date"]) for entry in keito.entries()]


async def test_all_turns_of_a_session_and_only_the_turns_are_one_entry(host: Host, keito: Keito) -> None:
    host.tell("start", 0)
    host.turn(60, 660)
    host.turn(3600, 4800)
    host.tell("end", 9000)
    await host.record()
    assert standing(keito) == [(0.5, "2026-03-06")]
    [entry] = keito.entries()
    assert entry["source"] == "agent"
    assert entry["project_id"] == PROJECT
    assert entry["notes"] == "Agent session in shop (2 turns)"
    metadata = entry["metadata"]
    assert (metadata["session_id"], metadata["agent_type"]) == (SESSION, "claude-code")
    assert metadata["started_at"] == "2026-03-06T12:01:00Z"
    assert metadata["turns"] == 2
    assert "outcome" not in metadata
    assert await host.said() == ("logged", "2 turns: 0.5 h on 2026-03-06.")


async def test_the_same_again_changes_nothing_and_sends_nothing(host: Host, keito: Keito) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    sent, commits = len(keito.requests), len(host.desk.commits)
    for _ in range(3):
        await host.record()
    assert (len(keito.requests), len(host.desk.commits)) == (sent, commits)


async def test_a_session_that_goes_on_waits(host: Host, keito: Keito) -> None:
    host.turn(0, 3600)
    await host.record()
    assert keito.entries() == []


async def test_a_resumed_session_raises_its_entry(host: Host, keito: Keito) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    host.tell("resume", 7200)
    host.turn(7300, 9100, message="All tests pass.")
    await host.record()
    assert standing(keito) == [(1, "2026-03-06")]
    host.tell("end", 9200)
    await host.record()
    assert standing(keito) == [(1.5, "2026-03-06")]
    [entry] = keito.entries()
    assert entry["notes"] == "Agent session in shop (2 turns): All tests pass."
    assert entry["metadata"]["turns"] == 2


@pytest.mark.parametrize("redact", [False, True])
async def test_a_session_that_goes_on_without_a_word_keeps_its_summary_unless_notes_are_redacted(
    host: Host,
    keito: Keito,
    redact: bool,  # noqa: FBT001 -- a table
) -> None:
    host.turn(0, 3600, message="All tests pass.")
    host.tell("end", 3610)
    await host.record()
    assert host.rules is not None
    host.rules = replace(host.rules, redact_notes=redact)
    host.tell("resume", 7200)
    host.tell("prompt", 7300)
    host.tell("end", 7310)
    await host.record()
    said = "" if redact else ": All tests pass."
    assert keito.entries()[0]["notes"] == f"Agent session in shop (2 turns){said}"


async def test_what_another_process_recorded_by_fewer_events_meanwhile_doesnt_stay(host: Host, keito: Keito) -> None:
    journal = host.desk.runtime.journal
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    [told] = await journal.recordings.told()
    fewer = told.recorded
    assert fewer is not None
    host.tell("resume", 7200)
    host.turn(7300, 9100)
    host.tell("end", 9200)
    await host.record()
    [told] = await journal.recordings.told()
    # The other process changed the entry after this one did, and was the first to say what became of the session.
    [key] = await recorded(host.desk.runtime, SESSION)
    await want_hours(host.desk.runtime, key, Decimal(1))
    assert told.recorded is not None
    await journal.recordings.settle(fewer, None)
    await journal.recordings.settle(told.recorded, None)
    await host.record()
    assert standing(keito) == [(1.5, "2026-03-06")]


async def test_a_session_over_midnight_is_two_entries(host: Host, keito: Keito) -> None:
    host.turn(11.5 * 3600, 13 * 3600)
    host.tell("end", 13 * 3600 + 5)
    await host.record()
    assert standing(keito) == [(0.5, "2026-03-06"), (1, "2026-03-07")]


async def test_the_day_is_the_users(host: Host, keito: Keito) -> None:
    assert host.rules is not None
    host.rules = replace(host.rules, zone=ZoneInfo("Pacific/Kiritimati"))
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    assert standing(keito) == [(1, "2026-03-07")]


async def test_more_than_the_longest_is_capped_and_said(host: Host, keito: Keito) -> None:
    host.turn(0, 9 * 3600)
    host.tell("end", 9 * 3600)
    await host.record()
    assert standing(keito) == [(8, "2026-03-06")]
    assert keito.entries()[0]["metadata"]["capped"] == "9 h were counted"


@pytest.mark.parametrize(("seconds", "entries"), [(59, 0), (60, 1)])
async def test_less_than_the_shortest_is_not_logged(host: Host, keito: Keito, seconds: int, entries: int) -> None:
    host.turn(0, seconds)
    host.tell("end", 100)
    await host.record()
    assert len(keito.entries()) == entries


# --- a person ---


@pytest.mark.parametrize("edit", [{"hours": 2.0}, {"notes": "Other"}, {"is_billable": False}], ids=str)
async def test_an_entry_that_a_person_changed_stays_and_only_later_time_goes_into_another(
    host: Host, keito: Keito, edit: dict[str, Any]
) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    [first] = keito.entries()
    await keito.person("PATCH", first["id"], **edit)
    host.tell("resume", 7200)
    host.turn(7300, 9100)
    host.tell("end", 9200)
    # The first pass finds out; what is beyond is logged by the next.
    for _ in range(3):
        await host.record()
    one, other = keito.entries()
    assert {name: one[name] for name in edit} == edit
    assert (one["hours"], other["hours"]) == (edit.get("hours", 1), 0.5)


async def test_an_entry_that_a_person_deleted_is_not_made_again(host: Host, keito: Keito) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    await keito.person("DELETE", keito.entries()[0]["id"])
    host.tell("resume", 7200)
    host.turn(7300, 9100)
    host.tell("end", 9200)
    for _ in range(3):
        await host.record()
    assert standing(keito) == [(0.5, "2026-03-06")]


async def test_time_beyond_an_approved_entry_goes_into_another(host: Host, keito: Keito) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    keito.store.approve(keito.entries()[0]["id"])
    host.tell("resume", 7200)
    host.turn(7300, 9100)
    host.tell("end", 9200)
    for _ in range(3):
        await host.record()
    assert standing(keito) == [(1, "2026-03-06"), (0.5, "2026-03-06")]


async def test_one_sync_finds_out_what_a_person_changed_and_logs_what_is_beyond(
    host: Host, keito: Keito, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    await keito.person("PATCH", keito.entries()[0]["id"], notes="Other")
    host.tell("resume", 7200)
    host.turn(7300, 9100)
    host.tell("end", 9200)
    monkeypatch.setattr(host.desk.runtime, "rules_of", host.rules_of)
    report = await deliver(host.desk.runtime)
    assert len(report.refused) == 1
    assert standing(keito) == [(1, "2026-03-06"), (0.5, "2026-03-06")]


async def test_an_entry_that_keito_refuses_to_make_is_not_tried_again_and_again(host: Host, keito: Keito) -> None:
    assert host.rules is not None
    host.rules = replace(host.rules, project_id="prj_forbidden")
    host.turn(0, 3600)
    host.tell("end", 3610)
    for _ in range(3):
        await host.record()
    assert keito.methods.count("POST") == 1


async def test_an_entry_that_keito_refused_to_make_can_be_restored_once_that_is_mended(
    host: Host, keito: Keito
) -> None:
    assert host.rules is not None
    mended, host.rules = host.rules, replace(host.rules, project_id="prj_forbidden")
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    assert standing(keito) == []
    host.rules = mended
    for _ in range(2):
        await host.desk.runtime.own.timesheet.restore(host.desk.runtime.settings.account, SESSION)
        await host.record()
        assert standing(keito) == [(1, "2026-03-06")]


# --- what the agent logs itself ---


@pytest.fixture
async def agent(desk: Desk) -> Any:
    async with desk.client() as connected:
        yield connected


async def test_no_moment_is_billed_twice(host: Host, agent: Agent, keito: Keito) -> None:
    host.tell("prompt", 0)
    await agent.call("start_timer", notes="Fix")
    host.at(1800)
    await agent.call("stop_timer")
    host.at(5400)
    await agent.call("log_time", hours=0.5, notes="Read")
    host.tell("stop", 7200)
    host.tell("end", 7210)
    await host.record()
    # Two hours of turn; half an hour of timer and half an hour of log are theirs already.
    assert sorted(standing(keito)) == [(0.5, "2026-03-06"), (0.5, "2026-03-06"), (1, "2026-03-06")]


async def test_a_rest_under_the_shortest_is_not_logged_either_where_more_was_logged_before(
    host: Host, agent: Agent, keito: Keito
) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    host.at(3700)
    await agent.call("log_time", hours=0.99, notes="Read")
    host.tell("resume", 4000)
    host.tell("end", 4010)
    await host.record()
    assert standing(keito) == [(0.99, "2026-03-06")]


async def test_a_timer_that_its_session_left_running_ends_with_it(host: Host, agent: Agent, keito: Keito) -> None:
    host.tell("prompt", 0)
    timer = await agent.call("start_timer", notes="Fix")
    host.tell("stop", 1800)
    host.tell("end", 9000)
    host.at(20_000)
    await host.record()
    assert keito.entry(timer["id"])["is_running"] is False
    assert keito.entry(timer["id"])["hours"] == 0.5
    assert len(keito.entries()) == 1


async def test_a_sub_agents_timer_ends_with_the_sub_agent_while_its_session_goes_on(
    make_desk: MakeDesk, clock: FakeClock, keito: Keito, tmp_path: Path
) -> None:
    desk = make_desk(session_id=None)
    files = ClaudeFiles(tmp_path / "home")
    desk.runtime.__dict__["machine"] = files.machine()
    host = Host(desk, clock, tmp_path)
    async with desk.client() as agent:
        claude = Claude(agent, files)
        host.tell("prompt", 0, session_id=THEIR_SESSION)
        main = await claude.call("start_timer", notes="All")
        host.tell("sub", 10, SUBAGENT, session_id=THEIR_SESSION)
        sub = await claude.call("start_timer", by=SUBAGENT, notes="A part")
    host.tell("sub-stop", 1810, SUBAGENT, session_id=THEIR_SESSION)
    host.at(9000)
    await host.record()
    assert (keito.entry(sub["id"])["hours"], keito.entry(sub["id"])["is_running"]) == (0.5, False)
    assert keito.entry(main["id"])["is_running"] is True


@pytest.fixture
def named(make_desk: MakeDesk, clock: FakeClock, tmp_path: Path) -> tuple[Host, ClaudeFiles]:
    """A Claude Code whose operator names each of its sessions alike (`KEITO_SESSION_ID`)."""
    desk = make_desk(session_id="named")
    files = ClaudeFiles(tmp_path / "home")
    desk.runtime.__dict__["machine"] = files.machine()
    return Host(desk, clock, tmp_path), files


async def test_a_discard_holds_for_a_session_that_the_operator_names(
    named: tuple[Host, ClaudeFiles], keito: Keito
) -> None:
    host, files = named
    host.tell("prompt", 0, session_id=THEIR_SESSION)
    host.tell("stop", 1800, session_id=THEIR_SESSION)
    host.tell("end", 1810, session_id=THEIR_SESSION)
    await host.record()
    assert standing(keito) == [(0.5, "2026-03-06")]
    host.tell("prompt", 2000, session_id=THEIR_SESSION)
    host.at(3800)
    async with host.desk.client() as agent:
        answer = await Claude(agent, files).call("discard_session")
        assert answer["queued"] == [keito.entries()[0]["id"]]
    host.tell("stop", 4700, session_id=THEIR_SESSION)
    host.tell("end", 4710, session_id=THEIR_SESSION)
    await host.record()
    assert standing(keito) == [(0.25, "2026-03-06")]


async def test_the_running_timer_of_a_failed_session_that_the_operator_names_is_discarded(
    named: tuple[Host, ClaudeFiles], keito: Keito
) -> None:
    host, files = named
    host.tell("prompt", 0, session_id=THEIR_SESSION)
    async with host.desk.client() as agent:
        await Claude(agent, files).call("start_timer", notes="Fix")
    host.tell("fail", 1800, session_id=THEIR_SESSION)
    host.tell("end", 1810, session_id=THEIR_SESSION)
    await host.record()
    assert keito.entries() == []


# --- failed, interrupted, discarded ---


async def test_a_failed_session_logs_nothing_and_its_timer_is_discarded(host: Host, agent: Agent, keito: Keito) -> None:
    host.tell("prompt", 0)
    await agent.call("start_timer", notes="Fix")
    host.tell("fail", 1800)
    host.tell("end", 1810)
    await host.record()
    assert keito.entries() == []
    outcome, said = await host.said()
    assert outcome == "failed"
    assert "on_failure" in said


async def test_a_failed_sessions_timer_is_restored_with_the_hours_until_the_session_ended(
    host: Host, agent: Agent, keito: Keito
) -> None:
    host.tell("prompt", 0)
    await agent.call("start_timer", notes="Fix")
    host.tell("fail", 1800)
    host.tell("end", 9 * 3600)
    await host.record()
    assert keito.entries() == []
    await host.desk.runtime.own.timesheet.restore(host.desk.runtime.settings.account, SESSION)
    await host.record()
    assert standing(keito) == [(0.5, "2026-03-06")]


async def test_failed_turns_that_a_completed_one_followed_count(host: Host, keito: Keito) -> None:
    host.turn(0, 1800, how="fail")
    host.turn(2000, 3800)
    host.tell("end", 3810)
    await host.record()
    assert standing(keito) == [(1, "2026-03-06")]


async def test_a_failed_session_that_is_restored_is_logged_with_its_outcome(host: Host, keito: Keito) -> None:
    host.turn(0, 1800, how="fail")
    host.tell("end", 1810)
    await host.record()
    await host.desk.runtime.own.timesheet.restore(host.desk.runtime.settings.account, SESSION)
    await host.record()
    assert standing(keito) == [(0.5, "2026-03-06")]
    assert keito.entries()[0]["metadata"]["outcome"] == "failed"


async def test_a_session_that_failed_after_it_was_logged_is_discarded_and_can_be_restored(
    host: Host, keito: Keito
) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    host.tell("resume", 7200)
    host.turn(7300, 9100, how="fail")
    host.tell("end", 9110)
    await host.record()
    assert keito.entries() == []
    await host.desk.runtime.own.timesheet.restore(host.desk.runtime.settings.account, SESSION)
    await host.desk.deliver_all()
    await host.record()
    assert standing(keito) == [(1.5, "2026-03-06")]


@pytest.mark.parametrize(
    ("change", "how", "expected"),
    [
        ({"keeps_failed": True}, "fail", "failed"),
        ({}, "end", "interrupted"),
        ({"keeps_interrupted": False}, "end", None),
    ],
    ids=str,
)
async def test_the_repository_decides_what_becomes_of_failed_and_interrupted_sessions(
    host: Host, keito: Keito, change: dict[str, Any], how: str, expected: str | None
) -> None:
    assert host.rules is not None
    host.rules = replace(host.rules, **change)
    host.tell("prompt", 0)
    host.tell("tool", 1790)
    host.tell(how, 1800)
    host.tell("end", 1801)
    await host.record()
    assert [entry["metadata"]["outcome"] for entry in keito.entries()] == ([expected] if expected else [])


async def test_time_before_a_discard_is_never_logged_unless_that_is_taken_back(
    host: Host, agent: Agent, keito: Keito
) -> None:
    host.tell("prompt", 0)
    host.at(1800)
    assert (await agent.call("discard_session"))["discarded"] == []
    host.tell("stop", 2700)
    host.tell("end", 2710)
    await host.record()
    assert standing(keito) == [(0.25, "2026-03-06")]
    await host.desk.runtime.own.timesheet.restore(host.desk.runtime.settings.account, SESSION)
    await host.record()
    assert standing(keito) == [(0.75, "2026-03-06")]


async def test_a_recorded_entry_that_is_discarded_stays_away_until_it_is_restored(
    host: Host, agent: Agent, keito: Keito
) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    await agent.call("discard_session")
    assert keito.entries() == []
    host.tell("resume", 7200)
    host.tell("end", 7210)
    await host.record()
    assert keito.entries() == []
    await host.desk.runtime.own.timesheet.restore(host.desk.runtime.settings.account, SESSION)
    await host.desk.deliver_all()
    await host.record()
    assert standing(keito) == [(1, "2026-03-06")]


async def test_what_is_restored_isnt_billed_beside_what_was_recorded_after_the_discard(
    host: Host, agent: Agent, keito: Keito
) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    await agent.call("discard_session")
    host.tell("resume", 7200)
    host.turn(7300, 9100)
    host.tell("end", 9200)
    await host.record()
    assert standing(keito) == [(0.5, "2026-03-06")]
    await host.desk.runtime.own.timesheet.restore(host.desk.runtime.settings.account, SESSION)
    for _ in range(2):
        await host.record()
    assert sorted(standing(keito)) == [(0.5, "2026-03-06"), (1, "2026-03-06")]


async def test_what_is_restored_isnt_billed_beside_the_entry_that_took_its_place(host: Host, keito: Keito) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    host.tell("resume", 7200)
    host.turn(7300, 9100, how="fail")
    host.tell("end", 9110)
    await host.record()
    host.tell("resume", 9200)
    host.turn(9300, 11_100)
    host.tell("end", 11_110)
    await host.record()
    assert standing(keito) == [(2, "2026-03-06")]
    for _ in range(2):
        await host.desk.runtime.own.timesheet.restore(host.desk.runtime.settings.account, SESSION)
        await host.record()
        assert sum(hours for hours, _ in standing(keito)) == 2


# --- without a goodbye ---


async def test_a_session_whose_host_is_gone_ends_at_its_last_sign_of_life(
    host: Host, keito: Keito, neighbour: Neighbour
) -> None:
    host.tell("prompt", 0, process=neighbour.name)
    host.tell("tool", 1800, process=neighbour.name)
    host.at(9000)
    await host.record()
    assert keito.entries() == []
    neighbour.end()
    await host.record()
    assert standing(keito) == [(0.5, "2026-03-06")]
    assert keito.entries()[0]["metadata"]["outcome"] == "interrupted"


async def test_a_session_that_is_silent_for_twelve_hours_is_over(host: Host, keito: Keito) -> None:
    host.turn(0, 3600)
    host.at(3600 + 12 * 3600 - 1)
    await host.record()
    assert keito.entries() == []
    host.at(3600 + 12 * 3600)
    await host.record()
    assert standing(keito) == [(1, "2026-03-06")]


async def test_the_transcripts_last_row_is_a_sign_of_life(
    host: Host, keito: Keito, neighbour: Neighbour, tmp_path: Path
) -> None:
    transcript = tmp_path / "session-1.jsonl"
    transcript.write_text(
        '{"type": "assistant", "timestamp": "2026-03-06T12:30:00Z", "message": {"model": "claude-opus-5"}}\n{"type":'
    )
    host.tell("prompt", 0, process=neighbour.name, transcript=str(transcript))
    neighbour.end()
    host.at(9000)
    await host.record()
    assert standing(keito) == [(0.5, "2026-03-06")]
    assert keito.entries()[0]["metadata"]["model"] == "claude-opus-5"


async def test_a_sleep_of_the_machine_before_the_transcripts_last_row_is_not_counted(
    host: Host, keito: Keito, clock: FakeClock, neighbour: Neighbour, tmp_path: Path
) -> None:
    transcript = tmp_path / "session-1.jsonl"
    transcript.write_text('{"type": "user", "timestamp": "2026-03-06T20:15:00Z"}\n')
    host.tell("prompt", 0, process=neighbour.name, transcript=str(transcript))
    clock.wall += timedelta(hours=8)
    clock.pass_time(timedelta(minutes=15))
    neighbour.end()
    await host.record()
    assert standing(keito) == [(0.25, "2026-03-06")]


# --- where it goes ---


async def test_a_session_of_another_account_waits_for_it(host: Host, keito: Keito) -> None:
    assert host.rules is not None
    mine, host.rules = host.rules, replace(host.rules, account="another")
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    assert keito.entries() == []
    host.rules = mine
    await host.record()
    assert standing(keito) == [(1, "2026-03-06")]


async def test_what_stands_under_another_account_is_not_billed_again(
    host: Host, make_desk: MakeDesk, keito: Keito
) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    host.desk = make_desk(session_id=SESSION, account_id="the-same-people")
    assert host.rules is not None
    host.rules = replace(host.rules, account=host.desk.runtime.settings.account)
    host.tell("resume", 20_000)
    host.turn(20_000, 21_800)
    host.tell("end", 21_810)
    await host.record()
    assert sorted(standing(keito)) == [(0.5, "2026-03-06"), (1, "2026-03-06")]


async def test_without_a_project_it_waits_and_says_what_to_do(host: Host, keito: Keito) -> None:
    assert host.rules is not None
    usual, host.rules = host.rules, replace(host.rules, project_id=None)
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    assert "keito-mcp init" in (await host.said())[1]
    host.rules = usual
    await host.record()
    assert standing(keito) == [(1, "2026-03-06")]


async def test_without_a_task_it_is_logged_under_the_default_one_where_keito_asks_for_one(
    host: Host, keito: Keito
) -> None:
    assert host.rules is not None
    host.rules = replace(host.rules, task_id=None)
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    assert standing(keito) == [(1, "2026-03-06")]


async def test_a_repository_that_doesnt_want_it_is_never_logged(host: Host, keito: Keito) -> None:
    assert host.rules is not None
    host.rules = replace(host.rules, is_enabled=False)
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    assert keito.entries() == []


async def test_what_is_queued_while_keito_is_away_arrives_once(host: Host, keito: Keito) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)

    async def rules_of(_: str) -> Rules | None:
        return host.rules

    async with keito.away():
        await host.desk.runtime.own.recorder(rules_of).run()
        await host.desk.deliver()
    await host.record()
    assert standing(keito) == [(1, "2026-03-06")]


async def test_what_was_recorded_under_an_earlier_account_is_not_billed_under_the_next(
    host: Host, make_desk: MakeDesk, keito: Keito
) -> None:
    assert host.rules is not None
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    host.tell("resume", 4000)
    host.turn(4100, 5900)
    host.tell("end", 5910)
    await host.record()
    assert standing(keito) == [(1.5, "2026-03-06")]
    host.desk = make_desk(session_id=SESSION, account_id="co_of_the_same_key")
    host.rules = replace(host.rules, account=host.desk.runtime.settings.account)
    host.tell("resume", 7200)
    host.turn(7300, 9100)
    host.tell("end", 9200)
    for _ in range(2):
        await host.record()
    host.tell("resume", 9300)
    host.turn(9400, 11_200)
    host.tell("end", 11_210)
    await host.record()
    assert standing(keito) == [(1.5, "2026-03-06"), (1, "2026-03-06")]


async def test_a_session_whose_folder_is_gone_when_its_end_is_taken_in_is_of_its_repository(
    host: Host, keito: Keito
) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610, folder="/a/worktree/that/is/gone")

    async def rules_of(root: str) -> Rules | None:
        return host.rules if root == str(host.root) else None

    await host.desk.runtime.own.recorder(rules_of).run()
    await host.desk.deliver_all()
    assert standing(keito) == [(1, "2026-03-06")]


async def test_a_session_that_goes_on_after_a_season_keeps_the_entry_that_stands(
    host: Host, keito: Keito, clock: FakeClock
) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    # Keito was away, or the machine was off.
    clock.pass_time(timedelta(days=5))
    await host.record()
    clock.pass_time(timedelta(days=86))
    await host.desk.runtime.journal.prune(clock.wall - timedelta(days=90))
    later = (clock.wall - NOON).total_seconds()
    host.tell("resume", later)
    host.tell("end", later + 10)
    await host.record()
    assert standing(keito) == [(1, "2026-03-06")]


async def test_the_embedded_keito_never_takes_a_session_from_its_account(host: Host, keito: Keito) -> None:
    host.turn(0, 3600)
    host.tell("end", 3610)
    sandbox = embedded_runtime()
    await sandbox.own.recorder().run()
    await sandbox.aclose()
    await host.record()
    assert standing(keito) == [(1, "2026-03-06")]


async def test_a_session_without_a_project_waits_for_one_with_all_that_is_known_of_it(host: Host, keito: Keito) -> None:
    assert host.rules is not None
    host.rules = replace(host.rules, project_id=None)
    host.turn(0, 3600, message="All tests pass.")
    host.tell("end", 3610)
    await host.record()
    assert (await host.said())[0] == "left"
    commits = len(host.desk.commits)
    await host.record()
    assert len(host.desk.commits) == commits
    host.rules = replace(host.rules, project_id=PROJECT)
    await host.record()
    assert keito.entries()[0]["notes"] == "Agent session in shop (1 turn): All tests pass."


async def test_the_pauses_of_the_repository_are_not_counted(host: Host, keito: Keito) -> None:
    recordings = host.desk.runtime.journal.recordings
    host.tell("prompt", 0)
    host.at(1800)
    await recordings.pause(str(host.root), host.clock.now(), is_paused=True)
    host.at(3600)
    await recordings.pause(str(host.root), host.clock.now(), is_paused=False)
    host.tell("stop", 5400)
    host.tell("end", 5410)
    await host.record()
    assert standing(keito) == [(1, "2026-03-06")]


async def test_a_text_that_its_host_cut_within_a_character_is_recorded(host: Host, keito: Keito) -> None:
    host.turn(0, 3600, message="All tests pass \ud83d")
    host.tell("end", 3610)
    await host.record()
    [entry] = keito.entries()
    assert entry["notes"] == "Agent session in shop (1 turn): All tests pass ?"


async def test_a_session_that_cant_be_understood_holds_up_no_other(host: Host, keito: Keito) -> None:
    host.tell("stop", 0, session_id="another", took=1e300)
    host.tell("permission", 1, session_id="another", monotonic=1e300)
    host.tell("tool", 2, session_id="another", took=1e300)
    host.tell("end", 3, session_id="another")
    host.turn(60, 3660)
    host.tell("end", 3670)
    await host.record()
    assert standing(keito) == [(1, "2026-03-06")]


async def test_what_the_agent_said_last_is_forgotten_once_it_is_recorded(host: Host, keito: Keito) -> None:
    host.turn(0, 3600, message="Rotated api_key=sk-live-0123456789abcdefABCDEF and deployed.")
    host.tell("end", 3610)
    await host.record()
    assert "sk-live" not in keito.entries()[0]["notes"]
    assert "and deployed." in keito.entries()[0]["notes"]
    rows = await host.desk.runtime.journal.recordings.events(SESSION)
    assert not [row for _, row in rows if "message" in row]
