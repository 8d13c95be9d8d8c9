"""The journal's file: opened, or set aside where it is damaged; and which way of writing is safe where it lies."""

import logging
import os
import re
import shlex
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote_from_bytes

from keito_mcp.journal.damage import PRIMARY_CODE, Damaged, check, look, told_apart
from keito_mcp.journal.place import ForeignOwner, identity, locked, make_file, make_place, make_private, set_aside
from keito_mcp.journal.schema import NewerSchema, migrate
from keito_mcp.settings.paths import STATE_DIR_VARIABLE, journal_file

_BUSY_SECONDS = 5.0
_RACE_PAUSE = 0.01
_TRIES = 3
_OLDEST_SQLITE = (3, 37, 0)
"""The first that reads STRICT tables; older ones take the schema for damage."""

_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_WAITING = "SELECT kind, entry_id, body FROM writes WHERE state NOT IN ('done', 'refused', 'dropped', 'undone')"
"""For a person who looks into a file that was set aside, of whichever version it is."""

_MOUNTS = Path("/proc/self/mounts")
_SHARED_FILE_SYSTEMS = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "fuse",
    "virtiofs",
    "vboxsf",
    "afs",
    "ceph",
    "gluster",
    "lustre",
)
"""Where other machines or kernels may hold the same file: SQLite's WAL needs memory that all of them share."""

_ESCAPED = re.compile(r"\\([0-7]{3})")
_log = logging.getLogger(__name__)


class JournalError(Exception):
    """The journal can't be used; the text says why and what to do."""


class OpenJournal(sqlite3.Connection):
    """A connection that knows which file it opened; the file's name may come to stand for another one."""

    path: Path
    opened: tuple[int, int] | None

    def is_in_place(self) -> bool:
        """Whether the file still has its name: not set aside by another process, nor deleted."""
        return self.opened is not None and identity(self.path) == self.opened


def open_journal(folder: Path, *, suspect: bool = False) -> OpenJournal:
    """Open the journal of a state folder, making both where they don't exist, for their owner alone.

    A damaged file gets another name, with a warning in the log, and a new one takes its place.

    Args:
        folder: The state folder.
        suspect: Whether damage was met in the file, so that all of it is checked first.

    Raises:
        JournalError: The folder or the file can't be used.
    """
    with _in_sentences(folder):
        for _ in range(_TRIES):
            path = make_place(folder)
            try:
                return _opened(path, suspect=suspect)
            except Damaged:
                _set_aside_if_damaged(path)
    raise JournalError(f"the journal {journal_file(folder)} is damaged and stays so; stop keito-mcp and move it away")


def check_journal(folder: Path) -> None:
    """Open the journal like a call does, and let SQLite check all of it. A damaged file stays where it is.

    Raises:
        JournalError: It can't be used, or something is wrong with it.
    """
    with _in_sentences(folder):
        path = make_place(folder)
        try:
            _opened(path, suspect=True).close()
        except Damaged as error:
            raise JournalError(
                f"the journal {path} is damaged (integrity_check: {error}); the call that meets the damage gives the "
                "file another name in its folder and begins a new one, so settle first what still waits in it"
            ) from error


@contextmanager
def _in_sentences(folder: Path) -> Iterator[None]:
    path = journal_file(folder)
    try:
        yield
    except ForeignOwner as error:
        raise JournalError(str(error)) from error
    except NewerSchema as error:
        raise JournalError(f"the journal {path} was written by a newer keito-mcp; update this one") from error
    except OSError as error:
        raise JournalError(
            f"the state folder {folder} can't be written ({error.strerror}); "
            f"set {STATE_DIR_VARIABLE} to a folder that can"
        ) from error
    except sqlite3.Error as error:
        raise JournalError(f"the journal {path} can't be opened ({error})") from error


def _opened(path: Path, *, suspect: bool) -> OpenJournal:
    # While SQLite opens the files beside a database by their names, they must all be the same database's.
    with locked(path, shared=True):
        make_private(path)
        connection = _connected(path)
        try:
            with told_apart():
                look(connection)
                if suspect:
                    check(connection)
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA synchronous = FULL")
                _choose_mode(connection, "WAL" if wal_is_safe(path) else "TRUNCATE")
                migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _connected(path: Path) -> OpenJournal:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise JournalError(f"the journal needs SQLite 3.37 or newer; this Python has {sqlite3.sqlite_version}")
    opened = identity(path)
    # SQLite's name for a drive is /C:/..., and for a share of Windows //server/...
    name = path.absolute().as_posix()
    name = quote_from_bytes(os.fsencode(name if name.startswith("/") else f"/{name}"))
    connection = sqlite3.connect(
        f"file://{name}?mode=rw",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=OpenJournal,
    )
    connection.path, connection.opened = path, opened
    return connection


def _set_aside_if_damaged(path: Path) -> None:
    with locked(path):
        # Another process may have done so before this one had the lock.
        damage = _damage(path)
        if damage is None:
            return
        aside = set_aside(path)
        make_file(path)
    _log.warning(
        "the journal %s is damaged (%s) and was set aside as %s; a new one takes its place. Writes to Keito that were "
        "still waiting in the old one are not delivered. To read them (or .recover in place of the SELECT): %s",
        path,
        damage,
        aside,
        shlex.join(["sqlite3", "-readonly", str(aside), _WAITING]),
    )


def _damage(path: Path) -> str | None:
    try:
        with closing(_connected(path)) as connection:
            look(connection)
            check(connection)
    except Damaged as error:
        return str(error)
    return None


def _choose_mode(connection: sqlite3.Connection, mode: str) -> None:
    """Set the journal mode. Where others open a new file just now, SQLite refuses this at once instead of waiting."""
    give_up = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & PRIMARY_CODE not in _PASSING or time.monotonic() >= give_up:
                raise
            time.sleep(_RACE_PAUSE)
        else:
            return


def wal_is_safe(path: Path, mounts: Path = _MOUNTS) -> bool:
    """Whether the file lies on this machine's own disk, as far as can be seen."""
    resolved = str(path.resolve())
    if resolved.startswith(("\\\\", "//")):
        return False
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return True
    # Of several mounts at one place the last one is seen.
    kind, place = "", ""
    for line in lines:
        _, where, type_, *_ = [*line.split(), "", "", ""]
        where = _ESCAPED.sub(lambda escape: chr(int(escape[1], 8)), where)
        if _contains(where, resolved) and len(where) >= len(place):
            kind, place = type_, where
    return not kind.startswith(_SHARED_FILE_SYSTEMS)


def _contains(place: str, path: str) -> bool:
    return bool(place) and (path == place or path.startswith(place.rstrip("/") + "/"))
