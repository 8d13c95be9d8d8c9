"""The journal's place on the disk: a folder and files that are their owner's alone, under names that one lock guards.

SQLite finds the files beside a database by their names: while one is being opened, none may be made or moved. The
database itself is never opened here: closing it would drop the locks that SQLite holds on it for this process.
"""

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from keito_mcp.settings.paths import STATE_DIR_VARIABLE, is_foreign, is_open, journal_file

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl
    import pwd

_PATIENCE_SECONDS = 5.0
_PAUSE = 0.01
_COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database; a hot one belongs to its database's content."""


class ForeignOwner(Exception):
    """The folder or a file in it is another user's; the text says whose and what to do."""


def make_place(folder: Path) -> Path:
    """Make the folder and an empty file in it where they don't exist, for their owner alone.

    Returns:
        Where the file itself lies, if its name in the folder is a link.

    Raises:
        ForeignOwner: The folder or the file belongs to another user.
        OSError: They can't be made.
    """
    make_folder(folder)
    named = journal_file(folder)
    if named.is_symlink():
        _refuse_foreign(named, named.lstat())
    path = Path(os.path.realpath(named))
    try:
        found = path.stat()
    except FileNotFoundError:
        with locked(path):
            make_file(path)
    else:
        _refuse_foreign(path, found)
        if not stat.S_ISREG(found.st_mode):
            raise FileExistsError(errno.EEXIST, f"{path.name} in it is no file")
    return path


def make_folder(folder: Path) -> None:
    """Make the folder where it doesn't exist, for its owner alone.

    Raises:
        ForeignOwner: It belongs to another user.
        OSError: It can't be made.
    """
    _make_folder(folder)
    _refuse_foreign(folder, folder.lstat())
    _close_to_others(folder, folder.stat(), 0o700)


def make_private(path: Path) -> None:
    """Close the file, and what SQLite keeps beside it, to all others; the lock must be held.

    Raises:
        ForeignOwner: One of them belongs to another user.
        OSError: Its owner may not write it.
    """
    for existing in _files(path):
        # SQLite takes its companions away when the last process closes the database.
        with contextlib.suppress(FileNotFoundError):
            _refuse_foreign(existing, existing.lstat())
            _close_to_others(existing, existing.stat(), 0o600)
    # SQLite would open it all the same, and the first write would fail.
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, f"{path.name} in it is read-only")


def identity(path: Path) -> tuple[int, int] | None:
    """Which file a name stands for now; None for none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock over the names of the journal's files.

    Args:
        path: The journal's file.
        shared: Whether they are only relied on, together with others, and not changed.

    Raises:
        OSError: Another process has held it for long, or there is no locking there.
    """
    descriptor = _open_private(path.with_name(f"{path.name}.lock"))
    try:
        _wait_for_lock(descriptor, shared=shared)
        yield
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Give the journal's files another name in their folder; the lock must be held.

    Returns:
        The new name, which no file had.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside, number = path.with_name(f"{path.name}.corrupt-{stamp}"), 1
    while _files(aside):
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    # The database goes first: should this be cut short, what is left has no database and is set aside too.
    for existing in _files(path):
        existing.rename(f"{aside}{existing.name.removeprefix(path.name)}")
    return aside


def make_file(path: Path) -> None:
    """Make an empty database where there is none; the lock must be held."""
    if path.exists():
        return
    if _files(path):
        # SQLite would delete them: they are of a database that is gone, or that was being set aside.
        set_aside(path)
    # Under its own name it is whole at once, and never open here.
    made = path.with_name(f"{path.name}.new")
    os.close(_open_private(made))
    made.replace(path)


def _files(path: Path) -> list[Path]:
    return [Path(name) for ending in ("", *_COMPANIONS) if os.path.lexists(name := f"{path}{ending}")]


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        _make_folder(folder.parent)
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        # Another process made it meanwhile; anything else in its place stays an error.
        if not folder.is_dir():
            raise
    else:
        # The umask may have taken its owner's rights too.
        folder.chmod(0o700)


def _open_private(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    if sys.platform != "win32" and stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:  # noqa: PLR2004 -- rights are octal
        os.fchmod(descriptor, 0o600)
    return descriptor


def _close_to_others(path: Path, found: os.stat_result, rights: int) -> None:
    """Take the group's and the others' rights away, whoever gave them."""
    _refuse_foreign(path, found)
    # The files in a folder that is shared are private all the same.
    if is_open(found):
        # Some file systems keep no rights at all, and that is no reason not to work there.
        with contextlib.suppress(OSError):
            path.chmod(stat.S_IMODE(found.st_mode) & rights)


def _refuse_foreign(path: Path, found: os.stat_result) -> None:
    if sys.platform == "win32" or not is_foreign(found):
        return
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = f"the user with the number {found.st_uid}"
    raise ForeignOwner(
        f"{path} belongs to {owner}, not to the user that keito-mcp runs as; "
        f"set {STATE_DIR_VARIABLE} to a folder of your own"
    )


def _wait_for_lock(descriptor: int, *, shared: bool) -> None:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            if sys.platform == "win32":
                # It knows no shared locks.
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            if time.monotonic() >= give_up:
                raise TimeoutError(error.errno, "another keito-mcp has held its lock for too long") from error
            time.sleep(_PAUSE)
        else:
            return
