from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.kit import Agent, Desk, FakeClock, Keito, MakeDesk, until
from tests.support.cores import deleted

pytestmark = pytest.mark.anyio

KEPT = ("id", "project_id", "task_id", "spent_date", "hours", "notes", "is_running", "is_billable", "metadata")
"""All of an entry that makes it the same when it is made again, and that tells a person's change."""


@pytest.fixture
def few_pages(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let a discard look through so many pages, of one entry each."""

    def few_pages(most: int) -> None:
        for core in ("discarding", "discard"):
            monkeypatch.setattr(f"keito_mcp.timesheet.{core}.PAGE_LIMIT", 1)
            monkeypatch.setattr(f"keito_mcp.timesheet.{core}.MOST_PAGES", most)

    return few_pages


async def _elsewhere(keito: Keito, session: str = "session-1", agent: str = "tester", **fields: Any) -> str:
    """An agent's entry that this machine's journal knows nothing of."""
    entry = await keito.person(
        "POST",
        **{
            "project_id": "prj_abc",
            "spent_date": "2026-03-06",
            "hours": 1,
            "source": "agent",
            "metadata": {"session_id": session, "agent_id": agent},
            **fields,
        },
    )
    return str(entry["id"])


async def test_a_session_is_one_look_up_and_one_delete_for_each_entry(
    agent: Agent, keito: Keito, clock: FakeClock, desk: Desk
) -> None:
    logged = await agent.call("log_time", hours=1)
    stopped = await agent.call("start_timer")
    clock.pass_time(timedelta(minutes=30))
    await agent.call("stop_timer")
    running = await agent.call("start_timer", notes="More")
    sent, commits = len(keito.requests), len(desk.commits)
    answer = await agent.call("discard_session", reason="It failed")

    assert keito.methods[sent:] == ["GET", "DELETE", "DELETE", "DELETE"]
    assert keito.requests[sent].query == f"source=agent&from=2026-03-05&to=2026-03-07&{keito.wire.page(200)}"
    assert set(answer["discarded"]) == {logged["id"], stopped["id"], running["id"]}
    assert answer["hours"] == 1.5
    assert answer["kept"] == []
    assert len(desk.commits[commits:]) == 2
    assert keito.entries() == []


async def test_what_is_deleted_is_kept_whole_in_the_journal_with_the_reason(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    await agent.call("log_time", hours=1, notes="Whole", metadata={"ticket": "KEI-7"})
    [before] = keito.entries()
    await agent.call("discard_session", reason="It failed")
    kept, reason = deleted(desk)

    assert {name: kept.get(name) for name in KEPT} == {name: before[name] for name in KEPT}
    assert reason == "It failed"


async def test_a_discarded_timer_no_longer_runs_here(agent: Agent) -> None:
    await agent.call("start_timer")
    await agent.call("discard_session")
    assert (await agent.call("start_timer"))["status"] == "running"


async def test_entries_of_the_session_from_elsewhere_and_of_its_sub_agents_go_too(agent: Agent, keito: Keito) -> None:
    await _elsewhere(keito, agent="another machine")
    await _elsewhere(keito, agent="tester", metadata={"session_id": "session-1", "subagent_id": "helper"})
    answer = await agent.call("discard_session")

    assert len(answer["discarded"]) == 2
    assert keito.entries() == []


async def test_other_sessions_and_people_are_not_touched(agent: Agent, keito: Keito) -> None:
    await _elsewhere(keito, session="other")
    await _elsewhere(keito, source="web")
    await agent.call("log_time", hours=1)
    answer = await agent.call("discard_session")

    assert len(answer["discarded"]) == 1
    assert len(keito.entries()) == 2


async def test_what_a_person_changed_is_kept_with_the_reason(agent: Agent, keito: Keito) -> None:
    changed = await agent.call("log_time", hours=1, notes="a")
    restarted = await agent.call("log_time", hours=1, notes="b")
    approved = await agent.call("log_time", hours=1, notes="c")
    stopped = await agent.call("start_timer", notes="d")
    reworded = await agent.call("log_time", hours=1, notes="e")
    unbilled = await agent.call("log_time", hours=1, notes="f", is_billable=True)
    untouched = await agent.call("log_time", hours=1, notes="g")
    await keito.person("PATCH", changed["id"], hours=2)
    await keito.person("PATCH", restarted["id"], is_running=True)
    await keito.person("PATCH", stopped["id"], is_running=False, hours=0.5)
    await keito.person("PATCH", reworded["id"], notes="A person's words")
    await keito.person("PATCH", unbilled["id"], is_billable=False)
    keito.store.approve(approved["id"])
    answer = await agent.call("discard_session")

    reasons = {kept["id"]: kept["reason"] for kept in answer["kept"]}
    assert "from 1 to 2" in reasons[changed["id"]]
    assert "started it again" in reasons[restarted["id"]]
    assert "stopped it" in reasons[stopped["id"]]
    assert "approved" in reasons[approved["id"]]
    assert "notes" in reasons[reworded["id"]]
    assert "is_billable" in reasons[unbilled["id"]]
    assert answer["discarded"] == [untouched["id"]]
    assert all(kept in answer.text for kept in reasons)


async def test_an_entry_that_is_gone_already_counts_as_discarded(agent: Agent, keito: Keito) -> None:
    gone = await agent.call("log_time", hours=1, notes="a")
    stands = await agent.call("log_time", hours=1, notes="b")
    await keito.person("DELETE", gone["id"])
    answer = await agent.call("discard_session")

    assert set(answer["discarded"]) == {gone["id"], stands["id"]}
    assert answer["hours"] == 1


async def test_discarding_twice_finds_nothing_more(agent: Agent, keito: Keito) -> None:
    await agent.call("log_time", hours=1)
    await agent.call("discard_session")
    answer = await agent.call("discard_session")

    assert answer["discarded"] == []
    assert keito.methods.count("DELETE") == 1


async def test_with_a_made_up_session_only_what_this_process_wrote_goes_and_the_answer_says_so(
    make_desk: MakeDesk, keito: Keito
) -> None:
    async with make_desk(session_id=None).client() as other_process:
        await other_process.call("log_time", hours=1, notes="Of another process")
    async with make_desk(session_id=None).client() as agent:
        mine = await agent.call("log_time", hours=2, notes="Mine")
        answer = await agent.call("discard_session")

    assert answer["discarded"] == [mine["id"]]
    assert "isn't certain" in answer["message"]
    assert [entry["notes"] for entry in keito.entries()] == ["Of another process"]


async def test_with_a_made_up_session_that_wrote_nothing_keito_is_not_asked(make_desk: MakeDesk, keito: Keito) -> None:
    async with make_desk(session_id=None).client() as agent:
        answer = await agent.call("discard_session")

    assert answer["discarded"] == []
    assert keito.sent == []


async def test_of_another_session_only_this_agents_entries_of_the_last_week_go(
    make_desk: MakeDesk, agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    async with make_desk(session_id="before").client() as earlier:
        old = await earlier.call("log_time", hours=1, spent_date="2026-02-20")
    recent = await _elsewhere(keito, session="before", spent_date="2026-02-28")
    await _elsewhere(keito, session="before", agent="somebody else")
    clock.pass_time(timedelta(minutes=3))
    answer = await agent.call("discard_session", session_id="before")

    assert answer["discarded"] == [recent]
    [kept] = answer["kept"]
    assert kept["id"] == old["id"]
    assert "7 days" in kept["reason"]
    assert len(keito.entries()) == 2


async def test_progress_is_told_for_each_entry(desk: Desk) -> None:
    told: list[tuple[float, float | None]] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        if message and "of 3" in message:
            told.append((progress, total))

    async with desk.client() as agent:
        for notes in "abc":
            await agent.call("log_time", hours=1, notes=notes)
        await agent.client.call_tool("discard_session", {}, progress_callback=tell)

    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("fault", [{"cut_before": True}, {"status": 500}, {"hang": True}])
async def test_a_delete_whose_outcome_is_not_known_is_said_to_wait_and_is_made_later(
    agent: Agent, desk: Desk, keito: Keito, fault: dict[str, Any]
) -> None:
    first = await agent.call("log_time", hours=1, notes="a")
    second = await agent.call("log_time", hours=1, notes="b")
    keito.fails("DELETE", **fault)
    answer = await agent.call("discard_session")

    assert keito.methods.count("DELETE") == 1
    assert set(answer["queued"]) == {first["id"], second["id"]}
    assert (answer["discarded"], answer["kept"], answer["hours"]) == ([], [], 0)
    assert all(entry_id in answer.text for entry_id in answer["queued"])
    await desk.deliver_all()
    assert keito.entries() == []
    assert (await agent.call("discard_session"))["discarded"] == []


async def test_the_next_discard_says_nothing_of_what_waits_to_be_deleted_and_does_not_delete_it_twice(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    await agent.call("log_time", hours=1)
    keito.fails("DELETE", cut_before=True)
    await agent.call("discard_session")
    again = await agent.call("discard_session")
    await desk.deliver_all()

    assert again["kept"] == []
    assert keito.entries() == []
    assert keito.methods.count("DELETE") == 2


@pytest.mark.parametrize("fault", [{"cut_after": True}, {"status": 502, "commit": True}])
async def test_a_delete_whose_answer_was_lost_is_read_again_and_counts(
    agent: Agent, keito: Keito, fault: dict[str, Any]
) -> None:
    logged = await agent.call("log_time", hours=1)
    keito.fails("DELETE", **fault)
    answer = await agent.call("discard_session")

    assert answer["discarded"] == [logged["id"]]
    assert keito.methods == ["POST", "GET", "DELETE", *keito.wire.looks_for_what_is_gone]


async def test_when_keito_cannot_be_asked_what_this_machine_knows_is_deleted_later(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    logged = await agent.call("log_time", hours=1)
    keito.fails("GET", status=500, times=100)
    answer = await agent.call("discard_session")

    assert answer["queued"] == [logged["id"]]
    assert answer["discarded"] == []
    assert "What other machines wrote in this session wasn't looked for" in answer["message"]
    assert "DELETE" not in keito.methods
    keito.faults.clear()
    await desk.deliver_all()
    assert keito.entries() == []
    assert keito.methods.count("DELETE") == 1


async def test_when_keito_cannot_be_asked_and_nothing_is_known_here_it_is_an_error(agent: Agent, keito: Keito) -> None:
    await _elsewhere(keito)
    keito.fails("GET", status=500, times=100)
    answer = await agent.call("discard_session")

    assert answer.is_error
    assert "Nothing was changed" in answer.text
    assert len(keito.entries()) == 1


@pytest.mark.parametrize(("tool", "arguments"), [("log_time", {"hours": 1}), ("start_timer", {})])
async def test_an_entry_that_arrived_late_is_discarded_with_its_session(
    make_desk: MakeDesk, keito: Keito, tool: str, arguments: dict[str, Any]
) -> None:
    keito.fails("POST", late_commit=True, delay=0.5)
    async with make_desk(session_id=None).client() as agent:
        await agent.call(tool, **arguments)
        await until(keito.entries)
        answer = await agent.call("discard_session")

    assert len(answer["discarded"]) == 1
    assert keito.entries() == []


async def test_an_entry_that_may_still_turn_up_is_listed_as_waiting_and_not_sent_again(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    keito.fails("POST", cut_before=True)
    logged = await agent.call("log_time", hours=1)
    answer = await agent.call("discard_session")
    await desk.deliver_all()

    assert (answer["queued"], answer["discarded"]) == ([logged["id"]], [])
    assert keito.methods.count("POST") == 1
    assert keito.entries() == []


async def test_when_there_is_more_than_is_looked_through_the_answer_says_so(
    agent: Agent, keito: Keito, few_pages: Callable[[int], None]
) -> None:
    few_pages(2)
    for _ in range(3):
        await _elsewhere(keito)
    answer = await agent.call("discard_session")

    assert len(answer["discarded"]) == 2
    assert "call again" in answer["message"]
    assert "message" not in await agent.call("discard_session")


async def test_a_stop_that_arrived_late_is_our_own_and_does_not_keep_the_entry(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer", notes="a")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", late_commit=True, delay=0.5)
    await agent.call("stop_timer", notes="b")
    await until(lambda: not keito.entries()[0]["is_running"])
    answer = await agent.call("discard_session")

    assert answer["kept"] == []
    assert keito.entries() == []


@pytest.mark.parametrize(("status", "retry_after"), [(429, 60), (429, None), (401, None)])
async def test_a_limit_or_a_bad_key_ends_the_deleting_at_once_and_the_rest_is_deleted_later(
    agent: Agent, desk: Desk, keito: Keito, status: int, retry_after: int | None
) -> None:
    for notes in "abc":
        await agent.call("log_time", hours=1, notes=notes)
    keito.fails("DELETE", status=status, times=100, **({} if retry_after is None else {"retry_after": retry_after}))
    answer = await agent.call("discard_session")

    assert keito.methods.count("DELETE") == 1
    assert set(answer["queued"]) == {entry["id"] for entry in keito.entries()}
    assert len(answer["queued"]) == 3
    assert (answer["kept"], answer["hours"]) == ([], 0)
    keito.faults.clear()
    await desk.deliver_all()
    assert keito.entries() == []
    assert keito.methods.count("DELETE") == 4


async def test_over_http_without_sessions_no_agent_discards_what_may_be_anothers(
    make_desk: MakeDesk, keito: Keito
) -> None:
    desk = make_desk(serves_one_user=False, session_id=None, agent_id=None)
    async with desk.client(name="claude-code") as one, desk.client(name="cursor-vscode") as other:
        await one.call("log_time", hours=3)
        refused = await other.call("discard_session")

    assert refused.is_error
    assert "session_id" in refused.text
    assert len(keito.entries()) == 1


async def test_an_entry_that_a_person_moved_to_another_task_is_kept(agent: Agent, keito: Keito) -> None:
    logged = await agent.call("log_time", hours=1, task_id="tsk_1")
    await keito.person("PATCH", logged["id"], task_id="tsk_2")
    [kept] = (await agent.call("discard_session"))["kept"]

    assert "task_id" in kept["reason"]


async def test_a_running_timer_that_a_person_edited_is_kept(agent: Agent, keito: Keito) -> None:
    started = await agent.call("start_timer", notes="a")
    await keito.person("PATCH", started["id"], notes="A person's words")
    [kept] = (await agent.call("discard_session"))["kept"]

    assert kept["id"] == started["id"]
    assert len(keito.entries()) == 1


async def test_one_entry_that_may_not_be_read_does_not_keep_the_others(
    agent: Agent, keito: Keito, few_pages: Callable[[int], None]
) -> None:
    few_pages(1)
    hidden = await agent.call("log_time", hours=1, notes="a")
    shown = await agent.call("log_time", hours=1, notes="b")
    keito.fails("GET", after=1, status=403)
    answer = await agent.call("discard_session")

    assert answer["discarded"] == [shown["id"]]
    assert [kept["id"] for kept in answer["kept"]] == [hidden["id"]]
