import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keito_mcp.journal import JournalError
from keito_mcp.keito import (
    AuthenticationFailed,
    Conflict,
    InvalidRequest,
    KeitoError,
    NotFound,
    OutOfSight,
    PermissionDenied,
    RateLimited,
    ServerFailed,
    StatusError,
    UnexpectedAnswer,
    Unreachable,
)
from keito_mcp.server.explain import explain
from keito_mcp.settings.config import SettingsError
from keito_mcp.timesheet import Problem
from keito_mcp.timesheet.altering import RestUnanswered

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""

NOTHING_WRITTEN = "Nothing was written."
NOTHING_CHANGED = "Nothing was changed by this call."
NOTHING_SENT = "Nothing was sent to Keito."

EXPLAINED: dict[str, tuple[Exception, str, str, str]] = {
    "a problem": (
        Problem("The timer runs already.", "Nothing was changed in Keito.", "Stop it first."),
        "The timer runs already.",
        "Nothing was changed in Keito.",
        "Stop it first.",
    ),
    "a setting": (
        SettingsError("KEITO_TIMEZONE is not a time zone"),
        "KEITO_TIMEZONE is not a time zone.",
        NOTHING_SENT,
        "Correct the setting and restart keito-mcp.",
    ),
    "the journal": (
        JournalError("the state folder /x can't be written (No space); set KEITO_STATE_DIR to a folder that can"),
        "The state folder /x can't be written (No space); set KEITO_STATE_DIR to a folder that can.",
        NOTHING_SENT,
        "Put that right, then call again.",
    ),
    "400": (
        InvalidRequest(400, "hours must be positive", field="hours"),
        'Keito refuses it (400): Keito says "hours must be positive". The field is hours.',
        NOTHING_WRITTEN,
        "Correct it and call again.",
    ),
    "422 of no field": (
        InvalidRequest(422, "no", request_id="req_1"),
        'Keito refuses it (422): Keito says "no" (request req_1).',
        NOTHING_WRITTEN,
        "Correct it and call again.",
    ),
    "401": (
        AuthenticationFailed(401, "bad key"),
        'Keito doesn\'t accept the key (401): Keito says "bad key".',
        NOTHING_WRITTEN,
        (
            "Ask the user to check KEITO_API_KEY, and KEITO_ACCOUNT_ID for a key that begins with kto_ (both are in "
            "Keito under Settings → API & Developers), and to restart keito-mcp."
        ),
    ),
    "403": (
        PermissionDenied(403, "not assigned"),
        'The key\'s user may not do this (403), for project prj_default: Keito says "not assigned".',
        NOTHING_WRITTEN,
        "Use a project that the user is assigned to, or ask the user for the assignment.",
    ),
    "404": (
        NotFound(404, "no such entry"),
        'Keito has nothing there (404): Keito says "no such entry".',
        NOTHING_WRITTEN,
        "Check the id with list_entries; if every call says so, KEITO_API_URL is wrong.",
    ),
    "409": (
        Conflict(409, "approved"),
        'Keito refuses it (409): Keito says "approved".',
        NOTHING_WRITTEN,
        "What stands there is for a person to change.",
    ),
    "429 with a time": (
        RateLimited(429, "slow down", retry_after=30.0),
        "Keito's rate limit is reached (429).",
        NOTHING_WRITTEN,
        "Make the same call again in 30 s.",
    ),
    "429 at once": (
        RateLimited(429, "slow down", retry_after=0.0),
        "Keito's rate limit is reached (429).",
        NOTHING_WRITTEN,
        "Make the same call again in 0 s.",
    ),
    "429 without a time": (
        RateLimited(429, "slow down"),
        "Keito's rate limit is reached (429).",
        NOTHING_WRITTEN,
        "Make the same call again in a minute.",
    ),
    "500": (
        ServerFailed(503, "down", request_id="req_9"),
        'Keito failed (503): Keito says "down" (request req_9).',
        NOTHING_CHANGED,
        "Try again in a minute.",
    ),
    "an answer of somebody else": (
        UnexpectedAnswer(302, "Found"),
        'Keito can\'t be reached: something else answered 302 in its place ("Found").',
        NOTHING_CHANGED,
        "Try again in a minute; if it stays so, ask the user to check the network and KEITO_API_URL.",
    ),
    "a refused connection": (
        Unreachable("ConnectError: refused", nothing_written=True),
        "Keito can't be reached (ConnectError: refused).",
        NOTHING_WRITTEN,
        "Try again in a minute; if it stays so, tell the user.",
    ),
    "an entry among too many": (
        OutOfSight("more entries changed since 2026-03-04 than can be looked through"),
        "The entry wasn't found in Keito (more entries changed since 2026-03-04 than can be looked through).",
        NOTHING_CHANGED,
        "Ask the user to change it in Keito itself.",
    ),
    "no answer": (
        Unreachable("no answer within 30 s", nothing_written=False),
        "Keito can't be reached (no answer within 30 s).",
        NOTHING_CHANGED,
        "Try again in a minute; if it stays so, tell the user.",
    ),
}


@pytest.mark.parametrize(("error", "happened", "certain", "next_step"), EXPLAINED.values(), ids=EXPLAINED)
def test_a_failure_says_what_happened_then_what_is_certain_then_what_to_do(
    error: Exception, happened: str, certain: str, next_step: str
) -> None:
    assert explain(error, {}, "prj_default") == f"{happened} {certain} {next_step}"


def kinds(parent: type[Exception]) -> set[type[Exception]]:
    return {parent}.union(*map(kinds, parent.__subclasses__()))


def test_every_kind_of_error_that_keito_can_cause_is_explained_here() -> None:
    explained = {type(error) for error, *_ in EXPLAINED.values()}
    # A stop whose rest got no answer waits: no agent reads of it as of a failure.
    assert kinds(KeitoError) - {KeitoError, StatusError, RestUnanswered} <= explained


def test_a_403_names_the_project_of_the_call_before_the_default_one() -> None:
    error = PermissionDenied(403, "no")
    assert "for project prj_call:" in (explain(error, {"project_id": "prj_call"}, "prj_default") or "")
    assert "for project prj_default:" in (explain(error, {"project_id": ""}, "prj_default") or "")
    assert "for project prj_default:" in (explain(error, {"project_id": None}, "prj_default") or "")
    assert "for project unknown:" in (explain(error, {}, None) or "")


def test_a_caller_with_a_key_of_its_own_is_told_of_its_headers_and_of_no_setting_of_the_server() -> None:
    text = explain(AuthenticationFailed(401, "send the company's id"), {}, None, own_key=True) or ""
    assert 'Keito says "send the company\'s id"' in text
    assert "Authorization" in text
    assert "Keito-Account-Id" in text
    assert "KEITO_" not in text


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError(), KeyError("y"), OSError(2, "z")], ids=repr)
def test_what_nobody_foresaw_is_left_to_the_boundary(error: Exception) -> None:
    assert explain(error, {}, None) is None


@UNHURRIED
@given(
    kind=st.sampled_from([InvalidRequest, AuthenticationFailed, PermissionDenied, NotFound, Conflict, RateLimited]),
    status=st.integers(400, 499),
    retry_after=st.none() | st.floats(0, 1e6),
)
def test_a_refusal_of_keito_is_always_certain_to_have_written_nothing(
    kind: type[StatusError], status: int, retry_after: float | None
) -> None:
    error = kind(status, "reason", retry_after=retry_after)
    assert error.nothing_written
    text = explain(error, {}, None)
    assert text is not None
    assert f" {NOTHING_WRITTEN} " in text
    assert text.endswith(".")
