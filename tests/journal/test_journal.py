import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keito_mcp.clock import Instant
from keito_mcp.journal import (
    Earlier,
    Entry,
    EntryState,
    Journal,
    JournalError,
    Owner,
    Settlement,
    Write,
    WriteKind,
    WriteState,
)
from keito_mcp.paths import journal_file
from tests.kit import NOON

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
"""A busy machine is no failure."""

pytestmark = pytest.mark.anyio

WINDOW = timedelta(minutes=2)
ME = Owner(
    account="account-1",
    session_id="session-1",
    agent_id="agent-1",
    subagent_id="",
    session_is_certain=True,
    process="process-1",
)
Created = int | Earlier


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def commits() -> list[str]:
    return []


@pytest.fixture
async def journal(folder: Path, commits: list[str]) -> AsyncIterator[Journal]:
    opened = Journal(folder, on_commit=commits.append)
    yield opened
    opened.close()


def instant(at: datetime = NOON) -> Instant:
    return Instant(at, 1000.25, "boot-1")


def entry(key: str, *, owner: Owner = ME, timer: bool = True, at: datetime = NOON, **fields: Any) -> Entry:
    known: dict[str, Any] = {
        "state": EntryState.CREATING,
        "project_id": "prj_abc",
        "task_id": None,
        "notes": "Fix the login",
        "is_billable": None,
        "spent_date": at.date(),
        "hours": Decimal(0) if timer else Decimal("1.5"),
        "started": instant(at) if timer else None,
        "changed_at": at,
    }
    return Entry(entry_key=key, owner=owner, **{**known, **fields})


def creating(made: Entry, **fields: Any) -> Write:
    known: dict[str, Any] = {
        "kind": WriteKind.CREATE,
        "entry_id": None,
        "body": {"project_id": made.project_id, "hours": 1.5, "notes": "Überstunden"},
        "sent": instant(made.changed_at),
        "idempotency_key": f"idem-{made.entry_key}",
    }
    return Write(account=made.owner.account, entry_key=made.entry_key, **{**known, **fields})


async def create(journal: Journal, made: Entry, **fields: Any) -> Created:
    return await journal.create(made, creating(made, **fields), same_since=made.changed_at - WINDOW)


async def created(journal: Journal, made: Entry, entry_id: str | None = None, **fields: Any) -> int:
    """An entry that Keito answered, where it has an id; else one whose create is in flight."""
    write_id = await create(journal, made, **fields)
    assert isinstance(write_id, int)
    if entry_id:
        state = EntryState.RUNNING if made.is_timer else EntryState.STOPPED
        changes = {"state": state, "entry_id": entry_id}
        await journal.settle(settlement(write_id, made, changes))
    return write_id


def settlement(
    write_id: int | None, made: Entry, changes: Mapping[str, object] | None = None, **fields: Any
) -> Settlement:
    return Settlement(
        **{"at": NOON, "write_id": write_id, "entry_key": made.entry_key, "changes": changes or {}, **fields}
    )


def stopping(made: Entry, **fields: Any) -> Write:
    known: dict[str, Any] = {
        "kind": WriteKind.UPDATE,
        "entry_id": "te_1",
        "body": {"hours": 1.5, "is_running": False},
        "sent": instant(),
    }
    return Write(account=made.owner.account, entry_key=made.entry_key, **{**known, **fields})


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
    assert write == replace(creating(made, fingerprint="f-1", call_id="call-1", sent=sent), write_id=write_id)
    assert (write.state, write.idempotency_key) == (WriteState.SENT, "idem-key-1")


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


@pytest.mark.parametrize("state", [EntryState.CREATING, EntryState.RUNNING, EntryState.STOPPING])
async def test_an_open_timer_stands_in_the_way_of_another_of_the_same_owner(
    journal: Journal, state: EntryState
) -> None:
    first = entry("key-1")
    write_id = await created(journal, first)
    await journal.settle(settlement(None, first, {"state": state}))
    earlier = await create(journal, entry("key-2"))
    assert isinstance(earlier, Earlier)
    assert (earlier.entry.entry_key, earlier.entry.state) == ("key-1", state)
    assert (earlier.write.write_id, earlier.write.kind) == (write_id, WriteKind.CREATE)
    assert len(await journal.of_session("account-1", "session-1")) == 1


