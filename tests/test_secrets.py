"""The key, from end to end: in no answer, log, command or file of this machine, whoever repeats it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.commands.program import as_json, command
from tests.kit import SPOKEN, Agent, FakeClock, Keito, MakeDesk
from tests.processes import environment, run
from tests.transports.team import team

pytestmark = pytest.mark.anyio


def stays_out_of_the_files(folder: Path, key: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file() and "keito.sqlite3" not in file.name:
            assert key.encode() not in file.read_bytes(), file


def said(key: str) -> str:
    told = f"invalid key Bearer {key}"
    return json.dumps({"error": {"code": told, "message": told, "field": told}})


@pytest.fixture
def clock() -> FakeClock:
    """An hour before the machine's own clock, by which the commands go."""
    return FakeClock(datetime.now(UTC) - timedelta(hours=1))


@pytest.fixture
def key(keito: Keito) -> str:
    return str(SPOKEN[keito.wire.version]["api_key"])


async def test_a_refusal_that_repeats_the_key_shows_it_to_no_agent(agent: Agent, keito: Keito, key: str) -> None:
    keito.fails("POST", status=401, body=said(key))
    refused = await agent.call("log_time", hours=1)
    assert 'Keito says "invalid key Bearer [removed]"' in refused.text


async def test_a_refusal_of_what_was_promised_shows_the_key_in_no_command_and_no_file(
    agent: Agent, keito: Keito, key: str, tmp_path: Path
) -> None:
    async with keito.away():
        for note in ("a", "b"):
            assert (await agent.call("log_time", hours=1, notes=note))["status"] == "queued"
    keito.fails("POST", status=401, body=said(key))
    printed = [await command(keito, "sync"), await command(keito, "sessions")]
    keito.fails("POST", status=422, body=said(key))
    printed += [await command(keito, "sync"), await command(keito, "sessions"), await command(keito, "doctor")]
    assert all("Bearer [removed]" in done.stdout for done in printed[:4])
    assert key not in "".join(done.stdout + done.stderr for done in printed)
    assert key not in json.dumps(await as_json(keito, "sessions"))
    stays_out_of_the_files(tmp_path, key)


async def test_a_key_that_an_agent_writes_down_reaches_neither_the_journal_nor_keito(
    agent: Agent, keito: Keito, key: str, tmp_path: Path
) -> None:
    logged = await agent.call("log_time", hours=1, notes=f"tried {key}", metadata={"used": key})
    assert logged["notes"] == "tried [removed]"
    [entry] = keito.entries()
    assert key not in json.dumps(entry)
    listed = await agent.call("list_entries")
    assert key not in listed.text
    stays_out_of_the_files(tmp_path, key)


async def test_a_key_in_an_entry_of_somebody_else_is_not_shown(agent: Agent, keito: Keito, key: str) -> None:
    await keito.person("POST", project_id="prj_abc", spent_date="2026-03-06", hours=1, notes=f"mine is {key}")
    listed = await agent.call("list_entries", source="any")
    assert "mine is [removed]" in json.dumps(listed.result.structured_content)
    assert key not in json.dumps(listed.result.structured_content) + listed.text


async def test_a_caller_is_shown_neither_its_own_key_nor_the_servers(make_desk: MakeDesk, keito: Keito) -> None:
    a_team = team(make_desk, "key")
    keito.fails("POST", status=401, body=said(a_team.alice))
    async with a_team.serving(), a_team.agent(a_team.alice) as alice:
        refused = await alice.call("log_time", hours=1)
        logged = await alice.call("log_time", hours=1, notes=f"my key is {a_team.alice}")
    assert 'Keito says "invalid key Bearer [removed]"' in refused.text
    assert logged["notes"] == "my key is [removed]"


async def test_the_log_names_each_request_and_shows_no_key(keito: Keito, key: str) -> None:
    keito.fails("GET", status=401, body=said(key))
    done = await run("doctor", env=environment(keito, KEITO_LOG_LEVEL="DEBUG"))
    assert f"GET {keito.requests[0].path}: 401" in done.stderr
    assert key not in done.stdout + done.stderr
