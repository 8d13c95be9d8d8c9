from itertools import product
from pathlib import Path

import pytest

from keito_mcp.journal import EntryState, Journal, NoSuchWay, WriteState
from keito_mcp.journal.states import OPEN_WRITES, way
from tests.journal.builders import (
    ME,
    MINE,
    becomes,
    begun,
    changing,
    create,
    created,
    entry,
    everything,
    known,
    settle,
    settlement,
    states,
)

pytestmark = pytest.mark.anyio

OF_ENTRIES = {
    "creating": "running stopping stopped gone discarded",
    "running": "stopping stopped refused gone discarded",
    "stopping": "stopped running refused gone discarded",
    "stopped": "gone discarded",
    "refused": "stopping stopped gone discarded",
    "gone": "",
    "discarded": "stopping stopped gone",
}
OF_WRITES = {
    "queued": "sent done refused dropped",
    "sent": "done confirming refused queued unknown dropped",
    "unknown": "sent done confirming refused dropped",
    "confirming": "done refused dropped",
    "done": "undone",
    "refused": "",
    "dropped": "",
    "undone": "",
}


def leads(drawn: dict[str, str], now: str, then: str) -> bool:
    return now == then or then in drawn[now].split()


ENTRIES = [(now, then, leads(OF_ENTRIES, now, then)) for now, then in product(EntryState, EntryState)]
WRITES = [(now, then, leads(OF_WRITES, now, then)) for now, then in product(WriteState, WriteState)]


@pytest.mark.parametrize(("now", "then", "is_drawn"), [*ENTRIES, *WRITES])
def test_each_way_that_is_drawn_is_allowed_and_every_other_one_is_refused(
    now: EntryState | WriteState,
    then: EntryState | WriteState,
    is_drawn: bool,  # noqa: FBT001
) -> None:
    if is_drawn:
        way(now, then)
    else:
        with pytest.raises(NoSuchWay, match=f"no way from {now} to {then}"):
            way(now, then)


@pytest.mark.parametrize(("now", "then", "is_drawn"), ENTRIES)
async def test_an_entry_goes_the_ways_that_are_drawn_and_else_nothing_of_its_transaction_is_recorded(
    journal: Journal,
    folder: Path,
    now: EntryState,
    then: EntryState,
    is_drawn: bool,  # noqa: FBT001
) -> None:
    made, other = entry("key-1", timer=False, state=now), entry("key-2", timer=False)
    await create(journal, made)
    await create(journal, other)
    before = everything(folder)
    settled = settlement(None, other, {"notes": "Before it"}), settlement(None, made, {"state": then})
    if is_drawn:
        await journal.settle(*settled)
        assert (await known(journal, "key-1")).state is then
        return
    with pytest.raises(NoSuchWay):
        await journal.settle(*settled)
    assert everything(folder) == before


@pytest.mark.parametrize(("now", "then", "is_drawn"), [ways for ways in WRITES if ways[0] in OPEN_WRITES])
async def test_an_open_write_goes_the_ways_that_are_drawn_and_else_nothing_of_its_transaction_is_recorded(
    journal: Journal,
    folder: Path,
    now: WriteState,
    then: WriteState,
    is_drawn: bool,  # noqa: FBT001
) -> None:
    made = entry("key-1")
    await created(journal, made, "te_1")
    write_id = await begun(journal, changing(made, state=now, lease=MINE))
    before = everything(folder)
    settled = settlement(None, made, {"notes": "Before it"}), settlement(write_id, made, outcome=then)
    if is_drawn:
        await journal.settle(*settled)
        assert states(folder)[write_id] == then
        return
    with pytest.raises(NoSuchWay):
        await journal.settle(*settled)
    assert everything(folder) == before


@pytest.mark.parametrize("now", [state for state in WriteState if state not in OPEN_WRITES])
@pytest.mark.parametrize("then", WriteState)
async def test_a_write_that_is_settled_stays_so_whatever_comes_later(
    journal: Journal, folder: Path, now: WriteState, then: WriteState
) -> None:
    made = entry("key-1")
    await created(journal, made, "te_1")
    write_id = await begun(journal, changing(made, state=now, lease=MINE))
    before = everything(folder)
    await journal.settle(settlement(write_id, made, {"notes": "Too late"}, outcome=then))
    assert everything(folder) == before


async def test_a_refused_stop_sets_the_timer_running_again_unless_its_agent_has_gone_on(journal: Journal) -> None:
    made = entry("key-1")
    await created(journal, made, "te_1")
    await becomes(journal, made, EntryState.STOPPING)
    await becomes(journal, made, EntryState.RUNNING)
    assert (await known(journal, "key-1")).state is EntryState.RUNNING
    await becomes(journal, made, EntryState.STOPPING)
    await created(journal, entry("key-2"), "te_2")
    await becomes(journal, made, EntryState.RUNNING)
    assert (await known(journal, "key-1")).state is EntryState.REFUSED
    running = await journal.open_timer(ME)
    assert running is not None
    assert running.entry_key == "key-2"


async def test_nothing_leads_from_done_to_undone_but_restoring(journal: Journal, folder: Path) -> None:
    made = entry("key-1", timer=False)
    write_id = await created(journal, made, "te_1")
    await settle(journal, write_id, WriteState.UNDONE)
    assert states(folder) == {write_id: "done"}
