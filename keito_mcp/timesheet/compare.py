"""Compare an entry as it was sent with the entry as Keito shows it, which may keep it a little differently."""

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any

from keito_mcp.clock import Instant
from keito_mcp.journal.entry import CHANGEABLE, Entry, Fields, Flight, FlightKind, Observed
from keito_mcp.waits import LATE_ARRIVAL

_EDITABLE = ("project_id", "task_id", "spent_date", "is_billable", "notes")
"""Fields besides the hours by which a person's change is known."""

_KEPT_PLACES = Decimal("0.01")
"""Keito may keep two of the four places of the hours."""

SHORT = Decimal("0.01")
"""Hours by which two counts of one timer may differ."""

_LATENCY = Decimal("0.001")
"""Hours that may pass between counting a timer and Keito's own count of it."""

_ARRIVAL = Decimal(int(LATE_ARRIVAL.total_seconds())) / 3600


def same(name: str, one: object, other: object) -> bool:
    """Return whether two values of a field are the same to Keito: another spelling of one value is no change."""
    if name == "notes":
        return " ".join(str(one or "").split()) == " ".join(str(other or "").split())
    if name in {"project_id", "task_id"} and one is not None and other is not None:
        return str(one).strip().casefold() == str(other).strip().casefold()
    return one == other


def kept_as(sent: Decimal | None, shown: Decimal | None) -> bool:
    """Return whether hours are those that were sent, or what is left of them after rounding to two places."""
    if sent is None or shown is None or shown == sent:
        return shown == sent
    return shown in {sent.quantize(_KEPT_PLACES, ROUND_HALF_UP), sent.quantize(_KEPT_PLACES, ROUND_HALF_EVEN)}


def edited(before: Fields, shown: Observed, sent: Mapping[str, Any] | None = None) -> list[str]:
    """Return the fields that are neither as they were nor as a request of ours has them.

    A field that Keito doesn't show, or that nobody knew, counts as unedited; only notes may appear from nothing.
    """
    ours = sent or {}
    found = []
    for name in _EDITABLE:
        was, now = getattr(before, name), getattr(shown, name)
        if now is None or (was is None and name != "notes") or same(name, was, now):
            continue
        if not (name in ours and same(name, ours[name], now)):
            found.append(name)
    return found


def difference(entry: Entry) -> dict[str, Any]:
    """Return the fields by which an observed entry isn't as desired, each with its desired value.

    What Keito accepted from us counts as done, however Keito shows it; what a person edited stays the person's, and
    beside it the notes, which may tell of it.
    """
    differing = {}
    for name in CHANGEABLE:
        wanted = getattr(entry.desired, name)
        if wanted is None or name in entry.persons or (name == "notes" and entry.persons):
            continue
        has = entry.accepted.get(name, getattr(entry.observed, name, None))
        if not (wanted == has if name in entry.accepted else same(name, wanted, has)):
            differing[name] = wanted
    return differing


def shows(flight: Flight, entry: Entry, shown: Observed) -> bool:
    """Return whether an entry shows that a stop or an update of ours was made.

    Hours that are as they were before are no change, however near they are to the new ones.
    """
    if flight.kind is FlightKind.STOP and shown.is_running is not False:
        return False
    if flight.kind is FlightKind.STOP and not flight.body:
        return counted_by_keito(flight, entry, shown)
    before = entry.observed
    hours = flight.body.get("hours")
    if hours is not None and shown.hours != hours:
        is_as_before = before is not None and not before.is_running and shown.hours == before.hours
        if is_as_before or not kept_as(hours, shown.hours):
            return False
    return all(_as_sent(name, flight.body[name], shown) for name in flight.body if name not in {"hours", "is_running"})


def _as_sent(name: str, sent: object, shown: Observed) -> bool:
    now = getattr(shown, name)
    if name == "metadata":
        # Keito may drop keys that it doesn't know; one that it has with another value isn't ours.
        return not isinstance(sent, Mapping) or now is None or all(now.get(key, v) == v for key, v in sent.items())
    return now is None or same(name, sent, now)


def counted_by_keito(flight: Flight, entry: Entry, shown: Observed) -> bool:
    """Return whether finished hours are what Keito itself counts of a timer that our stop ended, however late."""
    if shown.hours is None:
        return True
    least, most = _counts(entry, flight.sent)
    return least - SHORT <= shown.hours <= most + SHORT + _ARRIVAL


def count_is_right(flight: Flight, entry: Entry, shown: Observed) -> bool:
    """Return whether Keito's own count of a timer stands for the hours that were counted here.

    It doesn't where the stop was sent or arrived late, or Keito's timer began later than the work. A count that is
    smaller even than since that later start is a person's doing, who stopped and restarted the timer: it stands.
    """
    wanted = entry.desired.hours
    if wanted is None:
        return True
    if entry.desired.hours_are_exact or shown.hours is None or shown.hours == 0:
        return False
    least, most = _counts(entry, flight.sent)
    if abs(most - wanted) > _LATENCY:
        return False
    return abs(shown.hours - wanted) <= SHORT or shown.hours < least - SHORT


def _counts(entry: Entry, end: Instant) -> tuple[Decimal, Decimal]:
    """Return the least and the most hours that Keito may count of a timer until then.

    Its timer began when a create arrived: the first one, or the last, which may have been on its way for a while.
    """
    counts = [_between(moment, end) for moment in (entry.started, entry.first_sent) if moment is not None]
    most = max((longest for _, longest in counts), default=Decimal(0))
    if entry.last_sent is None or entry.arrived is None:
        return min((shortest for shortest, _ in counts), default=most), most
    since_arrived, since_sent = (_between(moment, end)[0] for moment in (entry.arrived, entry.last_sent))
    return min(max(since_arrived, since_sent - _ARRIVAL, Decimal(0)), most), most


def _between(start: Instant, end: Instant) -> tuple[Decimal, Decimal]:
    """Return the least and the most hours that may have passed by Keito's clock, which nobody sets.

    Within one boot no less passed than by the monotonic clock, which stands still while the machine sleeps.
    """
    wall = max(Decimal(str((end.wall - start.wall).total_seconds())) / 3600, Decimal(0))
    if start.boot_id != end.boot_id:
        return wall, wall
    ran = max(Decimal(str(end.monotonic - start.monotonic)) / 3600, Decimal(0))
    return ran, max(ran, wall)


def is_as_made(copy: Observed, bodies: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether nobody changed a copy of an entry since one of our creates made it."""
    return any(_is_made_by(body, copy) for body in bodies)


def _is_made_by(body: Mapping[str, Any], copy: Observed) -> bool:
    if copy.is_locked or bool(body.get("is_running")) is not bool(copy.is_running):
        return False
    if not copy.is_running and not kept_as(body.get("hours", Decimal(0)), copy.hours):
        return False
    return same("notes", body.get("notes"), copy.notes) and not edited(_as_body(body), copy)


def _as_body(body: Mapping[str, Any]) -> Fields:
    return Fields(**{name: body.get(name) for name in _EDITABLE})
