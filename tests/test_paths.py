import os
import subprocess
import sys
from pathlib import Path

import pytest

from keito_mcp.settings import paths
from keito_mcp.settings.config import Settings, SettingsError


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux", ".local/state/keito-mcp"),
        ("freebsd14", ".local/state/keito-mcp"),
        ("darwin", "Library/Application Support/keito-mcp"),
        ("win32", "AppData/Local/keito-mcp"),
    ],
)
def test_state_lives_in_the_platforms_folder_below_the_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("keito_mcp.settings.paths.sys.platform", platform)
        assert paths.state_dir({}) == tmp_path / expected


def test_variables_that_some_hosts_drop_decide_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "LOCALAPPDATA", "APPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.delenv("KEITO_STATE_DIR")
    assert tmp_path / "elsewhere" not in paths.state_dir().parents


def test_a_chosen_folder_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert paths.state_dir({"KEITO_STATE_DIR": str(tmp_path)}) == tmp_path
    assert paths.state_dir({"KEITO_STATE_DIR": f"  {tmp_path}\n"}) == tmp_path
    monkeypatch.setenv("KEITO_STATE_DIR", str(tmp_path / "chosen"))
    assert paths.state_dir() == tmp_path / "chosen"


def test_a_tilde_is_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert paths.state_dir({"KEITO_STATE_DIR": "~/state"}) == tmp_path / "state"


@pytest.mark.parametrize("chosen", ["state", "./state", "${HOME}/state", "{env:HOME}/state"])
def test_a_folder_that_would_lie_in_each_project_is_refused(chosen: str) -> None:
    with pytest.raises(RuntimeError, match="KEITO_STATE_DIR must be an absolute path"):
        paths.state_dir({"KEITO_STATE_DIR": chosen})


@pytest.mark.parametrize("nothing", ["", "  ", "\n"])
def test_a_variable_of_nothing_chooses_nothing(nothing: str) -> None:
    assert paths.state_dir({"KEITO_STATE_DIR": nothing}) == paths.state_dir({})


@pytest.mark.parametrize("chosen", ["/somewhere/state", " /somewhere/state ", "/somewhere/state\n", "~/state", " "])
def test_the_server_and_the_hooks_find_the_same_folder(monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    monkeypatch.setenv("KEITO_STATE_DIR", chosen)
    assert Settings.load().folder == paths.state_dir()


def test_the_files_of_a_folder_have_names_of_their_own(tmp_path: Path) -> None:
    files = {paths.journal_file(tmp_path), paths.sandbox_file(tmp_path)}
    assert len(files) == 2
    assert {file.parent for file in files} == {tmp_path}


def test_asking_for_the_folder_loads_the_standard_library_only() -> None:
    # What is loaded before may belong to a tool that watches the tests.
    program = (
        "import sys; before = set(sys.modules); import keito_mcp.settings.paths; keito_mcp.settings.paths.state_dir();"
        "print(*{'mcp', 'httpx', 'pydantic', 'yaml', 'sqlite3', 'platformdirs', 'anyio'} & sys.modules.keys() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def test_without_a_home_the_settings_name_the_variable_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEITO_STATE_DIR")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(SettingsError, match="KEITO_STATE_DIR"):
        _ = Settings().folder
