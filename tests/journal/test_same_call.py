import uuid
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keito_mcp.journal import Earlier, EntryState, Journal, Owner, Settlement, WriteState
from tests.journal.builders import (
    ME,
    UNHURRIED,
    WINDOW,
    Created,
    create,
    created,
    creating,
    entry,
    first_of,
    instant,
    queued,
    settle,
    settlement,
)
from tests.kit import NOON

pytestmark = pytest.mark.anyio

# --- the same call ---

WORK = entry("key-1", timer=False)


async def logged(journal: Journal, key: str, *, owner: Owner = ME, at: datetime = NOON, **fields: Any) -> Created:
    return await create(journal, entry(key, owner=owner, timer=False, at=at), **fields)


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
        await journal.settle(Settlement(at=instant(sent), write_id=first))
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
        await journal.settle(settlement(write_id, evening, outcome=outcome, at=instant(BEFORE_MIDNIGHT)))
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


@pytest.mark.parametrize("state", [WriteState.QUEUED, WriteState.UNKNOWN])
@pytest.mark.parametrize(("day", "is_the_same"), [(date(2026, 3, 6), True), (date(2026, 3, 5), False)])
async def test_work_that_waits_is_the_same_call_all_day(
    journal: Journal,
    state: WriteState,
    day: date,
    is_the_same: bool,  # noqa: FBT001
) -> None:
    await queued(journal, WORK, fingerprint="f-1", state=state)
    again = entry("key-2", timer=False, at=NOON + timedelta(hours=13), spent_date=day)
    assert (first_of(await create(journal, again, fingerprint="f-1")) == "key-1") is is_the_same


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
        await settle(journal, write_id)
    answer = await logged(journal, "key-9", fingerprint="f-1", call_id="call-0", at=NOON + timedelta(minutes=6))
    assert first_of(answer) == "key-2"
