"""Sessions as their hosts' lifecycle events tell them, and what became of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from keito_mcp.clock import Instant


@dataclass(frozen=True, slots=True)
class TakenIn:
    """An event as its hook left it.

    Attributes:
        name: The name of its file: the same event is taken in once.
        root: The folder of the repository's configuration; empty where it has none.
        seen_at: Seconds since 1970, UTC.
    """

    name: str
    session_id: str
    root: str
    seen_at: float
    row: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a session's active time.

    Attributes:
        events: How many of its events that is about.
        outcome: In a word; the sentence of it is `said`.
        is_restored: Whether a person wants it logged although its session failed.
    """

    session_id: str
    account: str
    events: int
    outcome: str
    said: str
    is_restored: bool
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """A session that events tell of, the root of its latest event that has one, and what became of it so far."""

    session_id: str
    root: str
    events: int
    recorded: Recorded | None


@dataclass(frozen=True, slots=True)
class Pause:
    """A moment at which counting in a repository was stopped, or went on."""

    at: Instant
    is_paused: bool
