"""How sessions end, told by the payloads of Claude Code 2.1.330, through the hook to Keito (`hosts.md` §1.6)."""

import io
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from keito_mcp.runtime import Runtime
from keito_mcp.sessions import hook
from keito_mcp.settings.config import Settings
from keito_mcp.settings.trust import find
from tests.kit import KEY, Desk, Keito, MakeDesk, Neighbour
from tests.sessions.story import NOON
from tests.support.cores import recorded

pytestmark = pytest.mark.anyio

SESSION = "124b141a-9b4c-419d-b873-fd8e7eb4cfc6"
PROMPT = "0b94cf8b-1711-4e93-9ea0-49643371f77f"
Tell = Callable[..., None]


def payload(event: str, **more: object) -> dict[str, object]:
    return {
        "session_id": SESSION,
        "transcript_path": f"/home/someone/.claude/projects/-home-someone-shop/{SESSION}.jsonl",
        "cwd": "/home/someone/shop",
        "prompt_id": PROMPT,
        "permission_mode": "default",
        "effort": {"level": "medium"},
        "hook_event_name": event,
        **more,
    }


STARTED = payload("SessionStart", source="startup")
PROMPTED = payload("UserPromptSubmit", prompt="never kept")
TOOL = payload("PostToolUse", tool_name="Bash", tool_use_id="toolu_1", tool_input={"command": "make"}, duration_ms=900)
STOPPED = payload("Stop", stop_hook_active=False, last_assistant_message="Done.", background_tasks=[], session_crons=[])


def failed(error: str) -> dict[str, object]:
    return payload("StopFailure", error=error, last_assistant_message="API Error")


def ended(reason: str) -> dict[str, object]:
    return payload("SessionEnd", reason=reason)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / ".keito").mkdir(parents=True)
    (folder / ".keito" / "config.yml").write_text("version: 1\nproject_id: prj_shop\nmetadata: {cost_centre: web}\n")
    return folder


