from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import anyio
import pytest

from keito_mcp.identity import Fact, Identity
from keito_mcp.timesheet import Problem, Worker
from tests.kit import TASK, Agent, Desk, FakeClock, Keito, MakeDesk

pytestmark = pytest.mark.anyio


async def test_finished_work_is_one_post_and_two_commits(agent: Agent, keito: Keito, desk: Desk) -> None:
    logged = await agent.call("log_time", hours=1.5, notes="Review", task_id="tsk_1", is_billable=True)

    assert keito.sent == [("POST", keito.wire.entries)]
    body = keito.body()
    assert set(body.pop("metadata")) == {
        "agent_id",
        "agent_type",
        "session_id",
        "agent_version",
        "entry_key",
        "client",
    }
    assert body == {
        "project_id": "prj_abc",
        "task_id": "tsk_1",
        "spent_date": "2026-03-06",
        "hours": 1.5,
        "notes": "Review",
        keito.wire.billable: True,
        "source": "agent",
    }
    assert len(desk.commits) == 2
    assert logged["status"] == "logged"
    assert logged["id"] == keito.entries()[0]["id"]


@pytest.mark.parametrize(
    ("said", "sent"),
    [(1, 1.0), (1.5, 1.5), ("1:30", 1.5), ("90m", 1.5), ("1h 30m", 1.5), ("0.33333", 0.3333), (24, 24.0)],
)
async def test_hours_are_understood_as_models_write_them(agent: Agent, keito: Keito, said: object, sent: float) -> None:
    logged = await agent.call("log_time", hours=said)
    assert keito.body()["hours"] == logged["hours"] == sent


@pytest.mark.parametrize("said", [0, -1, 24.01, "25h", "abc", "", None, True, [1], "nan", 1e300, 0.00001])
async def test_hours_that_cannot_be_are_refused_in_one_sentence(agent: Agent, keito: Keito, said: object) -> None:
    refused = await agent.call("log_time", hours=said)

    assert refused.is_error
    assert refused.text.startswith("hours must be ")
    assert "pydantic" not in refused.text
    assert keito.sent == []


async def test_the_same_call_within_two_minutes_is_the_same_entry(agent: Agent, keito: Keito, clock: FakeClock) -> None:
    first = await agent.call("log_time", hours=1, notes="Review")
    clock.pass_time(timedelta(minutes=1, seconds=59))
    again = await agent.call("log_time", hours=1, notes="Review")

    assert again["status"] == "duplicate"
    assert again["id"] == first["id"]
    assert "notes" in again["message"]
    assert keito.methods == ["POST"]


async def test_the_same_call_after_two_minutes_is_another_entry(agent: Agent, keito: Keito, clock: FakeClock) -> None:
    await agent.call("log_time", hours=1, notes="Review")
    clock.pass_time(timedelta(minutes=2, seconds=1))
    again = await agent.call("log_time", hours=1, notes="Review")

    assert again["status"] == "logged"
    assert len(keito.entries()) == 2


@pytest.mark.parametrize(
    "different",
    [
        {"hours": 2},
        {"notes": "Second review"},
        {"spent_date": "2026-03-05"},
        {"project_id": "prj_other"},
        {"is_billable": False},
        {"metadata": {"ticket": "2"}},
    ],
)
async def test_a_call_that_differs_in_anything_is_another_entry(
    agent: Agent, keito: Keito, different: dict[str, Any]
) -> None:
    call: dict[str, Any] = {"hours": 1, "notes": "Review", "task_id": TASK}
    await agent.call("log_time", **call)
    other = await agent.call("log_time", **{**call, **different})

    assert other["status"] == "logged"
    assert len(keito.entries()) == 2


async def test_one_host_call_delivered_twice_is_one_entry_however_late(agent: Agent, clock: FakeClock) -> None:
    call = {"claudecode/toolUseId": "toolu_1"}
    first = await agent.call("log_time", meta=call, hours=1)
    clock.pass_time(timedelta(hours=5))
    again = await agent.call("log_time", meta=call, hours=1)
    other = await agent.call("log_time", meta={"claudecode/toolUseId": "toolu_2"}, hours=1)

    assert again["status"] == "duplicate"
    assert again["id"] == first["id"]
    assert other["status"] == "logged"


async def test_identical_calls_at_once_make_one_entry(desk: Desk, keito: Keito) -> None:
    statuses = []

    async def log(agent: Agent) -> None:
        statuses.append((await agent.call("log_time", hours=1, notes="Review"))["status"])

    async with desk.client() as agent, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(log, agent)

    assert sorted(statuses) == ["duplicate"] * 4 + ["logged"]
    assert len(keito.entries()) == 1


