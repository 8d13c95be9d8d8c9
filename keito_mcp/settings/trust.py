"""Whether a repository's configuration is used: not one that came with the clone, before its user said yes.

A yes is kept in the state folder, for what decides where money goes: the repository, and the account and the project
that its configuration names. A change of these asks again; a change of anything else doesn't.
"""

import contextlib
import json
import logging
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from keito_mcp.identity import git
from keito_mcp.journal import place
from keito_mcp.settings import checkout
from keito_mcp.settings.repository import EMPTY, NAME, Configuration, ConfigurationError

WAITS = (
    f"This repository's {NAME} came with the clone, as far as git tells, and is not used until the user says yes: "
    "keito-mcp trust"
)

_FILE = "trusted.json"
_LARGEST = 1 << 20
_WRITABLE_BY_OTHERS = 0o022

_log = logging.getLogger(__name__)


class TrustError(Exception):
    """A yes can't be kept or taken back; the text says why."""


class Standing(StrEnum):
    """How a project's configuration stands."""

    NONE = "none"
    OWN = "own"
    """Git doesn't track it: its user wrote it."""
    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    """Git tracks it, or can't tell, and its user has not said yes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A project's configuration.

    Attributes:
        root: The folder that holds it; None where there is none.
        says: Its content, whether or not it is used.
        problem: Why the content of an untrusted one isn't known.
    """

    standing: Standing = Standing.NONE
    root: Path | None = None
    says: Configuration = EMPTY
    problem: str | None = None

    @property
    def used(self) -> Configuration:
        """The content that is obeyed: that of an empty file where there is none, or an untrusted one."""
        return self.says if self.standing in {Standing.OWN, Standing.TRUSTED} else EMPTY


@dataclass(frozen=True, slots=True)
class Yes:
    """What a user said yes to: time of this repository's agents may go to this account and project.

    Attributes:
        repository: The real path of its main worktree, which all its worktrees share.
    """

    repository: str
    workspace_id: str | None
    project_id: str | None

    @classmethod
    def to(cls, root: Path, configuration: Configuration) -> Self:
        """The yes that a configuration in a folder needs."""
        return cls(checkout.repository(str(root)), configuration.workspace_id, configuration.project_id)


def find(folder: Path, state: Path) -> Found:
    """Find the configuration of a project folder (see `checkout.find`), and how it stands.

    Args:
        folder: The project's folder.
        state: The state folder, where a yes is kept.

    Raises:
        ConfigurationError: The user's own can't be read, or says something that can't be used.
    """
    at = checkout.find(str(folder))
    if at is None:
        return Found()
    root = Path(at)
    try:
        says = Configuration.read(root)
    except ConfigurationError as error:
        if is_own(at):
            raise
        return Found(standing=Standing.UNTRUSTED, root=root, problem=str(error))
    if says.refused_metadata:
        _log.debug("%s can't set %s in metadata; left out", NAME, ", ".join(says.refused_metadata))
    if Yes.to(root, says) in given(state):
        standing = Standing.TRUSTED
    else:
        standing = Standing.OWN if is_own(at) else Standing.UNTRUSTED
    _log.debug("%s of %s is %s", NAME, root.name, standing)
    return Found(standing=standing, root=root, says=says)


def is_own(root: str) -> bool:
    """Return whether git says for certain that it doesn't track the file; outside of git it is the user's own."""
    top = Path(checkout.root(root))
    if not os.path.lexists(top / ".git"):
        return True
    file = (Path(root) / checkout.CONFIG).relative_to(top)
    # A folder that is a submodule, or a link, is tracked under its own name alone, and brings the file with it.
    return is_listed(top, file) and git.run(top, "ls-files", "--", _pattern(file), _pattern(file.parent)) == ""


def is_listed(folder: Path, name: Path) -> bool:
    """Return whether each part of a name stands in its folder as it is written here, but for the case of ASCII letters.

    Some file systems find a file under other characters, too (`k` is also the Kelvin sign, a joiner counts for
    nothing); git knows it by the name under which it was committed alone.
    """
    try:
        return all(
            # Bytes know the case of ASCII letters only.
            os.fsencode(part.name).lower() in {os.fsencode(at.name).lower() for at in (folder / part.parent).iterdir()}
            for part in (name, *name.parents[:-1])
        )
    except OSError:
        return False


def _pattern(path: Path) -> str:
    """A pathspec for a path in any case, but not for what lies below it, as one without a pattern would be."""
    escaped = re.sub(r"[*?\[\\]", r"\\\g<0>", path.as_posix())
    return f":(icase,glob){escaped[:-1]}[{escaped[-1]}]"


def given(state: Path) -> frozenset[Yes]:
    """Read what the user said yes to; a file that can't be used, or that others may have written, is no yes."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        with os.fdopen(os.open(state / _FILE, flags), "rb") as opened:
            found = os.fstat(opened.fileno())
            if not _is_ours(found):
                _log.warning("%s in the state folder may have been written by others, and is not used", _FILE)
                return frozenset()
            rows = json.loads(opened.read(_LARGEST))
        return frozenset(Yes(**row) for row in rows)
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, TypeError, RecursionError) as error:
        _log.warning("%s in the state folder can't be used: %s", _FILE, error)
        return frozenset()


def _is_ours(found: os.stat_result) -> bool:
    if not stat.S_ISREG(found.st_mode):
        return False
    return sys.platform == "win32" or (found.st_uid == os.geteuid() and not found.st_mode & _WRITABLE_BY_OTHERS)


def give(state: Path, yes: Yes) -> None:
    """Keep a yes; raises `TrustError`."""
    with _kept(state) as file:
        _write(file, given(state) | {yes})


def take_back(state: Path, folder: Path) -> bool:
    """Forget each yes for the repository of a folder, whatever its configuration says; raises `TrustError`.

    Returns:
        Whether there was one.
    """
    repository = checkout.repository(str(folder))
    before = given(state)
    after = frozenset(yes for yes in before if yes.repository != repository)
    if after == before:
        return False
    with _kept(state) as file:
        _write(file, frozenset(yes for yes in given(state) if yes.repository != repository))
    return True


@contextlib.contextmanager
def _kept(state: Path) -> Iterator[Path]:
    """The file, for one process at a time."""
    try:
        place.make_folder(state)
        with place.locked(state / _FILE):
            yield state / _FILE
    except place.ForeignOwner as error:
        raise TrustError(f"Your answer can't be kept: {error}") from error
    except OSError as error:
        why = error.strerror or str(error)
        raise TrustError(f"Your answer can't be kept in {state} ({why}); KEITO_STATE_DIR names another") from error


def _write(file: Path, all_of_them: frozenset[Yes]) -> None:
    rows = [asdict(yes) for yes in sorted(all_of_them, key=lambda yes: (yes.repository, str(yes)))]
    # Made for its owner alone.
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            json.dump(rows, opened, indent=1, ensure_ascii=True)
            opened.flush()
            os.fsync(opened.fileno())
        Path(unfinished).replace(file)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
