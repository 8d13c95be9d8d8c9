"""Tell a person's change of an entry from our own: the one place that decides whether an entry is left alone."""

from typing import Any

from keito_mcp import hours as decimal_hours
from keito_mcp.identity.facts import HOURS_WRITTEN
from keito_mcp.journal.entry import Entry, FlightKind, Observed, Presence
from keito_mcp.timesheet.compare import edited, kept_as, shows

DELETED = "It is no longer in Keito: it was deleted there."
LOCKED = "It was approved, locked or invoiced in Keito."
_STOPPED = "A person stopped it in Keito."
_RESTARTED = "A person started it again in Keito."


def change(entry: Entry, shown: Observed, *, is_answer: bool = False) -> str | None:
    """Return what a person did to an entry that forbids to touch it, as a sentence; None where there is nothing.

    A running timer that a person edits is still ours to stop, so that its edited fields count only where the entry
    is to be deleted. What a request in flight would have done is not taken for a person's doing, and doesn't hide one.

    Args:
        entry: The entry before what is shown was taken in.
        shown: What Keito shows.
        is_answer: Whether it is Keito's answer to the request in flight, whose work it then certainly shows.
    """
    before = entry.observed
    if before is None:
        return None
    if shown.is_locked and not before.is_locked:
        return LOCKED
    if before.is_running:
        return _of_running(entry, before, shown, is_answer=is_answer)
    if shown.is_running:
        return _RESTARTED
    return _recounted(entry, before, shown) or _named(edited(before, shown, _sent(entry)))


def is_of_another_server(shown: Observed) -> bool:
    """Return whether an entry is finished with the hours that a replica of an HTTP server wrote: no person's doing."""
    if shown.is_running or shown.hours is None:
        return False
    return (shown.metadata or {}).get(HOURS_WRITTEN) == decimal_hours.text(shown.hours)


def edits_of_running(entry: Entry, shown: Observed) -> frozenset[str]:
    """Return the fields of a timer that a person edited while it ran."""
    before = entry.observed
    return frozenset(edited(before, shown, _sent(entry))) if before is not None and before.is_running else frozenset()


def _of_running(entry: Entry, before: Observed, shown: Observed, *, is_answer: bool) -> str | None:
    flight = entry.in_flight
    if shown.is_running is False:
        is_ours = flight is not None and flight.kind is FlightKind.STOP and (is_answer or _stops_as(entry, shown))
        return None if is_ours else _STOPPED
    if entry.desired.presence is Presence.ABSENT:
        return _named(edited(before, shown, _sent(entry)))
    return None


def _stops_as(entry: Entry, shown: Observed) -> bool:
    """Return whether a stop in flight explains the hours of an entry that stands still; its notes may be a person's."""
    flight = entry.in_flight
    if flight is None or not flight.body:
        return flight is not None and shows(flight, entry, shown)
    hours = flight.body.get("hours")
    return hours is None or shown.hours is None or kept_as(hours, shown.hours)


def _recounted(entry: Entry, before: Observed, shown: Observed) -> str | None:
    if shown.hours is None or before.hours is None or kept_as(before.hours, shown.hours):
        return None
    sent = _sent(entry).get("hours")
    if sent is not None and kept_as(sent, shown.hours):
        return None
    was, now = decimal_hours.text(before.hours), decimal_hours.text(shown.hours)
    return f"A person changed its hours from {was} to {now}."


def _sent(entry: Entry) -> dict[str, Any]:
    return dict(entry.in_flight.body) if entry.in_flight else {}


def _named(fields: list[str]) -> str | None:
    return f"A person changed its {', '.join(fields)}." if fields else None
