"""Find a repository's `.keito/config.yml` upwards from a folder to the git root, and read it without trusting it.

Standard library only, and little of it: a hook asks this with each event. A linked worktree without a file of its own
has its main worktree's.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = os.path.join(".keito", "config.yml")
LONGEST = 65_536
"""Bytes of a file in a repository that are read; a larger one is refused."""

_GIT = ".git"
_LINK = "gitdir:"

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""Flags for `os.open`; Windows has none of them, nor FIFOs in folders."""

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder that this package was imported from."""


def find(folder: str) -> str | None:
    """The folder that holds the `.keito/config.yml` of a project folder; None where there is none.

    Outside of a git repository only the folder itself counts: its parents may be anybody's.
    """
    start = os.path.realpath(folder)
    nearest = None
    for above in _upwards(start):
        if nearest is None and _has_one(above):
            nearest = above
        if os.path.lexists(os.path.join(above, _GIT)):
            main = None if nearest else _main_worktree(above)
            return nearest or (main if main and _has_one(main) else None)
    return start if nearest == start else None


def root(folder: str) -> str:
    """Return the folder's git root, as a real path; the folder itself outside of a repository."""
    start = os.path.realpath(folder)
    return next((above for above in _upwards(start) if os.path.lexists(os.path.join(above, _GIT))), start)


def repository(folder: str) -> str:
    """Return the real path that stands for a folder's repository: its main worktree, which all its worktrees share."""
    top = root(folder)
    return _main_worktree(top) or top


def outside(folder: str, search_path: str) -> list[str]:
    """Return the entries of a search path, such as PATH, into which a project can't have put a program or a module.

    They are absolute, and outside of the project's git root. The entry that this package itself was imported from
    stays, and so does each entry of a project that holds the home folder: nobody else made that.
    """
    project = _as_prefix(root(folder))
    home = os.path.expanduser("~")
    if os.path.isabs(home) and _as_prefix(home).startswith(project):
        project = os.pardir
    return [
        entry
        for entry in search_path.split(os.pathsep)
        if os.path.isabs(entry) and (os.path.normpath(entry) == _OURS or not _as_prefix(entry).startswith(project))
    ]


def read(folder: str, name: str) -> bytes:
    """Return the content of a small regular file in a project's folder.

    Links in the name aren't followed, and nothing is waited for: neither a FIFO's other end nor a device.

    Raises:
        OSError: There is no such file, or it is no small regular one; its `strerror` says why.
    """
    parent, file = os.path.split(name)
    for part in (parent, name) if parent else (name,):
        if os.path.islink(os.path.join(folder, part)):
            raise OSError(errno.ELOOP, f"{os.path.basename(part)} is a link")

    def within(_: str, flags: int) -> int:
        if os.open not in os.supports_dir_fd:
            return regular(os.path.join(folder, name), flags)
        # What lies in a project may be exchanged for a link at any moment.
        directory = os.open(os.path.join(folder, parent), flags | os.O_DIRECTORY | NO_LINK)
        try:
            return regular(file, flags | NO_LINK, directory)
        finally:
            os.close(directory)

    with open(file, "rb", buffering=0, opener=within) as opened:
        content = b""
        while len(content) <= LONGEST and (block := opened.read(LONGEST + 1 - len(content))):
            content += block
    if len(content) > LONGEST:
        raise OSError(errno.EFBIG, f"it is larger than {LONGEST // 1024} KiB")
    return content


def regular(file: str, flags: int, directory: int | None = None) -> int:
    """Open a regular file and wait for nothing: an `opener` for `open`.

    Raises:
        OSError: It can't be opened, or is no regular file; `strerror` says why.
    """
    descriptor = os.open(file, flags | NO_WAITING, dir_fd=directory)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is not a regular file")


def _upwards(folder: str) -> Iterator[str]:
    while True:
        yield folder
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return


def _as_prefix(folder: str) -> str:
    """The real path of a folder, as the paths of all that lies in it begin."""
    return os.path.join(os.path.realpath(folder), "")


def _has_one(folder: str) -> bool:
    """Whether the file is there at all: one that can't be read must not let another project's take its place."""
    return os.path.lexists(os.path.join(folder, CONFIG))


def _main_worktree(folder: str) -> str | None:
    """The main worktree of a linked one, by the file that is its `.git`; None where it isn't a linked one."""
    link = _line(folder, _GIT)
    if not link.startswith(_LINK):
        return None
    # It reads `gitdir: MAIN/.git/worktrees/NAME`. Anybody can write that; the `gitdir` in there names it in turn.
    linked = os.path.realpath(os.path.join(folder, link.removeprefix(_LINK).strip()))
    back = os.path.realpath(os.path.join(linked, _line(linked, "gitdir")))
    common = os.path.dirname(os.path.dirname(linked))
    is_linked = os.path.basename(common) == _GIT and back == os.path.join(folder, _GIT)
    return os.path.dirname(common) if is_linked else None


def _line(folder: str, name: str) -> str:
    """A small file's text; empty for a file that can't be read."""
    try:
        return read(folder, name).decode().strip()
    except (OSError, ValueError):
        return ""
