"""Bringing what waits to Keito: one write after the other, each as its kind asks for."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import anyio

from keito_mcp.clock import Clock
from keito_mcp.journal import Claimed, Entry, Journal, Write, WriteKind, WriteState
from keito_mcp.journal.entry import Entry as Row
from keito_mcp.keito import AuthenticationFailed, KeitoError, RateLimited, TimeEntry, Unreachable
from keito_mcp.timesheet import abandoned, changes, creates, deletes
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.pending import Pending
from keito_mcp.timesheet.problem import Problem
from keito_mcp.timesheet.waiting import Waiting

Sleep = Callable[[float], Awaitable[None]]
Told = Callable[["Delivered"], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of one write of the queue.

    Attributes:
        waits: Why it still waits, where it does.
        refused: Why it never will be made, where it was refused.
    """

    write: Write | Pending
    entry: Entry | Row | None
    waits: Waiting | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Rest:
    """How a run of the queue ended.

    Attributes:
        seconds: After so long there may be more to do; None where nothing is left.
        error: What Keito answered, where it is Keito that is in the way.
    """

    seconds: float | None
    error: KeitoError | None = None


async def deliver(ledger: Ledger, claimed: Claimed) -> TimeEntry | Waiting | None:
    """Go on with a claimed write where it stands.

    Returns:
        The entry as Keito shows it; why the write still waits; None where nothing is left to do.

    Raises:
        KeitoError: Keito refused it.
        Problem: A person was there first, and what the person did stays.
        JournalError: What was to be sent couldn't be recorded, so nothing was sent.
    """
    match claimed.write.kind:
        case WriteKind.CREATE if claimed.entry is not None:
            return await creates.deliver(ledger, claimed, claimed.entry)
        case WriteKind.UPDATE:
            return await changes.deliver(ledger, claimed)
        case WriteKind.DELETE:
            return await deletes.deliver(ledger, claimed)
        case _:
            await ledger.settle(claimed.write.write_id, WriteState.DROPPED, "Its entry is unknown.")
            return None


class Runs(Protocol):
    """Delivers what waits for one account, on whichever core."""

    async def run(self, told: Told) -> Rest:
        """Deliver all that may be delivered now."""
        ...


class Courier:
    """Delivers one account's queue. Several may work on it at once: each write is in one's hands at a time."""

    def __init__(self, ledger: Ledger, account: str) -> None:
        """A courier for an account; its ledger's client keeps to the rate that it may use."""
        self._ledger = ledger
        self._account = account

    async def run(self, told: Told) -> Rest:
        """Deliver all that may be delivered now, the oldest first; what Keito is in the way of ends it.

        Before anything else, timers whose sessions are over are stopped at their last sign of life.

        Args:
            told: Told of each write.

        Raises:
            JournalError: The journal can't be used.
        """
        await abandoned.close(self._ledger, await self._ledger.journal.others_timers(self._account, None))
        while True:
            claimed = await self._ledger.journal.claim(self._account, self._ledger.clock.now())
            if not isinstance(claimed, Claimed):
                return Rest(claimed)
            delivered = await self._deliver(claimed)
            told(delivered)
            if delivered.waits is not None and _concerns_all(delivered.waits.error):
                return Rest(delivered.waits.seconds, delivered.waits.error)

    async def _deliver(self, claimed: Claimed) -> Delivered:
        refused: str | None = None
        waits: Waiting | None = None
        try:
            outcome = await deliver(self._ledger, claimed)
            waits = outcome if isinstance(outcome, Waiting) else None
        except (KeitoError, Problem) as error:
            refused = str(error)
            _log.info("A write that waited was refused: %s", refused)
        return Delivered(claimed.write, claimed.entry, waits, refused)


async def deliver_all(couriers: Iterable[Runs], told: Told) -> Rest:
    """Deliver the queues of several accounts that share a key, one after the other; what is in Keito's way ends it.

    Raises:
        JournalError: The journal can't be used.
    """
    soonest: float | None = None
    for courier in couriers:
        rest = await courier.run(told)
        if rest.error is not None:
            return rest
        soonest = min((seconds for seconds in (soonest, rest.seconds) if seconds is not None), default=None)
    return Rest(soonest)


def _concerns_all(error: KeitoError | None) -> bool:
    """Whether what kept one write from Keito keeps every other one from it, too."""
    return isinstance(error, Unreachable | RateLimited | AuthenticationFailed)


async def wait_for_turn(journal: Journal, clock: Clock, account: str, at_most: int, sleep: Sleep = anyio.sleep) -> None:
    """Wait until one more request keeps to the rate: fewer than `at_most` in the last minute."""
    while (seconds := await journal.take_turn(account, clock.now().wall, at_most)) > 0:
        await sleep(seconds)
