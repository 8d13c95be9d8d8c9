"""Two servers on one Keito, each with its own journal, and callers that come now to one and now to the other."""

import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
import mcp
import pytest

from tests.kit import Agent, Answer, Keito, until
from tests.processes import Listener, environment, listening
from tests.serving import connected

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name != "posix", reason="the signals of POSIX"),
]

TOKENS = {"one": "made-up-token-of-team-one", "two": "made-up-token-of-team-two"}
REPLICAS = ("left", "right")


@asynccontextmanager
async def replica(keito: Keito, tmp_path: Path, name: str) -> AsyncIterator[Listener]:
    settings = environment(
        keito,
        KEITO_STATE_DIR=str(tmp_path / f"state-{name}"),
        KEITO_MCP_TOKENS=",".join(TOKENS.values()),
        KEITO_LOG_LEVEL="WARNING",
    )
    async with listening("serve", "--port", "0", env=settings, tmp_path=tmp_path) as server:
        yield server


@dataclass
class Caller:
    """An agent that doesn't know which replica it speaks to, and what it knows of its own time."""

    replicas: list[Agent]
    session: str
    random: random.Random
    timer: tuple[str, str] | None = None
    made: list[str] = field(default_factory=list)
    discarded: set[str] = field(default_factory=set)

    async def call(self, tool: str, **arguments: Any) -> Answer:
        said = {"ai.keito/session_id": self.session, "ai.keito/agent_id": "agent"}
        return await self.random.choice(self.replicas).call(tool, meta=said, **arguments)

    async def step(self, number: int) -> None:
        """Do something, and see that the answer is what one server alone would have given."""
        match self.random.choice(["start", "start again", "replace", "stop", "stop", "log", "log", "list", "discard"]):
            case "start":
                answer = await self.call("start_timer", notes=f"Work {number}")
                if self.timer is not None:
                    assert answer.is_error
                    assert self.timer[0] in answer.text
                    return
                self._runs(answer, f"Work {number}")
            case "start again" if self.timer is not None:
                answer = await self.call("start_timer", notes=self.timer[1])
                assert (answer["status"], answer["id"]) == ("already_running", self.timer[0])
            case "replace" if self.timer is not None:
                answer = await self.call("start_timer", notes=f"Work {number}", replace_running=True)
                self._runs(answer, f"Work {number}")
            case "stop" if self.timer is not None:
                answer = await self.call("stop_timer", hours=0.5)
                assert (answer["status"], answer["id"]) == ("stopped", self.timer[0])
                self.timer = None
            case "log":
                self.made.append((await self.call("log_time", hours=0.25, notes=f"Part {number}"))["id"])
            case "discard":
                discarded = await self.call("discard_session")
                # A replica that made one which the other discarded finds it gone, and counts it once more.
                assert set(self.made) <= set(discarded["discarded"]) <= {*self.made, *self.discarded}
                assert discarded["kept"] == []
                self.discarded |= set(self.made)
                self.made, self.timer = [], None
            case _:
                listed = await self.call("list_entries", session_id="current", limit=200)
                assert {row["id"] for row in listed["entries"]} == set(self.made)

    def _runs(self, answer: Answer, notes: str) -> None:
        assert answer["status"] == "running"
        self.timer = answer["id"], notes
        self.made.append(answer["id"])


@pytest.mark.parametrize("seed", range(3))
async def test_callers_that_switch_between_replicas_have_the_right_timers_and_nothing_twice(
    keito: Keito, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 -- a test's own
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(replica(keito, tmp_path, name)) for name in REPLICAS]
        callers = []
        for token in TOKENS.values():
            headers = {"Authorization": f"Bearer {token}"}
            agents = [
                await stack.enter_async_context(connected(server.url, "http", "auto", headers=headers))
                for server in servers
            ]
            callers += [
                Caller(agents, f"session-{number}", random.Random(chance.random()))  # noqa: S311 -- the same
                for number in range(3)
            ]

        async def work(caller: Caller) -> None:
            for number in range(20):
                await caller.step(number)

        async with anyio.create_task_group() as tasks:
            for caller in callers:
                tasks.start_soon(work, caller)
    entries = {entry["id"]: entry for entry in keito.entries()}
    assert Counter(list(entries)) == Counter(entry_id for caller in callers for entry_id in caller.made)
    running = {entry_id for entry_id, entry in entries.items() if entry["is_running"]}
    assert running == {caller.timer[0] for caller in callers if caller.timer}


async def test_a_replica_that_is_killed_under_load_has_made_each_acknowledged_entry_once(
    keito: Keito, tmp_path: Path
) -> None:
    acknowledged: dict[str, str] = {}
    asked = 0
    async with replica(keito, tmp_path, "left") as left:
        keito.fails("POST", delay=0.05, times=1000)

        async def agent(token: str, number: int) -> None:
            nonlocal asked
            headers = {"Authorization": f"Bearer {token}", "X-Keito-Session-Id": f"session-{number}"}
            with suppress(httpx2.HTTPError, mcp.MCPError, anyio.ClosedResourceError, BaseExceptionGroup):
                async with connected(left.url, "http", "auto", headers=headers) as connection:
                    for part in range(200):
                        asked += 1
                        notes = f"{token}/{number}/{part}"
                        answer = await connection.call("log_time", hours=0.25, notes=notes)
                        acknowledged[notes] = answer["id"]

        async with anyio.create_task_group() as tasks:
            for token in TOKENS.values():
                for number in range(5):
                    tasks.start_soon(agent, token, number)
            await until(lambda: len(acknowledged) > 60, 20)
            left.process.kill()
    assert asked > len(acknowledged), "nothing was in flight when it was killed"

    async with replica(keito, tmp_path, "left") as back:
        for token in TOKENS.values():
            headers = {"Authorization": f"Bearer {token}"}
            async with connected(back.url, "http", "auto", headers=headers) as connection:
                await connection.call("list_entries", limit=1)
    made = Counter(entry["notes"] for entry in keito.entries())
    ids = {entry["notes"]: entry["id"] for entry in keito.entries()}
    assert {notes: ids.get(notes) for notes in acknowledged} == acknowledged
    assert max(made.values()) == 1
