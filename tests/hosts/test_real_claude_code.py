"""The real Claude Code, in both protocol eras. Skipped unless `KEITO_MCP_TEST_CLAUDE` names its program."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.hosts.anthropic import call, say, script, scripted_model
from tests.hosts.claude import ClaudeCode
from tests.kit import Keito

_PROGRAM = os.environ.get("KEITO_MCP_TEST_CLAUDE", "")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not _PROGRAM, reason="KEITO_MCP_TEST_CLAUDE doesn't name a Claude Code"),
]

LOG = script(call("log_time", hours=0.5, notes="Read the code"), say("done"))


@pytest.fixture(params=[{}, {"MCP_PROTOCOL_NEGOTIATION": "legacy"}], ids=["2026", "2025"])
def claude(request: pytest.FixtureRequest, keito: Keito, tmp_path: Path) -> Iterator[ClaudeCode]:
    with scripted_model() as url:
        yield ClaudeCode(_PROGRAM, url, keito, tmp_path, request.param)


def metadata(keito: Keito) -> dict[str, Any]:
    """The metadata of the entry that was made last."""
    made: dict[str, Any] = keito.entries()[-1]["metadata"]
    return made


async def test_a_new_session_is_known_by_the_hosts_own_id_and_the_model_that_calls(
    claude: ClaudeCode, keito: Keito
) -> None:
    ran = await claude.run(LOG)
    [model] = ran["modelUsage"]
    assert metadata(keito)["agent_type"] == "claude-code"
    assert metadata(keito)["session_id"] == ran["session_id"]
    assert metadata(keito)["model"] == model


async def test_a_session_that_is_given_its_id_is_known_by_it(claude: ClaudeCode, keito: Keito) -> None:
    given = str(uuid.uuid4())
    ran = await claude.run(LOG, "--session-id", given)
    assert metadata(keito)["session_id"] == ran["session_id"] == given


@pytest.mark.parametrize("how", ["--resume", "--continue"])
async def test_a_session_that_goes_on_is_the_same_one(claude: ClaudeCode, keito: Keito, how: str) -> None:
    first = await claude.run(LOG)
    more = script(call("log_time", hours=0.5, notes="Wrote the code"), say("done"))
    again = await claude.run(more, how, *([first["session_id"]] if how == "--resume" else []))
    assert again["session_id"] == first["session_id"]
    assert [entry["metadata"]["session_id"] for entry in keito.entries()] == [first["session_id"]] * 2


async def test_after_clear_the_session_is_the_new_one_and_the_old_ones_timer_ends(
    claude: ClaudeCode, keito: Keito
) -> None:
    def at_the_keyboard() -> None:
        with claude.in_a_terminal() as terminal:
            terminal.enter(script(call("start_timer", notes="Before"), say("one")))
            terminal.enter("/clear")
            terminal.enter(script(call("log_time", hours=0.5, notes="After"), say("two")))

    await anyio.to_thread.run_sync(at_the_keyboard)
    before, after = sorted(keito.entries(), key=lambda entry: entry["notes"], reverse=True)
    sessions = {file.stem for file in claude.home.glob(".claude/projects/*/*.jsonl")}
    assert {before["metadata"]["session_id"], after["metadata"]["session_id"]} == sessions
    assert len(sessions) == 2
    assert before["is_running"] is False


async def test_without_session_persistence_the_session_is_known_all_the_same(claude: ClaudeCode, keito: Keito) -> None:
    ran = await claude.run(LOG, "--no-session-persistence")
    assert metadata(keito)["session_id"] == ran["session_id"]
    assert "model" not in metadata(keito)


async def test_a_sub_agent_on_another_model_has_its_own_timer_in_the_same_session(
    claude: ClaudeCode, keito: Keito
) -> None:
    task: dict[str, Any] = {
        "subagent_type": "general-purpose",
        "description": "A part of it",
        "model": "haiku",
        "run_in_background": False,
        "prompt": script(call("start_timer", notes="A part"), call("stop_timer"), say("ok")),
    }
    ran = await claude.run(script(call("start_timer", notes="All"), call("Agent", **task), call("stop_timer")))
    by_notes = {entry["notes"]: entry["metadata"] for entry in keito.entries()}
    assert by_notes["All"]["session_id"] == by_notes["A part"]["session_id"] == ran["session_id"]
    assert "sonnet" in by_notes["All"]["model"]
    assert "haiku" in by_notes["A part"]["model"]
    assert {by_notes["All"]["model"], by_notes["A part"]["model"]} == set(ran["modelUsage"])
    assert "subagent_id" not in by_notes["All"]
    assert by_notes["A part"]["subagent"] == "general-purpose"
    [stop_of_the_part, stop_of_the_whole] = [request.path for request in keito.requests if request.method == "PATCH"]
    assert stop_of_the_part != stop_of_the_whole
    assert all(entry["is_running"] is False for entry in keito.entries())


async def test_nothing_of_what_was_said_in_the_session_is_kept_here(
    claude: ClaudeCode, keito: Keito, tmp_path: Path
) -> None:
    secret = "a word that only the conversation holds"
    await claude.run(script(call("log_time", hours=0.5), say(secret)))
    await claude.run(LOG, "--continue")
    kept = [file.read_bytes() for file in (tmp_path / "state").rglob("*") if file.is_file()]
    assert kept
    assert not [content for content in kept if secret.encode() in content]
    assert secret not in str(keito.entries())
