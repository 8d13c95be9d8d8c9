"""A key of today, which Keito takes only together with the account's id."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from keito_mcp.settings.config import Settings
from keito_mcp.settings.principal import Principal
from tests.commands.program import as_json, at_a_terminal, command
from tests.kit import V2_KEY, Agent, Desk, FakeClock, Keito, MakeDesk
from tests.processes import environment, run
from tests.serving import connected, serving
from tests.sessions.story import row
from tests.transports.team import team

pytestmark = pytest.mark.anyio

WHERE = "Settings → API & Developers"
NONE: dict[str, Any] = {"api_key": V2_KEY, "account_id": None}
CALLS: dict[str, dict[str, Any]] = {
    "start_timer": {"task_id": "tsk_development"},
    "stop_timer": {},
    "log_time": {"hours": 1, "task_id": "tsk_development"},
    "list_entries": {},
    "discard_session": {},
}


@pytest.fixture
def clock() -> FakeClock:
    """An hour before the machine's own clock, by which the commands go."""
    return FakeClock(datetime.now(UTC) - timedelta(hours=1))


@pytest.fixture
def api_version() -> str:
    return "v2"


@pytest.mark.parametrize(("tool", "arguments"), CALLS.items(), ids=CALLS)
async def test_without_the_account_each_tool_says_what_is_missing_and_sends_nothing(
    tool: str, arguments: dict[str, Any], make_desk: MakeDesk, keito: Keito
) -> None:
    async with make_desk(**NONE).client() as agent:
        refused = await agent.call(tool, **arguments)
    assert refused.is_error
    assert "KEITO_ACCOUNT_ID is not set" in refused.text
    assert WHERE in refused.text
    assert "Nothing was sent to Keito." in refused.text
    assert keito.requests == []


@pytest.mark.parametrize(
    ("key", "account_id", "version", "lacks"),
    [
        ("kto_x", None, None, True),
        ("kto_x", None, "v2", True),
        ("kto_x", "co_1", None, False),
        ("kto_x", None, "v1", False),
        ("keito_sk_x", None, None, False),
        ("keito_sk_x", None, "v2", False),
        ("eyJhbGciOiJSUzI1NiJ9.e30.c2ln", None, "v2", False),
        (None, None, "v2", False),
    ],
)
def test_only_a_key_of_version_2_needs_an_account(
    key: str | None, account_id: str | None, version: Any, *, lacks: bool
) -> None:
    settings = Settings(api_key=SecretStr(key) if key else None, account_id=account_id, api_version=version)
    assert settings.lacks_account is lacks


async def test_another_key_on_version_2_is_keitos_to_refuse_in_its_own_words(make_desk: MakeDesk, keito: Keito) -> None:
    keito.fails("POST", status=401, body='{"error": "unauthorized", "error_description": "send Keito-Account-Id"}')
    async with make_desk(api_key="eyJhbGciOiJSUzI1NiJ9.e30.c2ln", api_version="v2", account_id=None).client() as agent:
        refused = await agent.call("log_time", hours=1, task_id="tsk_development")
    assert 'Keito says "send Keito-Account-Id"' in refused.text
    assert "KEITO_ACCOUNT_ID" in refused.text
    assert WHERE in refused.text


async def test_a_caller_with_its_own_key_is_told_of_the_header(make_desk: MakeDesk, keito: Keito) -> None:
    a_team = team(make_desk, "key")
    desk = make_desk(serves_one_user=False, tokens=a_team.access.names, **{**NONE, "api_key": None})
    async with serving(desk.server, access=a_team.access) as url:
        headers = {"Authorization": f"Bearer {V2_KEY}"}
        async with connected(url, "http", headers=headers) as agent:
            refused = await agent.call("log_time", hours=1, task_id="tsk_development")
            assert keito.requests == []
        async with connected(url, "http", headers={**headers, "Keito-Account-Id": "co_1"}) as agent:
            logged = await agent.call("log_time", hours=1, task_id="tsk_development")
    assert "header Keito-Account-Id" in refused.text
    assert WHERE in refused.text
    assert "KEITO_" not in refused.text
    assert logged["status"] == "logged"


async def test_the_servers_account_goes_with_a_callers_key_that_names_none(make_desk: MakeDesk) -> None:
    a_team = team(make_desk, "key")
    async with a_team.serving(), a_team.agent(V2_KEY) as agent:
        logged = await agent.call("log_time", hours=1, task_id="tsk_development")
    assert logged["status"] == "logged"
    assert Settings(account_id="co_1").of(Principal("a", SecretStr(V2_KEY))).lacks_account is False


async def test_what_was_promised_waits_for_the_account_and_is_delivered_with_it(
    agent: Agent, desk: Desk, keito: Keito
) -> None:
    async with keito.away():
        assert (await agent.call("log_time", hours=1, task_id="tsk_development"))["status"] == "queued"
    without = await command(keito, "sync", KEITO_ACCOUNT_ID=None)
    assert (without.returncode, keito.requests) == (1, [])
    assert "KEITO_ACCOUNT_ID is not set" in without.stderr
    assert len(await desk.deliver_all()) == 1
    assert len(keito.entries()) == 1


