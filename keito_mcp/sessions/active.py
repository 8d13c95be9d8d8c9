"""How long agents worked in a session, day by day: the union of their stretches, without what is logged already."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from enum import StrEnum

from keito_mcp.clock import Instant
from keito_mcp.sessions.events import Event
from keito_mcp.sessions.timeline import by_day, in_order, placed
from keito_mcp.sessions.turns import Stretch, subagents, turns, waits, with_grants

_NOTHING = timedelta()


class Effect(StrEnum):
    """What a mark does to the time that is counted."""

    TIMER_STARTED = "timer started"
    TIMER_STOPPED = "timer stopped"
    LOGGED = "logged"
    DISCARDED = "discarded"
    PAUSED = "paused"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that changes what is counted.

    Attributes:
        day: Of what was logged: the day that it was logged for.
        duration: Of what was logged: how long it took.
    """

    at: Instant
    effect: Effect
    day: date | None = None
    duration: timedelta = _NOTHING


@dataclass(frozen=True, slots=True)
class _Point:
    at: Instant
    event: Event | None = None
    mark: Mark | None = None


def active_time(events: Sequence[Event], marks: Sequence[Mark], zone: tzinfo | None) -> dict[date, timedelta]:
    """The time in which agents worked and that nothing logs yet, by the day of a time zone.

    Turns and sub-agents join into one: what several did at once counts once. Waiting for a person doesn't count, nor
    does what a timer counts, nor what was before a discard. What was logged takes from the time before it.

    Args:
        events: Those of one session.
        marks: In any order.
        zone: The user's; None is the machine's own.
    """
    told = with_grants(in_order(events, at=lambda event: event.at))
    seen = [*(_Point(event.at, event) for event in told), *(_Point(mark.at, mark=mark) for mark in marks)]
    points, moments = zip(*placed(seen, at=_at), strict=True) if seen else ((), ())
    events = [point.event for point in points if point.event is not None]
    places = [here for here, point in enumerate(points) if point.event is not None]
    at_work = _coverage([*turns(events), *subagents(events)], places, len(points))
    waiting = _coverage(waits(events), places, len(points))
    days: dict[date, timedelta] = {}
    timers, is_paused = 0, False
    for here, point in enumerate(points):
        match point.mark.effect if point.mark else None:
            case Effect.TIMER_STARTED:
                timers += 1
            case Effect.TIMER_STOPPED:
                timers -= 1
            case Effect.PAUSED:
                is_paused = True
            case Effect.RESUMED:
                is_paused = False
            case Effect.DISCARDED:
                days.clear()
            case Effect.LOGGED:
                _take(days, point.mark)
        if at_work[here] and not waiting[here] and timers <= 0 and not is_paused:
            apart = moments[here + 1] - moments[here]
            for day, share in by_day(point.at, points[here + 1].at, apart, zone):
                days[day] = days.get(day, _NOTHING) + share
    return {day: duration for day, duration in days.items() if duration > _NOTHING}


def _at(point: _Point) -> Instant:
    return point.at


def _coverage(stretches: Sequence[Stretch], places: Sequence[int], length: int) -> list[int]:
    """For each point, how many stretches lie over the time from it to the next one."""
    changes: Counter[int] = Counter()
    for stretch in stretches:
        changes[places[stretch.first]] += 1
        changes[places[stretch.last]] -= 1
    covered, depth = [], 0
    for here in range(length):
        depth += changes[here]
        covered.append(depth)
    return covered


def _take(days: dict[date, timedelta], mark: Mark | None) -> None:
    if mark is not None and mark.day in days:
        days[mark.day] -= min(days[mark.day], mark.duration)
