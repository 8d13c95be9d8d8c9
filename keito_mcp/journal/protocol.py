"""The rows of the journal, as the rest of the program asks for them; an engine says how they are kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from keito_mcp.clock import Instant
from keito_mcp.journal.entry import Entry
from keito_mcp.journal.rows import Owner, Sign

Edit = Callable[[Entry], Entry]
"""A change of one row, as a function of what stands there: it may have been changed since it was read."""

SecondsLeft = Callable[[Entry, Instant], float | None]
"""Returns the seconds until something is to be done for an entry, as its row says it.

They are infinite where only an edit brings it on, and None where nothing is left to do. The journal is told so, for it
knows no steps; what it keeps of it is when to look again.
"""


class Lease(StrEnum):
    """Whether an edit takes the row for this process.

    A lease runs out by itself, or with its process; while it lasts, no other process sends anything for the row.
    """

    UNASKED = "unasked"
    TAKE = "take"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Due:
    """What a courier may work on.

    Attributes:
        entry: A row, held by this process; None where none is due.
        seconds: The seconds until one may be due; None where nothing is left to do.
    """

    entry: Entry | None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """A timer that runs although nobody may be there any more.

    Attributes:
        seen: Its session's last sign of life.
        process: The process whose end is the end of the session; None where a server serves many.
    """

    entry: Entry
    seen: Instant
    process: str | None


class Rows(Protocol):
    """One row for each entry. Each method is one transaction and raises `JournalError`; then nothing has changed."""

    async def add(
        self, entry: Entry, now: Instant, *, same_since: datetime | None = None, sign: Sign | None = None, held: bool
    ) -> Entry | None:
        """Add a row, held by this process if asked for.

        In its way stand: a row with its key; one of the same agent with its `fingerprint` that has its `call_id`, was
        made since `same_since`, or isn't settled yet and is of the same day or of the last 12 hours; for a timer, an
        open timer of its owner.

        Returns:
            The row that is in its way; None where it was added.
        """
        ...

    async def edit(
        self, key: str, change: Edit, now: Instant, *, lease: Lease = Lease.UNASKED, sign: Sign | None = None
    ) -> Entry | None:
        """Change a row, in one transaction with reading it; what `change` raises is raised, and nothing has changed.

        Returns:
            The entry as `change` returned it; None where its lease was to be taken and another process holds it, or
            there is no such row.
        """
        ...

    async def find(self, account: str, handle: str) -> Entry | None:
        """Return the row with Keito's id or with this key."""
        ...

    async def open_timer(self, owner: Owner) -> Entry | None:
        """Return the owner's timer that runs, or should."""
        ...

    async def open_timers(self, account: str) -> Sequence[Entry]:
        """Return the timers of an account that run, or should, whoever they are of, oldest first."""
        ...

    async def last_finished(self, owner: Owner) -> Entry | None:
        """Return the owner's timer that was finished last, apart from those that a person changed."""
        ...

    async def of_session(self, account: str, session_id: str) -> Sequence[Entry]:
        """Return the rows of a session, oldest first."""
        ...

    async def pending(self, account: str) -> Sequence[Entry]:
        """Return the rows for which something is left to do, oldest first."""
        ...

    async def due(self, account: str, now: Instant) -> Due:
        """Take the oldest pending row among those that are due and that nobody holds, this process neither.

        Whoever takes one ends its work with an edit that releases it.
        """
        ...

    async def edit_all(
        self,
        edits: Mapping[str, Edit],
        now: Instant,
        *,
        add: Sequence[Entry] = (),
        lease: Lease = Lease.UNASKED,
        discards: tuple[str, str] | None = None,
    ) -> Mapping[str, Entry | None]:
        """Change many rows as `edit` does, by their keys, after adding some that aren't there.

        Args:
            edits: The changes.
            now: When.
            add: Rows to add first.
            lease: As in `edit`; where another process holds a row, that row alone stays as it is.
            discards: An account and its session, that is discarded by this.
        """
        ...

    async def others_timers(self, account: str, session_id: str | None) -> Sequence[Left]:
        """Return the open timers of the account's other sessions."""
        ...

    async def left_behind(self, owner: Owner, *, own_too: bool = False) -> tuple[Sequence[Left], Sequence[Entry]]:
        """Return what a call must see to first: `others_timers`, also its session's if asked for, and rows with news.

        The news are those for this owner.
        """
        ...

    async def close(self, timer: Left, change: Edit, now: Instant) -> Entry | None:
        """Change a timer's row; None where its session gave a sign of life since, or the timer isn't open any more."""
        ...

    async def of_account(self, account: str) -> Sequence[Entry]:
        """Return all rows of an account, oldest first."""
        ...

    async def adopt(self, old: str, new: str, keys: Sequence[str], now: Instant) -> int:
        """Move rows of one account to another; return how many moved."""
        ...

    async def recorded(self, account: str, session_id: str) -> Sequence[Entry]:
        """Return the rows of a session that nobody asked for, oldest first."""
        ...

    async def made_in(self, account: str, session_id: str) -> Sequence[Entry]:
        """Return all rows of a session of a host, whatever the operator calls it, oldest first."""
        ...

    async def counted_otherwise(self, account: str, session_id: str) -> Sequence[Entry]:
        """Return what agents logged themselves in a session of their host, timers that run among it.

        What was recorded of the session under another account, as before its key was changed, is logged, too. Of a
        session whose id was made up nobody knows which of the host's it was: any of them may be this one.
        """
        ...
