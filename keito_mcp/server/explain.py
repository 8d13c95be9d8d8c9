"""Failures in words that an agent can act on: what happened, what is certain now, what to do next."""

from collections.abc import Mapping
from typing import Any

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
    StatusError,
    UnexpectedAnswer,
)
from keito_mcp.settings.config import SettingsError
from keito_mcp.timesheet import Problem

_NOTHING_WRITTEN = "Nothing was written."
_NOT_CHANGED = "Nothing was changed by this call."
_FOR_KTO = "for a key that begins with kto_ (both are in Keito under Settings → API & Developers)"


def explain(
    error: Exception, arguments: Mapping[str, Any], project_id: str | None, *, own_key: bool = False
) -> str | None:
    """What the model reads of a failure; None for one that nobody foresaw.

    Args:
        error: What was raised.
        arguments: The call's arguments.
        project_id: The default project, for calls that named none.
        own_key: Whether the caller presented a key of its own, which the server passes on.
    """
    if isinstance(error, Problem):
        return str(error)
    if isinstance(error, SettingsError):
        next_step = "Ask the user to correct it." if own_key else "Correct the setting and restart keito-mcp."
        return f"{_sentence(str(error))} Nothing was sent to Keito. {next_step}"
    if isinstance(error, JournalError):
        return f"{_sentence(str(error))} Nothing was sent to Keito. Put that right, then call again."
    if isinstance(error, StatusError):
        return _of_status(error, arguments.get("project_id") or project_id, own_key=own_key)
    return _of_no_answer(error) if isinstance(error, KeitoError) else None


def _of_no_answer(error: KeitoError) -> str:
    certain = _NOTHING_WRITTEN if error.nothing_written else _NOT_CHANGED
    if isinstance(error, OutOfSight):
        return f"The entry wasn't found in Keito ({error}). {certain} Ask the user to change it in Keito itself."
    return f"Keito can't be reached ({error}). {certain} Try again in a minute; if it stays so, tell the user."


def _of_status(error: StatusError, project_id: object, *, own_key: bool) -> str:
    said = f'Keito says "{error.message}"{_reference(error)}.'
    certain = _NOTHING_WRITTEN if error.nothing_written else _NOT_CHANGED
    match error:
        case AuthenticationFailed() if own_key:
            happened = f"Keito doesn't accept the key that this client presents as its bearer token (401): {said}"
            advice = f"Ask the user to check the client's header Authorization, and Keito-Account-Id {_FOR_KTO}."
        case AuthenticationFailed():
            happened = f"Keito doesn't accept the key (401): {said}"
            advice = f"Ask the user to check KEITO_API_KEY, and KEITO_ACCOUNT_ID {_FOR_KTO}, and to restart keito-mcp."
        case PermissionDenied():
            happened = f"The key's user may not do this (403), for project {project_id or 'unknown'}: {said}"
            advice = "Use a project that the user is assigned to, or ask the user for the assignment."
        case NotFound():
            happened = f"Keito has nothing there (404): {said}"
            advice = "Check the id with list_entries; if every call says so, KEITO_API_URL is wrong."
        case Conflict():
            happened = f"Keito refuses it (409): {said}"
            advice = "What stands there is for a person to change."
        case RateLimited():
            when = f"in {error.retry_after:g} s" if error.retry_after is not None else "in a minute"
            happened = "Keito's rate limit is reached (429)."
            advice = f"Make the same call again {when}."
        case InvalidRequest():
            blamed = f" The field is {error.field}." if error.field else ""
            happened = f"Keito refuses it ({error.status}): {said}{blamed}"
            advice = "Correct it and call again."
        case UnexpectedAnswer():
            answered = f'something else answered {error.status} in its place ("{error.message}")'
            happened = f"Keito can't be reached: {answered}."
            advice = "Try again in a minute; if it stays so, ask the user to check the network and KEITO_API_URL."
        case _:
            happened = f"Keito failed ({error.status}): {said}"
            advice = "Try again in a minute."
    return f"{happened} {certain} {advice}"


def _reference(error: StatusError) -> str:
    return f" (request {error.request_id})" if error.request_id else ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