@pytest.mark.parametrize("state", [EntryState.STOPPED, EntryState.GONE, EntryState.DISCARDED])
async def test_a_timer_that_is_over_stands_in_nobodys_way(journal: Journal, state: EntryState) -> None:
    first = entry("key-1")
    await created(journal, first, "te_1")
    await journal.settle(settlement(None, first, {"state": state}))
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
        stopped = {"state": EntryState.STOPPED, "hours": Decimal("0.5")}
        await journal.settle(settlement(None, made, stopped, at=NOON + timedelta(minutes=minute)))
    await created(journal, entry("logged", timer=False, at=NOON + timedelta(hours=1)), "te_9")
    last = await journal.last_stopped(ME)
    assert last is not None
    assert (last.entry_id, last.hours, last.changed_at) == ("te_1", Decimal("0.5"), NOON + timedelta(minutes=30))
    assert await journal.last_stopped(replace(ME, subagent_id="sub-1")) is None


# --- the same call ---

WORK = entry("key-1", timer=False)


async def logged(journal: Journal, key: str, *, owner: Owner = ME, at: datetime = NOON, **fields: Any) -> Created:
    return await create(journal, entry(key, owner=owner, timer=False, at=at), **fields)


def first_of(answer: Created) -> str | None:
    """The key of the entry that a create was taken for; None where it is a new one."""
    return answer.entry.entry_key if isinstance(answer, Earlier) else None


async def test_a_call_that_is_delivered_twice_is_one_call_however_late(journal: Journal) -> None:
    await journal.settle(settlement(await created(journal, WORK, call_id="call-1", fingerprint="f-1"), WORK))
    late = NOON + timedelta(days=30)
    assert first_of(await logged(journal, "key-2", call_id="call-1", fingerprint="f-1", at=late)) == "key-1"
    assert first_of(await logged(journal, "key-3", call_id="call-2", fingerprint="f-1", at=late)) is None
    assert first_of(await logged(journal, "key-4", call_id="call-2")) is None
    assert first_of(await logged(journal, "key-5")) is None


@pytest.mark.parametrize("other", ["f-2", None])
async def test_the_same_call_id_with_other_work_is_another_call(journal: Journal, other: str | None) -> None:
    await logged(journal, "key-1", call_id="call-1", fingerprint="f-1")
    assert first_of(await logged(journal, "key-2", call_id="call-1", fingerprint=other)) is None
    assert first_of(await logged(journal, "key-3", call_id="call-1", fingerprint="f-1")) == "key-1"


@pytest.mark.parametrize(
    "other", [{"agent_id": "agent-2"}, {"subagent_id": "sub-1"}, {"account": "account-2"}], ids=str
)
async def test_another_agents_call_is_another_call(journal: Journal, other: dict[str, Any]) -> None:
    await logged(journal, "key-1", call_id="call-1", fingerprint="f-1")
    answer = await logged(journal, "key-2", call_id="call-1", fingerprint="f-1", owner=replace(ME, **other))
    assert first_of(answer) is None


@pytest.mark.parametrize(
    ("later", "is_the_same"),
    [
        (timedelta(), True),
        (timedelta(seconds=119), True),
        (WINDOW, True),
        (WINDOW + timedelta(microseconds=1), False),
        (WINDOW + timedelta(seconds=1), False),
        (timedelta(days=1), False),
    ],
    ids=str,
)
async def test_the_same_work_is_one_call_within_two_minutes_and_two_after(
    journal: Journal,
    later: timedelta,
    is_the_same: bool,  # noqa: FBT001
) -> None:
    await journal.settle(settlement(await created(journal, WORK, fingerprint="f-1"), WORK))
    answer = await logged(journal, "key-2", fingerprint="f-1", at=NOON + later)
    assert (first_of(answer) == "key-1") is is_the_same
    assert isinstance(answer, Earlier) is is_the_same


@settings(UNHURRIED, max_examples=40)
@given(at=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), apart=st.integers(-3, 3))  # noqa: DTZ001
async def test_the_window_is_exact_to_the_microsecond(tmp_path: Path, at: datetime, apart: int) -> None:
    with closing(Journal(tmp_path / uuid.uuid4().hex)) as journal:
        sent = at.replace(tzinfo=UTC)
        first = await created(journal, entry("key-1", timer=False, at=sent), fingerprint="f-1")
        await journal.settle(Settlement(at=sent, write_id=first))
        second = entry("key-2", timer=False, at=sent)
        since = sent + timedelta(microseconds=apart)
        answer = await journal.create(second, creating(second, fingerprint="f-1"), same_since=since)
        assert isinstance(answer, Earlier) is (sent >= since)


async def test_different_work_is_another_call(journal: Journal) -> None:
    await logged(journal, "key-1", fingerprint="f-1")
    assert first_of(await logged(journal, "key-2", fingerprint="f-2")) is None
    assert first_of(await logged(journal, "key-3")) is None
    assert first_of(await logged(journal, "key-4")) is None


