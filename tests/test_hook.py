"""`keito-mcp hook`: the real program, with an event on its standard input."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from keito_mcp.journal.file import open_journal
from keito_mcp.process import Process
from keito_mcp.sessions import spool
from keito_mcp.settings import checkout

SESSION = "124b141a-9b4c-419d-b873-fd8e7eb4cfc6"
STOP = {
    "session_id": SESSION,
    "transcript_path": "/home/someone/.claude/projects/p/s.jsonl",
    "hook_event_name": "Stop",
    "prompt_id": "0b94cf8b-1711-4e93-9ea0-49643371f77f",
    "permission_mode": "default",
    "effort": {"level": "medium"},
    "stop_hook_active": False,
    "last_assistant_message": "All tests pass.\n\nThe rest is for the user.",
    "background_tasks": [],
}


class Hook:
    """Runs the hook in a repository, and reads what it left."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.repository = folder / "shop"
        (self.repository / ".keito").mkdir(parents=True)
        (self.repository / ".keito" / "config.yml").write_text("version: 1\n")

    def run(
        self, event: object, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        said = event if isinstance(event, str) else json.dumps(event)
        environment = {**os.environ, "CLAUDE_PROJECT_DIR": str(self.repository), **(env or {})}
        done = subprocess.run(
            [sys.executable, "-m", "keito_mcp", "hook", *arguments],
            input=said,
            capture_output=True,
            text=True,
            env=environment,
            cwd=cwd,
            timeout=20,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return done

    @property
    def files(self) -> list[Path]:
        folder = Path(spool.folder(self.state))
        return sorted(folder.iterdir()) if folder.exists() else []

    @property
    def row(self) -> dict[str, Any]:
        [file] = self.files
        return dict(json.loads(file.read_text()))

    @property
    def log(self) -> str:
        file = self.state / "hook.log"
        return file.read_text() if file.exists() else ""


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    return Hook(tmp_path)


def test_an_event_is_one_file_with_both_clocks_and_only_what_an_entry_needs(hook: Hook) -> None:
    before = time.time()
    hook.run(STOP)
    row = hook.row
    assert before <= row.pop("at") <= time.time()
    assert 0 < row.pop("monotonic") <= time.monotonic()
    row.pop("boot_id", None)
    assert row == {
        "version": 1,
        "host": "claude-code",
        "event": "Stop",
        "session_id": SESSION,
        "turn": "0b94cf8b-1711-4e93-9ea0-49643371f77f",
        "transcript": "/home/someone/.claude/projects/p/s.jsonl",
        "folder": str(hook.repository),
        "message": "All tests pass.",
    }
    assert hook.log == ""


def test_the_file_of_a_call_of_this_servers_tools_is_named_by_the_call(hook: Hook) -> None:
    event = {
        "session_id": SESSION,
        "hook_event_name": "PreToolUse",
        "tool_name": "mcp__plugin_keito_keito__start_timer",
        "tool_use_id": "toolu_cce3c56098b74e7da088df9b",
        "tool_input": {"notes": "never kept"},
        "agent_id": "a056094c76b80d279",
        "agent_type": "general-purpose",
    }
    hook.run(event, "--host", "claude-code")
    assert [file.name for file in hook.files] == ["toolu_cce3c56098b74e7da088df9b.json"]
    assert (hook.row["subagent_id"], hook.row["subagent"]) == ("a056094c76b80d279", "general-purpose")
    assert "never kept" not in json.dumps(hook.row)


def test_a_call_of_another_tool_is_an_event_like_any_other(hook: Hook) -> None:
    event = {"session_id": SESSION, "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_use_id": "toolu_1"}
    hook.run(event)
    assert [file.name for file in hook.files] != ["toolu_1.json"]
    assert hook.row["event"] == "PreToolUse"


def test_a_repository_without_a_configuration_leaves_no_word_of_its_sessions(hook: Hook, tmp_path: Path) -> None:
    elsewhere = {"CLAUDE_PROJECT_DIR": str(tmp_path / "elsewhere")}
    hook.run(STOP, env=elsewhere)
    assert hook.files == []
    hook.run(
        {**STOP, "hook_event_name": "PreToolUse", "tool_name": "mcp__keito__log_time", "tool_use_id": "t"},
        env=elsewhere,
    )
    assert [file.name for file in hook.files] == ["t.json"]
    assert "message" not in hook.row


@pytest.mark.parametrize(
    ("configuration", "kept"),
    [
        ("agent_tracking:\n  redact_notes: true\n", False),
        ("agent_tracking: {'redact_notes': True}\n", False),
        ("agent_tracking:\n  redact_notes: yes # nobody's business\n", False),
        ("agent_tracking:\n  redact_notes: false\n", True),
        ("version: 1\n", True),
    ],
)
def test_where_notes_are_redacted_nothing_that_the_agent_said_is_left(
    hook: Hook,
    configuration: str,
    kept: bool,  # noqa: FBT001 -- a table
) -> None:
    (hook.repository / ".keito" / "config.yml").write_text(configuration)
    hook.run(STOP)
    assert ("message" in hook.row) == kept


def test_a_configuration_that_cant_be_read_loses_no_event(hook: Hook) -> None:
    file = hook.repository / ".keito" / "config.yml"
    file.unlink()
    file.symlink_to(hook.repository / "missing")
    hook.run(STOP)
    assert hook.row["event"] == "Stop"
    assert "message" not in hook.row


def test_who_wants_all_repositories_gets_them(hook: Hook, tmp_path: Path) -> None:
    hook.run(STOP, env={"CLAUDE_PROJECT_DIR": str(tmp_path / "elsewhere"), "KEITO_AUTOLOG": "1"})
    assert hook.row["event"] == "Stop"


@pytest.mark.parametrize(
    ("arguments", "said", "host", "event"),
    [
        (["Stop"], {}, "claude-code", "Stop"),
        (["--host", "codex"], {}, "codex", "Stop"),
        (["SessionStart", "--host", "codex"], {}, "codex", "SessionStart"),
        (["--host", "claude-code"], {"cursor_version": "2.1"}, "cursor", "Stop"),
        ([], {"hook_event_name": None, "hookEventName": "SubagentStart"}, "claude-code", "SubagentStart"),
    ],
    ids=str,
)
def test_host_and_event_are_those_that_are_named_or_that_the_event_names(
    hook: Hook, arguments: list[str], said: dict[str, Any], host: str, event: str
) -> None:
    hook.run({**STOP, **said}, *arguments)
    assert (hook.row["host"], hook.row["event"]) == (host, event)


def test_cursors_own_names_are_understood(hook: Hook) -> None:
    event = {
        "conversation_id": "conv-1",
        "generation_id": "gen-1",
        "hook_event_name": "stop",
        "status": "error",
        "model": "some-model",
        "cursor_version": "2.1",
        "workspace_roots": [str(hook.repository)],
        "user_email": "someone@example.com",
    }
    hook.run(event, "--host", "cursor", env={"CLAUDE_PROJECT_DIR": ""})
    row = hook.row
    kept = (row["session_id"], row["turn"], row["detail"], row["model"], row["folder"])
    assert kept == ("conv-1", "gen-1", "error", "some-model", str(hook.repository))
    assert "example.com" not in json.dumps(row)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_the_hosts_process_is_told_as_the_journal_knows_processes(hook: Hook) -> None:
    hook.run(STOP, env={"CLAUDE_PID": str(os.getpid())})
    process = Process.read(hook.row["process"])
    assert process is not None
    assert process.pid == os.getpid()
    hook.files[0].unlink()
    hook.run(STOP, env={"CLAUDE_PID": "not a pid"})
    assert "process" not in hook.row


# --- whatever is wrong ---


@pytest.mark.parametrize(
    "event",
    ["", "{", "[]", "null", '"x"', "\x00", {}, {"hook_event_name": "Nothing"}, {"hook_event_name": 7}, "[" * 50_000],
    ids=lambda event: str(event)[:12],
)
def test_what_is_no_event_leaves_a_line_in_the_log_and_nothing_else(hook: Hook, event: object) -> None:
    hook.run(event)
    assert hook.files == []
    assert len(hook.log.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--host"], ["--what"], ["a", "b", "c"], ["Stop", "--host"]], ids=str)
def test_no_command_line_disturbs_the_agent(hook: Hook, arguments: list[str]) -> None:
    hook.run(STOP, *arguments)


@pytest.mark.skipif(sys.platform == "win32" or not hasattr(os, "geteuid"), reason="modes are POSIX's")
def test_a_state_folder_that_cant_be_written_disturbs_nobody(hook: Hook) -> None:
    hook.state.write_text("a file where the folder should be")
    hook.run(STOP)
    assert hook.state.read_text() == "a file where the folder should be"


as_root = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a file to another user"
)
NOBODY = 65534


@as_root
@pytest.mark.parametrize("event", [STOP, {}], ids=["an event", "what is none"])
@pytest.mark.parametrize("whose", ["state", "state/spool"])
def test_nothing_is_written_into_a_state_folder_of_another_user(hook: Hook, whose: str, event: object) -> None:
    (hook.state / "spool").mkdir(parents=True)
    theirs = hook.state.parent / whose
    theirs.chmod(0o777)
    os.chown(theirs, NOBODY, NOBODY)
    hook.run(event)
    assert hook.files == []
    assert hook.log == "" or whose != "state"
    assert theirs.stat().st_mode & 0o777 == 0o777


@as_root
@pytest.mark.parametrize("place", ["state", "state/spool"])
def test_nothing_is_written_through_another_users_link(hook: Hook, tmp_path: Path, place: str) -> None:
    own = tmp_path / "precious"
    own.mkdir()
    link = tmp_path / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(own)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    hook.run({**STOP, "hook_event_name": "SessionEnd"})
    assert list(own.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_nothing_is_written_into_the_project_where_the_state_folder_is_no_absolute_path(hook: Hook) -> None:
    before = sorted(hook.repository.rglob("*"))
    hook.run(STOP, env={"KEITO_STATE_DIR": "${HOME}/state"}, cwd=hook.repository)
    assert sorted(hook.repository.rglob("*")) == before


def test_a_state_folder_that_others_may_write_is_closed_to_them_before_anything_is_left_there(hook: Hook) -> None:
    (hook.state / "spool").mkdir(parents=True)
    for folder in (hook.state, hook.state / "spool"):
        folder.chmod(0o777)
    hook.run(STOP)
    assert hook.row["event"] == "Stop"
    assert [folder.stat().st_mode & 0o777 for folder in (hook.state, hook.state / "spool")] == [0o700, 0o700]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_leaves_nothing_half_written(hook: Hook) -> None:
    folder = Path(spool.folder(hook.state))
    folder.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=3", "none", str(folder)], check=False, capture_output=True
    )
    if not os.path.ismount(folder):
        pytest.skip("nothing may be mounted here")
    try:
        (folder / "fills.the.disk").write_bytes(b"x" * 4096)
        hook.run(STOP)
        assert [file.name for file in folder.iterdir()] == ["fills.the.disk"]
        assert "OSError" in hook.log
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_journal_that_another_process_holds_doesnt_hold_the_hook(hook: Hook) -> None:
    journal = open_journal(hook.state)
    try:
        journal.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        hook.run(STOP)
        assert time.monotonic() - begun < 10
        assert hook.row["event"] == "Stop"
    finally:
        journal.close()


def test_the_end_of_a_session_is_delivered_by_a_process_that_outlives_the_host(hook: Hook) -> None:
    """The address refuses connections, so what it does is seen in the journal that it makes."""
    settings = {
        "CLAUDE_PLUGIN_OPTION_API_KEY": "keito_sk_made_up",
        "KEITO_API_KEY": "",
        "KEITO_API_URL": "http://127.0.0.1:9",
    }
    begun = time.monotonic()
    hook.run({**STOP, "hook_event_name": "SessionEnd", "reason": "other"}, env=settings)
    assert time.monotonic() - begun < 10
    deadline = time.monotonic() + 30
    while not (hook.state / "journal.sqlite3").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (hook.state / "journal.sqlite3").exists()


def test_a_hook_loads_nothing_heavy() -> None:
    program = (
        "import sys; before = set(sys.modules); sys.argv = ['keito-mcp', 'hook'];"
        "from keito_mcp.cli import main; main();"
        "print(*{'mcp', 'httpx', 'pydantic', 'yaml', 'sqlite3', 'anyio', 'argparse', 'logging', 'pathlib', 'typing',"
        " 'subprocess', 'dataclasses'} & sys.modules.keys() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        input="{}",
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(checkout.__file__).parent.parent), "COVERAGE_PROCESS_START": ""},
    )
    assert done.stdout.strip() == ""