@pytest.fixture
def tell(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Have the hook take note of a payload, so many seconds after noon."""
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(shop))
    monkeypatch.setattr(hook, "_deliver", lambda _: None)

    def tell(said: dict[str, object], seconds: float) -> None:
        moment = NOON.timestamp() + seconds
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: moment)
            patch.setattr(time, "monotonic", lambda: 1000 + seconds)
            patch.setattr(time, "time_ns", lambda: int(moment * 1e9))
            patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(said).encode())))
            assert hook.main(["--host", "claude-code"]) == 0

    return tell


@pytest.fixture
async def desk(make_desk: MakeDesk, keito: Keito, tmp_path: Path) -> AsyncIterator[Desk]:
    """A server whose settings are the repository's, as they are where no variable sets them."""
    desk = make_desk()
    given: dict[str, Any] = {
        "api_key": KEY,
        "api_url": keito.url,
        "timezone": "UTC",
        "state_dir": tmp_path / "state",
        "autolog": False,
    }

    def load(folder: Path | None) -> Settings:
        settings = Settings(**given)
        return settings.completed_by(find(folder, settings.folder)) if folder else settings

    runtime = Runtime(load=load, clock=desk.runtime.clock)
    yield Desk(runtime, desk.server, desk.commits)
    await runtime.aclose()


async def record(desk: Desk) -> None:
    await desk.runtime.own.recorder().run()
    await desk.deliver_all()


OUTCOMES: dict[str, tuple[list[tuple[dict[str, object], float]], float | None, str | None]] = {
    "normal -p": ([(STARTED, 0), (PROMPTED, 1), (TOOL, 900), (STOPPED, 1801), (ended("other"), 1802)], 0.5, None),
    "API error": ([(STARTED, 0), (PROMPTED, 1), (failed("unknown"), 1801), (ended("other"), 1802)], None, None),
    "--max-turns hit": ([(STARTED, 0), (PROMPTED, 0), (TOOL, 1799), (ended("other"), 1800)], 0.5, "interrupted"),
    "SIGTERM": ([(STARTED, 0), (PROMPTED, 0), (TOOL, 1790), (ended("other"), 1800)], 0.5, "interrupted"),
    "SIGINT in -p": ([(STARTED, 0), (PROMPTED, 0), (TOOL, 1790), (ended("other"), 1800)], 0.5, "interrupted"),
    "Esc, then /exit at once": (
        [(STARTED, 0), (PROMPTED, 0), (TOOL, 1790), (ended("prompt_input_exit"), 1800)],
        0.5,
        "interrupted",
    ),
    "Esc, and /exit an hour later": (
        [(STARTED, 0), (PROMPTED, 0), (TOOL, 1800), (ended("prompt_input_exit"), 5400)],
        0.5,
        "interrupted",
    ),
    "Esc, another prompt, an answer": (
        [
            (PROMPTED, 0),
            (TOOL, 1800),
            ({**PROMPTED, "prompt_id": "another"}, 3600),
            ({**STOPPED, "prompt_id": "another"}, 5400),
            (ended("prompt_input_exit"), 9000),
        ],
        1,
        None,
    ),
    "No at a permission dialog": (
        [
            (PROMPTED, 0),
            (TOOL, 1800),
            (payload("PermissionRequest", tool_name="Bash"), 1800),
            (ended("prompt_input_exit"), 9000),
        ],
        0.5,
        "interrupted",
    ),
    "/clear": ([(STARTED, 0), (PROMPTED, 0), (STOPPED, 1800), (ended("clear"), 9000)], 0.5, None),
    "a failure that a good turn followed": (
        [
            (PROMPTED, 0),
            (failed("server_error"), 900),
            ({**PROMPTED, "prompt_id": "b"}, 1000),
            ({**STOPPED, "prompt_id": "b"}, 1900),
            (ended("other"), 1901),
        ],
        0.5,
        None,
    ),
}


@pytest.mark.parametrize("how", OUTCOMES)
async def test_each_end_of_a_session_is_told_from_the_others(desk: Desk, keito: Keito, tell: Tell, how: str) -> None:
    told, hours, outcome = OUTCOMES[how]
    for said, seconds in told:
        tell(said, seconds)
    await record(desk)
    if hours is None:
        assert keito.entries() == []
        return
    [entry] = keito.entries()
    assert entry["hours"] == hours
    assert entry["project_id"] == "prj_shop"
    assert entry["metadata"].get("outcome") == outcome
    assert entry["metadata"]["cost_centre"] == "web"
    assert entry["metadata"]["session_id"] == SESSION
    assert "never kept" not in json.dumps(entry)


@pytest.mark.parametrize(("autolog", "logged"), [("", 0), ("1", 1)])
async def test_a_session_whose_configuration_is_gone_is_logged_only_for_who_wants_all_of_them(
    keito: Keito, tell: Tell, shop: Path, monkeypatch: pytest.MonkeyPatch, autolog: str, logged: int
) -> None:
    given = {"API_KEY": KEY, "API_URL": keito.url, "PROJECT_ID": "prj_default", "AUTOLOG": autolog}
    for name, value in given.items():
        monkeypatch.setenv(f"KEITO_{name}", value)
    for said, seconds in [(STARTED, 0), (PROMPTED, 1), (STOPPED, 1801)]:
        tell(said, seconds)
    runtime = Runtime()
    await runtime.own.recorder().run()
    (shop / ".keito" / "config.yml").unlink()
    monkeypatch.setenv("KEITO_AUTOLOG", "1")
    tell(ended("other"), 1802)
    monkeypatch.setenv("KEITO_AUTOLOG", autolog)
    await runtime.own.recorder().run()
    assert len(await recorded(runtime, SESSION)) == logged
    await runtime.aclose()


async def test_sigkill_leaves_no_goodbye_and_the_gone_process_is_enough(
    desk: Desk, keito: Keito, tell: Tell, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = neighbour.name.split()[3]
    monkeypatch.setenv("CLAUDE_PID", pid)
    for said, seconds in [(STARTED, 0), (PROMPTED, 0), (TOOL, 1800)]:
        tell(said, seconds)
    await record(desk)
    assert keito.entries() == []
    neighbour.end()
    await record(desk)
    [entry] = keito.entries()
    assert (entry["hours"], entry["metadata"]["outcome"]) == (0.5, "interrupted")
