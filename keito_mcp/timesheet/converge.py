"""Bring an entry to what it should be: take the next step, commit its flight, ask Keito, commit the answer, again.

The only place where an entry's steps meet Keito and the journal. Tools, the courier and `keito-mcp sync` all use it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from uuid import NAMESPACE_OID, uuid5

import anyio

from keito_mcp.clock import Clock, Instant
from keito_mcp.journal import JournalError
from keito_mcp.journal.entry import Entry, Observed, Presence
from keito_mcp.journal.protocol import Edit, Lease, Rows
from keito_mcp.journal.rows import Sign
from keito_mcp.keito import KeitoApi, KeitoError, TimeEntry
from keito_mcp.timesheet.answer import Answer, Found, apply, depart, surplus
from keito_mcp.timesheet.asking import ask
from keito_mcp.timesheet.step import LookUpAll, Nothing, Read, Send, Step, Wait, next_step

_log = logging.getLogger(__name__)

_MOST_STEPS = 20
"""More than any entry needs; a table that led in a circle would end here."""

_HELD_ELSEWHERE = Wait(why="Another keito-mcp is sending it just now.", seconds=1.0)
_TIME_IS_UP = Wait(why="No answer came in time.", seconds=0.0)
_UNRECORDED = Wait(why="This machine can't record now what is sent.", seconds=0.0)
_ASKED = Read(why="it is asked how it stands")


@dataclass(frozen=True, slots=True)
class Converged:
    """How a convergence ended.

    Attributes:
        entry: The row as it stands now.
        step: Why it ended: nothing is left to do, or it waits.
        error: The last thing that Keito refused, or that kept it from answering.
        at: The step that it met.
        wrote: Whether a request that writes was sent.
        beside: The timer of the user that runs in its place, where Keito showed it.
    """

    entry: Entry
    step: Wait | Nothing
    error: KeitoError | None = None
    at: Step | None = None
    wrote: bool = False
    beside: TimeEntry | None = None


class _Moved(Exception):
    """The row isn't any more what the step was for: somebody else changed it."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.key)
        self.entry = entry


class Convergence:
    """Brings entries of one account to what they should be, one at a time."""

    def __init__(
        self, rows: Rows, api: KeitoApi, clock: Clock, *, noted: Callable[[Entry, Entry], Entry] | None = None
    ) -> None:
        """Nothing is asked yet.

        Args:
            rows: The rows.
            api: Keito.
            clock: Tells when.
            noted: Adds to an entry after a step what its agent must still be told, by the entry before; without it
                whoever converges tells that itself.
        """
        self._rows = rows
        self._api = api
        self._clock = clock
        self._noted = noted or (lambda _, after: after)

    async def begin(
        self, entry: Entry, deadline: float, *, same_since: datetime | None = None, sign: Sign | None = None
    ) -> Converged | Entry:
        """Add a row and bring it to what it should be; its row and its first flight are one commit.

        Returns:
            How it ended; the row that is in its way, where there is one.

        Raises:
            JournalError: It couldn't be recorded, so nothing was sent.
        """
        now = self._clock.now()
        step = next_step(entry, now, self._api.traits)
        left = depart(entry, step, now) if isinstance(step, Send) else entry
        run = _Run(self, left, deadline)
        with anyio.CancelScope(shield=True):
            in_the_way = await self._rows.add(left, now, same_since=same_since, sign=sign, held=left is not entry)
            if in_the_way is None:
                if isinstance(step, Send):
                    await run.finish(step)
                await run.end()
        return run.ended() if in_the_way is None else in_the_way

    async def converge(
        self,
        entry: Entry,
        deadline: float,
        *,
        change: Edit | None = None,
        look: bool = False,
        held: bool = False,
        sign: Sign | None = None,
    ) -> Converged:
        """Bring a row to what it should be, after a change of what that is.

        The change is committed with the first flight, or at the end, whatever becomes of what Keito is asked before.

        Args:
            entry: The row.
            deadline: When the call's time is up, by anyio's clock.
            change: What is to be different of the row.
            look: Whether to read the entry first, whatever follows.
            held: Whether this process holds the row already, and is to release it.
            sign: A sign of life to be committed with it.

        Raises:
            JournalError: It couldn't be recorded, and nothing was sent.
        """
        run = _Run(self, entry, deadline, change=change, held=held, sign=sign)
        with anyio.CancelScope(shield=True):
            await run.end(look=look)
        return run.ended()