@pytest.mark.parametrize("outcome", [WriteState.UNKNOWN, None], ids=["unknown", "the server was killed"])
@pytest.mark.parametrize(("day", "is_the_same"), [(date(2026, 3, 6), True), (date(2026, 3, 5), False)])
async def test_work_of_a_day_whose_outcome_is_unknown_is_the_same_call_at_any_time(
    journal: Journal,
    outcome: WriteState | None,
    day: date,
    is_the_same: bool,  # noqa: FBT001
) -> None:
    write_id = await created(journal, WORK, fingerprint="f-1")
    if outcome:
        await journal.settle(settlement(write_id, WORK, outcome=outcome))
    again = entry("key-2", timer=False, at=NOON + timedelta(days=30), spent_date=day)
    answer = await create(journal, again, fingerprint="f-1")
    assert (first_of(answer) == "key-1") is is_the_same
    if isinstance(answer, Earlier):
        assert answer.write.state is (outcome or WriteState.SENT)


BEFORE_MIDNIGHT = datetime(2026, 3, 6, 23, 50, tzinfo=UTC)
NIGHT = timedelta(hours=12)


@pytest.mark.parametrize("outcome", [WriteState.UNKNOWN, None], ids=["unknown", "the server was killed"])
@pytest.mark.parametrize(
    ("later", "is_the_same"),
    [
        (timedelta(minutes=20), True),
        (NIGHT, True),
        (NIGHT + timedelta(microseconds=1), False),
        (timedelta(days=1), False),
    ],
    ids=str,
)
async def test_work_whose_outcome_is_unknown_is_the_same_call_over_midnight_but_not_the_next_day(
    journal: Journal,
    outcome: WriteState | None,
    later: timedelta,
    is_the_same: bool,  # noqa: FBT001
) -> None:
    evening = entry("key-1", timer=False, at=BEFORE_MIDNIGHT)
    write_id = await created(journal, evening, fingerprint="f-1")
    if outcome:
        await journal.settle(settlement(write_id, evening, outcome=outcome, at=BEFORE_MIDNIGHT))
    again = entry("key-2", timer=False, at=BEFORE_MIDNIGHT + later)
    assert again.spent_date == date(2026, 3, 7)
    answer = await create(journal, again, fingerprint="f-1")
    assert (first_of(answer) == "key-1") is is_the_same
    assert isinstance(answer, Earlier) is is_the_same


async def test_over_midnight_other_work_and_work_that_was_answered_are_other_calls(journal: Journal) -> None:
    answered = entry("key-1", timer=False, at=BEFORE_MIDNIGHT)
    await created(journal, answered, "te_1", fingerprint="f-1")
    await logged(journal, "key-2", fingerprint="f-2", at=BEFORE_MIDNIGHT)
    after = BEFORE_MIDNIGHT + timedelta(minutes=20)
    assert first_of(await logged(journal, "key-3", fingerprint="f-1", at=after)) is None
    assert first_of(await logged(journal, "key-4", fingerprint="f-3", at=after)) is None
    assert first_of(await logged(journal, "key-5", fingerprint="f-2", at=after)) == "key-2"


async def test_work_that_keito_refused_may_be_logged_again_at_once(journal: Journal) -> None:
    write_id = await logged(journal, "key-1", fingerprint="f-1", call_id="call-1")
    assert isinstance(write_id, int)
    refused = {"state": EntryState.GONE}
    await journal.settle(settlement(write_id, WORK, refused, outcome=WriteState.REFUSED, reason="422"))
    assert first_of(await logged(journal, "key-2", fingerprint="f-1", call_id="call-1")) is None


@pytest.mark.parametrize("state", [EntryState.GONE, EntryState.DISCARDED])
async def test_work_whose_entry_is_no_more_may_be_logged_again_but_not_by_the_same_call(
    journal: Journal, state: EntryState
) -> None:
    write_id = await logged(journal, "key-1", fingerprint="f-1", call_id="call-1")
    assert isinstance(write_id, int)
    await journal.settle(settlement(write_id, WORK, {"state": state}))
    assert first_of(await logged(journal, "key-2", fingerprint="f-1", call_id="call-1")) == "key-1"
    assert first_of(await logged(journal, "key-3", fingerprint="f-1", call_id="call-2")) is None


