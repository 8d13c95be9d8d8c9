"""`keito-mcp sync`: bring what waits to Keito now, and say what still waits and why."""

import json
import sys
from dataclasses import dataclass, field

import anyio

from keito_mcp.commands.terminal import Progress, agrees, line, of_write, reason, say, say_aside
from keito_mcp.journal import Queue, Recorded, Write
from keito_mcp.runtime import Runtime
from keito_mcp.sessions.recorder import LEFT
from keito_mcp.timesheet import Delivered, Rest
from keito_mcp.timesheet.pending import Pending
from keito_mcp.waits import KEPT, LEASE, SYNC_RATE

_LONGEST_WAIT = LEASE.total_seconds()
_LONGEST_IN_ALL = 3 * _LONGEST_WAIT
_LOOK_AGAIN = 2.0
"""Seconds between two looks while another process has a write in its hands: it may be done before its lease ends."""


@dataclass(slots=True)
class Report:
    """What a run brought to Keito, and what is left.

    Attributes:
        left: Sessions of which nothing is logged before their user does something.
    """

    delivered: list[Write | Pending] = field(default_factory=list)
    refused: list[Delivered] = field(default_factory=list)
    waiting: list[Write | Pending] = field(default_factory=list)
    left: list[Recorded] = field(default_factory=list)
    problem: str | None = None

    @property
    def all_is_done(self) -> bool:
        """Whether nothing waits any more."""
        return not self.waiting and self.problem is None

    def json(self) -> str:
        """The report for programs."""
        return json.dumps(
            {
                "delivered": [of_write(write) for write in self.delivered],
                "refused": [{**of_write(one.write), "why": one.refused} for one in self.refused],
                "waiting": [of_write(write) for write in self.waiting],
                "sessions_left": [{"session_id": one.session_id, "why": one.said} for one in self.left],
                "problem": self.problem,
            },
            indent=1,
            ensure_ascii=False,
        )

    def text(self) -> str:
        """The report for people."""
        lines = [f"Delivered {len(self.delivered)}, refused {len(self.refused)}, waiting {len(self.waiting)}."]
        lines += [f"Refused  {one.write.kind} of {_name(one)}: {one.refused}" for one in self.refused]
        lines += [f"Waiting  {line(write)}" for write in self.waiting]
        lines += [f"Left     session {one.session_id}: {one.said}" for one in self.left]
        return "\n".join(lines + ([self.problem] if self.problem else []))


def _name(one: Delivered) -> str:
    return one.entry.handle if one.entry else str(one.write.entry_id)


async def sync(runtime: Runtime, *, as_json: bool, adopt: bool, yes: bool) -> bool:
    """Deliver the queue of this account, and say what became of it.

    Args:
        runtime: Its settings say which account.
        as_json: Whether a program reads it.
        adopt: Whether the queues of other accounts are taken over first.
        yes: Whether that needs no asking.

    Returns:
        Whether nothing waits any more.

    Raises:
        SettingsError: A setting can't be used.
        JournalError: The journal can't be used.
    """
    if adopt and not await _adopt(runtime, yes=yes):
        return False
    report = await deliver(runtime)
    say(report.json() if as_json else report.text())
    return report.all_is_done


async def deliver(runtime: Runtime) -> Report:
    """Deliver all that comes due within a minute; what Keito is in the way of ends it.

    Raises:
        SettingsError: A setting can't be used.
        JournalError: The journal can't be used.
    """
    recorder = runtime.own.recorder()
    await recorder.run()
    courier = runtime.own.courier(SYNC_RATE)
    report, progress = Report(), Progress()
    left = len(await _waiting(runtime))

    def told(one: Delivered) -> None:
        if one.refused is not None:
            report.refused.append(one)
        elif one.waits is None and one.write.is_to_be_made:
            report.delivered.append(one.write)
        progress.show(f"Delivered {len(report.delivered)} of {left} …")

    rest = Rest(None)
    with anyio.move_on_after(_LONGEST_IN_ALL):
        while True:
            progress.show(f"Delivering {left} …")
            refused = len(report.refused)
            rest = await courier.run(told)
            if len(report.refused) > refused:
                # What was counted beyond an entry that a person changed goes into another one.
                await recorder.run()
                continue
            if not _worth_waiting(rest) or not await _waiting(runtime):
                break
            progress.show(f"Waiting {rest.seconds:.0f} s for what is in another process's hands or rests …")
            await anyio.sleep(min(rest.seconds or 0, _LOOK_AGAIN))
    progress.end()
    report.waiting = await _waiting(runtime)
    recorded = [session.recorded for session in await runtime.journal.sessions(runtime.settings.account)]
    report.left = [one for one in recorded if one is not None and one.outcome == LEFT]
    if rest.error is not None:
        report.problem = reason(rest.error)
    await runtime.journal.prune(runtime.clock.now().wall - KEPT)
    return report


def _worth_waiting(rest: Rest) -> bool:
    return rest.error is None and rest.seconds is not None and rest.seconds <= _LONGEST_WAIT


async def _waiting(runtime: Runtime) -> list[Write | Pending]:
    """What is to be brought to Keito: neither what is only looked up once more, nor what a running timer holds."""
    writes = await runtime.overview.unsettled(runtime.settings.account)
    return [write for write in writes if write.is_to_be_made]


async def _adopt(runtime: Runtime, *, yes: bool) -> bool:
    """Take over what waits for other accounts, after asking about each."""
    here = runtime.settings
    others = [queue for queue in await runtime.overview.queues() if queue.account != here.account]
    if not others:
        say_aside("No other account has anything waiting here.")
    for queue in others:
        if not yes and not sys.stdin.isatty():
            say_aside(f"{_question(queue, here.account_is)} Say so with --yes; nobody can be asked here.")
            return False
        if yes or await anyio.to_thread.run_sync(agrees, _question(queue, here.account_is)):
            moved = await runtime.overview.adopt(queue.account, here.account)
            say_aside("Moved 1 write." if moved == 1 else f"Moved {moved} writes.")
    return True


def _question(queue: Queue, here: str) -> str:
    writes = "1 write waits" if queue.writes == 1 else f"{queue.writes} writes wait"
    return f"{writes} for {queue.account_is or 'an unknown account'}. Move to {here}? It will be billed there."
