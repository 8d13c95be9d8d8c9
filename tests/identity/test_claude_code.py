"""Claude Code's files, seen through a call."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from keito_mcp.identity import Identifier
from keito_mcp.identity.claude_code.registry import current_session
from keito_mcp.process import Ancestor
from tests.identity.calls import SESSION, SUBAGENT, TOOL_USE, ClaudeFiles, call, identify, spool_row, tool_use_row

PID = 29795
CLAUDE = Ancestor(PID, "2081127")
OTHER_SESSION = "0f082daa-7b4b-43b2-a1e7-cdd915c2145f"
META = {"claudecode/toolUseId": TOOL_USE}


@pytest.fixture
def files(tmp_path: Path) -> ClaudeFiles:
    return ClaudeFiles(tmp_path)


# --- the registry ---


def test_the_nearest_ancestor_that_is_a_claude_code_says_the_session(files: ClaudeFiles) -> None:
    files.register(PID)
    files.register(1000, OTHER_SESSION)
    ancestors = [Ancestor(30001, "2081200"), CLAUDE, Ancestor(1000, "77")]
    assert current_session(files.folder / "sessions", ancestors) == SESSION


@pytest.mark.parametrize(
    ("row", "session"),
    [
        ({"procStart": "2081127"}, SESSION),
        ({"procStart": "1999"}, None),
        ({"procStart": 2081127}, SESSION),
        ({"pid": 4}, None),
        ({"sessionId": None}, None),
        ({"sessionId": "x" * 201}, None),
        ({"sessionId": "/etc/passwd"}, None),
    ],
    ids=str,
)
def test_a_file_of_an_earlier_process_with_the_same_id_or_without_a_session_says_nothing(
    row: dict[str, Any], session: str | None, files: ClaudeFiles
) -> None:
    files.register(PID, **{"session": SESSION, **row})
    assert current_session(files.folder / "sessions", [CLAUDE]) == session


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\x00"], ids=lambda text: text[:5])
def test_a_file_that_cant_be_read_says_nothing(text: str, files: ClaudeFiles) -> None:
    files.register(PID)
    (files.folder / "sessions" / f"{PID}.json").write_text(text)
    assert current_session(files.folder / "sessions", [CLAUDE]) is None
    files.register(1000, OTHER_SESSION)
    assert current_session(files.folder / "sessions", [CLAUDE, Ancestor(1000, "77")]) is None


def test_the_secrets_beside_it_are_never_opened(files: ClaudeFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    files.register(PID)
    files.write(tool_use_row())
    files.leave(spool_row())
    (files.folder / "sessions" / f"{PID}.fb15b6fd.key").write_text("a secret")
    opened: list[str] = []
    real = os.open

    def watched(path: Any, *arguments: Any, **more: Any) -> int:
        opened.append(str(path))
        return real(path, *arguments, **more)

    real_open = Path.open

    def watched_open(path: Path, *arguments: Any, **more: Any) -> Any:
        opened.append(str(path))
        return real_open(path, *arguments, **more)

    monkeypatch.setattr(os, "open", watched)
    monkeypatch.setattr(Path, "open", watched_open)
    identify(call(meta=META, machine=files.machine(CLAUDE)))
    assert any(path.endswith(f"{PID}.json") for path in opened)
    assert not [path for path in opened if path.endswith(".key")]


# --- what a call waits for ---


def test_a_row_that_is_being_written_is_waited_for(files: ClaudeFiles) -> None:
    files.write("")
    written = json.dumps(tool_use_row()) + "\n"
    machine, identifier = files.machine(), Identifier()

    async def half_a_row_then_the_whole() -> Any:
        files.write(written[:200])
        found = {}
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                found["identity"] = await identifier.identify(call(meta=META, machine=machine))

            tasks.start_soon(ask)
            await anyio.sleep(0.005)
            files.write(written[200:])
        return found["identity"]

    identity = anyio.run(half_a_row_then_the_whole)
    assert (identity.session_id, identity.value("model")) == (SESSION, "claude-sonnet-5-5")


def test_a_row_that_is_being_written_is_waited_for_also_in_another_session_than_the_last_calls(
    files: ClaudeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(tool_use_row("toolu_before"))
    machine, identifier = files.machine().files_alone(), Identifier()
    identify(call(meta={"claudecode/toolUseId": "toolu_before"}, machine=machine), identifier)
    real = anyio.sleep

    async def written_meanwhile(seconds: float) -> None:
        if seconds:
            files.write(tool_use_row(session=OTHER_SESSION), session=OTHER_SESSION)
        await real(0)

    monkeypatch.setattr(anyio, "sleep", written_meanwhile)
    assert identify(call(meta=META, machine=machine), identifier).session_id == OTHER_SESSION


def test_a_session_that_isnt_written_down_is_waited_for_three_times_and_then_no_more(
    files: ClaudeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(tool_use_row("toolu_another"))
    files.register(PID)
    pauses: list[float] = []
    real = anyio.sleep

    async def counted(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)

    monkeypatch.setattr(anyio, "sleep", counted)
    identifier, counts = Identifier(), []
    for _ in range(5):
        pauses.clear()
        identify(call(meta=META, machine=files.machine(CLAUDE)), identifier)
        counts.append(len(pauses))
        assert sum(pauses) <= 0.1
    assert counts == [5, 5, 5, 1, 1]
    files.write(tool_use_row())
    assert identify(call(meta=META, machine=files.machine(CLAUDE)), identifier).value("model") == "claude-sonnet-5-5"


def test_one_caller_over_http_that_isnt_written_down_hides_no_other_one(files: ClaudeFiles) -> None:
    machine, identifier = files.machine().files_alone(), Identifier()
    files.write(tool_use_row("toolu_first"))
    calls = ["toolu_first", *[f"toolu_elsewhere_{number}" for number in range(4)], TOOL_USE]
    files.write(tool_use_row(session=OTHER_SESSION), session=OTHER_SESSION)
    found = [
        identify(call(meta={"claudecode/toolUseId": tool_use}, machine=machine), identifier).session_id
        for tool_use in calls
    ]
    assert found == [SESSION, *["made-up-session"] * 4, OTHER_SESSION]


def test_files_that_take_too_long_are_not_waited_for(files: ClaudeFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(
        "keito_mcp.identity.claude_code.transcript.Transcripts.find", lambda *_, **__: released.wait(10) and None
    )
    files.register(PID)
    files.write(tool_use_row())

    async def ask() -> str:
        with anyio.fail_after(5):
            identity = await Identifier().identify(call(meta=META, machine=files.machine(CLAUDE)))
        released.set()
        return identity.session_id

    assert anyio.run(ask) == SESSION


def test_where_nothing_can_be_read_in_time_the_environment_tells_the_session(
    files: ClaudeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr("keito_mcp.identity.claude_code.current_session", lambda *_: released.wait(10) and None)
    machine = files.machine(CLAUDE, CLAUDECODE="1", CLAUDE_CODE_SESSION_ID=SESSION)

    async def ask() -> tuple[str, bool]:
        with anyio.fail_after(5):
            identity = await Identifier().identify(call(meta=META, machine=machine))
        released.set()
        return identity.session_id, identity.session_is_certain

    assert anyio.run(ask) == (SESSION, False)


# --- which source says what ---


def test_the_folder_of_claude_code_may_be_another(files: ClaudeFiles, tmp_path: Path) -> None:
    files.write(tool_use_row())
    moved = tmp_path / "elsewhere"
    files.folder.rename(moved)
    identity = identify(call(meta=META, machine=files.machine(CLAUDE_CONFIG_DIR=str(moved))))
    assert identity.session_id == SESSION


def test_the_hook_without_a_session_leaves_the_question_to_the_transcript(files: ClaudeFiles) -> None:
    files.leave({"subagent_id": "from-the-hook"})
    files.write(tool_use_row(subagent=SUBAGENT), subagent=SUBAGENT)
    identity = identify(call(meta=META, machine=files.machine()))
    assert (identity.session_id, identity.subagent_id) == (SESSION, SUBAGENT)


def test_the_hook_says_which_agent_calls_also_where_the_transcript_says_another(files: ClaudeFiles) -> None:
    files.leave(spool_row(OTHER_SESSION))
    files.write(tool_use_row(subagent=SUBAGENT), subagent=SUBAGENT)
    identity = identify(call(meta=META, machine=files.machine()))
    assert (identity.session_id, identity.subagent_id) == (OTHER_SESSION, "")
    assert identity.value("subagent") is None
    assert identity.agent_is_certain


@pytest.mark.parametrize("subagent", [None, "", "x" * 201])
def test_a_sub_agent_that_isnt_named_is_not_taken_for_the_main_agent(subagent: str | None, files: ClaudeFiles) -> None:
    files.write(tool_use_row(isSidechain=True, agentId=subagent))
    identity = identify(call(meta=META, machine=files.machine()))
    assert (identity.session_id, identity.value("model")) == (SESSION, "claude-sonnet-5-5")
    assert identity.session_is_certain
    assert not identity.agent_is_certain


@pytest.mark.parametrize("tool_use", ["../../etc/passwd", "a/b", "", ".", "x" * 201, 7, None, ["toolu_1"], "a\nb"])
def test_an_id_that_cant_be_one_is_looked_up_nowhere(tool_use: object, files: ClaudeFiles) -> None:
    files.register(PID)
    files.write(tool_use_row())
    identity = identify(call(meta={"claudecode/toolUseId": tool_use}, machine=files.machine(CLAUDE)))
    assert identity.facts["session_id"].source == "Claude Code's registry of running sessions"
    assert identity.value("model") is None


def test_the_environment_of_an_http_server_says_nothing_of_its_callers(files: ClaudeFiles) -> None:
    files.register(PID)
    machine = files.machine(CLAUDE, CLAUDECODE="1", CLAUDE_CODE_SESSION_ID=SESSION).files_alone()
    identity = identify(call(meta=META, machine=machine))
    assert identity.facts["session_id"].source == "made for this server process"
    files.write(tool_use_row())
    assert identify(call(meta=META, machine=machine)).session_id == SESSION


def test_a_machine_doesnt_show_its_environment(files: ClaudeFiles) -> None:
    assert "hunter2" not in repr(call(machine=files.machine(KEITO_API_KEY="hunter2")))
