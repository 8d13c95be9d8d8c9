"""Bring what waits to Keito: one entry after the other, until nothing is left or Keito is in the way."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

from keito_mcp.journal.entry import Entry
from keito_mcp.keito import AuthenticationFailed, KeitoError, RateLimited, Unreachable
from keito_mcp.timesheet import abandon
from keito_mcp.timesheet.books import Books
from keito_mcp.timesheet.converge import Converged, Convergence
from keito_mcp.timesheet.delivery import Delivered, Rest, Told
from keito_mcp.timesheet.pending import Pending, noted, pending
from keito_mcp.timesheet.step import Wait
from keito_mcp.timesheet.waiting import Waiting

_log = logging.getLogger(__name__)


class RowCourier:
    """Brings one account's entries to what they should be. Several may work at once: each entry is in one's hands."""

    def __init__(self, books: Books, account: str) -> None:
        """A courier for an account; its books' client keeps to the rate that it may use."""
        self._books = books
        self._account = account
        self._convergence = Convergence(books.rows, books.api, books.clock, noted=noted)

    async def waiting(self) -> Sequence[Pending]:
        """Return what is still to be brought to Keito, oldest first.

        Raises:
            JournalError: The journal can't be used.
        """
        entries = await self._books.rows.pending(self._account)
        found = (self._pending(entry) for entry in entries)
        return [one for one in found if one is not None and one.is_to_be_made]

    async def run(self, told: Told) -> Rest:
        """Bring on all that is due, the oldest first; what Keito is in the way of ends it.

        Before anything else, timers whose sessions are over are stopped at their last sign of life.

        Args:
            told: Told of each entry.

        Raises:
            JournalError: The journal can't be used.
        """
        rows = self._books.rows
        await abandon.close(self._books, await rows.others_timers(self._account, None))
        while True:
            due = await rows.due(self._account, self._books.clock.now())
            if due.entry is None:
                return Rest(None if due.seconds is None or math.isinf(due.seconds) else due.seconds)
            brought, error = await self._bring(due.entry)
            if brought is not None:
                told(brought)
            if isinstance(error, Unreachable | RateLimited | AuthenticationFailed):
                return Rest(brought.waits.seconds if brought and brought.waits else 0.0, error)

    async def _bring(self, entry: Entry) -> tuple[Delivered | None, KeitoError | None]:
        before = self._pending(entry)
        with self._books.seeing_it_through() as deadline:
            ended = await self._convergence.converge(entry, deadline, held=True)
        waits = self._waiting(ended)
        refused = _refused(entry, ended.entry)
        if refused is not None:
            _log.info("What waited was refused: %s", refused)
        is_only_looked_for = before is None or not before.is_to_be_made
        if before is None or (is_only_looked_for and waits is None and refused is None):
            return None, ended.error
        return Delivered(before, ended.entry, waits, refused), ended.error if waits is not None else None

    def _waiting(self, ended: Converged) -> Waiting | None:
        if not isinstance(ended.step, Wait):
            return None
        return Waiting(ended.step.why, ended.step.seconds or 0.0, ended.error)

    def _pending(self, entry: Entry) -> Pending | None:
        return pending(entry, self._books.clock.now(), self._books.api.traits)


def _refused(before: Entry, after: Entry) -> str | None:
    """Return why what waited will never be made, as its agent is told."""
    said = noted(replace(before, unheard=()), replace(after, unheard=())).unheard
    if not said:
        return None
    return after.outcome.why if after.outcome is not None and before.outcome is None else after.kept
