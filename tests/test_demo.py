import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keito_mcp.commands.demo import Agent, Expected, Screen, differences
from keito_mcp.sandbox import Store
from keito_mcp.sandbox.entry import Entry

PATIENCE = 60
COMMAND = [sys.executable, "-m", "keito_mcp", "demo"]
ESCAPE = "\x1b"
AGENT = Agent("coder-1", "login", "1;36")


def environment(**changes: str) -> dict[str, str]:
    theirs = ("KEITO_", "NO_COLOR", "COLUMNS")
    return {name: value for name, value in os.environ.items() if not name.startswith(theirs)} | changes


@pytest.fixture(scope="module")
def piped(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """One run into a pipe, from an environment that would break it if it reached the servers."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "temporary").mkdir()
    hostile = environment(
        KEITO_API_KEY="not a key\n",
        KEITO_API_URL="http://keito.example",
        KEITO_PROJECT_ID="prj_of_the_user",
        KEITO_SESSION_ID="session-of-the-user",
        KEITO_AGENT_ID="agent-of-the-user",
        KEITO_TIMEZONE="nowhere",
        KEITO_STATE_DIR=str(folder / "state"),
        TMPDIR=str(folder / "temporary"),
    )
    run = subprocess.run(
        COMMAND, env=hostile, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert [path.name for path in folder.rglob("*")] == ["temporary"], "something was left behind"
    return run


def test_demo_exits_0_and_says_nothing_aside_whatever_the_users_settings(
    piped: subprocess.CompletedProcess[str],
) -> None:
    assert (piped.returncode, piped.stderr) == (0, "")
    assert "of_the_user" not in piped.stdout
    assert "of-the-user" not in piped.stdout


def test_demo_in_a_pipe_is_pure_text(piped: subprocess.CompletedProcess[str]) -> None:
    assert ESCAPE not in piped.stdout
    assert piped.stdout.isascii()
    assert all(len(line) <= 80 for line in piped.stdout.splitlines())


def test_demo_calls_each_tool_and_shows_what_became_of_it(piped: subprocess.CompletedProcess[str]) -> None:
    calls = [line.strip().partition(" -> ") for line in piped.stdout.splitlines() if " -> " in line]
    assert [(call.partition("(")[0], answer.partition(" te_")[0]) for call, _, answer in calls] == [
        ("start_timer", "running"),
        ("stop_timer", "stopped"),
        ("log_time", "logged"),
        ("log_time", "duplicate"),
        ("list_entries", calls[4][2]),
        ("start_timer", "running"),
        ("discard_session", "discarded"),
    ]
    assert calls[2][0] == calls[3][0]
    assert calls[4][2].startswith("2 entries, 0.75")


def test_demo_ends_with_a_table_of_what_stands_and_what_was_discarded(
    piped: subprocess.CompletedProcess[str],
) -> None:
    *_, headings, counted, logged, discarded, _, last = piped.stdout.splitlines()
    assert headings.split() == ["HOURS", "PROJECT", "AGENT", "SESSION", "NOTES"]
    assert counted.split()[3:] == ["prj_web", "coder-1", "login", "Login", "fixed"]
    assert 0 < float(counted.split()[2]) < 0.01
    assert logged.split()[2:] == ["0.7500", "prj_web", "coder-1", "login", "Code", "review"]
    assert discarded.startswith("discarded")
    assert discarded.endswith("prj_web  coder-2  search   Rewrite the search (tests fail)")
    assert last == "As expected: 2 entries stand, 1 was discarded."


def on_a_terminal(env: dict[str, str]) -> tuple[int, str]:
    """The exit code of a demo that writes to a terminal, and what came there."""
    ours, theirs = os.openpty()
    with subprocess.Popen(COMMAND, env=env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            shown = b"".join(_chunks(ours))
            return process.wait(PATIENCE), shown.decode()
        finally:
            process.kill()
            os.close(ours)


def _chunks(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:  # how Linux says that nobody has the terminal open any more
            return
        if not chunk:
            return
        yield chunk


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_demo_on_a_terminal_is_coloured_and_its_table_fits() -> None:
    code, shown = on_a_terminal(environment(TERM="xterm-256color", COLUMNS="60"))
    assert code == 0
    assert f"{ESCAPE}[1;36mcoder-1{ESCAPE}[0m  I start on the login bug." in shown
    table = shown[shown.index("HOURS") :]
    assert "Rewrite the se" in table
    assert "Rewrite the search" not in table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("settings", "styled"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_screen_styles_text_unless_the_terminal_or_its_user_says_no(
    settings: dict[str, str], *, styled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    Screen(terminal).say("hello", "1")
    assert (ESCAPE in terminal.getvalue()) is styled


def test_demo_whose_reader_leaves_ends_without_a_word() -> None:
    with subprocess.Popen(
        COMMAND, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        try:
            assert process.stderr.read() == ""
            assert process.wait(PATIENCE) == 1
        finally:
            process.kill()


def test_demo_exits_1_and_names_an_entry_that_another_hand_wrote(tmp_path: Path) -> None:
    with subprocess.Popen(
        COMMAND, env=environment(TMPDIR=str(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            another_hand_writes(tmp_path)
            shown, complaint = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 1
    assert "As expected" not in shown
    assert "Entry te_strange is in Keito and shouldn't be: 'Lunch'." in complaint
    assert "Traceback" not in complaint


def another_hand_writes(temporary: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (found := list(temporary.glob("*/sandbox.sqlite3"))):
        assert time.monotonic() < deadline, "the demo made no embedded Keito"
        time.sleep(0.01)
    store = Store(found[0])
    store.create(replace(ENTRY, id="te_strange", notes="Lunch"))
    store.close()


NOW = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
ENTRY = Entry(
    id="te_1",
    user_id="usr_1",
    project_id="prj_web",
    task_id=None,
    spent_date="2026-03-06",
    units=7500,
    started_at=None,
    notes="Code review",
    is_billable=True,
    source="agent",
    metadata={"agent_id": "coder-1", "session_id": "login"},
    created_at=NOW,
    updated_at=NOW,
)
EXPECTED = {"te_1": Expected(AGENT, "Code review", (0.75, 0.75))}


def shown_by_keito(*entries: Entry) -> list[dict[str, object]]:
    store = Store(":memory:")
    for entry in entries:
        store.create(entry)
    shown = store.entries(NOW)
    store.close()
    return shown


def test_differences_are_none_when_keito_has_what_it_should() -> None:
    assert differences(shown_by_keito(ENTRY), EXPECTED) == []


def test_differences_name_an_entry_too_many_and_one_too_few() -> None:
    assert differences(shown_by_keito(replace(ENTRY, id="te_2")), EXPECTED) == [
        "Entry te_2 is in Keito and shouldn't be: 'Code review'.",
        "Entry te_1 isn't in Keito and should be.",
    ]


@pytest.mark.parametrize(
    ("entry", "difference"),
    [
        (replace(ENTRY, units=7501), "hours should be 0.7500 to 0.7500 and are 0.7501."),
        (replace(ENTRY, project_id="prj_x"), "project should be 'prj_web' and is 'prj_x'."),
        (replace(ENTRY, notes=None), "notes should be 'Code review' and is None."),
        (replace(ENTRY, source="web"), "source should be 'agent' and is 'web'."),
        (replace(ENTRY, started_at=NOW), "is_running should be False and is True."),
        (
            replace(ENTRY, metadata={"agent_id": "coder-1", "session_id": "x"}),
            "session should be 'login' and is 'x'.",
        ),
        (
            replace(ENTRY, metadata={"agent_id": "coder-2", "session_id": "login"}),
            "agent should be 'coder-1' and is 'coder-2'.",
        ),
    ],
)
def test_differences_name_each_field_that_is_another(entry: Entry, difference: str) -> None:
    assert differences(shown_by_keito(entry), EXPECTED) == [f"Entry te_1: {difference}"]


def test_differences_name_an_entry_that_should_still_run() -> None:
    assert differences(shown_by_keito(ENTRY), {"te_1": Expected(AGENT, "Code review")}) == [
        "Entry te_1: is_running should be True and is False."
    ]
