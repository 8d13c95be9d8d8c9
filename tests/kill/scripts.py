"""What an agent does while its server is killed: together these calls go through every step of a write."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import anyio

from tests.kill.machine import Agent, Machine
from tests.processes import PATIENCE

Script = Callable[[Machine, Agent], Awaitable[None]]

_LATER = timedelta(minutes=15)


async def work(machine: Machine, agent: Agent) -> None:
    """Log, start, stop and correct; then the same offline, delivered in the background."""
    keito = machine.keito
    logged = await agent.log("a", 0.5)
    await agent.call("start_timer", "timer")
    machine.pass_time(_LATER)
    await agent.call("stop_timer")
    if logged is not None:
        await agent.correct("a", logged["id"], 0.75)
    async with keito.away():
        await agent.log("b", 1.25)
        await agent.call("start_timer", "offline timer")
        machine.pass_time(_LATER)
        await agent.call("stop_timer")
    await come_back(machine, agent)


async def lost_answers(machine: Machine, agent: Agent) -> None:
    """A create and a change that get no answer: looked up, sent again, looked up once more."""
    keito = machine.keito
    await agent.call("start_timer", "timer")
    machine.pass_time(_LATER)
    for method in ("POST", "PATCH"):
        keito.fails(method, cut_before=True, times=50)
    await agent.log("a", 0.5)
    await agent.call("stop_timer")
    keito.faults.clear()
    await come_back(machine, agent)


async def discard(machine: Machine, agent: Agent) -> None:
    """Discard what is in Keito, and, offline, what is there and what isn't."""
    keito = machine.keito
    await agent.log("a", 0.5)
    await agent.call("start_timer", "timer")
    await agent.call("discard_session")
    await agent.log("b", 0.25)
    async with keito.away():
        await agent.log("c", 1.25)
        await agent.call("discard_session")
    await come_back(machine, agent)


async def refusal(machine: Machine, agent: Agent) -> None:
    """Work that was accepted offline, and that Keito refuses: its agent is told."""
    async with machine.keito.away():
        await agent.log("a", 0.5, project_id="prj_forbidden")
    machine.book.asked["a"].refused = True
    await come_back(machine, agent)
    await agent.log("b", 0.5)


async def heir(machine: Machine, agent: Agent) -> None:
    """The first call after another session's server was killed while its timer ran."""
    await agent.log("a", 0.5)
    await agent.call("start_timer", "timer")
    await agent.call("list_entries")
    await agent.until(lambda: machine.commits.read_text().count("beat"))


async def come_back(machine: Machine, agent: Agent) -> None:
    """Keito can be reached again, and time passes until nothing waits any more."""
    with anyio.fail_after(PATIENCE):
        while machine.waiting():
            machine.pass_time(timedelta(minutes=2))
            await agent.call("list_entries")


SCRIPTS: dict[str, Script] = {one.__name__: one for one in (work, lost_answers, discard, refusal, heir)}
