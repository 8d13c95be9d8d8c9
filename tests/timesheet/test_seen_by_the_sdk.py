"""What the tools write on API v2, seen by Keito's own SDK, and what that writes, seen by the tools."""

from collections.abc import AsyncIterator

import pytest
from keito import AsyncKeito
from keito.types.common import Source

from tests.kit import SPOKEN, TASK, V2_KEY, Agent, FakeClock, Keito
from tests.wire import WIRES

pytestmark = pytest.mark.anyio


@pytest.fixture
def api_version() -> str:
    return WIRES["v2"].version


@pytest.fixture
async def sdk(keito: Keito) -> AsyncIterator[AsyncKeito]:
    account = SPOKEN["v2"]["account_id"]
    async with AsyncKeito(api_key=V2_KEY, account_id=account, base_url=keito.url, timeout=5, max_retries=0) as sdk:
        yield sdk


async def test_the_sdk_sees_what_the_tools_wrote(sdk: AsyncKeito, agent: Agent, clock: FakeClock) -> None:
    logged = await agent.call("log_time", hours=1.5, notes="Fixed the login", is_billable=False)
    started = await agent.call("start_timer", notes="Read the code")
    running = [entry async for entry in sdk.time_entries.list(source=Source.AGENT, is_running=True)]
    await agent.call("stop_timer", hours=0.25)
    entries = {entry.id: entry async for entry in sdk.time_entries.list(source=Source.AGENT, per_page=1)}

    assert [entry.id for entry in running] == [started["id"]]
    assert entries.keys() == {logged["id"], started["id"]}
    seen = entries[logged["id"]]
    assert (seen.hours, seen.notes, seen.billable, seen.source) == (1.5, "Fixed the login", False, Source.AGENT)
    assert (seen.project.id, seen.task.id, str(seen.spent_date)) == ("prj_abc", TASK, f"{clock.wall:%Y-%m-%d}")
    assert seen.metadata is not None
    assert seen.metadata["session_id"] == "session-1"
    assert (entries[started["id"]].hours, entries[started["id"]].is_running) == (0.25, False)


async def test_the_tools_see_what_the_sdk_wrote_and_leave_what_it_changed(
    sdk: AsyncKeito, agent: Agent, keito: Keito
) -> None:
    made = await sdk.time_entries.create(
        project_id="prj_abc", task_id=TASK, spent_date="2026-03-06", hours=2, notes="By the SDK", source=Source.CLI
    )
    logged = await agent.call("log_time", hours=1, notes="By the agent")
    await sdk.time_entries.update(logged["id"], hours=3)

    listed = await agent.call("list_entries", source="any")
    assert {row["id"]: (row["hours"], row["notes"]) for row in listed["entries"]} == {
        made.id: (2, "By the SDK"),
        logged["id"]: (3, "By the agent"),
    }
    refused = await agent.call("stop_timer", entry_id=made.id, hours=5)
    assert refused.is_error
    left = await agent.call("stop_timer", entry_id=logged["id"], hours=5)
    assert "A person changed its hours" in left["message"]
    assert {entry["hours"] for entry in keito.entries()} == {2, 3}

    await sdk.time_entries.delete(logged["id"])
    gone = await agent.call("stop_timer", entry_id=logged["id"], hours=5)
    assert gone.is_error
    assert "no longer in Keito" in gone.text