@pytest.mark.parametrize(
    ("first_is_certain", "second_is_certain", "session", "is_the_same"),
    [
        (True, True, "session-2", False),
        (True, False, "session-2", True),
        (False, True, "session-2", True),
        (False, False, "session-2", True),
        (True, True, "session-1", True),
    ],
)
async def test_the_same_work_in_two_sessions_is_two_calls_only_where_both_are_certain(
    journal: Journal,
    first_is_certain: bool,  # noqa: FBT001
    second_is_certain: bool,  # noqa: FBT001
    session: str,
    is_the_same: bool,  # noqa: FBT001
) -> None:
    await logged(journal, "key-1", fingerprint="f-1", owner=replace(ME, session_is_certain=first_is_certain))
    other = replace(ME, session_id=session, session_is_certain=second_is_certain)
    assert (first_of(await logged(journal, "key-2", fingerprint="f-1", owner=other)) == "key-1") is is_the_same


async def test_of_several_earlier_calls_the_latest_is_told(journal: Journal) -> None:
    for number in range(3):
        at = NOON + timedelta(minutes=3 * number)
        write_id = await logged(journal, f"key-{number}", fingerprint="f-1", call_id=f"call-{number}", at=at)
        assert isinstance(write_id, int)
        await journal.settle(Settlement(at=at, write_id=write_id))
    answer = await logged(journal, "key-9", fingerprint="f-1", call_id="call-0", at=NOON + timedelta(minutes=6))
    assert first_of(answer) == "key-2"


# --- writes and what becomes of them ---


async def test_a_stop_that_is_begun_marks_its_timer_as_stopping(journal: Journal) -> None:
    made = entry("key-1")
    await created(journal, made, "te_1")
    [write_id] = await journal.begin(stopping(made))
    timer = await journal.open_timer(ME)
    assert timer is not None
    assert timer.state is EntryState.STOPPING
    [write] = await journal.unsettled("account-1")
    assert write == replace(stopping(made), write_id=write_id)


@pytest.mark.parametrize("body", [{"notes": "Done"}, {"is_running": True}, {"is_running": None}], ids=str)
async def test_a_change_that_does_not_stop_leaves_the_timer_running(journal: Journal, body: dict[str, Any]) -> None:
    made = entry("key-1")
    await created(journal, made, "te_1")
    await journal.begin(stopping(made, body=body))
    timer = await journal.open_timer(ME)
    assert timer is not None
    assert timer.state is EntryState.RUNNING


@pytest.mark.parametrize("state", [EntryState.STOPPED, EntryState.GONE, EntryState.DISCARDED, EntryState.CREATING])
async def test_a_stop_of_an_entry_that_does_not_run_leaves_its_state(journal: Journal, state: EntryState) -> None:
    made = entry("key-1")
    await created(journal, made)
    await journal.settle(settlement(None, made, {"state": state}))
    await journal.begin(stopping(made))
    assert [known.state for known in await journal.of_session("account-1", "session-1")] == [state]


async def test_a_delete_keeps_the_whole_entry_and_leaves_the_state_to_its_outcome(journal: Journal) -> None:
    made = entry("key-1")
    await created(journal, made, "te_1")
    whole = {"id": "te_1", "hours": 1.5, "is_running": False, "metadata": {"a": ["ä", None]}}
    delete = Write(
        account="account-1", kind=WriteKind.DELETE, entry_key="key-1", entry_id="te_1", body=whole, sent=instant()
    )
    of_nobody = replace(delete, entry_key=None, entry_id="te_2")
    first, second = await journal.begin(delete, of_nobody)
    assert first != second
    assert [write.body for write in await journal.unsettled("account-1", "key-1")] == [whole]
    assert [write.entry_id for write in await journal.unsettled("account-1")] == ["te_1", "te_2"]
    assert [known.state for known in await journal.of_session("account-1", "session-1")] == [EntryState.RUNNING]


@pytest.mark.parametrize(
    ("outcome", "is_settled"),
    [(WriteState.DONE, True), (WriteState.REFUSED, True), (WriteState.UNKNOWN, False)],
)
async def test_a_write_is_unsettled_until_its_outcome_is_known(
    journal: Journal,
    outcome: WriteState,
    is_settled: bool,  # noqa: FBT001
) -> None:
    made = entry("key-1")
    write_id = await created(journal, made)
    await journal.settle(settlement(write_id, made, outcome=outcome, reason="why"))
    assert (await journal.unsettled("account-1") == []) is is_settled
    assert await journal.unsettled("account-2") == []


