"""Which repository, branch and revision the work is in, as git itself tells it."""

import os
import re
import stat
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import anyio.to_thread

from keito_mcp.settings import checkout

_PATIENCE = 1.0
"""Seconds that git may take; facts are worth no more."""

_LONGEST = 65_536
"""Bytes of an answer that are believed."""

_OBEYS_NOTHING = (
    "--no-pager",
    "--no-replace-objects",
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "safe.bareRepository=explicit"),
)
_STARTS_NOTHING = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    # No transport is allowed.
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_TERMINAL_PROMPT": "0",
}

_SCP_ADDRESS = re.compile(r"(?:[^@/\\]+@)?[^:/\\]{2,}:(?!//)([^\\]+)")


class Repository:
    """The git facts of a folder, read again only when HEAD or its log changed."""

    def __init__(self, folder: Path, *, fresh: float = 1.0) -> None:
        """The facts of a folder; for `fresh` seconds they are taken without looking again."""
        self._folder = folder
        self._fresh = fresh
        self._git_dir: Path | None = None
        self._stamp: tuple[int, ...] | None = None
        self._facts: dict[str, str] = {}
        self._checked = 0.0

    async def facts(self) -> dict[str, str]:
        """`repository`, `git_branch` and `git_rev`, each where it is known; none outside of a repository."""
        if self._facts and time.monotonic() - self._checked < self._fresh:
            return self._facts
        stamp = await anyio.to_thread.run_sync(self._read_stamp)
        self._checked = time.monotonic()
        if stamp is None or stamp != self._stamp:
            self._facts = await self._ask()
            self._stamp = stamp or await anyio.to_thread.run_sync(self._read_stamp)
        return self._facts

    def _read_stamp(self) -> tuple[int, ...] | None:
        if self._git_dir is None:
            return None
        try:
            return tuple((self._git_dir / name).stat().st_mtime_ns for name in ("HEAD", "logs/HEAD"))
        except OSError:
            return None

    async def _ask(self) -> dict[str, str]:
        """Ask git about HEAD, and for the address that names the repository."""
        place = await self._git("rev-parse", "--absolute-git-dir", "--show-toplevel")
        if place is None:
            return {}
        git_dir, _, top = place.partition("\n")
        self._git_dir = Path(git_dir)
        facts = {}
        remote = await self._git("config", "--get", "remote.origin.url")
        if name := _name(remote) or Path(top).name:
            facts["repository"] = name
        if branch := await self._git("symbolic-ref", "--short", "-q", "HEAD"):
            facts["git_branch"] = branch
        if revision := await self._git("rev-parse", "--short=12", "-q", "--verify", "HEAD"):
            facts["git_rev"] = revision
        return facts

    async def _git(self, *arguments: str) -> str | None:
        ask = partial(run, self._folder, *arguments)
        return await anyio.to_thread.run_sync(ask, abandon_on_cancel=True)


def run(folder: Path, *arguments: str) -> str | None:
    """Return what git prints about a folder, stripped; None where it fails, is missing or takes too long.

    The repository may be anybody's. The git that runs is one that the repository can't have brought along, and it
    starts nothing that the repository's configuration names: no hook, no file system monitor, no pager, no transport.
    It obeys no `GIT_*` variable, takes no embedded bare repository for one, and writes nothing. This holds for commands
    that look at names and objects, such as `rev-parse`, `config --get` and `ls-files`; not for `status` or `diff`,
    which run the filters that a repository chooses.
    """
    path = checkout.outside(str(folder), os.environ.get("PATH", os.defpath))
    program = _program(path)
    if program is None or _would_wait(folder):
        return None
    # A host that git started (a hook) would lead git to that host's repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 -- the callers' own commands
            [program, *_OBEYS_NOTHING, "-C", str(folder.absolute()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=os.sep,
            env={**environment, "PATH": os.pathsep.join(path), **_STARTS_NOTHING},
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    is_usable = done.returncode == 0 and len(done.stdout) <= _LONGEST
    return done.stdout.decode("utf-8", "replace").strip() if is_usable else None


def _would_wait(folder: Path) -> bool:
    """Return whether git would wait for what stands in place of one of its files, such as a FIFO.

    It would still wait when its caller was gone.
    """
    top = Path(checkout.root(str(folder)), ".git")
    for file in (top, *(top / name for name in ("HEAD", "config", "index", "packed-refs"))):
        try:
            mode = file.stat().st_mode
        except OSError:
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return True
    return False


def _program(path: list[str]) -> str | None:
    """The first git in these folders."""
    found = (Path(folder, "git.exe" if sys.platform == "win32" else "git") for folder in path)
    return next((str(file) for file in found if os.access(file, os.X_OK) and file.is_file()), None)


def _name(remote: str | None) -> str | None:
    """`owner/name` out of a remote's address, without a host, a user or a secret."""
    if not remote:
        return None
    if match := _SCP_ADDRESS.fullmatch(remote):
        path = match[1]
    elif (parts := _address(remote)) and parts.netloc and parts.scheme != "file":
        path = parts.path
    else:
        return None
    # The last two parts name a repository everywhere; what stands before them may be a server's folders.
    return "/".join(path.strip("/").removesuffix(".git").split("/")[-2:]) or None


def _address(remote: str) -> SplitResult | None:
    try:
        return urlsplit(remote)
    except ValueError:
        return None
