"""A real Claude Code in a terminal: what a person types there."""

import fcntl
import json
import os
import pty
import signal
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

_ROWS, _COLUMNS = 40, 160
_PATIENCE = 40.0


class Terminal:
    """A program in a terminal of its own, whose screen is read all the time."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._pid, self._screen = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execve(command[0], command, environment)  # noqa: S606 -- the terminal's own program
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self._shown = bytearray()
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError):
            while shown := os.read(self._screen, 65_536):
                self._shown.extend(shown)

    def wait_until_quiet(self, seconds: float = 1.5) -> None:
        """Wait until nothing on the screen changes any more."""
        deadline = time.monotonic() + _PATIENCE
        length, since = -1, time.monotonic()
        while time.monotonic() < deadline:
            if len(self._shown) != length:
                length, since = len(self._shown), time.monotonic()
            elif length and time.monotonic() - since > seconds:
                return
            time.sleep(0.05)
        raise AssertionError("the screen never came to rest")

    def enter(self, text: str) -> None:
        """Type a line and wait for what comes of it."""
        for letter in text:
            os.write(self._screen, letter.encode())
            time.sleep(0.002)
        time.sleep(0.5)
        os.write(self._screen, b"\r")
        self.wait_until_quiet(3)

    def end(self) -> None:
        """See that it is gone."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._screen)


@contextmanager
def terminal(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Terminal]:
    """A terminal with a Claude Code that has been used before, and trusts the folder."""
    key = environment["ANTHROPIC_API_KEY"]
    used = {
        "hasCompletedOnboarding": True,
        "theme": "dark",
        "customApiKeyResponses": {"approved": [key[-20:]], "rejected": []},
        "projects": {str(folder): {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
    }
    (Path(environment["HOME"]) / ".claude.json").write_text(json.dumps(used))
    opened = Terminal(command, folder, {**environment, "TERM": "xterm-256color", "LANG": "C.UTF-8"})
    try:
        opened.wait_until_quiet(3)
        yield opened
    finally:
        opened.end()