class _Run:
    """One convergence of one entry. It holds what isn't committed yet."""

    def __init__(
        self,
        parts: Convergence,
        entry: Entry,
        deadline: float,
        *,
        change: Edit | None = None,
        held: bool = False,
        sign: Sign | None = None,
    ) -> None:
        self._rows, self._api, self._clock = parts._rows, parts._api, parts._clock  # noqa: SLF001 -- of one module
        self._noted = parts._noted  # noqa: SLF001 -- of one module
        self._deadline = deadline
        self._sign = sign
        self._held = held
        self._base = replace(entry, is_fresh=False, shown=None, persons_change=None)
        self._change: Edit | None = change
        self._answer: Edit | None = None
        self._looks: list[Edit] = []
        self._error: KeitoError | None = None
        self._at: Step | None = None
        self._wrote = False
        self._beside: TimeEntry | None = None
        self._last: Wait | Nothing = _TIME_IS_UP
        self._entry = self._resumed(self._base)

    async def end(self, *, look: bool = False) -> None:
        """Take steps until nothing is left to do, the entry waits, or the time is up; then commit the rest."""
        if look and self._entry.observed is not None and self._entry.in_flight is None:
            await self._look(_ASKED)
        for _ in range(_MOST_STEPS):
            step = next_step(self._entry, self._clock.now(), self._api.traits)
            _log.debug("%s: %s, because %s", self._entry.handle, type(step).__name__, step.why)
            if isinstance(step, Wait | Nothing):
                self._last = step
                break
            if anyio.current_time() >= self._deadline:
                break
            if isinstance(step, Send):
                stopped = await self._send(step)
                if stopped is not None:
                    self._last = stopped
                    break
            else:
                await self._look(step)
        if self._change or self._answer or self._looks or self._sign or self._held:
            await self._commit_the_rest()

    def ended(self) -> Converged:
        """Return how it ended."""
        return Converged(self._entry, self._last, self._error, self._at, self._wrote, self._beside)

    async def _look(self, step: Step) -> None:
        """Take a step that writes nothing in Keito."""
        answer, now = await self._ask(step), self._clock.now()
        self._see(lambda entry: self._applied(entry, step, answer, now))
        if isinstance(answer, Found):
            self._beside = answer.beside
            if isinstance(step, LookUpAll):
                await self._add_surplus(answer, now)

    async def _send(self, step: Send) -> Wait | None:
        """Commit a request as in flight, with all that isn't committed yet, and send it; or return why it waits."""
        now = self._clock.now()

        def left(current: Entry) -> Entry:
            resumed = self._resumed(current)
            if next_step(resumed, now, self._api.traits) != step:
                raise _Moved(current)
            return depart(resumed, step, now)

        try:
            if not await self._commit(left, Lease.TAKE):
                return _HELD_ELSEWHERE
        except _Moved as moved:
            # Somebody else changed what it should be, or sent something: think again, and look again.
            self._looks = []
            self._base = replace(moved.entry, is_fresh=False, shown=None, persons_change=None)
            self._entry = self._resumed(self._base)
            return None
        except JournalError as error:
            if self._answer is None:
                raise
            _log.warning("What should follow could not be recorded, and is made later: %s", error)
            return _UNRECORDED
        self._held = True
        await self.finish(step)
        return None

    async def finish(self, step: Send) -> None:
        """Send a request whose flight is committed; its answer is committed with what follows."""
        self._wrote = True
        answer = await self._ask(step)
        now = self._clock.now()
        self._held = True
        self._answer = lambda entry: self._applied(entry, step, answer, now)
        self._entry = self._answer(self._entry)

    async def _ask(self, step: Step) -> Answer:
        def met(error: KeitoError) -> None:
            self._error, self._at = error, step

        return await ask(self._api, self._entry, step, self._deadline, met)

    async def _commit_the_rest(self) -> None:
        try:
            await self._commit(self._resumed, Lease.RELEASE if self._held else Lease.UNASKED)
        except JournalError as error:
            if self._answer is None:
                raise
            # What Keito did is done; the flight is in the journal, and is looked up.
            _log.warning("An outcome could not be recorded; it will be looked up when it is needed: %s", error)

    async def _commit(self, edit: Callable[[Entry], Entry], lease: Lease) -> bool:
        changed = await self._rows.edit(self._base.key, edit, self._clock.now(), lease=lease, sign=self._sign)
        if changed is None:
            return False
        self._base = self._entry = changed
        self._change = self._answer = self._sign = None
        self._looks = []
        return True

    def _applied(self, entry: Entry, step: Step, answer: Answer, now: Instant) -> Entry:
        return self._noted(entry, apply(entry, step, answer, now))

    def _resumed(self, current: Entry) -> Entry:
        """Return a row as it stands in the journal with what this convergence saw and changed since its last commit.

        What was seen before somebody else sent something says nothing of that.
        """
        seen = replace(
            current, is_fresh=self._base.is_fresh, shown=self._base.shown, persons_change=self._base.persons_change
        )
        looks = self._looks if _flight(current) == _flight(self._base) else []
        edits = [edit for edit in (self._change, self._answer, *looks) if edit is not None]
        return reduce(lambda entry, edit: edit(entry), edits, seen)

    def _see(self, edit: Edit) -> None:
        self._looks.append(edit)
        self._entry = edit(self._entry)

    async def _add_surplus(self, answer: Found, now: Instant) -> None:
        """Add a row for each second copy, to be deleted like any entry that isn't wanted."""
        as_made, changed = surplus(self._entry, answer.copies)
        for copy in as_made:
            await self._rows.add(_surplus_row(self._entry, copy, now), now, held=False)
        for copy in changed:
            said = (
                f"A second copy of entry {self._entry.handle} stands in Keito as {copy.entry_id}; a person changed it."
            )
            self._see(_telling(said))


def _flight(entry: Entry) -> tuple[object, ...]:
    flight = entry.in_flight
    return (entry.handle, entry.generation, *((flight.kind, flight.sent) if flight else ()))


def _telling(said: str) -> Edit:
    return lambda entry: replace(entry, unheard=(*entry.unheard, said))


def _surplus_row(entry: Entry, copy: Observed, now: Instant) -> Entry:
    """Return the row of a second copy. Its key is made of Keito's id, so that the copy has one row."""
    return Entry(
        key=str(uuid5(NAMESPACE_OID, f"{entry.key}\n{copy.entry_id}")),
        owner=entry.owner,
        desired=replace(entry.desired, presence=Presence.ABSENT),
        created=now,
        observed=copy,
        copy_of=entry.key,
    )
