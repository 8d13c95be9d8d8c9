from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from keito_mcp.clock import Instant
from keito_mcp.journal import Earlier, EntryState, Journal, WriteKind, WriteState
from tests.journal.builders import (
    ACCOUNT,
    ME,
    WAITS,
    becomes,
    begun,
    changing,
    create,
    created,
    creating,
    entry,
    known,
    queued,
)
from tests.kit import NOON

pytestmark = pytest.mark.anyio

# --- what was recorded comes back ---


async def test_an_entry_and_its_create_come_back_exactly_as_they_were_recorded(journal: Journal) -> None:
    started = Instant(datetime(2026, 3, 6, 11, 59, 59, 123456, UTC), 77.125, "boot-9")
    owner = replace(ME, subagent_id="sub-1", session_is_certain=False)
    made = entry(
        "key-1",
        owner=owner,
        task_id="tsk_1",
        notes="Zeile\n2 €",
        is_billable=False,
        hours=Decimal("1.2300"),
        hours_answered=True,
        started=started,
    )
    sent = Instant(datetime(2026, 3, 6, 12, 0, 0, 654321, UTC), 78.0625, "boot-8")
    write_id = await create(journal, made, fingerprint="f-1", call_id="call-1", sent=sent)
    assert isinstance(write_id, int)
    assert await journal.of_session("account-1", "session-1") == [made]
    [write] = await journal.unsettled("account-1")
    asked = creating(made, fingerprint="f-1", call_id="call-1", sent=sent)
    assert write == replace(asked, write_id=write_id, rested=sent)
    assert (write.state, write.idempotency_key, write.sends) == (WriteState.SENT, "idem-key-1", 1)


async def test_a_write_that_waits_comes_back_exactly_as_it_was_recorded(journal: Journal) -> None:
    asked = creating(
        entry("key-1"),
        state=WriteState.QUEUED,
        reason="Keito can't be reached.",
        sends=0,
        looks=2,
        attempts=3,
        lease="process-9",
        rested=Instant(NOON + timedelta(seconds=1), 2.5, "boot-7"),
        rest=12.5,
        promised=True,
    )
    write_id = await journal.create(entry("key-1"), asked, same_since=NOON)
    assert isinstance(write_id, int)
    assert await journal.unsettled(ACCOUNT) == [replace(asked, write_id=write_id)]


@pytest.mark.parametrize("is_billable", [None, True, False])
async def test_billable_unknown_yes_and_no_are_three_things(journal: Journal, is_billable: bool | None) -> None:  # noqa: FBT001
    await create(journal, entry("key-1", is_billable=is_billable, timer=False))
    [known] = await journal.of_session("account-1", "session-1")
    assert known.is_billable is is_billable
    assert not known.is_timer


@pytest.mark.parametrize("answered", [True, False])
async def test_hours_that_keito_answered_are_told_from_hours_that_were_sent(journal: Journal, answered: bool) -> None:  # noqa: FBT001
    await create(journal, entry("key-1", timer=False, hours_answered=answered))
    [known] = await journal.of_session("account-1", "session-1")
    assert known.hours_answered is answered


async def test_an_entry_is_found_by_keitos_id_within_its_account_only(journal: Journal) -> None:
    await created(journal, entry("key-1"), "te_1")
    found = await journal.find("account-1", "te_1")
    assert found == entry("key-1", state=EntryState.RUNNING, entry_id="te_1")
    assert await journal.find("account-1", "te_2") is None
    assert await journal.find("account-2", "te_1") is None


async def test_the_entries_of_a_session_are_told_oldest_first_and_no_others(journal: Journal) -> None:
    keys = ["key-3", "key-1", "key-2"]
    for key in keys:
        await created(journal, entry(key, timer=False))
    for number, stranger in enumerate([replace(ME, session_id="session-2"), replace(ME, account="account-2")]):
        await created(journal, entry(f"other-{number}", timer=False, owner=stranger))
    assert [known.entry_key for known in await journal.of_session("account-1", "session-1")] == keys


# --- one open timer of each owner ---


