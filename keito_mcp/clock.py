"""Time as the program sees it: one clock that tests replace, and the rule for elapsed time."""

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Protocol

CLOCK_MOVED = timedelta(minutes=1)
"""A wall clock that drifted from the monotonic one by more than this was set, or the machine slept."""

_EARLIEST_DAWN = timedelta(hours=14)
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment, by both clocks: `wall` is UTC, `monotonic` is seconds and means something within `boot_id`."""

    wall: datetime
    monotonic: float
    boot_id: str


class Clock(Protocol):
    """Tells the moment it is."""

    def now(self) -> Instant:
        """This moment."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> Instant:
        """This moment, by the machine's wall clock and its monotonic clock."""
        return Instant(datetime.now(UTC), time.monotonic(), _counted_from())


@cache
def boot_id() -> str | None:
    """Which boot of the machine this is; None where the system doesn't tell (only Linux does)."""
    try:
        return _BOOT_ID_FILE.read_text("ascii").strip()
    except OSError:
        return None


@cache
def _counted_from() -> str:
    """What the monotonic clock counts from: the machine's boot, or this process where no boot id is readable."""
    return boot_id() or uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Elapsed:
    """How long something took, and whether the wall clock was moved meanwhile."""

    duration: timedelta
    clock_moved: bool


def elapsed(start: Instant, end: Instant) -> Elapsed:
    """The time from start to end, never negative.

    Within one boot the smaller of wall-clock and monotonic time counts: a suspended laptop and a clock that
    was set forward bill nothing. Across boots only the wall clock can say.
    """
    wall = max(end.wall - start.wall, timedelta())
    if start.boot_id != end.boot_id:
        return Elapsed(wall, clock_moved=end.wall < start.wall)
    monotonic = timedelta(seconds=max(end.monotonic - start.monotonic, 0.0))
    moved = abs((end.wall - start.wall) - monotonic) > CLOCK_MOVED
    if end.wall < start.wall:
        return Elapsed(monotonic, clock_moved=True)
    return Elapsed(min(wall, monotonic), clock_moved=moved)


def latest_day(moment: datetime) -> date:
    """The last date that is today anywhere on Earth (UTC+14): a later one lies in everyone's future."""
    return (moment.astimezone(UTC) + _EARLIEST_DAWN).date()
