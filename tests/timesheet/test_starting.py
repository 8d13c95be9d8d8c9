import json
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from tests.kit import CORE, Agent, Desk, FakeClock, Keito, MakeDesk

pytestmark = pytest.mark.anyio


async def test_a_timer_is_one_post_with_the_whole_identity_and_two_commits(
    agent: Agent, keito: Keito, desk: Desk
) -> None:
    started = await agent.call("start_timer", notes="Fix the login", task_id="tsk_1", is_billable=False)

    assert keito.sent == [("POST", keito.wire.entries)]
    body = keito.body()
    key = body["metadata"].pop("entry_key")
    client = body["metadata"].pop("client")
    assert body == {
        "project_id": "prj_abc",
        "task_id": "tsk_1",
        "spent_date": "2026-03-06",
        "is_running": True,
        "notes": "Fix the login",
        keito.wire.billable: False,
        "source": "agent",
        "metadata": {
            "agent_id": "tester",
            "agent_type": "claude-code",
            "session_id": "session-1",
            "agent_version": "2.1.330",
            "started_at": "2026-03-06T12:00:00Z",
        },
    }
    assert len(key) == 36
    assert client.startswith("keito-mcp/")
    assert len(keito.requests[0].headers["idempotency-key"]) == 36
    assert len(desk.commits) == 2
    [entry] = keito.entries()
    assert started["id"] == entry["id"]
    assert started["status"] == "running"
    assert entry["is_running"] is True


async def test_the_same_work_again_is_the_same_timer_and_is_not_posted(agent: Agent, keito: Keito) -> None:
    first = await agent.call("start_timer", notes="Fix the login")
    again = await agent.call("start_timer", notes="Fix the login")

    assert again["status"] == "already_running"
    assert again["id"] == first["id"]
    assert keito.methods == ["POST", "GET"]


async def test_other_work_is_refused_and_the_running_timer_is_named(agent: Agent, keito: Keito) -> None:
    first = await agent.call("start_timer", notes="Fix the login")
    refused = await agent.call("start_timer", notes="Write the docs")

    assert refused.is_error
    assert first["id"] in refused.text
    assert "replace_running=true" in refused.text
    assert keito.methods == ["POST", "GET"]


async def test_other_work_replaces_the_running_timer_when_told_to(agent: Agent, keito: Keito, clock: FakeClock) -> None:
    first = await agent.call("start_timer", notes="Fix the login")
    clock.pass_time(timedelta(minutes=30))
    second = await agent.call("start_timer", notes="Write the docs", replace_running=True)

    assert second["status"] == "running"
    assert first["id"] in second["message"]
    standing = {entry["notes"]: (entry["is_running"], entry["hours"]) for entry in keito.entries()}
    assert standing == {"Fix the login": (False, 0.5), "Write the docs": (True, 0.0)}
    looks = keito.wire.before_a_stop if CORE == "rows" else ["GET"]
    assert keito.methods == ["POST", *looks, "PATCH", "POST"]


async def test_a_timer_that_a_person_stopped_is_settled_and_a_new_one_starts(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    first = await agent.call("start_timer", notes="Fix the login")
    clock.pass_time(timedelta(minutes=30))
    await keito.person("PATCH", first["id"], is_running=False, hours=0.25)

    second = await agent.call("start_timer", notes="Fix the login")

    assert second["status"] == "running"
    assert second["id"] != first["id"]
    standing = {entry["id"]: entry["hours"] for entry in keito.entries()}
    assert standing == {first["id"]: 0.25, second["id"]: 0.0}


async def test_a_timer_that_a_person_deleted_is_settled_and_a_new_one_starts(agent: Agent, keito: Keito) -> None:
    first = await agent.call("start_timer", notes="Fix the login")
    keito.store.delete(first["id"])

    second = await agent.call("start_timer", notes="Fix the login")

    assert second["status"] == "running"
    assert [entry["id"] for entry in keito.entries()] == [second["id"]]


async def test_two_starts_at_once_make_one_timer(desk: Desk, keito: Keito) -> None:
    statuses = []

    async def start(agent: Agent) -> None:
        statuses.append((await agent.call("start_timer", notes="Fix the login"))["status"])

    async with desk.client() as agent, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(start, agent)

    assert sorted(statuses) == ["already_running"] * 4 + ["running"]
    assert len(keito.entries()) == 1


async def test_two_servers_on_one_journal_make_one_timer_for_one_session(make_desk: MakeDesk, keito: Keito) -> None:
    async with make_desk().client() as one, make_desk().client() as other:
        first = await one.call("start_timer", notes="Fix the login")
        again = await other.call("start_timer", notes="Fix the login")

    assert again["status"] == "already_running"
    assert again["id"] == first["id"]
    assert len(keito.entries()) == 1


async def test_each_session_has_a_timer_of_its_own(make_desk: MakeDesk, keito: Keito, clock: FakeClock) -> None:
    async with make_desk(session_id="one").client() as one, make_desk(session_id="two").client() as two:
        await one.call("start_timer", notes="Fix the login")
        clock.pass_time(timedelta(hours=1))
        second = await two.call("start_timer", notes="Fix the login")
        clock.pass_time(timedelta(hours=1))
        stopped = [await agent.call("stop_timer") for agent in (one, two)]

    assert second["status"] == keito.wire.beside
    assert [answer["hours"] for answer in stopped] == [2, 1]
    standing = [(entry["id"], entry["metadata"]["session_id"], entry["hours"]) for entry in keito.entries()]
    assert standing == [(stopped[0]["id"], "one", 2), (stopped[1]["id"], "two", 1)]


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("UTC", datetime(2026, 3, 6, 23, 59, 59, tzinfo=UTC), "2026-03-06"),
        ("Pacific/Kiritimati", datetime(2026, 3, 6, 10, 0, tzinfo=UTC), "2026-03-07"),
        ("America/Los_Angeles", datetime(2026, 3, 6, 7, 59, tzinfo=UTC), "2026-03-05"),
        ("Europe/Berlin", datetime(2026, 3, 28, 23, 30, tzinfo=UTC), "2026-03-29"),
        ("Europe/Berlin", datetime(2026, 3, 29, 21, 59, tzinfo=UTC), "2026-03-29"),
        ("Europe/Berlin", datetime(2026, 3, 29, 22, 0, tzinfo=UTC), "2026-03-30"),
    ],
)
async def test_a_timer_belongs_to_the_users_day_on_which_it_started(
    make_desk: MakeDesk, keito: Keito, clock: FakeClock, zone: str, moment: datetime, day: str
) -> None:
    clock.wall = moment
    async with make_desk(timezone=zone).client() as agent:
        started = await agent.call("start_timer")
        clock.pass_time(timedelta(hours=2))
        stopped = await agent.call("stop_timer")

    assert started["spent_date"] == day
    assert stopped["spent_date"] == day
    assert keito.body(0)["spent_date"] == day
    assert stopped["hours"] == 2


