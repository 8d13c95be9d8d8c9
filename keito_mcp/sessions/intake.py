"""From the spool into the journal: what hosts' hooks left is taken in, once, and its files are removed."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio.to_thread

from keito_mcp.clock import Clock
from keito_mcp.journal import Journal, TakenIn
from keito_mcp.sessions import events, spool
from keito_mcp.sessions.notes import without_secrets
from keito_mcp.settings import checkout
from keito_mcp.waits import KEPT

_A_CALL_LOOKS_FOR_ITS_FILE = timedelta(minutes=10)
_UNREADABLE_FOR = timedelta(days=1)
_AT_ONCE = 500


class Intake:
    """Takes in what lies in the spool of one state folder."""

    def __init__(self, journal: Journal, clock: Clock, state: Path) -> None:
        """Nothing is read yet."""
        self._journal = journal
        self._clock = clock
        self._folder = Path(spool.folder(state))
        self._left: set[str] = set()

    async def run(self) -> None:
        """Take in all that is there.

        A tool call's file stays for some minutes: the server that serves the call looks for it. One that can't be read
        stays for a day, one that a newer program wrote until that is installed.

        Raises:
            JournalError: What wasn't taken in lies where it was.
        """
        while True:
            found = await anyio.to_thread.run_sync(self._look)
            if not found:
                return
            await self._journal.recordings.take_in(found)
            await anyio.to_thread.run_sync(self._remove, [one.name for one in found])

    def _look(self) -> list[TakenIn]:
        """The next files that are new here."""
        found: list[TakenIn] = []
        try:
            names = sorted(os.listdir(self._folder))  # noqa: PTH208 -- names alone are wanted, and there may be many
        except OSError:
            return found
        self._left &= set(names)
        for name in names:
            if name.startswith(".") or len(found) >= _AT_ONCE:
                continue
            if name in self._left:
                self._remove([name])
            elif (event := self._read(name)) is not None:
                found.append(event)
        return found

    def _read(self, name: str) -> TakenIn | None:
        file = self._folder / name
        row = spool.read(file)
        event = events.event(name, row) if row and row.get("version") == spool.VERSION else None
        if row is None or event is None:
            newer = row is not None and row.get("version") != spool.VERSION
            self._remove_after(file, KEPT if newer else _UNREADABLE_FOR)
            return None
        if isinstance(message := row.get("message"), str):
            row["message"] = without_secrets(message)
        where = row.get("folder")
        root = checkout.find(where) if isinstance(where, str) else None
        return TakenIn(name, str(row["session_id"]), root or "", event.at.wall.timestamp(), row)

    def _remove(self, names: list[str]) -> None:
        for name in names:
            if spool.is_of_a_call(name):
                self._left.add(name)
                self._remove_after(self._folder / name, _A_CALL_LOOKS_FOR_ITS_FILE)
                continue
            try:
                (self._folder / name).unlink(missing_ok=True)
            except OSError:
                # It is taken in, and is tried to be removed with each look.
                self._left.add(name)

    def _remove_after(self, file: Path, age: timedelta) -> None:
        try:
            written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
            if self._clock.now().wall - written > age:
                file.unlink(missing_ok=True)
        except OSError:
            return
