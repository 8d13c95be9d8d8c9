"""Who is let in over HTTP, and what of that is decided before a server listens."""

from hashlib import sha256
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.datastructures import Headers

from keito_mcp.settings.config import Settings, SettingsError
from keito_mcp.settings.principal import Principal
from keito_mcp.transports.access import Access, Auth, Denied, Refused, user
from keito_mcp.transports.tokens import Tokens

ONE, ANOTHER = "made-up-token-of-one", "made-up-token-of-another"


def hashed(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def bearer(token: str) -> Headers:
    return Headers({"Authorization": f"Bearer {token}"})


def test_a_token_from_the_environment_is_known_by_a_piece_of_its_hash() -> None:
    tokens = Tokens.read(f" {ONE} , {ANOTHER},")
    assert tokens.name_of(ONE) == hashed(ONE)[:8]
    assert tokens.name_of(ANOTHER) == hashed(ANOTHER)[:8]
    assert tokens.names == {hashed(ONE)[:8], hashed(ANOTHER)[:8]}


def test_a_hash_with_a_name_serves_in_the_environment_too() -> None:
    tokens = Tokens.read(f"ci:{hashed(ONE)},{ANOTHER}")
    assert tokens.name_of(ONE) == "ci"


def test_a_file_gives_each_token_a_name_and_a_name_several_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# the build servers\nci:{hashed(ONE)}\n\nci:{hashed(ANOTHER).upper()}\n")
    tokens = Tokens.read(str(file))
    assert (tokens.name_of(ONE), tokens.name_of(ANOTHER)) == ("ci", "ci")
    assert tokens.name_of("ci") is None
    assert tokens.name_of(hashed(ONE)) is None
    assert tokens.file == file


def test_a_file_that_is_read_again_forgets_who_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"one:{hashed(ONE)}\n")
    tokens = Tokens.read(str(file))
    file.write_text(f"another:{hashed(ANOTHER)}\n")
    assert tokens.name_of(ONE) == "one"
    tokens.read_again()
    assert (tokens.name_of(ONE), tokens.name_of(ANOTHER)) == (None, "another")


def test_a_file_that_can_not_be_used_any_more_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"one:{hashed(ONE)}\n")
    tokens = Tokens.read(str(file))
    for content in ("nonsense", "", f"one:{hashed(ONE)}\ntwo:{hashed(ONE)}\n"):
        file.write_text(content)
        with pytest.raises(SettingsError):
            tokens.read_again()
    file.unlink()
    with pytest.raises(SettingsError, match="can't be read"):
        tokens.read_again()
    assert tokens.name_of(ONE) == "one"


UNUSABLE = {
    "nothing": ",",
    "too short": "secret",
    "a space": "made up token of one",
    "not ASCII": "made-up-tökén-of-one",
    "a file that isn't there": "/nowhere/tokens",
    "a file by a relative path": "etc/keito/tokens-of-the-team",
    "a file by its address": "file:///etc/keito/tokens",
    "a variable that nobody expanded": "${KEITO_MCP_TOKENS}",
    "a path with a variable": "$HOME/keito-tokens",
    "a hash that lacks a digit": f"alice:{'0' * 63}",
    "the same token twice": f"one:{hashed(ONE)},two:{hashed(ONE)}",
}


