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
    """The folder that holds the `.keito/config.yml` of a project folder; None where there is none."""
    folder = os.path.realpath(folder)
    for _ in range(_DEEPEST):
        if os.path.isfile(os.path.join(folder, CONFIG)):
            return folder
        git = os.path.join(folder, _GIT)
        if os.path.exists(git):
            main = _main_worktree(git)
            return main if main is not None and os.path.isfile(os.path.join(main, CONFIG)) else None
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return None
    return None


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
