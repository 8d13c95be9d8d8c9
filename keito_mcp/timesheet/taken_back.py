"""Take back what a call asked for where Keito refused it in the call itself, so that nothing waits for it."""

from dataclasses import replace

from keito_mcp import hours as decimal_hours
from keito_mcp.journal.entry import Entry, Observed, Outcome, OutcomeKind, Presence
from keito_mcp.keito import AuthenticationFailed, Conflict, KeitoError, PermissionDenied
from keito_mcp.timesheet import reply
from keito_mcp.timesheet.asked import as_observed
from keito_mcp.timesheet.books import Books
from keito_mcp.timesheet.converge import Converged
from keito_mcp.timesheet.step import Stop, Wait


async def unless_taken(books: Books, before: Entry, ended: Converged) -> None:
    """Raise what Keito refused of a call, with the row put back as it was; return where nothing was refused.

    Raises:
        KeitoError: Keito refused it, or doesn't accept the key.
        Problem: Somebody else was told the refusal meanwhile.
    """
    refusal = _refusal(ended)
    if refusal is None:
        return
    if before.observed is None and ended.entry.observed is None:
        await _drop(books, ended.entry, refusal)
        raise refusal
    if _stays_refused(ended):
        raise refusal
    said = _half_done(before, ended.entry)
    await books.rows.edit(before.key, lambda current: _back(current, before), books.clock.now())
    if said is not None:
        refusal.add_note(said)
    raise refusal


def without_rest(entry: Entry) -> Entry:
    """Return the entry without a rest, for an agent that calls, unless Keito itself asked for it."""
    return entry if entry.rest is None or entry.rest.is_asked else replace(entry, rest=None)


def _refusal(ended: Converged) -> KeitoError | None:
    entry = ended.entry
    if isinstance(ended.error, AuthenticationFailed) and isinstance(ended.step, Wait) and entry.in_flight is None:
        return ended.error
    is_refused = entry.outcome is not None and entry.outcome.kind is OutcomeKind.REFUSED
    if not is_refused:
        return None
    if ended.error is None:
        raise reply.deleted(reply.handle(entry))
    return ended.error


def _stays_refused(ended: Converged) -> bool:
    """Return whether a timer can't be stopped from here at all, and must not stand in the next one's way."""
    return isinstance(ended.at, Stop) and isinstance(ended.error, Conflict | PermissionDenied)


def _half_done(before: Entry, after: Entry) -> str | None:
    """Return what of a refused change was made all the same."""
    if not (_runs(before.observed) and after.observed is not None and after.observed.is_running is False):
        return None
    counted = decimal_hours.text(after.observed.hours or decimal_hours.LEAST * 0)
    return f"The timer itself is stopped, with {counted} h as Keito counts them."


def _back(current: Entry, before: Entry) -> Entry:
    current = replace(current, outcome=None, rest=None, failures=0)
    if current.observed is not None and _runs(before.observed) and not _runs(current.observed):
        desired = as_observed(current.observed, Presence.FINISHED)
        return replace(current, desired=desired, accepted={})
    return replace(current, desired=before.desired, ended=before.ended, outcome=before.outcome)


async def _drop(books: Books, entry: Entry, refusal: KeitoError) -> None:
    if entry.outcome is None:
        refused = Outcome(OutcomeKind.REFUSED, str(refusal))
        await books.rows.edit(
            entry.key, lambda current: replace(current, outcome=refused, rest=None), books.clock.now()
        )


def _runs(observed: Observed | None) -> bool:
    return observed is not None and observed.is_running is True
