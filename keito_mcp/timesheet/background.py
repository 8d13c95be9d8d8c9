"""What a server does by itself once it had its first call: signs of life, and delivering what waits."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from keito_mcp.clock import Clock
from keito_mcp.journal import Journal, JournalError
from keito_mcp.keito import RateLimited
from keito_mcp.timesheet.delivery import Rest
from keito_mcp.timesheet.waiting import pause
from keito_mcp.waits import HEARTBEAT, KEPT, LONGEST_PAUSE

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Beat:
    """How often a server looks after itself, in seconds."""

    heartbeat: float = HEARTBEAT.total_seconds()
    after_a_mistake: float = LONGEST_PAUSE.total_seconds()


class Background:
    """The work between the calls, for the accounts of one server."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        deliver: Callable[[], Awaitable[Rest]],
        beat: Beat | None = None,
        left: Callable[[], Awaitable[frozenset[str]]] | None = None,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Nothing runs before `run`.

        Args:
            journal: Where signs of life go.
            clock: Tells when.
            deliver: Delivers what may be delivered now.
            beat: How often.
            left: Tells the sessions that the host was in, and is in no longer.
            prepare: Puts into the queue what is to be delivered by itself.
        """
        self._journal = journal
        self._clock = clock
        self._send = deliver
        self._beat = beat or Beat()
        self._left = left
        self._prepare = prepare
        self._woken = anyio.Event()
        self._failures = 0
        self._not_before = 0.0
        self._pruned = False
        self._idle = False

    def wake(self, *, reached: bool) -> None:
        """Look into the queue now: there may be something new in it, or Keito was just `reached`."""
        if reached and self._idle:
            # Most calls leave nothing behind, and should share the machine with nothing.
            return
        if reached:
            self._failures = 0
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled. Nothing that fails here fails a call."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._again_and_again, self._live)
            tasks.start_soon(self._again_and_again, self._deliver)

    async def _again_and_again(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except JournalError as error:
                _log.info("The journal can't be used in the background: %s", error)
                await anyio.sleep(self._beat.heartbeat)
            except Exception:  # noqa: BLE001 -- a mistake here must not take the tools from an agent
                _log.exception("Delivering in the background failed unexpectedly; the tools go on")
                await anyio.sleep(self._beat.after_a_mistake)

    async def _live(self) -> None:
        await anyio.sleep(self._beat.heartbeat)
        left = await self._left() if self._left else frozenset()
        await self._journal.beat(self._clock.now(), left)
        if not self._pruned:
            # Not sooner: most servers live for a few calls, and no call should wait for this.
            await self._journal.prune(self._clock.now().wall - KEPT)
            self._pruned = True

    async def _deliver(self) -> None:
        self._woken = anyio.Event()
        if self._prepare is not None:
            await self._prepare()
        rest = await self._send()
        self._idle = rest.seconds is None and rest.error is None
        with anyio.move_on_after(self._pause_after(rest)):
            await self._woken.wait()
        await anyio.sleep(max(self._not_before - anyio.current_time(), 0))

    def _pause_after(self, rest: Rest) -> float:
        """How long to wait for the next look, unless something wakes it; others may leave something, too."""
        if isinstance(rest.error, RateLimited):
            self._not_before = anyio.current_time() + (rest.seconds or 0)
        if rest.error is None:
            self._failures = 0
            return min(rest.seconds if rest.seconds is not None else self._beat.heartbeat, self._beat.heartbeat)
        self._failures += 1
        return max(rest.seconds or 0, pause(self._failures))
