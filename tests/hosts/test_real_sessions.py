"""Sessions of the real Claude Code that log themselves. Skipped unless `KEITO_MCP_TEST_CLAUDE` names its program.

The hooks are the plugin's. What a session's turns took is measured from its own events, to which a person's stopwatch
would agree to a second.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from signal import Signals
from typing import Any

import anyio
import pytest

from tests.hosts.anthropic import call, fail, say, script, scripted_model
from tests.hosts.claude import ClaudeCode
from tests.kit import KEY, PROJECT, Keito
from tests.processes import environment, run

_PROGRAM = os.environ.get("KEITO_MCP_TEST_CLAUDE", "")
_SECOND = 1 / 3600

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not _PROGRAM, reason="KEITO_MCP_TEST_CLAUDE doesn't name a Claude Code"),
]


@pytest.fixture
def claude(keito: Keito, tmp_path: Path, repository_root: Path) -> Iterator[ClaudeCode]:
    plugin = json.loads((repository_root / ".claude-plugin/keito/hooks/hooks.json").read_text())
    hooks = json.loads(json.dumps(plugin["hooks"]).replace('"keito-mcp"', json.dumps(sys.executable)))
    for handler in (one for event in hooks.values() for group in event for one in group["hooks"]):
        handler["args"] = ["-m", "keito_mcp", *handler["args"]]
    settings = {
        "KEITO_API_KEY": KEY,
        "KEITO_API_URL": keito.url,
        "KEITO_STATE_DIR": str(tmp_path / "state"),
        "CLAUDE_CODE_MAX_RETRIES": "0",
    }
    configuration = tmp_path / "project" / ".keito" / "config.yml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(f"version: 1\nproject_id: {PROJECT}\nagent_tracking: {{min_duration_seconds: 1}}\n")
    with scripted_model() as url:
        yield ClaudeCode(_PROGRAM, url, keito, tmp_path, settings, hooks)


async def settled(claude: ClaudeCode) -> dict[str, Any]:
    """What became of the one session, once its end was delivered by itself."""
    settings = {
        "KEITO_API_KEY": KEY,
        "KEITO_API_URL": claude.keito.url,
        "KEITO_STATE_DIR": str(claude.folder / "state"),
    }
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done = await run("sessions", "--json", env=environment(**settings), cwd=claude.project)
        found = [session for session in json.loads(done.stdout) if session["recorded"] and not session["queued"]]
        if found:
            return dict(found[0])
        await anyio.sleep(0.2)
    raise AssertionError("nothing was recorded")


def hours(keito: Keito) -> float:
    return float(sum(entry["hours"] for entry in keito.entries()))


async def test_three_turns_with_pauses_between_them_are_the_turns_and_nothing_else(
    claude: ClaudeCode, keito: Keito
) -> None:
    turns = [script(say(f"Answer {number}", after=3)) for number in range(3)]
    results = await claude.converse(*turns, pause=4)
    await settled(claude)
    [entry] = keito.entries()
    took = sum(result["duration_ms"] for result in results[:1]) / 1000
    assert took >= 3
    assert entry["hours"] == pytest.approx(3 * 3 / 3600, rel=0.02, abs=_SECOND)
    assert entry["metadata"]["turns"] == 3
    assert entry["metadata"]["session_id"] == results[0]["session_id"]
    assert entry["notes"].endswith("(3 turns): Answer 2")
    assert "outcome" not in entry["metadata"]


async def test_a_sub_agent_beside_the_main_agent_counts_once(claude: ClaudeCode, keito: Keito) -> None:
    task: dict[str, Any] = {
        "subagent_type": "general-purpose",
        "description": "A part of it",
        "run_in_background": False,
        "prompt": script(say("ok", after=4)),
    }
    await claude.run(script(call("Agent", **task), say("done", after=2)))
    await settled(claude)
    assert hours(keito) == pytest.approx(6 / 3600, rel=0.02, abs=_SECOND)


async def test_no_moment_is_billed_twice_with_a_timer_and_a_log_within(claude: ClaudeCode, keito: Keito) -> None:
    await claude.run(
        script(
            call("start_timer", notes="Fix"),
            call("stop_timer", after=3),
            call("log_time", hours=0.001, notes="Read", after=5),
            say("done", after=2),
        )
    )
    await settled(claude)
    # Ten seconds of turn: three are the timer's, 3.6 were logged, the rest is the session's.
    assert len(keito.entries()) == 3
    assert hours(keito) == pytest.approx(10 / 3600, rel=0.02, abs=_SECOND)


ENDS: dict[str, tuple[list[list[object]], Signals | str | None, str, float | None]] = {
    "success": ([say("done", after=3)], None, "logged", 3),
    "an error of the API": ([fail(400, after=3)], None, "failed", None),
    "a limit of turns": ([call("log_time", hours=0.0001, after=3), say("never")], "limit", "logged", 3),
    "SIGTERM": ([say("never", after=30)], Signals.SIGTERM, "logged", 5),
    "SIGINT": ([say("never", after=30)], Signals.SIGINT, "logged", 5),
}


@pytest.mark.parametrize("how", ENDS)
async def test_each_end_of_a_session_is_told_from_the_others(claude: ClaudeCode, keito: Keito, how: str) -> None:
    steps, end, outcome, seconds = ENDS[how]
    limit = ("--max-turns", "1") if end == "limit" else ()
    code = await claude.end(script(*steps), *limit, signal=end if isinstance(end, Signals) else None, after=6.5)
    assert (code == 0) == (how in {"success", "SIGINT"})
    session = await settled(claude)
    assert session["recorded"]["outcome"] == outcome
    if seconds is None:
        assert keito.entries() == []
        return
    interrupted = [entry["metadata"].get("outcome") for entry in keito.entries() if "turns" in entry["metadata"]]
    assert interrupted == ([None] if how == "success" else ["interrupted"])
    # Between the start of the program and its first prompt passes what no turn takes.
    assert hours(keito) == pytest.approx(seconds / 3600, abs=2 * _SECOND)


async def test_a_killed_session_is_logged_up_to_its_last_sign_of_life_by_the_next_sync(
    claude: ClaudeCode, keito: Keito
) -> None:
    steps = script(call("log_time", hours=0.0001, notes="A sign", after=3), say("never", after=30))
    assert await claude.end(steps, signal=Signals.SIGKILL, after=7) != 0
    assert [entry["notes"] for entry in keito.entries()] == ["A sign"]
    settings = {"KEITO_API_KEY": KEY, "KEITO_API_URL": keito.url, "KEITO_STATE_DIR": str(claude.folder / "state")}
    done = await run("sync", "--json", env=environment(**settings), cwd=claude.project)
    assert done.returncode == 0, done.stderr
    [recorded] = [entry for entry in keito.entries() if "turns" in entry["metadata"]]
    assert recorded["metadata"]["outcome"] == "interrupted"
    assert hours(keito) == pytest.approx(3 / 3600, abs=_SECOND)


async def test_a_session_in_a_repository_without_a_configuration_is_never_logged(
    claude: ClaudeCode, keito: Keito
) -> None:
    (claude.project / ".keito" / "config.yml").unlink()
    await claude.run(script(say("done")))
    settings = {"KEITO_API_KEY": KEY, "KEITO_API_URL": keito.url, "KEITO_STATE_DIR": str(claude.folder / "state")}
    await run("sync", env=environment(**settings), cwd=claude.project)
    assert keito.entries() == []
