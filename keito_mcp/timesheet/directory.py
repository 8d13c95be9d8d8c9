"""Keito's lists of projects and tasks, kept for a while: one directory for each account."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import anyio

from keito_mcp.clock import Clock, Instant
from keito_mcp.keito import KeitoApi, Unreachable
from keito_mcp.timesheet.candidates import Kind, Named

PATIENCE = 5.0
"""Seconds that a call waits for a list: time can be recorded without it."""

MOST_ACCOUNTS = 64
"""The accounts whose lists are kept at a time."""


@dataclass(frozen=True, slots=True)
class _Listed:
    known: Sequence[Named]
    at: Instant


class Directory:
    """What there is in one account. It keeps no key: who asks brings the API."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is known yet."""
        self._clock = clock
        self._lists: dict[Kind, _Listed] = {}
        self._lock = anyio.Lock()

    async def list(self, kind: Kind, api: KeitoApi, age: timedelta) -> Sequence[Named]:
        """All active ones of a kind, in Keito's order.

        Args:
            kind: Projects or tasks.
            api: Where they are fetched, unless they are known.
            age: How old what is known may be.

        Raises:
            KeitoError: They can't be had, or not in a few seconds.
        """
        with anyio.move_on_after(PATIENCE):
            # Calls that are made at once fetch a list once.
            async with self._lock:
                listed = self._lists.get(kind)
                if listed is None or self._age(listed) > age:
                    all_ = await (api.projects() if kind is Kind.PROJECT else api.tasks())
                    active = tuple(Named.of(one) for one in all_ if one.is_active is not False)
                    listed = self._lists[kind] = _Listed(active, self._clock.now())
                return listed.known
        raise Unreachable(f"no list of {kind}s within {PATIENCE:g} s", nothing_written=True)

    def last(self, kind: Kind) -> Sequence[Named]:
        """What was known last, however old it is; empty where nothing ever was."""
        listed = self._lists.get(kind)
        return listed.known if listed else ()

    def _age(self, listed: _Listed) -> timedelta:
        now = self._clock.now()
        # One of the two clocks may have stood still, or have been set back.
        return max(now.wall - listed.at.wall, timedelta(seconds=now.monotonic - listed.at.monotonic))


class Directories:
    """The directories of all accounts; those that were not asked for the longest time are forgotten."""

    def __init__(self, clock: Clock) -> None:
        """There are none yet."""
        self._clock = clock
        self._of: OrderedDict[str, Directory] = OrderedDict()

    def of(self, account: str) -> Directory:
        """The directory of an account, by its name."""
        directory = self._of.setdefault(account, Directory(self._clock))
        self._of.move_to_end(account)
        while len(self._of) > MOST_ACCOUNTS:
            self._of.popitem(last=False)
        return directory
