from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from keito_mcp.settings import paths
from keito_mcp.settings.config import Settings, SettingsError, variable

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""

KEY = "keito_sk_s3cret"
Load = Callable[..., Settings]

USUAL = {"api_url": "https://api.keito.ai", "autolog": False, "log_level": "WARNING"}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """The settings that these variables give, each named without its KEITO_."""

    def load(**variables: str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(f"KEITO_{name.upper()}", value)
        return Settings.load()

    return load


def complaint(load: Load, **variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(**variables)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_each_setting_is_read_from_its_variable(load: Load, tmp_path: Path) -> None:
    variables = {
        "api_url": "https://keito.example.com",
        "account_id": "acc-1",
        "api_version": "v2",
        "project_id": "prj_abc",
        "task_id": "tsk_1",
        "agent_id": "tester",
        "agent_type": "bot",
        "session_id": "s-1",
        "model": "opus",
        "timezone": "Europe/Berlin",
        "log_level": "DEBUG",
    }
    settings = load(api_key=KEY, state_dir=str(tmp_path), **variables)
    assert settings.model_dump(exclude={"api_key", "mcp_tokens", "state_dir"}) == {**variables, "autolog": False}
    assert settings.api_key == SecretStr(KEY)
    assert settings.folder == tmp_path


def test_without_any_variable_there_are_defaults_and_no_key(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEITO_STATE_DIR")
    settings = load()
    given = settings.model_dump(exclude_none=True)
    assert given == USUAL
    assert settings.folder == paths.state_dir({})
    assert settings.zone is None


def test_an_empty_variable_counts_as_unset(load: Load) -> None:
    empty = load(**dict.fromkeys(Settings.model_fields, ""))
    assert empty.model_dump(exclude_none=True) == USUAL


def test_a_variable_that_nobody_knows_is_left_alone(load: Load) -> None:
    load(something="else", mcp_tokens="t")


def test_names_of_variables_follow_from_their_fields() -> None:
    assert variable("api_key") == "KEITO_API_KEY"


# --- the key ---


@pytest.mark.parametrize("key", [KEY, f"{KEY}\n", f"  {KEY}\r\n", f"\t{KEY}"])
def test_space_and_line_breaks_around_the_key_are_not_part_of_it(load: Load, key: str) -> None:
    assert load(api_key=key).api_key == SecretStr(KEY)


@pytest.mark.parametrize(
    "key", ["keito_sk_\ns3cret", "keito_sk s3cret", "keito_sk_s3cret\u200b", "keito_sk_s3crét", "keito\tsk"]
)
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(load: Load, key: str) -> None:
    text = complaint(load, api_key=key)
    assert text.startswith("KEITO_API_KEY ")
    assert "keito" not in text
    assert "cr" not in text


def test_the_key_is_never_shown(load: Load) -> None:
    settings = load(api_key=KEY)
    assert KEY not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()} {settings.account}"


def test_the_key_is_not_shown_when_another_setting_is_wrong(load: Load) -> None:
    text = complaint(load, api_key=KEY, timezone="Mars/Olympus", api_url=f"http://user:{KEY}@keito.example.com")
    assert KEY not in text
    assert "KEITO_TIMEZONE" in text
    assert "KEITO_API_URL" in text


# --- Keito's address ---


@pytest.mark.parametrize(
    ("given_url", "url"),
    [
        ("https://api.keito.ai", "https://api.keito.ai"),
        ("https://api.keito.ai/", "https://api.keito.ai"),
        ("https://api.keito.ai/v1", "https://api.keito.ai"),
        ("https://api.keito.ai/v1/", "https://api.keito.ai"),
        (" https://api.keito.ai \n", "https://api.keito.ai"),
        ("https://example.com/keito/v1", "https://example.com/keito"),
        ("https://app.keito.ai/api/v2", "https://app.keito.ai"),
        ("https://app.keito.ai/api/v2/", "https://app.keito.ai"),
        ("https://app.keito.ai/v2", "https://app.keito.ai"),
        ("https://example.com/api", "https://example.com/api"),
        ("https://example.com/v3", "https://example.com/v3"),
        ("https://example.com:8443/keito", "https://example.com:8443/keito"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080"),
        ("http://127.8.9.10", "http://127.8.9.10"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://192.168.1.5", "https://192.168.1.5"),
    ],
)
def test_keitos_address_is_taken_without_its_version(load: Load, given_url: str, url: str) -> None:
    assert load(api_url=given_url).api_url == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://api.keito.ai", "must be https"),
        ("http://192.168.1.5", "must be https"),
        ("http://0.0.0.0:8080", "must be https"),
        ("http://localhost.example.com", "must be https"),
        ("http://127.0.0.1.example.com", "must be https"),
        ("http://[fe80::1]", "must be https"),
        ("api.keito.ai", "must be an address such as https://api.keito.ai"),
        ("ftp://api.keito.ai", "must be an address"),
        ("https://", "must be an address"),
        ("https:///v1", "must be an address"),
        ("https://:443", "must be an address"),
        ("file:///etc/passwd", "must be an address"),
        ("https://user:s3cret@api.keito.ai", "must be a plain address"),
        ("https://user@api.keito.ai", "must be a plain address"),
        ("https://api.keito.ai?key=s3cret", "must be a plain address"),
        ("https://api.keito.ai/#s3cret", "must be a plain address"),
        ("https://[broken", "invalid IPv6"),
        ("https://api.keito.ai:port", "KEITO_API_URL"),
        ("https://api.keito.ai:99999", "KEITO_API_URL"),
    ],
)
def test_an_address_that_would_not_keep_the_key_safe_or_leads_nowhere_is_refused(
    load: Load, url: str, reason: str
) -> None:
    text = complaint(load, api_url=url)
    assert text.startswith("KEITO_API_URL ")
    assert reason in text
    assert "s3cret" not in text


# --- the version of its API ---


@pytest.mark.parametrize(
    ("variables", "version", "url", "because"),
    [
        ({"api_key": "kto_1"}, "v2", "https://app.keito.ai", "the key starts with kto_"),
        ({"api_key": " kto_1\n"}, "v2", "https://app.keito.ai", "the key starts with kto_"),
        ({"api_key": "keito_sk_1"}, "v1", "https://api.keito.ai", "the key starts with keito_sk_"),
        ({"api_key": "KTO_1"}, "v1", "https://api.keito.ai", "the key starts with none of kto_, keito_sk_"),
        ({}, "v1", "https://api.keito.ai", "there is no key to tell it by"),
        ({"api_version": "v2"}, "v2", "https://app.keito.ai", "KEITO_API_VERSION says so"),
        ({"api_version": " 2 ", "api_key": "keito_sk_1"}, "v2", "https://app.keito.ai", "KEITO_API_VERSION says so"),
        ({"api_version": "1", "api_key": "kto_1"}, "v1", "https://api.keito.ai", "KEITO_API_VERSION says so"),
        ({"api_version": "", "api_key": "kto_1"}, "v2", "https://app.keito.ai", "the key starts with kto_"),
        (
            {"api_key": "kto_1", "api_url": "https://keito.example.com/api/v2"},
            "v2",
            "https://keito.example.com",
            "the key starts with kto_",
        ),
    ],
)
def test_the_version_is_the_keys_unless_set_and_has_an_address_of_its_own(
    load: Load, variables: dict[str, str], version: str, url: str, because: str
) -> None:
    settings = load(**variables)
    assert (settings.version, settings.api_url, settings.version_because) == (version, url, because)
    assert settings.source("api_url") == ("environment" if "api_url" in variables else "default")


# --- the other settings ---


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("timezone", "Mars/Olympus", "is not a time zone; write it like Europe/Berlin"),
        ("timezone", "Europe", "is not a time zone"),
        ("timezone", "../../etc/passwd", "is not a time zone"),
        ("timezone", "UTC+1", "is not a time zone"),
        ("agent_id", "a" * 201, "must be printable text of at most 200 characters"),
        ("agent_id", "a\nb", "must be printable text"),
        ("agent_type", "\x1b[31m", "must be printable text"),
        ("session_id", "a\u202eb", "must be printable text"),
        ("model", "m" * 500, "must be printable text"),
        ("api_version", "3", "'v1' or 'v2'"),
        ("api_version", "v1.0", "'v1' or 'v2'"),
        ("api_version", "${VERSION}", "the host found no such variable"),
        ("log_level", "LOUD", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("project_id", "${KEITO_PROJECT}", "the host found no such variable"),
        ("api_key", "${KEITO_API_KEY}", "the host found no such variable"),
        ("api_url", "${KEITO_API_URL}", "the host found no such variable"),
        ("timezone", "${TZ}", "the host found no such variable"),
        ("state_dir", "${STATE}", "the host found no such variable"),
        ("state_dir", "state", "must be an absolute path"),
        ("state_dir", "./state", "must be an absolute path"),
        ("state_dir", "${HOME}/state", "must be an absolute path"),
        ("state_dir", "{env:HOME}/state", "must be an absolute path"),
        ("state_dir", "~nobody-has-this-name/state", "KEITO_STATE_DIR"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_the_reason(load: Load, name: str, value: str, reason: str) -> None:
    text = complaint(load, **{name: value})
    assert text.startswith(f"{variable(name)} ")
    assert reason in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["account_id", "project_id", "task_id", "agent_id", "session_id", "timezone", "api_url"]
)
def test_a_setting_of_spaces_is_named(load: Load, name: str) -> None:
    assert complaint(load, **{name: "  "}).startswith(f"{variable(name)} ")


def test_all_settings_that_cannot_be_used_are_named_at_once(load: Load) -> None:
    text = complaint(load, api_url="nowhere", timezone="Mars/Olympus", log_level="LOUD")
    assert [name for name in ("API_URL", "TIMEZONE", "LOG_LEVEL") if f"KEITO_{name} " in text] == [
        "API_URL",
        "TIMEZONE",
        "LOG_LEVEL",
    ]
    assert text.count("; ") >= 2


def test_space_around_a_setting_is_not_part_of_it(load: Load) -> None:
    settings = load(project_id=" prj_abc\n", agent_id=" tester ", timezone=" UTC ")
    assert (settings.project_id, settings.agent_id, settings.timezone) == ("prj_abc", "tester", "UTC")


def test_the_home_is_found_in_the_state_folder(load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load(state_dir="~/state").folder == tmp_path / "state"


@UNHURRIED
@given(
    value=st.text(st.characters(codec="ascii", exclude_characters="\x00"), max_size=300),
    name=st.sampled_from(["agent_id", "api_key", "api_url", "timezone", "project_id", "log_level"]),
)
def test_whatever_a_setting_holds_it_is_used_or_named(value: str, name: str) -> None:
    named = f"{variable(name)} is used"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable(name), value)
        try:
            Settings.load()
        except SettingsError as error:
            named = str(error)
    assert named.startswith(f"{variable(name)} ")


# --- whose entries these are ---


def account(key: str | None = KEY, url: str = "https://api.keito.ai", account_id: str | None = None) -> str:
    return Settings(api_key=SecretStr(key) if key else None, api_url=url, account_id=account_id).account


def test_a_rotated_key_keeps_its_account_where_keito_names_it() -> None:
    assert account("keito_sk_old", account_id="acc-1") == account("keito_sk_new", account_id="acc-1")
    assert account("keito_sk_old", account_id="acc-1") == account(None, account_id="acc-1")


def test_without_an_account_id_the_key_is_the_account() -> None:
    assert account("keito_sk_old") == account("keito_sk_old")
    assert account("keito_sk_old") != account("keito_sk_new")
    assert account(None) != account("keito_sk_old")


def test_another_server_is_another_account() -> None:
    assert account(url="https://test.keito.ai") != account(url="https://api.keito.ai")
    assert account(url="https://test.keito.ai", account_id="acc-1") != account(account_id="acc-1")
    assert account(url="https://api.keito.ai/v1/") == account(url="https://api.keito.ai")


def test_whose_entries_they_are_does_not_change_with_the_program() -> None:
    # What waits in journals was kept under these.
    assert account("keito_sk_old") == "7a3dd0735f122e458cd6455e"
    assert account("keito_sk_old", account_id="acc-1") == "8263a13c3528bcb5b1e59448"


def test_an_account_id_is_not_mistaken_for_a_key() -> None:
    assert account("the-same") != account(None, account_id="the-same")
    assert account("x", account_id="acc-1") != account("x", account_id="acc-2")


# --- the user's day ---


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("UTC", datetime(2026, 3, 6, 23, 59, tzinfo=UTC), date(2026, 3, 6)),
        ("Pacific/Kiritimati", datetime(2026, 3, 6, 9, 59, tzinfo=UTC), date(2026, 3, 6)),
        ("Pacific/Kiritimati", datetime(2026, 3, 6, 10, 0, tzinfo=UTC), date(2026, 3, 7)),
        ("America/Los_Angeles", datetime(2026, 3, 6, 7, 59, tzinfo=UTC), date(2026, 3, 5)),
        ("America/Los_Angeles", datetime(2026, 3, 6, 8, 0, tzinfo=UTC), date(2026, 3, 6)),
        # Summer time: midnight is an hour earlier.
        ("America/Los_Angeles", datetime(2026, 7, 6, 7, 0, tzinfo=UTC), date(2026, 7, 6)),
        ("Europe/Berlin", datetime(2026, 3, 6, 15, 0, tzinfo=ZoneInfo("America/Los_Angeles")), date(2026, 3, 7)),
    ],
)
def test_a_day_is_the_users_own(zone: str, moment: datetime, day: date) -> None:
    assert Settings(timezone=zone).day(moment) == day


def test_without_a_zone_a_day_is_the_machines() -> None:
    moment = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
    assert Settings().day(moment) == moment.astimezone().date()