async def test_without_any_project_the_error_names_the_ways_to_set_one(make_desk: MakeDesk, keito: Keito) -> None:
    async with make_desk(project_id=None).client() as agent:
        answer = await agent.call("start_timer")

    assert answer.is_error
    assert "project_id" in answer.text
    assert "KEITO_PROJECT_ID" in answer.text
    assert keito.sent == []


async def test_the_default_task_goes_with_the_default_project_only(make_desk: MakeDesk, keito: Keito) -> None:
    async with make_desk(task_id="tsk_1").client() as agent:
        await agent.call("log_time", hours=1, notes="a")
        without = await agent.call("log_time", hours=1, notes="b", project_id="prj_other")
        await agent.call("log_time", hours=1, notes="c", project_id="prj_other", task_id="tsk_2")

    tasks = [(entry["project_id"], entry["task_id"]) for entry in keito.entries()]
    # Where every entry has a task, tasks are of no project.
    assert without.is_error is False
    by_default = "tsk_1" if keito.wire.requires_task else None
    assert tasks == [("prj_abc", "tsk_1"), ("prj_other", by_default), ("prj_other", "tsk_2")]


async def test_the_callers_metadata_is_added_and_identity_stays_as_it_is_known(agent: Agent, keito: Keito) -> None:
    await agent.call(
        "start_timer", metadata={"ticket": "KEI-7", "session_id": "a lie", "model": "a claim", "entry_key": "mine"}
    )

    metadata = keito.body()["metadata"]
    assert metadata["ticket"] == "KEI-7"
    assert metadata["session_id"] == "session-1"
    assert metadata["model"] == "a claim"
    assert metadata["entry_key"] != "mine"


@pytest.mark.parametrize("filling", ["x", "é", "日", "😀"])
async def test_metadata_of_4096_bytes_is_sent_and_of_4097_is_refused_by_size(
    agent: Agent, keito: Keito, filling: str
) -> None:
    await agent.call("start_timer", metadata={"nested": {"deep": ["x"]}, "pad": ""})
    own = len(_compact(keito.body()["metadata"]))
    await agent.call("stop_timer")
    room, width = 4096 - own, len(filling.encode())
    pad = filling * (room // width) + "x" * (room % width)

    refused = await agent.call("start_timer", metadata={"nested": {"deep": ["x"]}, "pad": pad + "x"})
    sent = len(keito.requests)
    accepted = await agent.call("start_timer", metadata={"nested": {"deep": ["x"]}, "pad": pad})

    assert refused.is_error
    assert "4097 bytes" in refused.text
    assert "4096" in refused.text
    assert accepted["status"] == "running"
    assert len(keito.requests) == sent + 1


def _compact(metadata: dict[str, object]) -> bytes:
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode()


async def test_when_the_new_timer_fails_the_answer_says_that_the_old_one_was_stopped(
    agent: Agent, keito: Keito, clock: FakeClock
) -> None:
    first = await agent.call("start_timer", notes="Fix")
    clock.pass_time(timedelta(hours=1))
    refused = await agent.call("start_timer", notes="Write", project_id="prj_forbidden", replace_running=True)

    assert refused.is_error
    assert f"Timer {first['id']} was stopped first, with 1 h" in refused.text
    assert keito.entry(first["id"])["hours"] == 1


async def test_a_timer_that_keito_makes_but_does_not_run_is_no_success(agent: Agent, keito: Keito) -> None:
    keito.fails("POST", status=201, body='{"id": "te_1", "is_running": false, "hours": 0}')
    answer = await agent.call("start_timer")

    assert answer.is_error
    assert "te_1" in answer.text


async def test_identity_that_is_claimed_without_a_value_erases_nothing(agent: Agent, keito: Keito) -> None:
    await agent.call("start_timer", metadata={"agent_id": None, "session_id": "", "model": 5})

    metadata = keito.body()["metadata"]
    assert metadata["agent_id"] == "tester"
    assert metadata["session_id"] == "session-1"
    assert "model" not in metadata
