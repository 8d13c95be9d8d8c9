"""Where state lives: one answer for the server, the command line and the hooks.

Standard library only, and little of it: a hook reads this with each event. The folder is found from the home
directory alone, because some hosts start their servers without `XDG_*` variables and the server and the hook of one
user must agree.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STATE_DIR_VARIABLE = "KEITO_STATE_DIR"
RELATIVE = "must be an absolute path, for another one lies in whatever project an agent works in"
_FOLDER = "keito-mcp"


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds the journal: `KEITO_STATE_DIR`, else the platform's per-user state folder.

    Raises:
        RuntimeError: It isn't set, and no home folder is known; or it is no absolute path, and would be another folder
            in each project, brought along by whoever made that.
    """
    from pathlib import Path

    return Path(state_folder(environ))


def state_folder(environ: Mapping[str, str] = os.environ) -> str:
    """The same as text; raises as `state_dir` does."""
    chosen = environ.get(STATE_DIR_VARIABLE, "").strip()
    folder = os.path.expanduser(chosen or os.path.join("~", *_in_the_home(sys.platform)))
    if folder.startswith("~"):
        raise RuntimeError("Could not determine home directory.")
    if not os.path.isabs(folder):
        raise RuntimeError(f"{STATE_DIR_VARIABLE} {RELATIVE}: {chosen}")
    return folder


def make_private(folder: str) -> None:
    """Make a folder for this user alone, and close one that is there to all others.

    Raises:
        PermissionError: It belongs to another user, or is a link of theirs.
        OSError: It can't be made.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    found = os.stat(folder)
    if is_foreign(found) or is_foreign(os.lstat(folder)):
        raise PermissionError(errno.EPERM, "it belongs to another user", folder)
    if is_open(found):
        try:
            os.chmod(folder, found.st_mode & 0o700)
        except OSError:
            # Some file systems keep no rights at all, and that is no reason not to work there.
            pass


def is_foreign(found: os.stat_result) -> bool:
    """Return whether a file or folder belongs to another user."""
    return sys.platform != "win32" and found.st_uid != os.geteuid()


def is_open(found: os.stat_result) -> bool:
    """Return whether a file or folder is open to other users, and not by being made to be shared, as `/tmp` is."""
    return sys.platform != "win32" and bool(found.st_mode & 0o077) and not found.st_mode & stat.S_ISVTX


def _in_the_home(platform: str) -> tuple[str, ...]:
    if platform == "win32":
        return ("AppData", "Local", _FOLDER)
    if platform == "darwin":
        return ("Library", "Application Support", _FOLDER)
    return (".local", "state", _FOLDER)


def journal_file(folder: Path) -> Path:
    """The journal's SQLite file in a state folder."""
    return folder / "journal.sqlite3"


def sandbox_file(folder: Path) -> Path:
    """The embedded Keito's SQLite file in a state folder (`--sandbox`)."""
    return folder / "sandbox.sqlite3"
