import json
from datetime import timedelta

import anyio
import pytest

from tests.kit import CORE, Agent, Desk, FakeClock, Keito, MakeDesk, until

pytestmark = pytest.mark.anyio


async def test_stopping_reads_the_entry_and_patches_it_with_the_elapsed_hours(
    agent: Agent, keito: Keito, clock: FakeClock, desk: Desk
) -> None:
    started = await agent.call("start_timer", notes="Fix the login")
    clock.pass_time(timedelta(hours=1, minutes=30, seconds=1))
    stopped = await agent.call("stop_timer", notes="Fixed it")

    path = keito.wire.entry(started["id"])
    if keito.wire.counts:
        assert keito.sent[1:] == [("PATCH", f"{path}/stop"), ("PATCH", path)]
        assert [request.body for request in keito.requests[1:]] == [None, {"notes": "Fixed it"}]
    else:
        assert keito.sent[1:] == [("GET", path), ("PATCH", path)]
        assert keito.body() == {"hours": 1.5003, "is_running": False, "notes": "Fixed it"}
    assert keito.entry(started["id"])["hours"] == 1.5003
    assert len(desk.commits) == (5 if CORE == "rows" and keito.wire.counts else 4)
    assert stopped["status"] == "stopped"
    assert stopped["hours"] == 1.5003
    assert stopped["notes"] == "Fixed it"
    assert "message" not in stopped


async def test_notes_that_are_not_given_are_not_sent(agent: Agent, keito: Keito, clock: FakeClock) -> None:
    await agent.call("start_timer", notes="Fix the login")
    clock.pass_time(timedelta(minutes=6))
    stopped = await agent.call("stop_timer")

    assert keito.methods == ["POST", *keito.wire.before_a_stop, "PATCH"]
    assert keito.requests[-1].body == (None if keito.wire.counts else {"hours": 0.1, "is_running": False})
    assert keito.entries()[0]["hours"] == 0.1
    assert stopped["notes"] == "Fix the login"


async def test_given_hours_win_over_the_elapsed_time(agent: Agent, keito: Keito, clock: FakeClock) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=3))
    stopped = await agent.call("stop_timer", hours="45m")

    assert stopped["hours"] == 0.75
    assert keito.entries()[0]["hours"] == 0.75


async def test_a_timer_that_ran_for_no_time_at_all_counts_the_least_there_is(agent: Agent) -> None:
    await agent.call("start_timer")
    assert (await agent.call("stop_timer"))["hours"] == 0.0001


async def test_stopping_twice_answers_the_same_entry_without_a_request(agent: Agent, keito: Keito) -> None:
    started = await agent.call("start_timer")
    await agent.call("stop_timer", hours=1)
    sent = len(keito.requests)
    by_id = await agent.call("stop_timer", entry_id=started["id"])
    again = await agent.call("stop_timer")

    assert by_id["status"] == again["status"] == "already_stopped"
    assert by_id["id"] == again["id"] == started["id"]
    assert again["hours"] == 1
    # Without an id the timer could also have been started elsewhere, so Keito is asked.
    assert keito.methods[sent:] == ["GET"]


async def test_where_no_timer_ever_ran_the_error_points_to_the_other_tools(agent: Agent, keito: Keito) -> None:
    answer = await agent.call("stop_timer")

    assert answer.is_error
    assert "log_time" in answer.text
    assert "start_timer" in answer.text
    assert keito.entries() == []


async def test_the_handle_of_start_timer_stops_it_from_another_process(
    make_desk: MakeDesk, keito: Keito, clock: FakeClock
) -> None:
    async with make_desk().client() as agent:
        started = await agent.call("start_timer")
    clock.pass_time(timedelta(hours=2))
    async with make_desk().client() as agent:
        stopped = await agent.call("stop_timer", entry_id=started["id"])

    assert stopped["status"] == "stopped"
    assert keito.entry(started["id"])["hours"] == 2


async def test_a_timer_that_another_machine_started_is_found_in_keito_by_its_session(
    make_desk: MakeDesk, keito: Keito, clock: FakeClock
) -> None:
    await keito.person(
        "POST",
        project_id="prj_abc",
        spent_date="2026-03-06",
        is_running=True,
        source="agent",
        metadata={"session_id": "session-1", "agent_id": "tester", "started_at": "2026-03-06T11:00:00Z"},
    )
    clock.pass_time(timedelta(hours=1))
    async with make_desk().client() as agent:
        stopped = await agent.call("stop_timer")

    assert stopped["status"] == "stopped"
    assert stopped["hours"] == 2


