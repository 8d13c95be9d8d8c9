"""What the commands say, and how they show that they are at work."""

import sys
from datetime import datetime

from keito_mcp.journal import Write
from keito_mcp.keito import AuthenticationFailed, KeitoError
from keito_mcp.server.shown import on_one_line, shown
from keito_mcp.timesheet.pending import Pending
from keito_mcp.timesheet.waiting import is_away, unreachable


def say(text: str) -> None:
    """Say a result, on stdout."""
    sys.stdout.write(f"{shown(text)}\n")
    sys.stdout.flush()


def say_aside(text: str) -> None:
    """Say something that isn't the result, on stderr."""
    sys.stderr.write(f"{shown(text)}\n")
    sys.stderr.flush()


def answer(question: str) -> str:
    """Ask on stderr, and return the line that is answered."""
    sys.stderr.write(shown(question))
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def agrees(question: str) -> bool:
    """Ask a person at a terminal; where nobody can be asked, the answer is no."""
    if not sys.stdin.isatty():
        say_aside(f"{question} Say so with --yes; nobody can be asked here.")
        return False
    return answer(f"{question} [y/N] ").lower() in {"y", "yes"}


class Progress:
    """One line on a terminal that is written over; nothing where nobody watches."""

    def __init__(self) -> None:
        self._watched = sys.stderr.isatty()
        self._length = 0

    def show(self, text: str) -> None:
        """Put this in place of what stands there."""
        if self._watched:
            text = on_one_line(text)
            sys.stderr.write(f"\r{text.ljust(self._length)}")
            sys.stderr.flush()
            self._length = len(text)

    def end(self) -> None:
        """Clear the line."""
        if self._watched and self._length:
            sys.stderr.write(f"\r{' ' * self._length}\r")
            sys.stderr.flush()


def reason(error: Exception) -> str:
    """What kept a command from its work, as a sentence for a person."""
    if isinstance(error, AuthenticationFailed):
        return f"{unreachable(error)} Check KEITO_API_KEY, and KEITO_ACCOUNT_ID for a key that begins with kto_."
    if isinstance(error, KeitoError) and is_away(error):
        return unreachable(error)
    text = str(error)
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def table(rows: list[list[str]]) -> str:
    """Rows under each other in columns; the first row is the heading."""
    rows = [[on_one_line(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def local(moment: datetime) -> str:
    """A moment by the clock on the wall."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def of_write(write: Write | Pending) -> dict[str, object]:
    """A write that waits or was refused, for programs."""
    return {
        "kind": write.kind,
        "entry": write.entry_id or write.entry_key,
        "state": write.state,
        "since": write.sent.wall.isoformat(timespec="seconds"),
        "sent": write.sends,
        "why": write.reason,
    }


def line(write: Write | Pending) -> str:
    """The same for people."""
    sent = {0: "never sent", 1: "sent once"}.get(write.sends, f"sent {write.sends} times")
    why = f": {write.reason}" if write.reason else ""
    return f"{write.kind} of {write.entry_id or write.entry_key}, {sent}, since {local(write.sent.wall)}{why}"