async def test_a_401_keeps_what_was_promised_and_shows_keitos_words(agent: Agent, keito: Keito) -> None:
    async with keito.away():
        await agent.call("log_time", hours=1, task_id="tsk_development")
    keito.fails("POST", status=401, body='{"error": "unauthorized", "error_description": "unknown company"}')
    done = await command(keito, "sync")
    assert done.returncode == 1
    assert done.stdout.count('Keito says "unknown company"') == 2
    [session] = await as_json(keito, "sessions")
    assert "unknown company" in json.dumps(session)


async def test_a_session_that_logs_itself_waits_for_the_account(keito: Keito, tmp_path: Path) -> None:
    repository = tmp_path / "shop"
    (repository / ".keito").mkdir(parents=True)
    (repository / ".keito" / "config.yml").write_text("project_id: prj_abc\ntask_id: tsk_development\n")
    for what, seconds in (("prompt", 0), ("stop", 600), ("end", 601)):
        left = {**row(what, seconds, boot=""), "folder": str(repository)}
        spooled = tmp_path / "state" / "spool" / f"{seconds:020}.1.json"
        spooled.parent.mkdir(parents=True, exist_ok=True)
        spooled.write_text(json.dumps(left))
    without = await run("sync", env=environment(keito, KEITO_ACCOUNT_ID=None, KEITO_PROJECT_ID=None), cwd=repository)
    assert (without.returncode, keito.requests) == (1, [])
    done = await run("sync", env=environment(keito, KEITO_PROJECT_ID=None), cwd=repository)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(keito.entries()) == 1


async def test_doctor_says_what_is_missing_and_asks_keito_nothing(keito: Keito) -> None:
    done = await command(keito, "doctor", KEITO_ACCOUNT_ID=None)
    assert done.returncode == 1
    assert "Keito    KEITO_ACCOUNT_ID is not set" in done.stdout
    assert WHERE in done.stdout
    assert keito.requests == []


@pytest.mark.parametrize("newer", [None, "", "${KEITO_ACCOUNT_ID}", "$KEITO_ACCOUNT_ID", "${env:KEITO_ACCOUNT_ID}"])
async def test_the_older_name_is_read_where_the_newer_one_says_nothing_and_doctor_names_it(
    newer: str | None, keito: Keito
) -> None:
    done = await command(keito, "doctor", "--json", KEITO_ACCOUNT_ID=newer, KEITO_WORKSPACE_ID="co_older")
    report = json.loads(done.stdout)
    assert done.returncode == 0
    shown = report["settings"]["KEITO_ACCOUNT_ID"]
    assert shown == {"value": "co_older", "source": "environment (KEITO_WORKSPACE_ID)"}


async def test_the_newer_name_goes_before_the_older_one(keito: Keito) -> None:
    done = await command(keito, "doctor", "--json", KEITO_ACCOUNT_ID="co_newer", KEITO_WORKSPACE_ID="co_older")
    assert json.loads(done.stdout)["settings"]["KEITO_ACCOUNT_ID"] == {"value": "co_newer", "source": "environment"}


def test_the_older_name_goes_before_a_repositorys_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".keito").mkdir()
    (tmp_path / ".keito" / "config.yml").write_text("workspace_id: co_file\n")
    assert Settings.load(tmp_path).account_id == "co_file"
    monkeypatch.setenv("KEITO_ACCOUNT_ID", "")
    assert Settings.load(tmp_path).source("account_id") == ".keito/config.yml"
    monkeypatch.setenv("KEITO_WORKSPACE_ID", "co_older")
    assert Settings.load(tmp_path).account_id == "co_older"


async def test_an_account_that_no_host_filled_in_is_none_and_said_so(keito: Keito) -> None:
    done = await command(keito, "doctor", KEITO_ACCOUNT_ID="${env:KEITO_ACCOUNT_ID}")
    assert "KEITO_ACCOUNT_ID is not set" in done.stdout


async def test_init_says_that_the_account_is_missing_and_takes_it(keito: Keito, tmp_path: Path) -> None:
    env = environment(keito, KEITO_ACCOUNT_ID=None, KEITO_PROJECT_ID=None)
    without = await run("init", "--project-id", "prj_abc", env=env, cwd=tmp_path)
    given = await run("init", "--workspace-id", "co_1", "--yes", env=env, cwd=tmp_path)
    doctor = await run("doctor", env=env, cwd=tmp_path)
    assert without.returncode == 0
    assert "KEITO_ACCOUNT_ID is not set" in without.stderr
    assert "init --workspace-id" in without.stderr
    assert (given.returncode, given.stderr) == (0, "")
    assert doctor.returncode == 0, doctor.stdout


async def test_init_asks_for_the_account_where_the_key_needs_one(
    keito: Keito, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = environment(keito, KEITO_ACCOUNT_ID=None, KEITO_PROJECT_ID=None)
    async with at_a_terminal("init", env=env) as terminal:
        for question, typed in (("project id", "prj_abc"), ("name", ""), ("Task", ""), (WHERE, "co_1")):
            await terminal.shows(question)
            terminal.type(typed)
        assert await terminal.end() == 0
    assert Settings.load(tmp_path).account_id == "co_1"