async def test_several_running_timers_found_in_keito_are_listed_and_none_is_stopped(agent: Agent, keito: Keito) -> None:
    made = [
        await keito.person(
            "POST",
            project_id="prj_abc",
            spent_date="2026-03-06",
            is_running=True,
            source="agent",
            metadata={"session_id": "session-1", "agent_id": "tester"},
        )
        for _ in range(2)
    ]
    answer = await agent.call("stop_timer")

    assert answer.is_error
    assert all(entry["id"] in answer.text for entry in made)
    assert all(entry["is_running"] for entry in keito.entries())


async def test_other_agents_timers_in_the_same_session_are_not_taken_for_ours(agent: Agent, keito: Keito) -> None:
    await keito.person(
        "POST",
        project_id="prj_abc",
        spent_date="2026-03-06",
        is_running=True,
        source="agent",
        metadata={"session_id": "session-1", "agent_id": "tester", "subagent_id": "helper"},
    )
    assert (await agent.call("stop_timer")).is_error
    assert keito.entries()[0]["is_running"] is True


async def test_a_timer_that_a_person_stopped_is_left_as_the_person_left_it(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    await keito.person("PATCH", started["id"], is_running=False, hours=0.5)
    stopped = await agent.call("stop_timer", hours=3, notes="Mine")

    assert stopped["status"] == "already_stopped"
    assert stopped["hours"] == 0.5
    assert "left as it is" in stopped["message"]
    assert keito.methods == ["POST", *(["PATCH"] if keito.wire.counts else []), "GET"]
    assert (keito.entry(started["id"])["hours"], keito.entry(started["id"])["notes"]) == (0.5, None)


async def test_a_timer_that_a_person_deleted_is_an_error_that_says_so(agent: Agent, keito: Keito) -> None:
    started = await agent.call("start_timer")
    await keito.person("DELETE", started["id"])
    answer = await agent.call("stop_timer")

    assert answer.is_error
    assert "deleted" in answer.text
    assert "log_time" in answer.text
    assert (await agent.call("start_timer"))["status"] == "running"


async def test_a_persons_own_entry_is_never_touched(agent: Agent, keito: Keito) -> None:
    own = await keito.person("POST", project_id="prj_abc", spent_date="2026-03-06", is_running=True, source="web")
    answer = await agent.call("stop_timer", entry_id=own["id"], hours=1, notes="Mine")

    assert answer.is_error
    assert "not made by an agent" in answer.text
    assert keito.methods == ["GET"]
    assert keito.entry(own["id"])["is_running"] is True


async def test_another_agents_entry_of_another_session_is_not_touched(agent: Agent, keito: Keito) -> None:
    entry = await keito.person(
        "POST",
        project_id="prj_abc",
        spent_date="2026-03-06",
        is_running=True,
        source="agent",
        metadata={"session_id": "other", "agent_id": "other"},
    )
    answer = await agent.call("stop_timer", entry_id=entry["id"])

    assert answer.is_error
    assert "belongs to agent other" in answer.text
    assert keito.entry(entry["id"])["is_running"] is True


@pytest.mark.parametrize(
    ("wall", "monotonic", "counted"),
    [
        (timedelta(hours=2), timedelta(hours=1), 1.0),
        (timedelta(hours=1), timedelta(hours=2), 1.0),
        (timedelta(hours=-1), timedelta(hours=1), 1.0),
        (timedelta(days=1, hours=1), timedelta(hours=1), 1.0),
    ],
    ids=["suspended", "set back", "set back behind the start", "set a day ahead"],
)
async def test_a_clock_that_moved_bills_nothing_and_the_answer_says_so(
    agent: Agent, clock: FakeClock, wall: timedelta, monotonic: timedelta, counted: float
) -> None:
    await agent.call("start_timer")
    clock.wall += wall
    clock.monotonic += monotonic.total_seconds()
    stopped = await agent.call("stop_timer")

    assert stopped["hours"] == counted
    assert "clock" in stopped["message"]


async def test_a_forgotten_timer_counts_eight_hours_and_the_answer_says_so(agent: Agent, clock: FakeClock) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=31))
    stopped = await agent.call("stop_timer")

    assert stopped["hours"] == 8
    assert "31 h" in stopped["message"]


