"""The journal's file: its folder, its rights, its schema, and which way of writing is safe there."""

import os
import re
import sqlite3
import time
from pathlib import Path

from keito_mcp.journal.schema import NewerSchema, migrate
from keito_mcp.paths import STATE_DIR_VARIABLE, journal_file

_BUSY_SECONDS = 5.0
_RACE_PAUSE = 0.01
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


class JournalError(Exception):
    """The journal can't be used; the text says why and what to do."""


def open_journal(folder: Path) -> sqlite3.Connection:
    """Open the journal of a state folder, making both where they don't exist, readable by their owner only.

    Raises:
        JournalError: The folder or the file can't be used.
    """
    path = journal_file(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise JournalError(
            f"the state folder {folder} can't be written ({error.strerror}); "
            f"set {STATE_DIR_VARIABLE} to a folder that can"
        ) from error
    try:
        return _prepared(path)
    except sqlite3.Error as error:
        raise JournalError(f"the journal {path} can't be opened ({error})") from error


def _prepared(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        _choose_mode(connection, "WAL" if wal_is_safe(path) else "TRUNCATE")
        migrate(connection)
    except NewerSchema as error:
        connection.close()
        raise JournalError(f"the journal {path} was written by a newer keito-mcp; update this one") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _choose_mode(connection: sqlite3.Connection, mode: str) -> None:
    """Set the journal mode. Where others open a new file just now, SQLite refuses this at once instead of waiting."""
    give_up = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}")
        except sqlite3.OperationalError:
            if time.monotonic() >= give_up:
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
