from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keito_mcp.journal import Journal
from keito_mcp.journal.entry import Entry, Flight, FlightKind, OutcomeKind, Presence
from tests.journal.builders import ACCOUNT, ME, instant, stranger
from tests.kit import NOON
from tests.support.rows import add, asked, delivered, edit, gone, known, rows, settled, to_be

pytestmark = pytest.mark.anyio


OTHER_AGENTS: tuple[dict[str, Any], ...] = ({"agent_id": "a"}, {"subagent_id": "s"}, {"account": "b"})


# --- the same call ---


async def test_a_row_that_is_added_twice_is_one_row(journal: Journal) -> None:
    table = rows(journal)
    await add(table, asked(1))
    changed = await edit(table, 1, delivered)
    assert await add(table, asked(1, notes="something else")) == changed
    assert await table.of_session(ACCOUNT, "session-1") == [changed]


async def test_a_call_that_is_delivered_twice_is_one_call_however_late(journal: Journal) -> None:
    table, late = rows(journal), NOON + timedelta(days=30)
    await add(table, delivered(asked(1, call_id="call-1", fingerprint="f-1")))
    assert await add(table, asked(2, call_id="call-1", fingerprint="f-1", at=late)) == await known(table, 1)
    assert await add(table, asked(3, call_id="call-2", fingerprint="f-1", at=late)) is None
    assert await add(table, asked(4, call_id="call-1", fingerprint="f-2")) is None
    assert await add(table, asked(5, call_id="call-1")) is None
    assert await add(table, asked(6)) is None
    for number, other in enumerate(OTHER_AGENTS, start=7):
        again = asked(number, call_id="call-1", fingerprint="f-1", owner=replace(ME, **other))
        assert await add(table, again) is None


@pytest.mark.parametrize(
    ("later", "is_the_same"),
    [
        (timedelta(), True),
        (timedelta(minutes=2), True),
        (timedelta(minutes=2, microseconds=1), False),
        (timedelta(days=1), False),
    ],
    ids=str,
)
async def test_the_same_work_is_one_call_within_two_minutes_to_the_microsecond(
    journal: Journal,
    later: timedelta,
    is_the_same: bool,  # noqa: FBT001
) -> None:
    table = rows(journal)
    await add(table, delivered(asked(1, fingerprint="f-1")))
    again = asked(2, fingerprint="f-1", at=NOON + later)
    in_the_way = await add(table, again, same_since=again.created.wall - timedelta(minutes=2))
    assert in_the_way == (await known(table, 1) if is_the_same else None)


@pytest.mark.parametrize(
    ("later", "day", "is_the_same"),
    [
        (timedelta(hours=11), 6, True),
        (timedelta(hours=12), 7, True),
        (timedelta(hours=12, microseconds=1), 7, False),
        (timedelta(days=30), 6, True),
        (timedelta(days=1), 7, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_in_flight", [True, False])
async def test_work_that_isnt_settled_is_the_same_call_all_day_and_all_night(
    journal: Journal,
    later: timedelta,
    day: int,
    is_the_same: bool,  # noqa: FBT001
    is_in_flight: bool,  # noqa: FBT001
) -> None:
    table = rows(journal)
    flight = Flight(kind=FlightKind.CREATE, sent=instant()) if is_in_flight else None
    await add(table, asked(1, fingerprint="f-1", in_flight=flight))
    at = NOON + later
    again = asked(2, fingerprint="f-1", at=at, spent_date=NOON.date().replace(day=day))
    assert (await add(table, again, same_since=at) is not None) is is_the_same


async def test_work_that_keito_refused_to_make_may_be_logged_again_at_once_by_the_same_call(journal: Journal) -> None:
    table = rows(journal)
    same: dict[str, Any] = {"call_id": "call-1", "fingerprint": "f-1"}
    await add(table, asked(1, **same))
    await edit(table, 1, settled(OutcomeKind.REFUSED))
    assert await add(table, asked(2, **same), same_since=NOON) is None
    # A refused change of an entry isn't a refused entry.
    await edit(table, 2, lambda entry: settled(OutcomeKind.REFUSED)(delivered(entry)))
    assert await add(table, asked(3, **same), same_since=NOON) == await known(table, 2)


@pytest.mark.parametrize(
    "change",
    [to_be(Presence.ABSENT), lambda entry: settled(OutcomeKind.PERSON)(gone(delivered(entry)))],
    ids=["thrown away", "a person deleted it"],
)
async def test_work_whose_entry_is_no_more_may_be_logged_again_but_not_by_the_same_call(
    journal: Journal, change: Callable[[Entry], Entry]
) -> None:
    table = rows(journal)
    await add(table, asked(1, call_id="call-1", fingerprint="f-1"))
    await edit(table, 1, change)
    assert await add(table, asked(2, call_id="call-1", fingerprint="f-1")) == await known(table, 1)
    assert await add(table, asked(3, call_id="call-2", fingerprint="f-1"), same_since=NOON) is None


async def test_work_that_a_person_changed_and_left_standing_is_still_the_same_work(journal: Journal) -> None:
    table = rows(journal)
    await add(table, delivered(asked(1, fingerprint="f-1")))
    await edit(table, 1, settled(OutcomeKind.PERSON))
    assert await add(table, asked(2, fingerprint="f-1"), same_since=NOON) == await known(table, 1)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
async def test_the_same_work_in_two_sessions_is_two_calls_only_where_both_are_certain(
    journal: Journal,
    first: bool,  # noqa: FBT001
    second: bool,  # noqa: FBT001
) -> None:
    table = rows(journal)
    await add(table, asked(1, fingerprint="f-1", owner=replace(ME, session_is_certain=first)))
    again = asked(2, fingerprint="f-1", owner=stranger(session_is_certain=second))
    assert (await add(table, again, same_since=NOON) is None) is (first and second)