async def test_a_timer_over_a_reboot_is_counted_by_the_wall_clock(agent: Agent, clock: FakeClock) -> None:
    await agent.call("start_timer")
    clock.pass_time(timedelta(hours=2))
    clock.boot_id, clock.monotonic = "boot-2", 10.0
    assert (await agent.call("stop_timer"))["hours"] == 2


@pytest.mark.parametrize("entry_id", ["../projects", "a/b", "te 1?x=y#z", "%2e%2e", "日本"])
async def test_an_id_is_percent_encoded_whatever_it_is_made_of(agent: Agent, keito: Keito, entry_id: str) -> None:
    answer = await agent.call("stop_timer", entry_id=entry_id)

    assert answer.is_error
    if keito.wire.counts:
        # There is no address of one entry to read it at: it is looked for in a list.
        assert set(keito.sent) == {("GET", keito.wire.entries)}
        return
    [(method, path)] = set(keito.sent)
    assert method == "GET"
    assert path.startswith("/v1/time-entries/")
    assert path.count("/") == 3
    assert keito.requests[0].query == ""


@pytest.mark.parametrize("entry_id", [".", ".."])
async def test_an_id_that_addresses_elsewhere_even_when_encoded_is_not_sent(
    agent: Agent, keito: Keito, entry_id: str
) -> None:
    answer = await agent.call("stop_timer", entry_id=entry_id)

    assert answer.is_error
    assert keito.sent == []


@pytest.mark.parametrize("started_at", [None, "yesterday", 7])
async def test_a_timer_whose_start_is_not_said_counts_from_when_keito_made_it(
    make_desk: MakeDesk, keito: Keito, clock: FakeClock, started_at: object
) -> None:
    entry = await keito.person(
        "POST",
        project_id="prj_abc",
        spent_date="2026-03-06",
        is_running=True,
        source="agent",
        metadata={"session_id": "session-1", "agent_id": "tester", "started_at": started_at},
    )
    clock.pass_time(timedelta(hours=1))
    async with make_desk().client() as agent:
        stopped = await agent.call("stop_timer", entry_id=entry["id"])

    assert stopped["hours"] == 1


@pytest.mark.parametrize("started_at", ["2026-03-06T11:00:00", None])
async def test_where_nobody_says_when_a_timer_started_the_hours_are_asked_for(
    agent: Agent, keito: Keito, started_at: str | None
) -> None:
    metadata = {"agent_id": "tester", "started_at": started_at}
    running = {"id": "te_1", "is_running": True, "hours": 0.75, "source": "agent", "metadata": metadata}
    keito.fails("GET", status=200, body=keito.wire.read(running), times=2)
    keito.fails("PATCH", status=200, body='{"id": "te_1"}', times=2)
    asked = await agent.call("stop_timer", entry_id="te_1")
    stopped = await agent.call("stop_timer", entry_id="te_1", hours=0.75)

    assert asked.is_error
    assert "hours" in asked.text
    assert stopped["hours"] == 0.75
    assert keito.methods == ["GET", "GET", "PATCH", *keito.wire.after_a_stop]


async def test_where_nobody_says_whether_an_entry_runs_it_is_left_alone(agent: Agent, keito: Keito) -> None:
    entry = {"id": "te_1", "source": "agent", "metadata": {"agent_id": "tester"}}
    keito.fails("GET", status=200, body=keito.wire.read(entry))
    answer = await agent.call("stop_timer", entry_id="te_1")

    assert answer.is_error
    assert keito.methods == ["GET"]