async def test_a_settlement_says_what_the_entry_is_now(journal: Journal) -> None:
    made = entry("key-1")
    write_id = await created(journal, made)
    changes: dict[str, object] = {
        "entry_id": "te_1",
        "state": EntryState.STOPPED,
        "hours": Decimal("2.2500"),
        "hours_answered": True,
        "notes": "Done",
        "is_billable": False,
    }
    await journal.settle(settlement(write_id, made, changes, at=NOON + timedelta(hours=1)))
    expected = replace(
        made,
        entry_id="te_1",
        state=EntryState.STOPPED,
        hours=Decimal("2.2500"),
        hours_answered=True,
        notes="Done",
        is_billable=False,
        changed_at=NOON + timedelta(hours=1),
    )
    assert await journal.find("account-1", "te_1") == expected


@pytest.mark.parametrize("column", ["project_id", "task_id", "spent_date", "changed_at", "started_wall", "session_id"])
async def test_what_never_changes_of_an_entry_cannot_be_settled(journal: Journal, column: str) -> None:
    made = entry("key-1")
    write_id = await created(journal, made)
    with pytest.raises(ValueError, match=column):
        await journal.settle(settlement(write_id, made, {"notes": "Done", column: "2026-03-05"}))
    assert await journal.of_session("account-1", "session-1") == [made]
    assert len(await journal.unsettled("account-1")) == 1


async def test_a_settlement_without_changes_leaves_the_entry(journal: Journal) -> None:
    made = entry("key-1")
    write_id = await created(journal, made)
    await journal.settle(Settlement(at=NOON + timedelta(hours=1), write_id=write_id, entry_key="key-1"))
    assert await journal.of_session("account-1", "session-1") == [made]


async def test_a_write_that_is_sent_again_is_in_flight_from_then_on(journal: Journal) -> None:
    made = entry("key-1", timer=False)
    write_id = await created(journal, made, fingerprint="f-1")
    await journal.settle(settlement(write_id, made, outcome=WriteState.UNKNOWN))
    [unknown] = await journal.unsettled("account-1")
    again = Instant(NOON + timedelta(minutes=5), 7.5, "boot-2")
    assert await journal.resend(unknown, again) is True
    [write] = await journal.unsettled("account-1")
    assert write == replace(creating(made, fingerprint="f-1"), write_id=write_id, sent=again)
    assert first_of(await logged(journal, "key-2", fingerprint="f-1", at=NOON + timedelta(minutes=6))) == "key-1"


def recorded(folder: Path) -> dict[int, tuple[str, str | None, str | None]]:
    """The state, the reason and the time of settling of each write."""
    with closing(sqlite3.connect(journal_file(folder))) as connection:
        rows = connection.execute("SELECT write_id, state, reason, settled_at FROM writes")
        return {write_id: (state, reason, settled_at) for write_id, state, reason, settled_at in rows}


async def test_why_a_write_was_unknown_is_forgotten_when_it_is_sent_again(journal: Journal, folder: Path) -> None:
    made = entry("key-1")
    write_id = await created(journal, made)
    await journal.settle(settlement(write_id, made, outcome=WriteState.UNKNOWN, reason="timeout"))
    assert recorded(folder) == {write_id: ("unknown", "timeout", NOON.isoformat())}
    [write] = await journal.unsettled("account-1")
    assert await journal.resend(write, instant(NOON + timedelta(minutes=5)))
    assert recorded(folder) == {write_id: ("sent", None, None)}


async def test_a_write_that_was_only_sent_may_be_sent_again_and_no_other_write_is(journal: Journal) -> None:
    made = entry("key-1")
    await created(journal, made, "te_1")
    await journal.begin(stopping(made), stopping(made), stopping(made))
    first, second, third = await journal.unsettled("account-1")
    again = instant(NOON + timedelta(minutes=5))
    assert await journal.resend(second, again) is True
    assert await journal.unsettled("account-1") == [first, replace(second, sent=again), third]


async def test_a_write_that_was_taken_up_since_it_was_read_is_not_sent_again(journal: Journal) -> None:
    made = entry("key-1")
    write_id = await created(journal, made)
    await journal.settle(settlement(write_id, made, outcome=WriteState.UNKNOWN))
    [read] = await journal.unsettled("account-1")
    assert await journal.resend(read, instant(NOON + timedelta(minutes=5))) is True
    await journal.settle(settlement(write_id, made, outcome=WriteState.UNKNOWN))
    [before] = await journal.unsettled("account-1")
    assert await journal.resend(read, instant(NOON + timedelta(minutes=6))) is False
    assert await journal.unsettled("account-1") == [before]


@pytest.mark.parametrize("outcome", [WriteState.DONE, WriteState.REFUSED])
async def test_a_write_that_was_settled_since_it_was_read_is_not_sent_again(
    journal: Journal, folder: Path, outcome: WriteState
) -> None:
    made = entry("key-1")
    write_id = await created(journal, made)
    [read] = await journal.unsettled("account-1")
    await journal.settle(settlement(write_id, made, outcome=outcome, reason="why"))
    assert await journal.resend(read, instant(NOON + timedelta(minutes=5))) is False
    assert recorded(folder) == {write_id: (outcome.value, "why", NOON.isoformat())}


