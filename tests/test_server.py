import json
import logging
from typing import Any

import pytest
from mcp.types import TextContent, TextResourceContents

from keito_mcp.server.server import INSTRUCTIONS
from keito_mcp.timesheet import Timesheet
from keito_mcp.timesheet.row_timesheet import RowTimesheet
from tests.kit import CORE, KEY, SPOKEN, TASK, Agent, Desk, Keito, MakeDesk

pytestmark = pytest.mark.anyio


async def _session(agent: Agent) -> dict[str, Any]:
    [content] = (await agent.client.read_resource("keito://session")).contents
    assert isinstance(content, TextResourceContents)
    return dict(json.loads(content.text))


async def test_all_five_tools_work_in_both_eras(desk: Desk, keito: Keito, mode: str) -> None:
    async with desk.client(mode) as agent:
        started = await agent.call("start_timer", notes="Fix")
        stopped = await agent.call("stop_timer", hours=1)
        logged = await agent.call("log_time", hours=0.5)
        listed = await agent.call("list_entries", session_id="current")
        discarded = await agent.call("discard_session")

    assert started["id"] == stopped["id"]
    assert listed["total_hours"] == 1.5
    assert set(discarded["discarded"]) == {stopped["id"], logged["id"]}
    assert keito.entries() == []


async def test_nothing_is_sent_and_nothing_opened_before_the_first_tool_call(
    desk: Desk, keito: Keito, mode: str
) -> None:
    async with desk.client(mode) as agent:
        await agent.client.list_tools()
        await agent.client.list_prompts()
        await agent.client.list_resources()

    assert keito.requests == []
    assert not desk.runtime.settings.folder.exists()


async def test_the_instructions_are_short_and_name_every_tool(desk: Desk, mode: str) -> None:
    async with desk.client(mode) as agent:
        assert agent.client.instructions == INSTRUCTIONS
        names = [tool.name for tool in (await agent.client.list_tools()).tools]

    assert len(INSTRUCTIONS.encode()) < 2048
    assert all(name in INSTRUCTIONS for name in names)


async def test_an_unknown_argument_is_refused_and_the_valid_ones_are_listed(agent: Agent, keito: Keito) -> None:
    refused = await agent.call("log_time", hours=1, nots="Review", project="prj")

    assert refused.is_error
    assert refused.text.startswith('unknown arguments "nots", "project"; valid arguments: hours, project_id')
    assert "notes" in refused.text
    assert keito.requests == []


async def test_an_unknown_tool_is_refused_and_the_valid_ones_are_listed(agent: Agent) -> None:
    refused = await agent.call("track_time")

    assert refused.is_error
    assert "discard_session" in refused.text


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("log_time", {}, "hours is required."),
        ("log_time", {"hours": 1, "notes": 5}, "notes must be a valid string."),
        ("log_time", {"hours": 1, "metadata": [1]}, "metadata must be a valid dictionary."),
        ("log_time", {"hours": 1, "is_billable": "perhaps"}, "is_billable must be a valid boolean"),
        ("list_entries", {"limit": 201}, "limit must be less than or equal to 200."),
        ("list_entries", {"limit": "many"}, "limit must be a valid integer"),
        ("list_entries", {"source": "web"}, "source must be 'agent' or 'any'."),
        ("start_timer", {"project_id": "p" * 201}, "project_id must have at most 200 characters."),
        ("discard_session", {"session_id": ""}, "session_id must have at least 1 character."),
    ],
)
async def test_a_wrong_argument_is_named_in_one_plain_sentence(
    agent: Agent, keito: Keito, tool: str, arguments: dict[str, Any], sentence: str
) -> None:
    refused = await agent.call(tool, **arguments)

    assert refused.is_error
    assert sentence in refused.text
    assert "Nothing was sent" in refused.text
    assert "http" not in refused.text
    assert keito.requests == []


async def test_what_a_model_leaves_empty_counts_as_left_out(agent: Agent, keito: Keito) -> None:
    await agent.call("log_time", hours=1, project_id="", task_id=None, notes=" ", metadata=None, spent_date=None)

    body = keito.body()
    assert body["project_id"] == "prj_abc"
    assert "notes" not in body
    # Left out, the default one is taken, where there is one.
    assert body.get("task_id") == SPOKEN[keito.wire.version].get("task_id")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"status": 400}, ["refuses it (400)", "Nothing was written"]),
        (
            {"status": 422, "body": '{"error": {"code": "v", "message": "is closed", "field": "spent_date"}}'},
            ["is closed", "The field is spent_date", "Nothing was written"],
        ),
        ({"status": 401}, ["KEITO_API_KEY", "Settings → API", "Nothing was written"]),
        ({"status": 403}, ["prj_abc", "assigned", "Nothing was written"]),
        ({"status": 404}, ["404", "KEITO_API_URL", "Nothing was written"]),
        ({"status": 418}, ["418", "Nothing was written"]),
    ],
)
async def test_what_keito_refuses_is_said_with_what_is_certain_and_what_to_do(
    agent: Agent, keito: Keito, fault: dict[str, Any], says: list[str]
) -> None:
    keito.fails("POST", **fault)
    refused = await agent.call("log_time", hours=1)

    assert refused.is_error
    for part in says:
        assert part in refused.text
    assert keito.methods == ["POST"]
    assert (await agent.call("log_time", hours=1))["status"] == "logged"


