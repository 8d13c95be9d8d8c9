"""The `config.toml` that `keito auth login` of Keito's own CLI leaves."""

import errno
import logging
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from keito_mcp.commands.embedded import embedded_runtime
from keito_mcp.settings import keito_cli
from keito_mcp.settings.config import Settings, SettingsError

KEY = "kto_s3cret"
PLACE = "~/.config/keito/config.toml"
FULL = f"""\
api_key = "{KEY}"
account_id = "co_cli"
workspace_id = "co_old"
default_output = "json"
api_url = "https://keito.example.com/api/v2"
"""

needs_modes = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


@pytest.fixture(autouse=True)
def on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "linux")


def on(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr("keito_mcp.settings.keito_cli.sys.platform", platform)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def write(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    file = folder / "keito" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    file.chmod(mode)
    return file


@pytest.fixture
def logged_in(home: Path) -> Path:
    return write(home / ".config", FULL)


# --- where it stands ---


@pytest.mark.parametrize(
    ("platform", "folder"),
    [
        ("linux", ".config"),
        ("freebsd14", ".config"),
        ("darwin", "Library/Application Support"),
        ("darwin", ".config"),
        ("win32", "AppData/Roaming"),
    ],
)
def test_the_file_is_found_below_the_home_where_the_platform_has_it(
    monkeypatch: pytest.MonkeyPatch, home: Path, platform: str, folder: str
) -> None:
    on(monkeypatch, platform)
    file = write(home / folder, FULL)
    found = keito_cli.find()
    assert found is not None
    assert (found.file, found.place) == (file, str(Path("~", folder, "keito", "config.toml")))
    assert found.values == {
        "api_key": KEY,
        "api_url": "https://keito.example.com/api/v2",
        "account_id": "co_cli",
    }


@pytest.mark.parametrize(("platform", "variable"), [("linux", "XDG_CONFIG_HOME"), ("win32", "APPDATA")])
def test_a_variable_that_moves_the_folder_wins_and_is_not_needed(
    monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path, platform: str, variable: str
) -> None:
    on(monkeypatch, platform)
    usual = write(home / ("AppData/Roaming" if platform == "win32" else ".config"), FULL)
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    before = keito_cli.find()
    moved = write(tmp_path / "elsewhere", FULL)
    after = keito_cli.find()
    assert before is not None
    assert before.file == usual
    assert after is not None
    assert (after.file, after.place) == (moved, str(moved))


def test_a_folder_that_is_relative_to_wherever_the_host_is_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(tmp_path / "repository", FULL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", "repository")
    assert keito_cli.find() is None


def test_without_a_home_there_is_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobodys() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("keito_mcp.settings.keito_cli.Path.home", nobodys)
    assert keito_cli.find() is None


@pytest.mark.parametrize(
    "text", ["", 'account_id = "co_1"', 'api_key = ""\napi_url = "nowhere"', "[api_key_of]\nx = 1"]
)
def test_a_file_without_a_key_is_no_login(home: Path, text: str) -> None:
    write(home / ".config", text)
    assert keito_cli.find() is None
    assert Settings.load().account_id is None


def test_a_folder_of_that_name_is_no_login(home: Path) -> None:
    (home / ".config" / "keito" / "config.toml").mkdir(parents=True)
    assert keito_cli.find() is None


# --- what goes with what ---


@pytest.mark.usefixtures("logged_in")
def test_whoever_is_logged_in_needs_nothing_else(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        settings = Settings.load(folder)
        assert settings.api_key == SecretStr(KEY)
        assert (settings.api_url, settings.account_id) == ("https://keito.example.com", "co_cli")
        assert {settings.source(field) for field in ("api_key", "api_url", "account_id")} == {PLACE}
        assert settings.source("timezone") == "default"


@pytest.mark.usefixtures("logged_in")
def test_a_key_of_the_environment_goes_neither_to_the_files_server_nor_to_its_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEITO_API_KEY", "keito_sk_mine")
    settings = Settings.load()
    assert settings.api_key == SecretStr("keito_sk_mine")
    assert (settings.api_url, settings.account_id) == ("https://api.keito.ai", None)
    assert settings.source("api_key") == "environment"
    assert settings.account == Settings(api_key=SecretStr("keito_sk_mine")).account


def test_a_file_that_is_not_needed_can_be_as_broken_as_it_likes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / ".config", "api_key = ")
    monkeypatch.setenv("KEITO_API_KEY", "keito_sk_mine")
    assert Settings.load().source("api_url") == "default"


@pytest.mark.usefixtures("logged_in")
def test_an_address_and_an_account_of_the_environment_go_before_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEITO_API_URL", "http://localhost:8080")
    monkeypatch.setenv("KEITO_ACCOUNT_ID", "co_mine")
    settings = Settings.load()
    assert settings.api_key == SecretStr(KEY)
    assert (settings.api_url, settings.account_id) == ("http://localhost:8080", "co_mine")
    assert (settings.source("api_key"), settings.source("api_url")) == (PLACE, "environment")
    assert settings.source("account_id") == "environment"


@pytest.mark.usefixtures("logged_in")
def test_a_repositorys_account_goes_before_the_files(tmp_path: Path) -> None:
    (tmp_path / ".keito").mkdir()
    (tmp_path / ".keito" / "config.yml").write_text("workspace_id: co_repository\nproject_id: prj_1\n")
    settings = Settings.load(tmp_path)
    assert (settings.account_id, settings.source("account_id")) == ("co_repository", ".keito/config.yml")
    assert (settings.project_id, settings.source("api_url")) == ("prj_1", PLACE)
    assert Settings.load().account_id == "co_cli"


def test_the_older_name_of_the_account_is_understood_and_the_newer_one_wins(home: Path) -> None:
    write(home / ".config", f'api_key = "{KEY}"\nworkspace_id = "co_old"')
    assert Settings.load().account_id == "co_old"
    write(home / ".config", FULL)
    assert Settings.load().account_id == "co_cli"


@pytest.mark.parametrize(("key", "url"), [("kto_1", "https://app.keito.ai"), ("keito_sk_1", "https://api.keito.ai")])
def test_a_file_without_an_address_means_the_one_of_its_keys_version(home: Path, key: str, url: str) -> None:
    write(home / ".config", f'api_key = "{key}"')
    settings = Settings.load()
    assert (settings.api_url, settings.source("api_url")) == (url, "default")


@pytest.mark.usefixtures("logged_in")
def test_the_embedded_keito_is_nobodys_login() -> None:
    settings = embedded_runtime().settings
    assert settings.api_url == "http://embedded.keito"
    assert settings.account_id == "embedded"
    assert settings.api_key != SecretStr(KEY)
    assert PLACE not in {settings.source(field) for field in Settings.model_fields}


def test_a_broken_file_is_nothing_to_the_embedded_keito(home: Path) -> None:
    write(home / ".config", "api_key = ")
    assert embedded_runtime().settings.api_url == "http://embedded.keito"


@pytest.mark.usefixtures("logged_in")
def test_the_key_is_never_shown() -> None:
    login = keito_cli.find()
    loaded = Settings.load()
    assert KEY not in f"{login} {login!r} {loaded} {loaded!r} {loaded.model_dump()} {loaded.model_dump_json()}"


# --- what is wrong with it ---


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"api_key = {KEY}", "it is no TOML (line 1)"),
        (f'\napi_key = "{KEY}\n', "it is no TOML (line 2)"),
        (f'api_key = "{KEY}"\napi_key = "{KEY}"\n', "it is no TOML (line 2)"),
        (f'api_key = "{KEY}', "it is no TOML"),
        (KEY, "it is no TOML"),
        (b"\xff\xfe\x00", "it is no TOML"),
        ("a = " + "[" * 20_000, "it is no TOML"),
        ("api_key = 5", "api_key must be text in quotes"),
        (f'api_key = "{KEY}"\naccount_id = 7', "account_id must be text in quotes"),
        (f'api_key = "{KEY}"\nworkspace_id = ["co_1"]', "workspace_id must be text in quotes"),
        (f'api_key = "{KEY}"\napi_url = true', "api_url must be text in quotes"),
        (f'api_key = "{KEY} {KEY}"', "api_key holds a space"),
        (f'api_key = "{KEY}"\napi_url = "http://keito.example.com"', "api_url must be https"),
        (f'api_key = "{KEY}"\napi_url = "https://{KEY}@keito.example.com"', "api_url must be a plain address"),
        (f'api_key = "{KEY}"\n#' + "x" * 70_000, "it is larger than 64 KiB"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_is_one_sentence_that_names_the_file_and_never_the_key(
    home: Path, text: str | bytes, reason: str
) -> None:
    write(home / ".config", text)
    with pytest.raises(SettingsError) as raised:
        Settings.load()
    said = str(raised.value)
    assert said.startswith(f"{PLACE}: {reason}")
    assert "s3cret" not in said
    assert "\n" not in said
    assert raised.value.__cause__ is None


@pytest.mark.usefixtures("logged_in")
def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("keito_mcp.settings.keito_cli.Path.open", refuse)
    with pytest.raises(SettingsError, match=r"^~/\.config/keito/config\.toml: it can't be read \(Permission denied\)$"):
        Settings.load()


def test_a_mark_before_the_first_line_and_windows_line_breaks_are_no_fault(home: Path) -> None:
    write(home / ".config", b"\xef\xbb\xbf" + FULL.replace("\n", "\r\n").encode())
    assert Settings.load().api_key == SecretStr(KEY)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=100)
    | st.builds("{} = {}".format, st.sampled_from(["api_key", "api_url", "account_id"]), st.text(max_size=20)).map(
        str.encode
    )
)
def test_whatever_the_file_holds_it_is_understood_or_refused_in_one_sentence(home: Path, content: bytes) -> None:
    write(home / ".config", content)
    refused = ""
    try:
        Settings.load()
    except SettingsError as error:
        refused = str(error)
    assert refused == "" or refused.startswith(f"{PLACE}: ")
    assert len(refused.splitlines()) <= 1


# --- who else can read it ---


@needs_modes
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o606])
def test_a_file_that_others_can_read_is_used_with_one_warning(
    home: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    file = write(home / ".config", FULL, mode)
    loaded = [Settings.load(), Settings.load()]
    assert [each.api_key for each in loaded] == [SecretStr(KEY)] * 2
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert PLACE in record.getMessage()
    assert f"chmod 600 '{file}'" in record.getMessage()
    assert KEY not in record.getMessage()
    assert {each.warning for each in loaded} == {record.getMessage()}


@pytest.mark.usefixtures("logged_in")
def test_a_file_of_its_owner_alone_is_used_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert Settings.load().warning is None
    assert caplog.records == []


@needs_modes
def test_a_file_that_is_not_used_is_nothing_to_warn_of(
    home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / ".config", FULL, 0o644)
    monkeypatch.setenv("KEITO_API_KEY", "keito_sk_mine")
    assert Settings.load().warning is None
    assert caplog.records == []
