"""Many callers at once: nobody is turned away, and nothing is lost, doubled or given to somebody else."""

from collections import Counter
from pathlib import Path

import anyio
import pytest

from keito_mcp.sandbox import user_of
from tests.kit import TEAM_KEYS, Keito, until
from tests.processes import environment, listening
from tests.serving import connected

pytestmark = pytest.mark.anyio

CALLS_OF_EACH = 25


async def test_500_calls_in_flight_of_20_principals_are_each_made_once(keito: Keito, tmp_path: Path) -> None:
    # Keito holds each of them for as long as it takes until all of them are there.
    keito.fails("POST", delay=6.0, times=CALLS_OF_EACH * len(TEAM_KEYS))
    settings = environment(keito, KEITO_API_KEY=None, KEITO_LOG_LEVEL="WARNING")
    answered: Counter[str] = Counter()
    waiting: list[int] = []

    async with (
        listening("serve", "--port", "0", "--auth", "key", env=settings, tmp_path=tmp_path) as server,
        anyio.create_task_group() as tasks,
    ):

        async def principal(number: int) -> None:
            headers = {"Authorization": f"Bearer {TEAM_KEYS[number]}", "X-Keito-Session-Id": "the same for all"}
            async with (
                connected(server.url, "http", "auto", headers=headers) as agent,
                anyio.create_task_group() as calls,
            ):

                async def log(part: int) -> None:
                    answer = await agent.call("log_time", hours=0.25, notes=f"{number}/{part}")
                    answered[answer["status"]] += 1

                for part in range(CALLS_OF_EACH):
                    calls.start_soon(log, part)

        async def watch() -> None:
            await until(lambda: len(keito.requests) == CALLS_OF_EACH * len(TEAM_KEYS), 30)
            waiting.append(sum(request.status is None for request in keito.requests))

        tasks.start_soon(watch)
        for number in range(len(TEAM_KEYS)):
            tasks.start_soon(principal, number)

    assert answered == {"logged": 500}
    assert waiting[0] >= 400, "they weren't in flight at once"
    made = Counter(entry["notes"] for entry in keito.entries())
    assert made == Counter(f"{number}/{part}" for number in range(len(TEAM_KEYS)) for part in range(CALLS_OF_EACH))
    for entry in keito.entries():
        assert entry["user_id"] == user_of(TEAM_KEYS[int(entry["notes"].split("/")[0])])