@pytest.mark.parametrize("setting", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_tokens_that_can_not_be_used_are_refused_without_repeating_them(setting: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Tokens.read(setting)
    assert "KEITO_MCP_TOKENS" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "made" not in str(refused.value)


def test_a_line_that_can_not_be_used_is_named_by_its_number_alone(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"one:{hashed(ONE)}\nci {ANOTHER}\n")
    with pytest.raises(SettingsError, match="line 2") as refused:
        Tokens.read(str(file))
    assert ANOTHER not in str(refused.value)


REACHABLE = ["0.0.0.0", "::", "192.0.2.1", "example.com", "127.0.0.1.example.com", ""]  # noqa: S104 -- refused


@pytest.mark.parametrize("host", REACHABLE)
def test_an_address_that_others_can_reach_needs_callers_that_are_told_apart(host: str) -> None:
    for auth in (None, Auth.NONE):
        with pytest.raises(Refused) as refused:
            Access.of(auth, host, None)
        assert "--auth token" in str(refused.value)
    assert Access.of(Auth.KEY, host, None).auth is Auth.KEY
    assert Access.of(Auth.TOKEN, host, ONE).auth is Auth.TOKEN


def test_tokens_are_asked_for_as_soon_as_there_are_any_and_never_left_out() -> None:
    assert Access.of(None, "127.0.0.1", ONE).auth is Auth.TOKEN
    assert Access.of(None, "127.0.0.1", None).auth is Auth.NONE
    assert Access.of(Auth.NONE, "127.0.0.1", ONE).auth is Auth.NONE
    with pytest.raises(Refused, match="KEITO_MCP_TOKENS"):
        Access.of(Auth.TOKEN, "127.0.0.1", None)


def test_a_token_stands_for_its_name_and_brings_no_key() -> None:
    principal = Access.of(Auth.TOKEN, "127.0.0.1", f"ci:{hashed(ONE)}").principal(bearer(ONE))
    assert principal is not None
    assert (principal.name, principal.api_key) == ("ci", None)


def test_a_key_stands_for_itself_and_its_account_and_no_representation_shows_it() -> None:
    access = Access(Auth.KEY)
    one, same = access.principal(bearer("keito_sk_one")), access.principal(bearer("keito_sk_one"))
    another = access.principal(bearer("keito_sk_another"))
    elsewhere = access.principal(Headers({"Authorization": "bearer  keito_sk_one", "Keito-Account-Id": "co_1"}))
    assert one is not None
    assert elsewhere is not None
    assert one == same
    assert another is not None
    assert one.name == elsewhere.name != another.name
    assert (one.account_id, elsewhere.account_id) == (None, "co_1")
    assert user(one).username != user(elsewhere).username
    assert one.api_key is not None
    assert one.api_key.get_secret_value() == "keito_sk_one"
    assert "keito_sk_one" not in f"{one!r}{one.name}{access!r}"


DENIED: dict[str, tuple[list[tuple[bytes, bytes]], str | None]] = {
    "nothing": ([], None),
    "a wrong token": ([(b"authorization", b"Bearer made-up-token-of-nobody")], "invalid_token"),
    "the token as a user's password": ([(b"authorization", b"Basic " + ONE.encode())], "invalid_request"),
    "the token without a scheme": ([(b"authorization", ONE.encode())], "invalid_request"),
    "no token": ([(b"authorization", b"Bearer ")], "invalid_request"),
    "two tokens": ([(b"authorization", b"Bearer " + t.encode()) for t in (ONE, ANOTHER)], "invalid_request"),
    "two tokens in one": ([(b"authorization", f"Bearer {ONE} {ANOTHER}".encode())], "invalid_request"),
    "an endless token": ([(b"authorization", b"Bearer " + b"x" * 600)], "invalid_request"),
    "its hash": ([(b"authorization", b"Bearer " + hashed(ONE).encode())], "invalid_token"),
}


@pytest.mark.parametrize(("headers", "error"), DENIED.values(), ids=DENIED.keys())
def test_nobody_else_is_let_in_and_the_challenge_says_no_more_than_it_must(
    headers: list[tuple[bytes, bytes]], error: str | None
) -> None:
    access = Access.of(Auth.TOKEN, "127.0.0.1", ONE)
    with pytest.raises(Denied) as denied:
        access.principal(Headers(raw=headers))
    assert denied.value.challenge == 'Bearer realm="keito-mcp"' + (f', error="{error}"' if error else "")
    assert "resource_metadata" not in denied.value.challenge


@pytest.mark.parametrize("account_id", ["a b", "x" * 129, "ä"])
def test_an_account_id_that_is_none_is_not_passed_on(account_id: str) -> None:
    headers = [(b"authorization", b"Bearer keito_sk_one"), (b"keito-account-id", account_id.encode("latin-1"))]
    with pytest.raises(Denied):
        Access(Auth.KEY).principal(Headers(raw=headers))


def test_where_callers_are_not_told_apart_a_credential_is_not_looked_at() -> None:
    assert Access().principal(bearer("whatever")) is None


def test_a_callers_key_never_goes_to_the_address_or_the_account_of_the_operators_own_login(tmp_path: Path) -> None:
    login = tmp_path / "home" / ".config" / "keito" / "config.toml"
    login.parent.mkdir(parents=True)
    login.write_text('api_key = "kto_operators"\naccount_id = "co_operators"\napi_url = "https://keito.example.com"\n')
    login.chmod(0o600)
    settings = Settings.load()
    assert (settings.api_url, settings.account_id) == ("https://keito.example.com", "co_operators")
    caller = settings.of(Principal("caller", SecretStr("keito_sk_callers")))
    assert (caller.api_url, caller.account_id) == ("https://api.keito.ai", None)
    by_token = settings.of(Principal("caller"))
    assert (by_token.api_url, by_token.account_id) == ("https://keito.example.com", "co_operators")
    assert len({settings.account, caller.account, by_token.account}) == 3


def test_two_keys_of_one_company_are_two_accounts_and_a_caller_another_one_than_the_same_key_without_a_server() -> None:
    one, another = (Principal(name, SecretStr(f"kto_{name}"), "co_1") for name in ("one", "another"))
    settings = Settings()
    assert len({settings.of(one).account, settings.of(another).account}) == 2
    alone = Principal("alone", SecretStr("keito_sk_alone"))
    assert settings.of(alone).account != Settings(api_key=SecretStr("keito_sk_alone")).account
    assert settings.of(one).api_url == "https://app.keito.ai"
