"""Which repository, branch and revision the work is in, as git itself tells it."""

import os
import re
import subprocess
import time
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import anyio

_PATIENCE = 1.0
"""Seconds that git may take; facts are worth no more."""

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
        try:
            with anyio.fail_after(_PATIENCE):
                result = await anyio.run_process(
                    ["git", "-C", str(self._folder), *arguments],
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    # A host that git started (a hook) would lead git to that host's repository.
                    env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
                    check=False,
                )
        except (OSError, TimeoutError):
            return None
        return result.stdout.decode("utf-8", "replace").strip() if result.returncode == 0 else None


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