async def test_two_sessions_that_are_known_may_log_the_same(make_desk: MakeDesk, keito: Keito) -> None:
    async with make_desk(session_id="one").client() as one, make_desk(session_id="two").client() as two:
        await one.call("log_time", hours=1)
        assert (await two.call("log_time", hours=1))["status"] == "logged"
    assert len(keito.entries()) == 2


async def test_a_restarted_server_without_a_session_of_the_host_recognizes_the_call(
    make_desk: MakeDesk, keito: Keito
) -> None:
    async with make_desk(session_id=None).client() as before:
        await before.call("log_time", hours=1)
    async with make_desk(session_id=None).client() as after:
        assert (await after.call("log_time", hours=1))["status"] == "duplicate"
    assert len(keito.entries()) == 1


@pytest.mark.parametrize(
    ("zone", "moment", "hours", "day"),
    [
        ("UTC", datetime(2026, 3, 6, 1, 0, tzinfo=UTC), 2, "2026-03-05"),
        ("UTC", datetime(2026, 3, 6, 2, 0, tzinfo=UTC), 2, "2026-03-06"),
        ("Pacific/Kiritimati", datetime(2026, 3, 6, 11, 0, tzinfo=UTC), 1, "2026-03-07"),
        ("America/Los_Angeles", datetime(2026, 3, 6, 9, 0, tzinfo=UTC), 1.5, "2026-03-05"),
    ],
)
async def test_without_a_date_it_is_the_users_day_on_which_the_work_started(
    make_desk: MakeDesk, keito: Keito, clock: FakeClock, zone: str, moment: datetime, hours: float, day: str
) -> None:
    clock.wall = moment
    async with make_desk(timezone=zone).client() as agent:
        logged = await agent.call("log_time", hours=hours)

    assert logged["spent_date"] == keito.body()["spent_date"] == day


@pytest.mark.parametrize(
    ("moment", "date", "accepted"),
    [
        (datetime(2026, 3, 6, 9, 59, tzinfo=UTC), "2026-03-06", True),
        (datetime(2026, 3, 6, 9, 59, tzinfo=UTC), "2026-03-07", False),
        (datetime(2026, 3, 6, 10, 0, tzinfo=UTC), "2026-03-07", True),
        (datetime(2026, 3, 6, 10, 0, tzinfo=UTC), "2026-03-08", False),
        (datetime(2026, 3, 6, 10, 0, tzinfo=UTC), "1999-01-01", True),
    ],
)
async def test_a_date_later_than_today_anywhere_on_earth_is_refused(
    agent: Agent, keito: Keito, clock: FakeClock, moment: datetime, date: str, *, accepted: bool
) -> None:
    clock.wall = moment
    answer = await agent.call("log_time", hours=1, spent_date=date)

    assert answer.is_error is not accepted
    assert len(keito.sent) == accepted


@pytest.mark.parametrize(
    "date", ["tomorrow", "2026-3-6", "2026-02-30", 20260306, "2026-03-06T00:00:00", ["2026-03-06"]]
)
async def test_a_date_that_is_none_is_refused(agent: Agent, keito: Keito, date: object) -> None:
    refused = await agent.call("log_time", hours=1, spent_date=date)

    assert refused.is_error
    assert refused.text.startswith("spent_date ")
    assert keito.sent == []


async def test_notes_of_ten_megabytes_are_refused_before_anything_is_sent(agent: Agent, keito: Keito) -> None:
    refused = await agent.call("log_time", hours=1, notes="x" * 10_000_000)

    assert refused.is_error
    assert len(refused.text) < 300
    assert keito.sent == []


async def test_a_project_id_with_slashes_goes_into_the_body_as_it_is(agent: Agent, keito: Keito) -> None:
    if keito.wire.requires_task:
        pytest.skip("where Keito lists its projects, an id is one of theirs")
    await agent.call("log_time", hours=1, project_id="../admin/prj", task_id=TASK)

    assert keito.sent == [("POST", keito.wire.entries)]
    assert keito.body()["project_id"] == "../admin/prj"


async def test_metadata_with_a_number_that_json_cannot_carry_is_refused(desk: Desk, keito: Keito) -> None:
    identity = Identity({"agent_id": Fact("a", "test"), "session_id": Fact("s", "test")})
    worker = Worker(identity=identity, owner=desk.runtime.own.owner(identity))
    work = {"project_id": None, "task_id": None, "notes": None, "is_billable": None}
    with pytest.raises(Problem, match="NaN"):
        await desk.runtime.own.timesheet.log(worker, hours=Decimal(1), metadata={"ratio": float("nan")}, **work)

    assert keito.sent == []