@pytest.mark.parametrize("state", [EntryState.CREATING, EntryState.RUNNING])
async def test_an_open_timer_stands_in_the_way_of_another_of_the_same_owner(
    journal: Journal, state: EntryState
) -> None:
    first = entry("key-1")
    write_id = await created(journal, first)
    await becomes(journal, first, state)
    earlier = await create(journal, entry("key-2"))
    assert isinstance(earlier, Earlier)
    assert (earlier.entry.entry_key, earlier.entry.state) == ("key-1", state)
    assert (earlier.write.write_id, earlier.write.kind) == (write_id, WriteKind.CREATE)
    assert len(await journal.of_session("account-1", "session-1")) == 1


@pytest.mark.parametrize(
    "state",
    [EntryState.STOPPING, EntryState.STOPPED, EntryState.REFUSED, EntryState.GONE, EntryState.DISCARDED],
)
async def test_a_timer_that_is_over_stands_in_nobodys_way(journal: Journal, state: EntryState) -> None:
    first = entry("key-1")
    await created(journal, first, "te_1")
    await becomes(journal, first, state)
    assert await journal.open_timer(ME) is None
    assert isinstance(await create(journal, entry("key-2")), int)
    running = await journal.open_timer(ME)
    assert running is not None
    assert running.entry_key == "key-2"


@pytest.mark.parametrize(
    "other",
    [
        {"account": "account-2"},
        {"session_id": "session-2"},
        {"agent_id": "agent-2"},
        {"subagent_id": "sub-1"},
    ],
    ids=str,
)
async def test_another_owners_timer_stands_in_nobodys_way(journal: Journal, other: dict[str, Any]) -> None:
    await created(journal, entry("key-1"), "te_1")
    stranger = replace(ME, **other)
    assert await journal.open_timer(stranger) is None
    assert isinstance(await create(journal, entry("key-2", owner=stranger)), int)


async def test_another_process_of_the_same_owner_meets_the_same_timer(journal: Journal) -> None:
    await created(journal, entry("key-1"), "te_1")
    restarted = replace(ME, process="process-2", session_is_certain=False)
    assert await journal.open_timer(restarted) == await journal.open_timer(ME)
    assert await journal.open_timer(ME) is not None
    assert isinstance(await create(journal, entry("key-2", owner=restarted)), Earlier)


async def test_finished_work_is_logged_beside_a_running_timer(journal: Journal) -> None:
    await created(journal, entry("key-1"), "te_1")
    assert isinstance(await create(journal, entry("key-2", timer=False)), int)
    assert isinstance(await create(journal, entry("key-3", timer=False)), int)


async def test_the_timer_that_was_stopped_last_is_told(journal: Journal) -> None:
    assert await journal.last_stopped(ME) is None
    for number, minute in enumerate((10, 30, 20)):
        made = entry(f"key-{number}")
        await created(journal, made, f"te_{number}")
        await becomes(journal, made, EntryState.STOPPED, NOON + timedelta(minutes=minute), hours=Decimal("0.5"))
    await created(journal, entry("logged", timer=False, at=NOON + timedelta(hours=1)), "te_9")
    last = await journal.last_stopped(ME)
    assert last is not None
    assert (last.entry_id, last.hours, last.changed_at) == ("te_1", Decimal("0.5"), NOON + timedelta(minutes=30))
    assert await journal.last_stopped(replace(ME, subagent_id="sub-1")) is None


async def test_a_timer_whose_stop_waits_is_one_that_was_stopped_and_one_that_a_person_stopped_is_not(
    journal: Journal,
) -> None:
    first, second = entry("key-1"), entry("key-2")
    await created(journal, first, "te_1")
    await becomes(journal, first, EntryState.STOPPING)
    await created(journal, second, "te_2")
    await becomes(journal, second, EntryState.STOPPED, NOON + timedelta(hours=1), person="It was stopped elsewhere.")
    last = await journal.last_stopped(ME)
    assert last is not None
    assert last.entry_key == "key-1"


async def test_an_entry_is_found_by_its_key_as_long_as_keito_gave_it_no_id(journal: Journal) -> None:
    await queued(journal, entry("key-1"))
    assert (await known(journal, "key-1")).handle == "key-1"
    await created(journal, entry("key-2", timer=False), "te_2")
    assert (await known(journal, "key-2")).handle == "te_2"


async def test_the_latest_create_of_an_entry_is_told(journal: Journal) -> None:
    made = entry("key-1", timer=False)
    first = await created(journal, made, "te_1")
    await begun(journal, changing(made))
    assert (await journal.create_of(made)).write_id == first
    second = await begun(journal, creating(made, **WAITS))
    assert (await journal.create_of(made)).write_id == second