async def test_a_write_that_is_done_overtakes_only_the_older_writes_of_its_kind_to_its_entry(
    journal: Journal, folder: Path
) -> None:
    made, other = entry("key-1"), entry("key-2", timer=False)
    await created(journal, made, "te_1")
    await created(journal, other, "te_2")
    change = stopping(made, body={"notes": "n"})
    begun = {
        "older, sent": change,
        "older, unknown": change,
        "older, refused": change,
        "older, done": change,
        "older, a delete": replace(change, kind=WriteKind.DELETE),
        "older, of another entry": replace(change, entry_key="key-2", entry_id="te_2"),
        "itself": change,
        "newer": change,
    }
    ids = dict(zip(begun, await journal.begin(*begun.values()), strict=True))
    outcomes = {
        "older, done": WriteState.DONE,
        "older, refused": WriteState.REFUSED,
        "older, unknown": WriteState.UNKNOWN,
    }
    with closing(sqlite3.connect(journal_file(folder))) as connection:
        # Not by a settlement: that would overtake the ones before it.
        for name, outcome in outcomes.items():
            connection.execute(
                "UPDATE writes SET state = ?, reason = 'why', settled_at = 'then' WHERE write_id = ?",
                (outcome.value, ids[name]),
            )
        connection.commit()
    now = NOON + timedelta(hours=1)
    await journal.settle(settlement(ids["itself"], made, at=now))
    became = recorded(folder)
    assert {name: became[write_id] for name, write_id in ids.items()} == {
        "older, sent": ("refused", "superseded", now.isoformat()),
        "older, unknown": ("refused", "superseded", now.isoformat()),
        "older, refused": ("refused", "why", "then"),
        "older, done": ("done", "why", "then"),
        "older, a delete": ("sent", None, None),
        "older, of another entry": ("sent", None, None),
        "itself": ("done", None, now.isoformat()),
        "newer": ("sent", None, None),
    }


@pytest.mark.parametrize("outcome", [WriteState.REFUSED, WriteState.UNKNOWN])
async def test_a_write_that_is_not_done_overtakes_nothing(journal: Journal, outcome: WriteState) -> None:
    made = entry("key-1")
    await created(journal, made, "te_1")
    older, newer = await journal.begin(stopping(made), stopping(made))
    await journal.settle(settlement(newer, made, outcome=outcome))
    assert older in [write.write_id for write in await journal.unsettled("account-1")]


async def test_a_create_that_is_done_overtakes_no_other_create(journal: Journal) -> None:
    older = await created(journal, entry("key-1", timer=False))
    await created(journal, entry("key-2", timer=False), "te_2")
    assert [write.write_id for write in await journal.unsettled("account-1")] == [older]


async def test_the_unsettled_writes_of_one_entry_are_told_oldest_first(journal: Journal) -> None:
    made, other = entry("key-1"), entry("key-2", timer=False)
    ids = [await created(journal, made)]
    await created(journal, other)
    ids += await journal.begin(stopping(made), stopping(made, body={"notes": "n"}))
    assert [write.write_id for write in await journal.unsettled("account-1", "key-1")] == ids
    assert len(await journal.unsettled("account-1")) == 4


# --- transactions ---


async def test_each_transaction_is_told_once_after_it_was_committed(folder: Path, commits: list[str]) -> None:
    seen: list[int] = []

    def on_commit(name: str) -> None:
        commits.append(name)
        with closing(sqlite3.connect(journal_file(folder))) as other:
            seen.append(other.execute("SELECT count(*) FROM writes").fetchone()[0])

    with closing(Journal(folder, on_commit=on_commit)) as journal:
        made = entry("key-1")
        write_id = await created(journal, made)
        await journal.begin(stopping(made), stopping(made))
        await journal.settle(*[Settlement(at=NOON, write_id=write_id, outcome=WriteState.UNKNOWN)] * 3)
        [write, *_] = await journal.unsettled("account-1")
        assert await journal.resend(write, instant(NOON + timedelta(minutes=5)))
        await journal.open_timer(ME)
        await journal.unsettled("account-1")
    assert commits == ["create", "begin", "settle", "resend"]
    assert seen == [1, 3, 3, 3]


