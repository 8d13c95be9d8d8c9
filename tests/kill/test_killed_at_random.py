"""Servers that are killed at any moment, again and again, over one journal."""

import os
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta
from random import Random
from typing import Any

import anyio
import pytest

from tests.kill.machine import Agent, Dead, Machine
from tests.profile import profile

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name != "posix", reason="the signals of POSIX"),
]

_SEED = 20260306
_FIRST_CALL = 0.5
_LATER_CALL = 0.06
"""Seconds within which a call is answered, more or less; the first one imports what it needs."""

_DISCARDS = 0.15
"""The share of the calls that throw away all work so far; in the first half, so that something is left to count."""

_FAULTS: list[dict[str, Any]] = [
    {"method": "POST", "cut_after": True},
    {"method": "POST", "cut_before": True, "times": 3},
    {"method": "POST", "status": 503, "times": 3},
    {"method": "PATCH", "cut_after": True},
    {"method": "PATCH", "status": 500, "commit": True},
    {"method": "GET", "status": 502, "times": 3},
    {"method": "POST", "delay": 0.05},
    {"method": "DELETE", "cut_after": True},
    {"method": "DELETE", "status": 503, "times": 2},
    {"method": "POST", "late_commit": True},
]

Call = tuple[str, str | None, dict[str, Any]]


class Life:
    """An agent that works, whatever becomes of its servers; what got no answer it sometimes asks for again."""

    def __init__(self, machine: Machine, random: Random) -> None:
        self.machine = machine
        self.random = random
        self.outcomes: Counter[str] = Counter()
        self._unanswered: Call | None = None
        self._calls = 0
        self._discards = 0.0

    async def live(self, times: int) -> None:
        """One server after the other; the next one is started while the last one works, to save the tests' time."""
        async with AsyncExitStack() as servers:
            agent = await servers.enter_async_context(self.machine.server())
            for number in range(times):
                self._discards = _DISCARDS if number < times / 2 else 0.0
                successor = await servers.enter_async_context(self.machine.server())
                await self._until_it_is_killed(agent)
                agent = successor

    async def _until_it_is_killed(self, agent: Agent) -> None:
        await agent.wire.greet()
        answered = self.random.randint(0, 4)
        for _ in range(answered):
            await self._answered(agent, self._next())
        call = self._next()
        number = await agent.begin(call[0], call[1], **call[2])
        await anyio.sleep(self.random.uniform(0, _LATER_CALL if answered else _FIRST_CALL))
        await agent.kill()
        try:
            await agent.hear(call[0], call[1], number)
            self.outcomes["answered before the end"] += 1
        except Dead:
            self._unanswered = call
            self.outcomes["unanswered"] += 1
        await agent.close()

    async def _answered(self, agent: Agent, call: Call) -> None:
        answer = await agent.call(call[0], call[1], **call[2])
        self.outcomes[answer.get("status", "discarded") if answer else "refused"] += 1
        self._unanswered = None

    def _next(self) -> Call:
        again, self._unanswered = self._unanswered, None
        if again is not None and self.random.random() < 0.5:
            return again
        if self.random.random() < 0.4:
            self.machine.keito.fails(**self.random.choice(_FAULTS))
        self.machine.pass_time(timedelta(seconds=self.random.choice([1, 20, 130, 900, 2700])))
        self._calls += 1
        if self.random.random() < self._discards:
            return "discard_session", None, {}
        op = f"op-{self._calls}"
        tool = self.random.choice(["log_time", "log_time", "start_timer", "start_timer", "stop_timer"])
        if tool == "log_time":
            return tool, op, {"hours": self.random.choice([0.25, 0.5, 1.0, 1.75])}
        if tool == "start_timer":
            return tool, op, {"replace_running": True}
        return tool, None, {}


async def test_however_often_its_server_is_killed_what_an_agent_was_answered_for_is_in_keito_exactly_once(
    machine: Machine,
) -> None:
    seed = int.from_bytes(os.urandom(4)) if profile().is_random else _SEED
    life = Life(machine, Random(seed))  # noqa: S311 -- it must be repeatable
    async with machine.deliverer():
        await life.live(profile().kills)
        tally = await machine.run_dry()
    print(f"{profile().kills} kills: {tally}; {dict(life.outcomes)}, seed {seed}")  # noqa: T201
    assert tally.is_clean, f"seed {seed}: {tally}"
    assert machine.waiting() == 0
