"""Show the rows of this machine as sessions, with what waits for them and what was left to a person.

Nobody's key is needed for that: no step is taken here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property, partial

from keito_mcp.clock import Clock
from keito_mcp.journal import Journal, Owner, Recorded
from keito_mcp.journal.accounts import Queue
from keito_mcp.journal.protocol import Rows
from keito_mcp.keito.api import Traits
from keito_mcp.timesheet.logged import Logged
from keito_mcp.timesheet.pending import Pending, pending, refused
from keito_mcp.timesheet.step import seconds_left

_ANY = Traits(requires_task=False, computes_hours=False, one_timer_per_user=False, lists_projects=False)
"""What is still to be made of an entry is the same in each version of the API."""


@dataclass(slots=True, kw_only=True)
class RowsOfSession:
    """One session of an account.

    Attributes:
        seen_at: Its last sign of life; of one without, its last change.
        waiting: What is still to be delivered.
        refused: What was to be made, and Keito or a person refused.
        recorded: What became of the time that its host's events tell of.
    """

    session_id: str
    seen_at: datetime
    entries: list[Logged] = field(default_factory=list)
    waiting: list[Pending] = field(default_factory=list)
    refused: list[Pending] = field(default_factory=list)
    recorded: Recorded | None = None

    @property
    def running(self) -> list[Logged]:
        """Return the timers that run."""
        return [entry for entry in self.entries if entry.runs]

    @property
    def hours(self) -> Decimal:
        """Return the decimal hours of what wasn't thrown away, as they will stand once all is delivered."""
        return sum((entry.hours for entry in self.entries if entry.is_wanted), Decimal(0))


class RowOverview:
    """The rows of one journal, to be looked at. Each method raises `JournalError` where it can't be read."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        """Nothing is read yet."""
        self._journal = journal
        self._clock = clock

    async def sessions(self, account: str) -> list[RowsOfSession]:
        """Return the sessions of an account, the one that lived last first."""
        now = self._clock.now()
        found: dict[str, RowsOfSession] = {}
        for entry in await self._rows.of_account(account):
            if entry.copy_of is not None:
                continue
            logged, session = Logged.of(entry), entry.owner.session_id
            overview = found.setdefault(session, RowsOfSession(session_id=session, seen_at=logged.changed_at))
            overview.entries.append(logged)
            overview.seen_at = max(overview.seen_at, logged.changed_at)
            if (waits := pending(entry, now, _ANY)) is not None:
                overview.waiting.append(waits)
            overview.refused += refused(entry)
        for recorded in await self._journal.recordings.recorded(account):
            session, at = recorded.session_id, recorded.recorded_at
            found.setdefault(session, RowsOfSession(session_id=session, seen_at=at)).recorded = recorded
        for session, seen_at in await self._journal.signs(account):
            if session in found:
                found[session].seen_at = seen_at
        return sorted(found.values(), key=lambda session: session.seen_at, reverse=True)

    async def unsettled(self, account: str) -> Sequence[Pending]:
        """Return what is still to be made in an account, oldest first."""
        now = self._clock.now()
        found = (pending(entry, now, _ANY) for entry in await self._rows.pending(account))
        return [one for one in found if one is not None]

    async def open_timer(self, owner: Owner) -> Logged | None:
        """Return the owner's timer that runs, or should."""
        entry = await self._rows.open_timer(owner)
        return Logged.of(entry) if entry else None

    async def queues(self) -> list[Queue]:
        """Return the accounts for which something waits."""
        found = []
        for account, account_is in await self._journal.described_accounts():
            waiting = [one for one in await self.unsettled(account) if one.is_to_be_made]
            if waiting:
                found.append(Queue(account, account_is, len(waiting)))
        return found

    async def adopt(self, old: str, new: str) -> int:
        """Move what waits for one account to another; return how many entries moved."""
        keys = [one.entry_key for one in await self.unsettled(old)]
        return await self._rows.adopt(old, new, keys, self._clock.now())

    @cached_property
    def _rows(self) -> Rows:
        return self._journal.rows(partial(seconds_left, traits=_ANY))