@pytest.mark.parametrize("retry_after", [60, None])
async def test_a_rate_limit_beyond_what_a_call_may_wait_queues_the_write(
    agent: Agent, desk: Desk, keito: Keito, retry_after: int | None
) -> None:
    keito.fails("POST", status=429, **({} if retry_after is None else {"retry_after": retry_after}))
    answer = await agent.call("log_time", hours=1)

    assert answer["status"] == "queued"
    assert "rate limit" in answer["message"]
    assert keito.methods == ["POST"]
    await desk.deliver_all()
    assert keito.methods == ["POST", "POST"]
    assert [entry["hours"] for entry in keito.entries()] == [1]


@pytest.mark.parametrize(("retry_after", "says"), [(60, "again in 60 s"), (None, "in a minute")])
async def test_a_read_beyond_the_rate_limit_says_when_to_come_back(
    agent: Agent, keito: Keito, retry_after: int | None, says: str
) -> None:
    keito.fails("GET", status=429, **({} if retry_after is None else {"retry_after": retry_after}))
    refused = await agent.call("list_entries")

    assert refused.is_error
    assert "rate limit" in refused.text
    assert says in refused.text
    assert keito.methods == ["GET"]


async def test_a_short_retry_after_is_waited_for_and_the_call_succeeds(agent: Agent, keito: Keito) -> None:
    keito.fails("POST", status=429, retry_after=0)
    assert (await agent.call("log_time", hours=1))["status"] == "logged"
    assert keito.methods == ["POST", "POST"]


@pytest.mark.parametrize("fault", [{"status": 500}, {"cut_before": True}, {"hang": True}])
async def test_a_read_that_fails_once_is_tried_again(agent: Agent, keito: Keito, fault: dict[str, Any]) -> None:
    keito.fails("GET", **fault)
    answer = await agent.call("list_entries")

    assert answer["entries"] == []
    assert keito.methods == ["GET", "GET"]


@pytest.mark.parametrize("fault", [{"status": 500}, {"cut_before": True}, {"hang": True}])
async def test_a_read_that_keeps_failing_is_an_error_that_says_so(
    agent: Agent, keito: Keito, fault: dict[str, Any]
) -> None:
    keito.fails("GET", times=1000, **fault)
    answer = await agent.call("list_entries")

    assert answer.is_error
    assert "Nothing was changed" in answer.text
    assert "Try again" in answer.text


async def test_a_forbidden_project_is_named(agent: Agent) -> None:
    refused = await agent.call("log_time", hours=1, project_id="prj_forbidden", task_id=TASK)

    assert refused.is_error
    assert "prj_forbidden" in refused.text


async def test_a_wrong_key_is_never_shown(make_desk: MakeDesk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "keito_sk_wrong_but_secret"
    desk = make_desk(api_key=secret)
    async with desk.client() as agent:
        refused = await agent.call("log_time", hours=1)
        state = await _session(agent)

    assert refused.is_error
    for text in (refused.text, json.dumps(state), caplog.text, repr(desk.runtime.settings)):
        assert secret not in text
        assert KEY not in text


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"api_key": None}, "KEITO_API_KEY is not set"),
        ({"api_key": "two\nlines"}, "KEITO_API_KEY"),
        ({"api_url": "ftp://keito"}, "KEITO_API_URL"),
        ({"timezone": "Middle/Earth"}, "KEITO_TIMEZONE"),
        ({"log_level": "LOUD"}, "KEITO_LOG_LEVEL"),
    ],
)
async def test_a_setting_that_cannot_be_used_is_said_by_each_call_and_stops_nothing_else(
    monkeypatch: pytest.MonkeyPatch, keito: Keito, setting: dict[str, Any], says: str
) -> None:
    from keito_mcp.server.server import build_server  # noqa: PLC0415 -- here it reads the environment, not a fixture

    given = {"api_key": KEY, "api_url": keito.url, "project_id": "prj_abc", **setting}
    for name, value in given.items():
        if value is not None:
            monkeypatch.setenv(f"KEITO_{name.upper()}", value)
    server = build_server()
    async with Desk(server.runtime, server, []).client() as agent:
        assert len((await agent.client.list_tools()).tools) == 5
        for call in (agent.call("log_time", hours=1), agent.call("list_entries")):
            answer = await call
            assert answer.is_error
            assert says in answer.text
            assert "two" not in answer.text
        await _session(agent)
    await server.runtime.aclose()
    assert keito.requests == []


