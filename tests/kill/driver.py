"""keito-mcp's own stdio server, with a clock that can be moved and a death that can be ordered.

With the argument `dry` it delivers the queue, once it is told a line, until nothing waits, and moves the clock by what
it would wait for. With any other arguments it is the command line, over the same clock and with the same death.

`KILL_OFFSET` is a file with the seconds by which the machine's clocks are moved, `KILL_AT` is `name:n` (the n-th
commit of this name is the last thing that the process does), `KILL_COMMITS` a file for the names of all commits,
`KILL_BEAT` the seconds of a heartbeat.
"""

import os
import signal
import sys
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import NoReturn
from unittest import mock

import anyio

from keito_mcp import cli
from keito_mcp.account import Account
from keito_mcp.clock import Instant, SystemClock
from keito_mcp.keito import Timeouts
from keito_mcp.runtime import Runtime
from keito_mcp.timesheet import Beat, Courier
from keito_mcp.timesheet.courier import RowCourier

NO_RATE = 10**9
MOST_RUNS = 300

_times: Counter[str] = Counter()


class MovedClock:
    """The machine's clocks, both moved by what the file says."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._clock = SystemClock()

    def now(self) -> Instant:
        moved = float(self._file.read_text())
        here = self._clock.now()
        return replace(here, wall=here.wall + timedelta(seconds=moved), monotonic=here.monotonic + moved)

    def move(self, seconds: float) -> None:
        fresh = self._file.with_suffix(f".{os.getpid()}")
        fresh.write_text(str(float(self._file.read_text()) + seconds))
        fresh.replace(self._file)


class UnhurriedAccount(Account):
    """An account with as many requests a minute as it likes: turns are waited for by the machine's clock."""

    def courier(self, requests_a_minute: int) -> Courier | RowCourier:  # noqa: ARG002 -- at any rate
        return super().courier(NO_RATE)


class Unhurried(Runtime):
    """A server in such an account."""

    @cached_property
    def own(self) -> Account:
        return UnhurriedAccount(self, self.settings)


def committed(name: str) -> None:
    """Write a commit down, and die where it was ordered."""
    _times[name] += 1
    if file := os.environ.get("KILL_COMMITS"):
        with Path(file).open("a") as commits:
            commits.write(f"{name}\n")
    if os.environ.get("KILL_AT") == f"{name}:{_times[name]}":
        os.kill(os.getpid(), signal.SIGKILL)


async def run_dry(runtime: Runtime, clock: MovedClock) -> int:
    account = runtime.settings.account
    for _ in range(MOST_RUNS):
        rest = await runtime.own.courier(NO_RATE).run(lambda _: None)
        if not await runtime.overview.unsettled(account):
            await runtime.aclose()
            return 0
        clock.move((rest.seconds or 0) + 1)
    sys.stderr.write(f"still waiting: {await runtime.overview.unsettled(account)}\n")
    return 1


def serve(runtime: Runtime) -> NoReturn:
    # What delivers the queue doesn't wait for these imports.
    from keito_mcp.server.server import build_server  # noqa: PLC0415
    from keito_mcp.transports.stdio import run_stdio  # noqa: PLC0415

    run_stdio(build_server(runtime))


def main() -> int:
    clock = MovedClock(Path(os.environ["KILL_OFFSET"]))
    runtime = Unhurried(
        clock=clock,
        timeouts=Timeouts(attempt=0.5, read=1.0, write=1.5, retry_after=0.3, backoff=0.01),
        on_commit=committed,
        beat=Beat(heartbeat=float(os.environ.get("KILL_BEAT", "60"))),
    )
    if sys.argv[1:] == ["dry"]:
        sys.stdin.readline()
        return anyio.run(run_dry, runtime, clock)
    if arguments := sys.argv[1:]:
        with mock.patch("keito_mcp.runtime.Runtime", return_value=runtime):
            return cli.main(arguments)
    serve(runtime)


if __name__ == "__main__":
    sys.exit(main())