async def test_a_timer_that_a_person_started_again_is_left_to_the_person(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer")
    clock.pass_time(timedelta(hours=1))
    await agent.call("stop_timer")
    await keito.person("PATCH", started["id"], is_running=True)
    clock.pass_time(timedelta(hours=3))
    answer = await agent.call("stop_timer", entry_id=started["id"], notes="Mine")

    assert "started it again" in answer["message"]
    assert answer["status"] == "running"
    assert keito.entry(started["id"])["is_running"] is True


async def test_an_answer_with_an_id_only_is_completed_by_what_was_sent(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", status=200, commit=True, body=json.dumps({"id": started["id"]}))
    stopped = await agent.call("stop_timer", notes="Fixed")

    assert stopped["hours"] == 1
    assert stopped["notes"] == "Fixed"


async def test_another_agents_timer_on_the_same_machine_is_not_ours_to_stop(make_desk: MakeDesk, keito: Keito) -> None:
    async with make_desk(agent_id="a1", session_id="s1").client() as first:
        started = await first.call("start_timer")
    async with make_desk(agent_id="a2", session_id="s2").client() as second:
        answer = await second.call("stop_timer", entry_id=started["id"], hours=0.1)

    assert answer.is_error
    assert "belongs to agent a1" in answer.text
    assert keito.entry(started["id"])["is_running"] is True


@pytest.mark.parametrize("status", [403, 409])
async def test_a_timer_that_keito_does_not_let_be_stopped_is_reported_and_no_longer_in_the_way(
    agent: Agent, keito: Keito, clock: FakeClock, status: int
) -> None:
    started = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    keito.fails("PATCH", status=status)
    refused = await agent.call("stop_timer")
    other = await agent.call("start_timer", notes="Write")
    asked = await agent.call("stop_timer", entry_id=started["id"])
    again = await agent.call("stop_timer", entry_id=started["id"], hours=1)

    assert refused.is_error
    assert str(status) in refused.text
    assert other["status"] == keito.wire.beside
    assert asked.is_error
    assert "hours" in asked.text
    assert (again["status"], again["hours"]) == ("stopped", 1)


async def test_a_timer_that_may_no_longer_be_read_is_not_in_the_way_of_the_next(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    await agent.call("start_timer", notes="Fix")
    if keito.wire.before_a_stop:
        keito.fails("GET", status=403)
        assert (await agent.call("stop_timer")).is_error
    keito.fails("GET", status=403)
    start = await agent.call("start_timer", notes="Write")
    clock.pass_time(timedelta(hours=1))
    stopped = await agent.call("stop_timer", entry_id=start["id"])

    assert start["status"] == keito.wire.beside
    assert stopped["hours"] == 1
    assert len(keito.entries()) == 2


async def test_what_a_person_stopped_stays_the_persons(agent: Agent, keito: Keito, clock: FakeClock) -> None:
    started = await agent.call("start_timer", notes="a")
    clock.pass_time(timedelta(hours=1))
    await keito.person("PATCH", started["id"], is_running=False, hours=0.5)
    await agent.call("stop_timer")
    corrected = await agent.call("stop_timer", entry_id=started["id"], hours=3, notes="mine")
    await agent.call("start_timer", notes="b")
    await keito.person("PATCH", (await agent.call("start_timer", notes="b"))["id"], is_running=False, hours=0.25)
    await agent.call("start_timer", notes="c")
    discarded = await agent.call("discard_session")

    assert corrected["hours"] == 0.5
    assert [kept["reason"] for kept in discarded["kept"]] == ["A person stopped it in Keito."] * 2
    assert sorted(entry["hours"] for entry in keito.entries()) == [0.25, 0.5]


async def test_a_persons_edits_to_a_running_timer_are_kept_when_it_is_stopped(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer", notes="a")
    clock.pass_time(timedelta(hours=1))
    await keito.person("PATCH", started["id"], notes="A person's words")
    stopped = await agent.call("stop_timer", notes="mine")

    assert (stopped["status"], stopped["hours"]) == ("stopped", 1)
    assert "A person changed its notes" in stopped["message"]
    assert keito.entry(started["id"])["notes"] == "A person's words"


async def test_an_entry_that_is_deleted_between_reading_and_stopping_is_said_to_be_deleted(
    agent: Agent, keito: Keito
) -> None:
    started = await agent.call("start_timer")
    keito.fails("PATCH", delay=0.2)
    async with anyio.create_task_group() as tasks:

        async def delete() -> None:
            await until(lambda: "PATCH" in keito.methods)
            keito.store.delete(started["id"])

        tasks.start_soon(delete)
        answer = await agent.call("stop_timer")

    assert answer.is_error
    assert "deleted" in answer.text
    assert tuple(keito.methods[keito.methods.index("PATCH") + 1 :]) == keito.wire.looks_for_what_is_gone


async def test_an_entry_that_was_discarded_is_said_to_be_discarded(agent: Agent, keito: Keito) -> None:
    started = await agent.call("start_timer")
    await agent.call("discard_session")
    sent = len(keito.requests)
    answer = await agent.call("stop_timer", entry_id=started["id"])

    assert answer.is_error
    assert "discarded with its session" in answer.text
    assert len(keito.requests) == sent