# --- where the configuration is ---


def git(*arguments: str, cwd: Path) -> None:
    who = ("-c", "user.name=someone", "-c", "user.email=someone@example.com")
    subprocess.run(["git", *who, *arguments], cwd=cwd, check=True, capture_output=True)


def test_the_configuration_is_found_upwards_to_the_git_root_and_no_further(tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    inner = outer / "inner"
    (inner / "a" / "b").mkdir(parents=True)
    (outer / ".keito").mkdir()
    (outer / ".keito" / "config.yml").touch()
    assert checkout.find(str(inner / "a" / "b")) is None, "outside of git, its parents may be anybody's"
    assert checkout.find(str(outer)) == str(outer)
    git("init", "-q", cwd=outer)
    assert checkout.find(str(inner / "a" / "b")) == str(outer)
    git("init", "-q", cwd=inner)
    assert checkout.find(str(inner / "a" / "b")) is None
    (inner / ".keito").mkdir()
    (inner / ".keito" / "config.yml").touch()
    assert checkout.find(str(inner / "a" / "b")) == str(inner)


def test_a_linked_worktree_has_its_main_worktrees_configuration_unless_it_has_its_own(tmp_path: Path) -> None:
    main, linked = tmp_path / "main", tmp_path / "linked"
    main.mkdir()
    git("init", "-q", cwd=main)
    git("commit", "-q", "--allow-empty", "-m", "Start", cwd=main)
    git("worktree", "add", "-q", str(linked), cwd=main)
    assert checkout.find(str(linked)) is None
    (main / ".keito").mkdir()
    (main / ".keito" / "config.yml").touch()
    assert checkout.find(str(linked)) == str(main)
    (linked / ".keito").mkdir()
    (linked / ".keito" / "config.yml").touch()
    assert checkout.find(str(linked)) == str(linked)


def test_a_file_that_cant_be_read_lets_no_other_projects_take_its_place(tmp_path: Path) -> None:
    git("init", "-q", cwd=tmp_path)
    for folder in (tmp_path, tmp_path / "inner"):
        (folder / ".keito").mkdir(parents=True)
    (tmp_path / ".keito" / "config.yml").touch()
    (tmp_path / "inner" / ".keito" / "config.yml").symlink_to(tmp_path / "missing")
    assert checkout.find(str(tmp_path / "inner")) == str(tmp_path / "inner")


@pytest.mark.parametrize("git_file", ["", "gitdir:", "gitdir: /nowhere", "something else", "\x00"], ids=repr)
def test_a_git_file_that_says_nothing_usable_is_no_worktree(tmp_path: Path, git_file: str) -> None:
    (tmp_path / ".git").write_text(git_file)
    assert checkout.find(str(tmp_path)) is None
    assert checkout.find(str(tmp_path / "missing")) is None
