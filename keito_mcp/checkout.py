"""Where a repository's `.keito/config.yml` lies: found upwards from a folder to the git root.

Standard library only, and little of it: a hook asks this with each event. A linked worktree without a file of its own
has its main worktree's.
"""

import os

CONFIG = os.path.join(".keito", "config.yml")
_GIT = ".git"
_LINK = "gitdir:"
_DEEPEST = 64
"""Folders that are looked into on the way up."""


def find(folder: str) -> str | None:
    """The folder that holds the `.keito/config.yml` of a project folder; None where there is none.

    Outside of a git repository only the folder itself counts: its parents may be anybody's.
    """
    start = folder = os.path.realpath(folder)
    nearest = None
    for _ in range(_DEEPEST):
        if nearest is None and _has_one(folder):
            nearest = folder
        git = os.path.join(folder, _GIT)
        if os.path.lexists(git):
            main = None if nearest else _main_worktree(git)
            return nearest or (main if main and _has_one(main) else None)
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            break
    return start if nearest == start else None


def _has_one(folder: str) -> bool:
    """Whether the file is there at all: one that can't be read must not let another project's take its place."""
    return os.path.lexists(os.path.join(folder, CONFIG))


def _main_worktree(git: str) -> str | None:
    """The main worktree of a linked one, by the file that is its `.git`; None where it isn't a linked one."""
    try:
        with open(git, encoding="utf-8") as opened:
            link = opened.read(4096).strip()
    except (OSError, ValueError):
        return None
    if not link.startswith(_LINK):
        return None
    # It reads `gitdir: MAIN/.git/worktrees/NAME`.
    linked = os.path.join(os.path.dirname(git), link.removeprefix(_LINK).strip())
    common = os.path.dirname(os.path.dirname(os.path.normpath(linked)))
    return os.path.dirname(common) if os.path.basename(common) == _GIT else None
