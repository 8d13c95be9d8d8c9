"""Servers that die right after a commit of their journal, and while a request is in flight."""

import os
from collections import Counter
from contextlib import suppress
from datetime import timedelta

import pytest

from tests.kill.commits import MANY_KILLS, MORE_OF_SERVER, SERVER, STEPS
from tests.kill.machine import Dead, Machine
from tests.kill.scripts import SCRIPTS
from tests.kit import until
from tests.processes import gone
from tests.profile import profile

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name != "posix", reason="the signals of POSIX"),
]


async def predecessor(machine: Machine) -> None:
    """A server of another session is killed while its timer runs."""
    async with machine.server("session-0") as agent:
        await agent.call("start_timer", "inherited")
        machine.pass_time(timedelta(minutes=12))
        await agent.call("list_entries")
        await agent.kill()
    machine.pass_time(timedelta(minutes=30))


@pytest.mark.parametrize(("script", "step"), STEPS, ids=[f"{script}-{step}" for script, step in STEPS])
async def test_a_server_that_dies_after_a_commit_loses_nothing_and_doubles_nothing(
    machine: Machine, script: str, step: str
) -> None:
    if script == "heir":
        await predecessor(machine)
    async with machine.server(KILL_AT=step, KILL_BEAT="0.2") as agent, machine.deliverer():
        with suppress(Dead):
            await SCRIPTS[script](machine, agent)
        code, _ = await gone(agent.wire.process)
        tally = await machine.run_dry()
    assert code == -9
    assert tally.is_clean, tally
    assert machine.waiting() == 0


@pytest.mark.skipif(profile().kills < MANY_KILLS, reason="it runs every script to its end")
async def test_the_scripts_make_every_kind_of_commit_that_a_server_makes_and_one_of_each_is_a_step(
    machine: Machine,
) -> None:
    await predecessor(machine)
    for name, script in SCRIPTS.items():
        async with machine.server(f"session-{name}", KILL_BEAT="0.2") as agent:
            await script(machine, agent)
    made = set(machine.commits.read_text().split())
    assert made == {step.partition(":")[0] for _, step in [*SERVER, *MORE_OF_SERVER]}


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"] if profile().kills >= MANY_KILLS else ["POST"])
async def test_a_server_that_is_killed_while_its_request_is_in_flight_loses_nothing_and_doubles_nothing(
    machine: Machine, method: str
) -> None:
    async with machine.server() as agent, machine.deliverer():
        await agent.call("start_timer", "timer")
        machine.pass_time(timedelta(minutes=15))
        machine.keito.fails(method, delay=5)
        tool, op = {"POST": ("log_time", "a"), "PATCH": ("stop_timer", None), "DELETE": ("discard_session", None)}[
            method
        ]
        await agent.begin(tool, op, **({"hours": 0.5} if op else {}))
        # The start was a POST, too.
        await until(lambda: machine.keito.methods.count(method) == 1 + (method == "POST"))
        await agent.kill()
        tally = await machine.run_dry()
    assert tally.is_clean, tally
    sent = Counter(path for made, path in machine.keito.sent if made == method)
    assert set(sent.values()) == {2 if method == "POST" else 1}
