"""Which process it is: how a machine's programs tell one another's work from that of one that is gone."""

import os
import socket
import subprocess
import sys
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Self

from keito_mcp.clock import boot_id

_MOST_ANCESTORS = 16
_PROCESSES = Path("/proc")
# It is there on each system without `/proc`; PATH may lead into a repository.
_EACH_WITH_ITS_PARENT = ("/bin/ps", "-A", "-o", "pid=", "-o", "ppid=")
_UNKNOWN = "-"
_ENDED = "ZX"
"""A zombie, which nobody reaped yet, and one that is dead."""

_AFTER_THE_NAME = 2
_STATE, _PARENT, _START = 3, 4, 22
"""Fields of `/proc/PID/stat`, counted from 1; the name, field 2, may hold spaces and parentheses."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process, told from every other one, also from a later one with the same id."""

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: str

    def __str__(self) -> str:
        return " ".join(str(part) for part in astuple(self))

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The process that `str` wrote; None for another text."""
        try:
            host, boot, namespace, pid, started = text.split(" ")
            return cls(host, boot, namespace, int(pid), started)
        except ValueError:
            return None


@cache
def this_process() -> Process:
    """The process that asks."""
    pid = os.getpid()
    stat = _stat(pid)
    return Process(
        host="".join(socket.gethostname().split()) or _UNKNOWN,
        boot_id=boot_id() or _UNKNOWN,
        pid_namespace=_pid_namespace(),
        pid=pid,
        started=stat[1] if stat else _UNKNOWN,
    )


def is_gone(text: str, here: Process | None = None) -> bool:
    """Whether a process has certainly ended; False also where that can't be seen from here.

    Another host's processes can't be seen, nor those of another container; nor, where `/proc` is missing, empty or
    hides them, that nobody reaped one yet or that a later one has the same id.
    """
    here = here or this_process()
    process = Process.read(text)
    if process is None or (process.host, process.pid_namespace) != (here.host, here.pid_namespace):
        return False
    if process.boot_id != here.boot_id:
        return _UNKNOWN not in {process.boot_id, here.boot_id}
    stat = _stat(process.pid)
    if stat is None:
        return not _exists(process.pid)
    state, started = stat
    return state in _ENDED or process.started not in {started, _UNKNOWN}


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A process that this one descends from.

    Attributes:
        started: When it started, in ticks since the boot; None where that can't be seen.
    """

    pid: int
    started: str | None


def ancestors() -> tuple[Ancestor, ...]:
    """The processes that this one descends from, the nearest first; its parent alone where no more can be seen."""
    found: list[Ancestor] = []
    pid = os.getppid()
    while pid > 0 and len(found) < _MOST_ANCESTORS:
        fields = _fields(pid)
        found.append(Ancestor(pid, fields[_START] if fields else None))
        parent = fields[_PARENT] if fields else _parents().get(str(pid), "0")
        pid = int(parent) if parent.isdecimal() else 0
    return tuple(found)


@cache
def _parents() -> dict[str, str]:
    """Each process's parent, where `/proc` doesn't tell; empty where `ps` doesn't, either."""
    try:
        listed = subprocess.run(  # noqa: S603 -- it runs nothing but the constant above
            _EACH_WITH_ITS_PARENT,
            cwd=os.sep,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=1,
            check=True,
            text=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = [line.split() for line in listed.splitlines()]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}  # noqa: PLR2004 -- a process and its parent


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return _UNKNOWN


def _stat(pid: int) -> tuple[str, str] | None:
    """A process's state and when it started, in ticks since the boot; None where it can't be seen, or is no more."""
    fields = _fields(pid)
    return (fields[_STATE], fields[_START]) if fields else None


def _fields(pid: int) -> dict[int, str] | None:
    """The fields of a process's `stat` by their numbers; None where it can't be seen, or is no more."""
    try:
        stat = (_PROCESSES / str(pid) / "stat").read_text("ascii", "replace")
    except OSError:
        return None
    fields = dict(enumerate(stat.rpartition(")")[2].split(), _AFTER_THE_NAME + 1))
    return fields if _START in fields else None


def _exists(pid: int) -> bool:
    # On Windows signal 0 would end the process.
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