async def test_a_create_that_something_stands_in_the_way_of_changes_nothing(journal: Journal) -> None:
    await created(journal, entry("key-1"), "te_1")
    before = await journal.of_session("account-1", "session-1")
    await create(journal, entry("key-2"))
    assert await journal.of_session("account-1", "session-1") == before
    assert await journal.unsettled("account-1") == []


async def test_of_several_settlements_all_are_recorded_or_none(journal: Journal, commits: list[str]) -> None:
    made = entry("key-1")
    write_id = await created(journal, made)
    before = await journal.of_session("account-1", "session-1"), await journal.unsettled("account-1")
    commits.clear()
    with pytest.raises(ValueError, match="project_id"):
        await journal.settle(
            settlement(write_id, made, {"state": EntryState.RUNNING}), settlement(None, made, {"project_id": "prj_2"})
        )
    assert (await journal.of_session("account-1", "session-1"), await journal.unsettled("account-1")) == before
    assert commits == []


async def test_of_several_writes_all_are_begun_or_none(journal: Journal, commits: list[str]) -> None:
    made = entry("key-1")
    await created(journal, made, "te_1")
    commits.clear()
    with pytest.raises(JournalError, match="FOREIGN KEY"):
        await journal.begin(stopping(made), stopping(entry("nobody's")))
    assert await journal.unsettled("account-1") == []
    timer = await journal.open_timer(ME)
    assert timer is not None
    assert timer.state is EntryState.RUNNING
    assert commits == []


async def test_a_transaction_that_sqlite_itself_rolled_back_is_an_error_and_the_next_one_works(
    journal: Journal, folder: Path, commits: list[str]
) -> None:
    made = entry("key-1")
    await created(journal, made, "te_1")
    with closing(sqlite3.connect(journal_file(folder), isolation_level=None)) as other:
        # A full disk does this.
        other.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON writes BEGIN SELECT RAISE(ROLLBACK, 'disk is full'); END"
        )
        commits.clear()
        with pytest.raises(JournalError, match="disk is full"):
            await journal.begin(stopping(made))
        assert commits == []
        other.execute("DROP TRIGGER full_disk")
    assert await journal.unsettled("account-1") == []
    assert len(await journal.begin(stopping(made))) == 1


async def test_a_reopened_journal_knows_what_was_committed(folder: Path) -> None:
    with closing(Journal(folder)) as before:
        await created(before, entry("key-1"), "te_1", call_id="call-1", fingerprint="f-1")
        await before.begin(stopping(entry("key-1")))
    with closing(Journal(folder)) as after:
        timer = await after.open_timer(ME)
        assert timer is not None
        assert (timer.entry_id, timer.state) == ("te_1", EntryState.STOPPING)
        assert [write.kind for write in await after.unsettled("account-1")] == [WriteKind.UPDATE]
        again = await logged(after, "key-2", call_id="call-1", fingerprint="f-1", at=NOON + timedelta(days=1))
        assert first_of(again) == "key-1"


async def test_a_closed_journal_opens_again_when_it_is_used(journal: Journal) -> None:
    journal.close()
    await created(journal, entry("key-1"), "te_1")
    journal.close()
    journal.close()
    assert await journal.open_timer(ME) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_what_was_committed_survives_a_kill(journal: Journal, folder: Path) -> None:
    await created(journal, entry("key-1"), "te_1")
    journal.close()
    program = """
import anyio, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from keito_mcp.journal import Journal, Settlement

async def main() -> None:
    journal = Journal(Path(sys.argv[1]))
    at = datetime(2026, 3, 6, 13, 0, tzinfo=UTC)
    await journal.settle(Settlement(at=at, entry_key="key-1", changes={"notes": "just before the kill"}))
    os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""
    killed = await anyio.run_process(
        [sys.executable, "-c", program, str(folder)], check=False, stdin=subprocess.DEVNULL
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    timer = await journal.open_timer(ME)
    assert timer is not None
    assert timer.notes == "just before the kill"


# --- several at once ---


Work = Callable[[Journal], Awaitable[Any]]


async def at_once(journals: list[Journal], *works: Work) -> list[Any]:
    """What each piece of work answers, all started together, by one journal after the other."""
    answers: list[Any] = []

    async def run(journal: Journal, work: Work) -> None:
        answers.append(await work(journal))

    async with anyio.create_task_group() as tasks:
        for number, work in enumerate(works):
            tasks.start_soon(run, journals[number % len(journals)], work)
    return answers


@pytest.fixture(params=["wal", "truncate"])
def any_mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk of this machine, and on one that others may share."""
    monkeypatch.setattr("keito_mcp.journal.file.wal_is_safe", lambda _: request.param == "wal")


