import json
from datetime import timedelta

import pytest

from tests.kit import Agent, FakeClock, Keito, MakeDesk

pytestmark = pytest.mark.anyio


async def test_hours_and_notes_correct_a_stopped_entry_of_this_session(agent: Agent, keito: Keito) -> None:
    started = await agent.call("start_timer", notes="Fix")
    await agent.call("stop_timer", hours=2)
    corrected = await agent.call("stop_timer", entry_id=started["id"], hours=1.25, notes="Fixed")

    assert corrected["status"] == "updated"
    assert keito.methods[-2:] == ["GET", "PATCH"]
    assert keito.body() == {"hours": 1.25, "notes": "Fixed"}
    again = await agent.call("stop_timer", entry_id=started["id"], hours=1.25, notes="Fixed")
    assert again["status"] == "already_stopped"
    assert keito.methods[-1] == "GET"


async def test_logged_time_can_be_corrected_too(agent: Agent, keito: Keito) -> None:
    logged = await agent.call("log_time", hours=2)
    corrected = await agent.call("stop_timer", entry_id=logged["id"], hours=3)

    assert corrected["status"] == "updated"
    assert keito.entry(logged["id"])["hours"] == 3


async def test_hours_that_a_person_changed_are_not_corrected(agent: Agent, keito: Keito) -> None:
    logged = await agent.call("log_time", hours=2)
    await keito.person("PATCH", logged["id"], hours=1)
    answer = await agent.call("stop_timer", entry_id=logged["id"], hours=3)

    assert answer["status"] == "already_stopped"
    assert answer["hours"] == 1
    assert "A person changed its hours from 2 to 1" in answer["message"]
    assert keito.entry(logged["id"])["hours"] == 1


async def test_an_entry_of_another_session_is_not_corrected(make_desk: MakeDesk, keito: Keito) -> None:
    async with make_desk(session_id="before").client() as agent:
        logged = await agent.call("log_time", hours=2)
    async with make_desk(session_id="now").client() as agent:
        answer = await agent.call("stop_timer", entry_id=logged["id"], hours=3)

    assert answer["status"] == "already_stopped"
    assert keito.entry(logged["id"])["hours"] == 2


async def test_an_answer_without_is_running_does_not_restart_what_is_finished_here(agent: Agent, keito: Keito) -> None:
    logged = await agent.call("log_time", hours=1, notes="a")
    without = {"id": logged["id"], "hours": 1, "notes": "a", "source": "agent"}
    keito.fails("GET", status=200, body=keito.wire.read(without))
    corrected = await agent.call("stop_timer", entry_id=logged["id"], notes="b")

    assert corrected["status"] == "updated"
    assert keito.body() == {"notes": "b"}


async def test_notes_that_keito_keeps_without_white_space_are_not_a_persons(agent: Agent, keito: Keito) -> None:
    logged = await agent.call("log_time", hours=1, notes="done \n")
    await keito.person("PATCH", logged["id"], notes="done")
    assert (await agent.call("stop_timer", entry_id=logged["id"], hours=2))["status"] == "updated"


async def test_hours_that_keito_rounds_are_not_taken_for_a_persons(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    started = await agent.call("start_timer", notes="a")
    clock.pass_time(timedelta(minutes=20))
    keito.fails("PATCH", status=200, commit=True, body=json.dumps({"id": started["id"]}))
    await agent.call("stop_timer")
    await keito.person("PATCH", started["id"], hours=0.33)
    corrected = await agent.call("stop_timer", entry_id=started["id"], notes="b")

    assert corrected["status"] == "updated"
