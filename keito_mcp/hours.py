"""Hours as Keito counts them: decimal hours, exact, with four places at the edge."""

import re
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

MOST = Decimal(24)
LEAST = Decimal("0.0001")

_LONGEST_TEXT = 60
_KEPT_EXACTLY = Decimal("0.005")

_CLOCK = re.compile(r"(\d{1,2}):([0-5]\d)(?::([0-5]\d))?")
_UNITS = re.compile(
    r"(?:(\d+(?:\.\d+)?)\s*h(?:ours?|rs?)?)?\s*(?:(\d+(?:\.\d+)?)\s*m(?:in(?:ute)?s?)?)?\s*"
    r"(?:(\d+(?:\.\d+)?)\s*s(?:ec(?:ond)?s?)?)?",
)
_SECONDS_PER_HOUR = Decimal(3600)


class NotHours(ValueError):
    """A value that isn't a duration of more than 0 and at most 24 hours; its text says what is accepted."""


def parse(value: object) -> Decimal:
    """Decimal hours out of a number, or out of "1.5", "1:30", "90m", "1h 30m".

    Raises:
        NotHours: The value can't be read as a duration, or isn't within 0 < hours <= 24.
    """
    hours = _read(value)
    if hours is None or not hours.is_finite():
        raise NotHours(f'hours must be decimal hours such as 1.5 ("1:30", "90m" and "1h 30m" work too){_shown(value)}')
    if not LEAST / 2 <= hours <= MOST:
        raise NotHours(f"hours must be more than 0 and at most 24{_shown(value)}")
    return round_to_places(hours)


def _shown(value: object) -> str:
    return f", not {value!r:.60}" if isinstance(value, str | float) else ""


def _read(value: object) -> Decimal | None:
    if isinstance(value, str):
        return _read_text(value.strip().lower()) if len(value) <= _LONGEST_TEXT else None
    if isinstance(value, float):
        return Decimal(repr(value))
    return Decimal(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else None


def _read_text(text: str) -> Decimal | None:
    # Decimal would take "1_5" for 15.
    if "_" in text:
        return None
    match = _CLOCK.fullmatch(text) or (_UNITS.fullmatch(text) if text else None)
    if match:
        return _hours(*match.groups())
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _hours(hours: str | None, minutes: str | None, seconds: str | None) -> Decimal:
    total = Decimal(hours or 0) * 3600 + Decimal(minutes or 0) * 60 + Decimal(seconds or 0)
    return total / _SECONDS_PER_HOUR


def of_duration(duration: timedelta) -> Decimal:
    """A stretch of time in decimal hours, at least 0.0001 (a timer that ran has run)."""
    microseconds = Decimal(duration // timedelta(microseconds=1))
    return max(round_to_places(microseconds / 1_000_000 / _SECONDS_PER_HOUR), LEAST)


def round_to_places(hours: Decimal) -> Decimal:
    """The same hours with four decimal places, halves rounded up."""
    return hours.quantize(LEAST, ROUND_HALF_UP)


def same(one: Decimal | None, other: Decimal | None) -> bool:
    """Whether two hours may be the same stretch of time: Keito may keep fewer places than were sent."""
    return one is not None and other is not None and abs(one - other) <= _KEPT_EXACTLY


def text(hours: Decimal) -> str:
    """Hours as people write them, without zeros at the end: 1.5, 0.0001, 10."""
    return f"{hours.normalize():f}"
