"""What a recorded entry says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keito_mcp.sessions.notes import notes, without_secrets


@pytest.mark.parametrize(
    ("turns", "message", "redact", "expected"),
    [
        (1, None, False, "Agent session in shop (1 turn)"),
        (3, None, False, "Agent session in shop (3 turns)"),
        (3, "  \n ", False, "Agent session in shop (3 turns)"),
        (3, "Fixed it.\n\nMore.", False, "Agent session in shop (3 turns): Fixed it."),
        (3, "Fixed it.\n\nMore.", True, "Agent session in shop (3 turns)"),
    ],
    ids=str,
)
def test_notes_say_where_how_many_turns_and_the_first_paragraph_unless_that_is_not_wanted(
    turns: int,
    message: str | None,
    redact: bool,  # noqa: FBT001 -- a table
    expected: str,
) -> None:
    assert notes("shop", turns, message, redact=redact) == expected


SECRETS = [
    "sk-ant-REDACTED",
    "sk_live_0123456789abcdefghij",
    "keito_sk_0123456789abcdef",
    "kto_0123456789abcdef0123",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "github_pat_11AAAAAAA0abcdefghijkl_0123456789",
    "glpat-0123456789abcdefghij",
    "xoxb-123456789012-abcdefghijkl",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "0123456789abcdef0123456789abcdef01234567",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["I used {} for it.", "key={}", "`{}`", "({})", "see {}, then go on"])
def test_what_looks_like_a_key_is_taken_out(secret: str, around: str) -> None:
    said = without_secrets(around.format(secret))
    assert secret not in said
    assert "[removed]" in said


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("The password is hunter2.", "hunter2"),
        ("password: hunter2", "hunter2"),
        ('DB_PASSWORD="correct horse"', "correct horse"),
        ("export API_KEY=abc123", "abc123"),
        ("api key: abc123", "abc123"),
        ("client_secret = 'x y z'", "x y z"),
        ("Authorization: Bearer abcdefghijkl0123", "abcdefghijkl0123"),
        ("postgres://shop:hunter2@db/shop", "hunter2"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE and it was cut", "MIIE"),
    ],
)
def test_what_is_called_a_secret_is_taken_out(text: str, secret: str) -> None:
    assert secret not in without_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "Fixed the login redirect in src/auth/session.py and added 3 tests.",
        "See commit 0123abc and pull request #42.",
        "The tokenizer is faster now; no password field is shown any more.",
        "Renamed `get_user_by_id` to `find_user`.",
        "https://example.com/docs/getting-started#install",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


@settings(deadline=None)
@given(text=st.text(max_size=3000), before=st.text(max_size=50))
def test_notes_are_never_longer_than_they_may_be_and_no_secret_is_cut_free(text: str, before: str) -> None:
    said = notes("shop", 2, f"{text}{before} {SECRETS[0]}", redact=False)
    assert len(said) <= 1500
    assert SECRETS[0][:30] not in said
