"""Writes that wait: why, for how long, and what an agent is told of them."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from keito_mcp.journal import Entry, Settlement, Write, WriteState
from keito_mcp.keito import (
    AuthenticationFailed,
    KeitoError,
    RateLimited,
    ServerFailed,
    TimeEntry,
    UnexpectedAnswer,
    Unreachable,
)
from keito_mcp.server.answers import EntryAnswer, Status
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.waits import FIRST_PAUSE, LONGEST_PAUSE

_MOST_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Waiting:
    """A write that is kept on this machine and delivered later.

    Attributes:
        why: What is in its way, as a sentence.
        seconds: How long it rests now.
        error: What Keito answered, where it is Keito that is in the way.
        beside: The timer in Keito that is in the way of a start, where it can be named.
        is_held: Whether it is a start that is held until its timer stops.
    """

    why: str
    seconds: float = 0.0
    error: KeitoError | None = None
    beside: TimeEntry | None = None
    is_held: bool = False

    @property
    def text(self) -> str:
        """What an agent is told: what happened, what is certain, and what to do."""
        if self.is_held:
            return self.why
        return (
            f"{self.why} It is kept on this machine, and keito-mcp brings it to Keito exactly once, as soon as "
            "that can be done. Don't make this call again."
        )


def is_away(error: KeitoError) -> bool:
    """Whether Keito, or the way to it, is out of order, so that nothing can be asked or told there now."""
    return isinstance(error, Unreachable | RateLimited | ServerFailed | UnexpectedAnswer)


def passes(error: KeitoError) -> bool:
    """Whether what keeps a write from Keito, before it got there, has nothing to do with the write."""
    return isinstance(error, Unreachable | RateLimited)


def holds_up(error: KeitoError, *, promised: bool) -> bool:
    """Whether a write that certainly didn't arrive is to be kept and sent later.

    A key that Keito doesn't accept says nothing about the write: what an agent was told would be made waits for
    the right one.
    """
    return passes(error) or (promised and isinstance(error, AuthenticationFailed))


def pause(attempts: int, error: BaseException | None = None) -> float:
    """The seconds that a write rests after it failed so often before: longer each time, and as Keito asks.

    A Keito that can't be reached is no failure of the write, which goes as soon as Keito is back.
    """
    if isinstance(error, RateLimited) and error.retry_after is not None:
        return error.retry_after
    if isinstance(error, Unreachable) and error.nothing_written:
        attempts = 0
    longest = LONGEST_PAUSE.total_seconds()
    doubled: float = min(FIRST_PAUSE.total_seconds() * 2 ** min(attempts, _MOST_DOUBLINGS), longest)
    # Many servers that lost Keito at the same moment must not come back at the same moment.
    return doubled * random.uniform(0.75, 1.25)  # noqa: S311 -- jitter, not a secret


def queued(known: Entry, waiting: Waiting, body: Mapping[str, Any] | None = None) -> EntryAnswer:
    """What an agent is answered of an entry that isn't in Keito as it should be, yet."""
    given = body or {}
    known = replace(
        known,
        hours=Decimal(str(given["hours"])) if "hours" in given else known.hours,
        notes=given.get("notes", known.notes),
    )
    return EntryAnswer.of(Status.QUEUED, known=known, message=waiting.text)


def unreachable(error: object) -> str:
    """What is said of a Keito that didn't take a write."""
    if isinstance(error, RateLimited):
        return "Keito's rate limit is reached (429)."
    if isinstance(error, AuthenticationFailed):
        return f'Keito doesn\'t accept the key (401): Keito says "{error.message}".'
    return f"Keito can't be reached now ({error})."


async def waits(ledger: Ledger, write: Write, state: WriteState, waiting: Waiting, *, looked: bool = False) -> Waiting:
    """Record that a write waits: in which state, why, and how long it rests; its agent is told so."""
    await ledger.settle_all(
        Settlement(
            at=ledger.clock.now(),
            write_id=write.write_id,
            outcome=state,
            reason=waiting.why,
            looked=looked,
            rest=waiting.seconds,
            is_held=waiting.is_held,
            promised=True,
        )
    )
    return waiting
