"""Carry out one step of an entry: one request to Keito, or a look-up of several pages, and its answer as a value."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any

import anyio

from keito_mcp.journal.entry import Desired, Entry, Observed
from keito_mcp.keito import (
    AuthenticationFailed,
    Conflict,
    InvalidRequest,
    KeitoApi,
    KeitoError,
    NotFound,
    RateLimited,
    TimeEntry,
    TimeEntryCreate,
    TimeEntryFilter,
    TimeEntryUpdate,
)
from keito_mcp.timesheet.answer import Answer, Away, Found, Gone, Refused, Shown
from keito_mcp.timesheet.compare import kept_as, same
from keito_mcp.timesheet.step import Create, Delete, LookUp, LookUpAll, Read, Send, Step, Stop, Update, create_body
from keito_mcp.timesheet.waiting import is_away, unreachable

_ONE_DAY = timedelta(days=1)
_MOST_PAGES = 10
_PAGE_LIMIT = 200
_MOST_CANDIDATES = 10
"""Entries without a key that are read one by one, because each may be the one that is looked for."""

_NO_ANSWER = "No answer came in time."
_NAMES = frozenset(one.name for one in fields(Desired)) & frozenset(one.name for one in fields(Observed))


class _CannotTell(Exception):
    """An entry is neither found nor known to be absent."""


async def ask(api: KeitoApi, entry: Entry, step: Step, deadline: float, met: Callable[[KeitoError], None]) -> Answer:
    """Carry out a step, and return its answer; None for one without a request.

    Args:
        api: Keito.
        entry: The entry; a write's flight is in it, and committed.
        step: The step.
        deadline: When a look-up or a read must have ended, by anyio's clock. A write has its own limits.
        met: Told of Keito's errors, for whoever puts them into words.
    """
    try:
        if isinstance(step, Send):
            return await _send(api, entry, step)
        with anyio.CancelScope(deadline=deadline):
            return await _look(api, entry, step)
        return Away(unreachable(_NO_ANSWER), may_have_arrived=False)
    except _CannotTell as error:
        return Away(unreachable(error), may_have_arrived=False)
    except KeitoError as error:
        met(error)
        return _answer(error, step, one_timer_per_user=api.traits.one_timer_per_user)


async def _look(api: KeitoApi, entry: Entry, step: Step) -> Answer:
    if isinstance(step, LookUp) and entry.in_flight is not None and entry.in_flight.another_runs:
        return await _beside(api, entry)
    if isinstance(step, LookUp | LookUpAll):
        return Found(await _copies(api, entry, all_of_them=isinstance(step, LookUpAll)))
    if isinstance(step, Read) and entry.observed is not None:
        return Shown(observed(await api.get(entry.observed.entry_id, near=entry.observed.spent_date)))
    return None


async def _send(api: KeitoApi, entry: Entry, step: Send) -> Answer:
    if isinstance(step, Create):
        body = {**step.body, "source": "agent"}
        made = await api.create(TimeEntryCreate.model_validate(body), idempotency_key=entry.idempotency_key)
        return Shown(observed(made))
    if entry.observed is None:
        raise TypeError(f"{step} is for an entry that Keito has shown")
    entry_id, near = entry.observed.entry_id, entry.observed.spent_date
    match step:
        case Stop():
            return Shown(observed(await api.stop(entry_id, TimeEntryUpdate.model_validate(step.body), near=near)))
        case Update():
            return Shown(observed(await api.update(entry_id, TimeEntryUpdate.model_validate(step.body), near=near)))
        case Delete():
            await api.delete(entry_id, near=near)
            return Gone()
    raise TypeError(f"{step} sends nothing")


def _answer(error: KeitoError, step: Step, *, one_timer_per_user: bool) -> Answer:
    """Return what an error says of a step: certainly not done, perhaps done, or that the entry is gone."""
    if isinstance(error, RateLimited):
        return Away(unreachable(error), may_have_arrived=not error.nothing_written, retry_after=error.retry_after)
    if isinstance(error, AuthenticationFailed) or not error.nothing_written or is_away(error):
        # A key that Keito doesn't accept says nothing of the entry.
        if isinstance(step, Send) and not error.nothing_written:
            return Away(f"Keito gave no usable answer ({error}).", may_have_arrived=True)
        return Away(unreachable(error), may_have_arrived=False)
    if isinstance(error, NotFound) and not isinstance(step, Create | LookUp | LookUpAll):
        return Gone()
    is_conflict = isinstance(error, Conflict)
    starts = isinstance(step, Create) and bool(step.body.get("is_running"))
    return Refused(
        str(error),
        is_conflict=is_conflict,
        is_invalid=isinstance(error, InvalidRequest),
        another_runs=is_conflict and starts and one_timer_per_user,
    )


async def _beside(api: KeitoApi, entry: Entry) -> Found:
    """Return the entry where it is the timer that runs already; else which other one keeps it from running."""
    running = (await api.list(TimeEntryFilter(is_running=True, limit=_PAGE_LIMIT))).data
    own = tuple(observed(one) for one in running if one.fact("entry_key") == entry.key)
    if own:
        return Found(own)
    other = await _of_this_user(api, running)
    return Found(blocked=_in_the_way(other), beside=other)


async def _of_this_user(api: KeitoApi, running: Sequence[TimeEntry]) -> TimeEntry | None:
    """Return which of the timers that run is of the key's user; None where that can't be told."""
    if len(running) < 2:  # noqa: PLR2004 -- there is no choice
        return running[0] if running else None
    try:
        me = await api.me()
    except KeitoError:
        return None
    return next((one for one in running if one.user_id == me.id), None)


def _in_the_way(other: TimeEntry | None) -> str:
    named = "another timer of this user"
    if other is not None:
        whose = "an agent's" if other.source == "agent" else "a person's"
        about = f", {other.notes[:80]!r}" if other.notes else ""
        named = f"{named} ({other.id}, {whose}{about})"
    return (
        f"Keito runs one timer of a user at a time, and runs {named}, which is left alone. So this timer runs on this "
        "machine, and its time is logged in Keito when it is stopped."
    )


async def _copies(api: KeitoApi, entry: Entry, *, all_of_them: bool) -> tuple[Observed, ...]:
    """Return the entries with the key, wherever within a day of its date a person may have moved them.

    Keito's list may show an entry without its metadata. One that looks like the entry is then read by itself.

    Args:
        api: Keito.
        entry: The entry.
        all_of_them: Whether every copy is wanted, as far as can be told; else one is enough.

    Raises:
        _CannotTell: None is found, and there are too many entries on those days, or one may be it and doesn't say so.
    """
    day = entry.desired.spent_date
    if day is None:
        raise _CannotTell("the day of the entry isn't known")
    days = TimeEntryFilter(source="agent", from_date=day - _ONE_DAY, to_date=day + _ONE_DAY, limit=_PAGE_LIMIT)
    found: list[Observed] = []
    candidates: list[TimeEntry] = []
    more = True
    async for page in api.pages(days, at_most=_MOST_PAGES):
        more = page.following is not None
        found += [observed(one) for one in page.data if one.fact("entry_key") == entry.key]
        candidates += [one for one in page.data if one.fact("entry_key") is None and _may_be(one, entry)]
        if found and not all_of_them:
            return tuple(found)
    if more and not found:
        raise _CannotTell("it shows too many entries on those days")
    if len(candidates) > _MOST_CANDIDATES and not all_of_them:
        raise _CannotTell("its list doesn't say which of several entries it is")
    unclear = ""
    for candidate in candidates[:_MOST_CANDIDATES]:
        shown = await api.get(candidate.id, near=candidate.spent_date)
        if shown.fact("entry_key") == entry.key:
            found.append(observed(shown))
        elif _may_be(shown, entry, shows_metadata=api.traits.reads_one):
            unclear = candidate.id
    if unclear and not (found or all_of_them):
        raise _CannotTell(f"it doesn't say whether {unclear} is the entry")
    return tuple(found)


def _may_be(candidate: TimeEntry, entry: Entry, *, shows_metadata: bool = False) -> bool:
    """Return whether an entry without a key looks like one of the creates that left, and names nobody else's work.

    One that is known to show its metadata names at least its agent.
    """
    for name in ("agent_id", "session_id"):
        said = candidate.fact(name)
        if (said is not None or shows_metadata) and said != (entry.desired.metadata or {}).get(name):
            return False
    return any(_looks_like(candidate, body) for body in entry.bodies or (create_body(entry),))


def _looks_like(candidate: TimeEntry, body: Mapping[str, Any]) -> bool:
    if not same("project_id", candidate.project_id, body.get("project_id")):
        return False
    if body.get("is_running"):
        return same("notes", body.get("notes"), candidate.notes)
    has_its_notes = bool(body.get("notes")) and same("notes", body["notes"], candidate.notes)
    return has_its_notes or kept_as(body.get("hours"), candidate.hours)


def observed(shown: TimeEntry) -> Observed:
    """Return an entry as Keito shows it, as a value of the journal."""
    given = {name: getattr(shown, name) for name in _NAMES}
    locked = bool(shown.is_locked or shown.is_closed or shown.is_billed or shown.approval_status == "approved")
    return Observed(**given, entry_id=shown.id, is_running=shown.is_running, is_locked=locked)
