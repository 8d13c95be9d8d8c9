"""Moments in one order, and the time between them, whatever the clocks did meanwhile."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TypeVar

from keito_mcp.clock import Instant, elapsed

T = TypeVar("T")


def in_order(things: Iterable[T], at: Callable[[T], Instant]) -> list[T]:
    """Things by the moment at which they were seen (see `placed`)."""
    return [thing for thing, _ in placed(things, at)]


def placed(things: Iterable[T], at: Callable[[T], Instant]) -> list[tuple[T, datetime]]:
    """Things by the moment at which they were seen, each with its place among the others.

    Within one boot the monotonic clock orders: the wall clock may have been set. Its first moment by the wall clock
    places a boot among the others, and among moments of which only the wall clock is known.
    """
    found = list(things)
    begun: dict[str, Instant] = {}
    for moment in map(at, found):
        known = begun.get(moment.boot_id)
        if moment.boot_id and (known is None or moment.monotonic < known.monotonic):
            begun[moment.boot_id] = moment

    def place(thing: T) -> datetime:
        moment = at(thing)
        if not moment.boot_id:
            return moment.wall
        first = begun[moment.boot_id]
        return first.wall + timedelta(seconds=moment.monotonic - first.monotonic)

    return sorted(((thing, place(thing)) for thing in found), key=lambda pair: pair[1])


def between(start: Instant, end: Instant) -> timedelta:
    """How long after one moment the next one was: within a boot the smaller of wall-clock and monotonic time."""
    if not start.boot_id or not end.boot_id:
        # Of one of them only the wall clock is known.
        return max(end.wall - start.wall, timedelta())
    return elapsed(start, end).duration


def lasted(start: Instant, end: Instant, apart: timedelta) -> timedelta:
    """How long something lasted from one moment to the next.

    Nothing lasts from one boot to another. Where the boot of one isn't known, it is how far `apart` their places are.
    """
    if start.boot_id and end.boot_id:
        return elapsed(start, end).duration if start.boot_id == end.boot_id else timedelta()
    return max(apart, timedelta())


def by_day(start: Instant, end: Instant, apart: timedelta, zone: tzinfo | None) -> list[tuple[date, timedelta]]:
    """The time from one moment to the next, each day's share of it, by the calendar of a time zone.

    Where the clocks don't agree on how long it was, the days share what counts as they share the wall clock's time.
    """
    duration = lasted(start, end, apart)
    passed = end.wall - start.wall
    shares: list[tuple[date, timedelta]] = []
    at, left = start.wall, duration
    while (midnight := _midnight_after(at, zone)) < end.wall:
        share = min(left, duration * ((midnight - at) / passed))
        shares.append((at.astimezone(zone).date(), share))
        at, left = midnight, left - share
    return [*shares, (at.astimezone(zone).date(), left)]


def _midnight_after(moment: datetime, zone: tzinfo | None) -> datetime:
    """The first moment of the next day; some days of some zones don't begin at midnight."""
    tomorrow = moment.astimezone(zone).date() + timedelta(days=1)
    midnight = datetime.combine(tomorrow, time(), zone) if zone else datetime.combine(tomorrow, time()).astimezone()
    begun = midnight.astimezone(UTC)
    while begun.astimezone(zone).date() < tomorrow:
        begun += timedelta(minutes=15)
    return begun
