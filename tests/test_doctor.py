import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from keito_mcp import cli
from keito_mcp.commands.doctor import examine
from keito_mcp.journal.file import open_journal
from keito_mcp.runtime import Runtime
from keito_mcp.settings.config import Settings
from keito_mcp.settings.paths import journal_file
from keito_mcp.version import __version__
from tests.identity.calls import SESSION, ClaudeFiles
from tests.kit import KEY, PROJECT, QUICK, Keito
from tests.processes import environment, refusing_port, run

pytestmark = pytest.mark.anyio


class Doctor:
    """The command `keito-mcp doctor`, run in a thread of this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def set(self, keito: Keito | None = None, **settings: str) -> None:
        usual = {"KEITO_API_KEY": KEY, "KEITO_API_URL": keito.url} if keito else {}
        for name, value in {**usual, **settings}.items():
            self._monkeypatch.setenv(name, value)

    async def says(self, *arguments: str) -> tuple[int, str]:
        """Its exit code, and what it prints; nothing of it on stderr."""
        self._capsys.readouterr()
        code = await anyio.to_thread.run_sync(cli.main, ["doctor", *arguments])
        streams = self._capsys.readouterr()
        assert streams.err == ""
        return code, streams.out

    async def reports(self) -> tuple[int, dict[str, Any]]:
        code, printed = await self.says("--json")
        return code, json.loads(printed)


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Doctor:
    monkeypatch.chdir(tmp_path)
    return Doctor(monkeypatch, capsys)


async def test_it_finds_all_well_and_reads_one_entry_of_keito(doctor: Doctor, keito: Keito) -> None:
    doctor.set(keito)
    code, printed = await doctor.says()
    assert code == 0
    assert f"keito-mcp {__version__}" in printed
    assert f"answers at {keito.url}" in printed
    [request] = keito.requests
    assert (request.method, request.path, request.query) == ("GET", "/v1/time-entries", "limit=1")


async def test_json_says_the_same_for_programs(doctor: Doctor, keito: Keito) -> None:
    doctor.set(keito)
    code, report = await doctor.reports()
    assert code == 0
    assert report["healthy"] is True
    assert report["version"] == __version__
    assert report["keito"].startswith(f"answers at {keito.url}")
    assert keito.methods == ["GET"]


async def test_each_setting_is_shown_with_its_source(doctor: Doctor, keito: Keito, tmp_path: Path) -> None:
    doctor.set(keito, KEITO_PROJECT_ID=PROJECT, KEITO_TIMEZONE="Europe/Berlin")
    _, report = await doctor.reports()
    shown = {name: (fact["value"], fact["source"]) for name, fact in report["settings"].items()}
    given = {
        "KEITO_API_KEY": ("set, not shown", "environment"),
        "KEITO_API_URL": (keito.url, "environment"),
        "KEITO_PROJECT_ID": (PROJECT, "environment"),
        "KEITO_TIMEZONE": ("Europe/Berlin", "environment"),
        "KEITO_STATE_DIR": (str(tmp_path / "state"), "environment"),
    }
    assert {name: shown[name] for name in given} == given
    assert {source for name, (_, source) in shown.items() if name not in given} == {"default"}
    assert str(tmp_path / "state") in report["journal"]


async def test_the_operators_identity_is_shown_with_the_variable_it_comes_from(doctor: Doctor, keito: Keito) -> None:
    doctor.set(keito, KEITO_AGENT_ID="review-bot-01", KEITO_MODEL="claude-opus-4-6")
    _, report = await doctor.reports()
    shown = {name: (fact["value"], fact["source"]) for name, fact in report["identity"].items()}
    assert shown == {
        "agent_id": ("review-bot-01", "KEITO_AGENT_ID"),
        "agent_type": (None, "not known"),
        "model": ("claude-opus-4-6", "KEITO_MODEL"),
        "session_id": (report["identity"]["session_id"]["value"], "made for this server process"),
    }


async def test_the_host_it_runs_under_is_seen_with_what_that_tells_and_what_would_have_to_be_set(
    doctor: Doctor, keito: Keito, tmp_path: Path
) -> None:
    ClaudeFiles(tmp_path / "home").register(os.getppid())
    doctor.set(keito, CLAUDECODE="1", CLAUDE_CODE_SESSION_ID="stale")
    _, report = await doctor.reports()
    shown = report["identity"]
    assert shown["agent_type"] == {"value": "claude-code", "source": "CLAUDECODE", "certain": True}
    registry = "Claude Code's registry of running sessions"
    assert shown["session_id"] == {"value": SESSION, "source": registry, "certain": True}
    assert shown["model"]["value"] is None
    assert "transcript" in shown["model"]["to_set"]
    assert "KEITO_MODEL" in shown["model"]["to_set"]
    _, printed = await doctor.says()
    assert shown["model"]["to_set"] in printed


async def test_a_session_that_may_be_an_earlier_one_is_marked_so(doctor: Doctor, keito: Keito) -> None:
    doctor.set(keito, CLAUDECODE="1", CLAUDE_CODE_SESSION_ID="stale")
    _, report = await doctor.reports()
    shown = report["identity"]["session_id"]
    assert (shown["value"], shown["source"], shown["certain"]) == ("stale", "CLAUDE_CODE_SESSION_ID", False)
    assert "KEITO_SESSION_ID" in shown["to_set"]


async def test_without_a_host_it_names_the_variables_to_set(doctor: Doctor, keito: Keito) -> None:
    doctor.set(keito)
    _, report = await doctor.reports()
    for field in ("agent_type", "session_id", "model"):
        assert f"KEITO_{field.upper()}" in report["identity"][field]["to_set"]
    _, printed = await doctor.says()
    assert "Set KEITO_MODEL" in printed


async def test_text_shows_every_value_and_source_that_json_has(doctor: Doctor, keito: Keito, tmp_path: Path) -> None:
    repository = tmp_path / "invoices"
    repository.mkdir()
    await anyio.run_process(["git", "init", "--quiet", "--initial-branch", "main", str(repository)])
    doctor.set(keito, KEITO_SESSION_ID="session-1", CLAUDE_PROJECT_DIR=str(repository))
    _, report = await doctor.reports()
    _, printed = await doctor.says()
    lines = [line.split() for line in printed.splitlines()]
    for facts in (report["settings"], report["identity"]):
        for name, fact in facts.items():
            value = "-" if fact["value"] is None else fact["value"]
            assert [name, *value.split(), *fact["source"].split()] in lines
    assert report["repository"] == {"repository": "invoices", "git_branch": "main"}
    assert ["repository", "invoices", "git"] in lines
    assert ["git_branch", "main", "git"] in lines


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["text", "json"])
async def test_the_key_is_never_shown(doctor: Doctor, keito: Keito, arguments: list[str]) -> None:
    wrong = "keito_sk_that_keito_refuses"
    for key, healthy in ((KEY, True), (wrong, False), (f"{wrong} pasted twice", False)):
        doctor.set(keito, KEITO_API_KEY=key)
        code, printed = await doctor.says(*arguments)
        assert code == (0 if healthy else 1)
        assert key not in printed
        assert key.removeprefix("keito_sk_") not in printed


async def test_the_file_of_the_keito_cli_is_named_where_a_value_comes_from_it(
    doctor: Doctor, keito: Keito, tmp_path: Path
) -> None:
    login = tmp_path / "home" / ".config" / "keito" / "config.toml"
    login.parent.mkdir(parents=True)
    login.write_text(f'api_key = "{KEY}"\napi_url = "{keito.url}/v1"\naccount_id = "co_cli"\n')
    login.chmod(0o600)
    code, report = await doctor.reports()
    assert code == 0
    shown = {name: (fact["value"], fact["source"]) for name, fact in report["settings"].items()}
    place = "~/.config/keito/config.toml"
    assert shown["KEITO_API_KEY"] == ("set, not shown", place)
    assert shown["KEITO_API_URL"] == (keito.url, place)
    assert shown["KEITO_ACCOUNT_ID"] == ("co_cli", place)
    assert report["warnings"] == []
    _, printed = await doctor.says("--sandbox")
    assert place not in printed


async def test_a_login_that_others_can_read_is_said_and_is_no_illness(
    keito: Keito, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    login = tmp_path / "home" / ".config" / "keito" / "config.toml"
    login.parent.mkdir(parents=True)
    login.write_text(f'api_key = "{KEY}"\napi_url = "{keito.url}"\n')
    login.chmod(0o644)
    assert await anyio.to_thread.run_sync(cli.main, ["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "Warning: Other users of this machine can read the key in ~/.config/keito/config.toml" in printed
    assert f"run: chmod 600 '{login}'" in printed
    assert KEY not in printed


async def test_the_version_of_the_api_is_said_with_its_reason(doctor: Doctor, keito: Keito) -> None:
    doctor.set(keito)
    _, printed = await doctor.says()
    assert "API  v1, because the key starts with keito_sk_" in printed
    doctor.set(KEITO_API_VERSION="2")
    _, report = await doctor.reports()
    assert report["api"] == {"version": "v2", "because": "KEITO_API_VERSION says so"}


async def test_without_a_key_it_names_the_setting_and_fails(doctor: Doctor) -> None:
    code, report = await doctor.reports()
    assert code == 1
    assert report["healthy"] is False
    assert report["settings"]["KEITO_API_KEY"] == {"value": None, "source": "default"}
    assert report["keito"].startswith("KEITO_API_KEY is not set")


async def test_a_key_that_keito_refuses_fails_with_what_to_do(doctor: Doctor, keito: Keito) -> None:
    doctor.set(keito, KEITO_API_KEY="keito_sk_nobodys")
    code, report = await doctor.reports()
    assert code == 1
    assert "KEITO_API_KEY" in report["keito"]
    assert "401" in report["keito"]


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["text", "json"])
async def test_a_setting_that_cant_be_used_is_named_and_fails(
    doctor: Doctor, keito: Keito, arguments: list[str]
) -> None:
    doctor.set(keito, KEITO_LOG_LEVEL="LOUD")
    code, printed = await doctor.says(*arguments)
    assert code == 1
    assert "KEITO_LOG_LEVEL" in printed
    assert keito.requests == []


async def test_a_state_folder_that_cant_be_written_is_named_and_fails(
    doctor: Doctor, keito: Keito, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "state"
    doctor.set(keito, KEITO_STATE_DIR=str(folder))
    code, report = await doctor.reports()
    assert code == 1
    assert str(folder) in report["journal"]
    assert "KEITO_STATE_DIR" in report["journal"]
    assert report["keito"].startswith("answers at")


async def test_the_journal_is_checked_and_well(doctor: Doctor, keito: Keito, tmp_path: Path) -> None:
    doctor.set(keito)
    _, report = await doctor.reports()
    assert report["journal"] == f"works, in {tmp_path / 'state'} (integrity_check: ok)"


@pytest.mark.parametrize("where", ["the first page", "a later page"])
async def test_a_damaged_journal_is_said_and_left_where_it_is(
    doctor: Doctor, keito: Keito, tmp_path: Path, where: str
) -> None:
    folder = tmp_path / "state"
    open_journal(folder).close()
    content = bytearray(journal_file(folder).read_bytes())
    page = 0 if where == "the first page" else 4096 * 4
    content[page : page + 4096] = b"\xff" * 4096
    journal_file(folder).write_bytes(content)
    doctor.set(keito)
    code, report = await doctor.reports()
    assert code == 1
    assert report["healthy"] is False
    assert f"{journal_file(folder)} is damaged (integrity_check: " in report["journal"]
    assert report["keito"].startswith("answers at")
    assert journal_file(folder).read_bytes() == content
    assert list(folder.glob("*corrupt*")) == []


async def test_a_journal_of_a_newer_program_is_said_and_isnt_healthy(
    doctor: Doctor, keito: Keito, tmp_path: Path
) -> None:
    with closing(open_journal(tmp_path / "state")) as connection:
        connection.execute("PRAGMA user_version = 1000")
    doctor.set(keito)
    code, report = await doctor.reports()
    assert code == 1
    assert "newer keito-mcp" in report["journal"]


async def test_a_state_folder_that_the_embedded_keito_cant_write_is_named_and_fails(
    doctor: Doctor, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    doctor.set(KEITO_STATE_DIR=str(tmp_path / "file" / "state"))
    code, printed = await doctor.says("--sandbox")
    assert code == 1
    assert "KEITO_STATE_DIR" in printed


async def test_a_keito_that_cant_be_reached_is_said_and_isnt_healthy(tmp_path: Path) -> None:
    with refusing_port() as port:
        settings = Settings(api_key=KEY, api_url=f"http://127.0.0.1:{port}", state_dir=tmp_path / "state")
        report = await examine(Runtime(load=lambda _: settings, timeouts=QUICK))
    assert not report.healthy
    assert "can't be reached" in report.keito
    assert report.journal.startswith("works")


async def test_the_command_gives_up_on_a_keito_that_refuses_connections_before_a_person_would() -> None:
    with refusing_port() as port:
        settings = environment(KEITO_API_KEY=KEY, KEITO_API_URL=f"http://127.0.0.1:{port}")
        result = await run("doctor", env=settings, within=8)
    assert result.returncode == 1
    assert "can't be reached" in result.stdout


async def test_the_embedded_keito_is_healthy_and_no_value_is_said_to_come_from_where_it_doesnt() -> None:
    async def text() -> None:
        result = await run("doctor", "--sandbox")
        assert (result.returncode, result.stderr) == (0, "")
        assert "answers at" in result.stdout

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(text)
        result = await run("--sandbox", "doctor", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert report["healthy"] is True
    given = {name for name, fact in report["settings"].items() if fact["source"] == "environment"}
    assert given == {"KEITO_STATE_DIR", "KEITO_TIMEZONE"}
