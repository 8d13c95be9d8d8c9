"""How a server ends: at once. There is no shutdown work, for what matters is in the journal before it is acted on."""

import os
import signal
from threading import Timer
from typing import NoReturn


def end_on_signals() -> None:
    """From now on SIGINT, SIGTERM and SIGHUP end the process at once, like the end of input."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: end())


def end() -> NoReturn:
    """End the process, with exit code 0."""
    os._exit(0)


def end_within(seconds: float) -> None:
    """End the process by then, whatever still holds it."""
    last = Timer(seconds, end)
    last.daemon = True
    last.start()