@pytest.fixture
def servers(folder: Path, any_mode: None) -> Iterator[list[Journal]]:  # noqa: ARG001
    journals = [Journal(folder) for _ in range(4)]
    yield journals
    for journal in journals:
        journal.close()


@pytest.mark.parametrize("what", ["timer", "call", "work"])
async def test_of_several_servers_that_create_the_same_at_once_exactly_one_does(
    servers: list[Journal], what: str
) -> None:
    for number in range(10):
        # A call is the same even where its work alone would not be: in two sessions, both for certain.
        owners = [
            replace(ME, session_id=f"session-{number}-{contender if what == 'call' else ''}") for contender in range(8)
        ]
        same = {
            "timer": {},
            "call": {"call_id": f"call-{number}", "fingerprint": f"f-{number}"},
            "work": {"fingerprint": f"f-{number}"},
        }[what]

        def work(key: str, owner: Owner, same: dict[str, str] = same) -> Work:
            return lambda journal: create(journal, entry(key, owner=owner, timer=what == "timer"), **same)

        answers = await at_once(
            servers, *[work(f"{number}-{contender}", owner) for contender, owner in enumerate(owners)]
        )
        sessions = {owner.session_id for owner in owners}
        [known] = [made for session in sessions for made in await servers[0].of_session("account-1", session)]
        assert len([answer for answer in answers if isinstance(answer, int)]) == 1
        assert {first_of(answer) for answer in answers} == {None, known.entry_key}


async def test_of_two_servers_that_both_send_the_same_write_again_exactly_one_does(servers: list[Journal]) -> None:
    made = entry("key-1")
    write_id = await created(servers[0], made)
    await servers[0].settle(settlement(write_id, made, outcome=WriteState.UNKNOWN))
    for number in range(1, 11):
        reads = [(await server.unsettled("account-1"))[0] for server in servers[:2]]
        assert reads[0] == reads[1]
        times = [Instant(NOON + timedelta(minutes=number), float(contender), "boot-1") for contender in range(2)]

        def work(write: Write, sent: Instant) -> Work:
            async def resend(journal: Journal) -> tuple[bool, Instant]:
                return await journal.resend(write, sent), sent

            return resend

        answers = await at_once(servers[:2], *map(work, reads, times))
        assert sorted(is_sent for is_sent, _ in answers) == [False, True]
        [winner] = [sent for is_sent, sent in answers if is_sent]
        assert await servers[2].unsettled("account-1") == [replace(reads[0], state=WriteState.SENT, sent=winner)]


async def test_different_agents_at_once_all_get_their_timer(servers: list[Journal]) -> None:
    def work(number: int) -> Work:
        made = entry(f"key-{number}", owner=replace(ME, subagent_id=f"sub-{number}"))
        return lambda journal: create(journal, made)

    answers = await at_once(servers, *map(work, range(24)))
    assert sorted(answers) == list(range(1, 25))


@pytest.mark.usefixtures("any_mode")
async def test_several_servers_may_make_the_file_at_the_same_time(tmp_path: Path) -> None:
    for number in range(10):
        journals = [Journal(tmp_path / str(number)) for _ in range(6)]
        assert await at_once(journals, *[lambda journal: journal.open_timer(ME)] * 6) == [None] * 6
        for journal in journals:
            journal.close()


# --- a file that can't be used ---


async def test_a_journal_that_somebody_else_holds_is_an_error_and_works_again_afterwards(
    journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch, commits: list[str]
) -> None:
    monkeypatch.setattr("keito_mcp.journal.file._BUSY_SECONDS", 0.05)
    await created(journal, entry("key-1"), "te_1")
    commits.clear()
    with closing(sqlite3.connect(journal_file(folder), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="locked") as caught:
            await journal.begin(stopping(entry("key-1")))
        assert str(folder) in str(caught.value)
        other.execute("ROLLBACK")
    assert commits == []
    timer = await journal.open_timer(ME)
    assert timer is not None
    assert timer.state is EntryState.RUNNING
    assert len(await journal.begin(stopping(entry("key-1")))) == 1


async def test_a_journal_that_was_damaged_is_an_error_with_the_folders_name(journal: Journal, folder: Path) -> None:
    await created(journal, entry("key-1"), "te_1")
    with closing(sqlite3.connect(journal_file(folder), isolation_level=None)) as other:
        other.execute("DROP TABLE writes")
    with pytest.raises(JournalError, match="no such table") as caught:
        await journal.unsettled("account-1")
    assert str(folder) in str(caught.value)


def test_nothing_is_made_before_the_first_use(folder: Path) -> None:
    Journal(folder).close()
    assert not folder.exists()