async def test_a_journal_that_cannot_be_written_is_said_and_nothing_is_sent(
    make_desk: MakeDesk, keito: Keito, tmp_path: Any
) -> None:
    (tmp_path / "a file").write_text("")
    async with make_desk(state_dir=tmp_path / "a file" / "state").client() as agent:
        answer = await agent.call("log_time", hours=1)
        state = await _session(agent)

    assert answer.is_error
    assert "KEITO_STATE_DIR" in answer.text
    assert "KEITO_STATE_DIR" in state["problem"]
    assert keito.requests == []


async def test_a_journal_that_fails_after_the_write_does_not_make_it_a_failure(
    agent: Agent, desk: Desk, keito: Keito, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import sqlite3  # noqa: PLC0415 -- what the journal raises when the disk is full

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    settles = "sqlite_rows.Table.edit" if CORE == "rows" else "queue.settle"
    monkeypatch.setattr(f"keito_mcp.journal.{settles}", full)
    logged = await agent.call("log_time", hours=1)

    assert logged["status"] == "logged"
    assert len(keito.entries()) == 1
    assert "could not be recorded" in caplog.text
    assert len(desk.commits) == 1


async def test_a_bug_is_said_without_its_details_which_go_to_the_log(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a detail")

    monkeypatch.setattr(RowTimesheet if CORE == "rows" else Timesheet, "log", broken)
    answer = await agent.call("log_time", hours=1)

    assert answer.is_error
    assert "ZeroDivisionError" in answer.text
    assert "a detail" not in answer.text
    assert "a detail" in caplog.text


async def test_the_session_resource_shows_identity_with_sources_and_the_running_timer(
    desk: Desk, keito: Keito, mode: str
) -> None:
    async with desk.client(mode) as agent:
        before = await _session(agent)
        started = await agent.call("start_timer", notes="Fix")
        running = await _session(agent)
        keito.fails("POST", cut_before=True)
        await agent.call("log_time", hours=1)
        unsettled = await _session(agent)

    assert before["identity"]["agent_type"] == {
        "value": "claude-code",
        "source": "clientInfo.name",
        "certain": True,
    }
    assert before["identity"]["session_id"]["source"] == "KEITO_SESSION_ID"
    model = before["identity"]["model"]
    assert (model["value"], model["source"]) == (None, "not known")
    assert "KEITO_MODEL" in model["to_set"]
    assert "to_set" not in before["identity"]["agent_type"]
    assert before["running_timer"] is None
    assert running["running_timer"]["id"] == started["id"]
    assert running["running_timer"]["started_at"] == "2026-03-06T12:00:00+00:00"
    assert running["unsettled_writes"] == []
    [write] = unsettled["unsettled_writes"]
    assert (write["kind"], write["state"]) == ("create", "unknown")


async def test_own_meta_keys_say_who_works(make_desk: MakeDesk, keito: Keito) -> None:
    meta = {
        "ai.keito/agent_id": "bot-1",
        "ai.keito/agent_type": "custom",
        "ai.keito/session_id": "s-9",
        "ai.keito/model": "some-model",
    }
    async with make_desk(agent_id=None, session_id=None).client() as agent:
        await agent.call("log_time", meta=meta, hours=1)

    metadata = keito.body()["metadata"]
    assert {name: metadata[name] for name in ("agent_id", "agent_type", "session_id", "model")} == {
        "agent_id": "bot-1",
        "agent_type": "custom",
        "session_id": "s-9",
        "model": "some-model",
    }


async def test_the_prompt_asks_to_track_the_work(desk: Desk, mode: str) -> None:
    async with desk.client(mode) as agent:
        [prompt] = (await agent.client.list_prompts()).prompts
        answer = await agent.client.get_prompt("track", {"work": "the login fix"})

    assert prompt.name == "track"
    assert prompt.description
    [message] = answer.messages
    assert isinstance(message.content, TextContent)
    assert "the login fix" in message.content.text
    assert "start_timer" in message.content.text


async def test_another_resource_is_not_found(agent: Agent) -> None:
    with pytest.raises(Exception, match="keito://other"):
        await agent.client.read_resource("keito://other")
