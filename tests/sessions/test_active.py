"""How long agents worked: the union of what they did, by day, without what is logged already."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keito_mcp.sessions.active import Effect, Mark, active_time
from keito_mcp.sessions.events import Event
from keito_mcp.sessions.timeline import placed
from tests.sessions.story import NOON, at, row, tell

DAY = NOON.date()


def seconds(told: list[Any], *marks: Mark, day: date = DAY) -> float:
    return active_time(tell(*told), marks, UTC).get(day, timedelta()).total_seconds()


TURN = [("prompt", 0), ("stop", 100)]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([("start", 0), ("prompt", 10), ("stop", 40), ("prompt", 100), ("stop", 130), ("end", 900)], 60),
        ([("prompt", 0), ("sub", 10, "a"), ("sub-stop", 50, "a"), ("stop", 60)], 60),
        ([("prompt", 0), ("sub", 10, "a"), ("stop", 20), ("sub-stop", 50, "a")], 50),
        ([("sub", 0, "a"), ("sub", 10, "b"), ("sub-stop", 20, "a"), ("sub-stop", 50, "b")], 50),
        ([("prompt", 0), ("permission", 20), ("tool", 320), ("stop", 330)], 30),
        ([("prompt", 0), ("permission", 20), ("permission", 20.5), ("tool", 320), ("stop", 330)], 30),
        ([("prompt", 0), ("permission", 20), row("tool", 320, took=100), ("stop", 330)], 130),
        ([("prompt", 0), ("permission", 20), row("tool", 320, took=9000), ("stop", 330)], 330),
        ([("prompt", 0), ("permission", 20), row("tool", 320, took=-5), ("stop", 330)], 30),
        ([("prompt", 0), ("tool", 10), ("permission", 20), ("end", 500)], 20),
        ([("prompt", 0), ("tool", 30), ("end", 500)], 30),
        ([("prompt", 0), ("tool", 30), ("end", 40)], 40),
        ([("start", 0), ("end", 500)], 0),
        ([row("prompt", 0, turn="a"), row("stop", 7, turn="a"), row("again", 9, turn="a")], 9),
        # The prompt of the second turn was lost.
        ([row("prompt", 0, turn="a"), row("stop", 7, turn="a"), row("again", 3700, turn="b")], 7),
        ([("prompt", 0), ("fail", 7)], 7),
    ],
    ids=str,
)
def test_turns_and_sub_agents_join_and_waiting_and_idling_dont_count(told: list[Any], expected: float) -> None:
    assert seconds(told) == expected


def mark(effect: Effect, moment: float, **more: Any) -> Mark:
    return Mark(at(moment), effect, **more)


def logged(moment: float, took: float, day: date = DAY) -> Mark:
    return mark(Effect.LOGGED, moment, day=day, duration=timedelta(seconds=took))


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ([], 100),
        ([mark(Effect.TIMER_STARTED, 20), mark(Effect.TIMER_STOPPED, 50)], 70),
        ([mark(Effect.TIMER_STARTED, -50), mark(Effect.TIMER_STOPPED, 50)], 50),
        ([mark(Effect.TIMER_STARTED, 60)], 60),
        (
            [
                mark(Effect.TIMER_STARTED, 20),
                mark(Effect.TIMER_STARTED, 30),
                mark(Effect.TIMER_STOPPED, 40),
                mark(Effect.TIMER_STOPPED, 50),
            ],
            70,
        ),
        ([logged(60, 25)], 75),
        ([logged(60, 500)], 40),
        ([logged(60, 25), logged(60, 25)], 50),
        ([logged(200, 40)], 60),
        ([logged(-10, 40)], 100),
        ([logged(60, 25, DAY - timedelta(days=1))], 100),
        ([mark(Effect.DISCARDED, 70)], 30),
        ([mark(Effect.DISCARDED, 200)], 0),
        ([mark(Effect.PAUSED, 10), mark(Effect.RESUMED, 40)], 70),
        ([mark(Effect.PAUSED, -5)], 0),
    ],
    ids=str,
)
def test_what_is_logged_discarded_or_paused_is_not_counted(marks: list[Mark], expected: float) -> None:
    assert seconds(TURN, *marks) == expected


def test_a_log_takes_from_what_no_timer_counted() -> None:
    timer = [mark(Effect.TIMER_STARTED, 0), mark(Effect.TIMER_STOPPED, 90)]
    assert seconds(TURN, *timer, logged(100, 50)) == 0


# --- clocks ---


def test_a_machine_that_slept_within_a_turn_bills_nothing_of_it() -> None:
    slept = timedelta(hours=3)
    assert seconds([row("prompt", 0), row("stop", 100, wall=slept)]) == 100


@pytest.mark.parametrize("moved", [timedelta(hours=-2), timedelta(hours=2), timedelta(days=-400)], ids=str)
def test_a_clock_that_is_set_within_a_turn_changes_nothing_of_its_length(moved: timedelta) -> None:
    told = tell(row("prompt", 0), row("tool", 50, wall=moved), row("stop", 100, wall=moved))
    assert sum(active_time(told, [], UTC).values(), timedelta()) == timedelta(seconds=100)


def test_a_turn_that_a_reboot_cut_counts_up_to_its_last_sign_of_life() -> None:
    told = [row("prompt", 0), row("tool", 60), row("resume", 900, boot="boot-2"), row("prompt", 910, boot="boot-2")]
    assert seconds([*told, row("stop", 950, boot="boot-2")]) == 100


def test_nothing_lasts_from_one_boot_to_the_next_however_far_the_clock_was_set_between() -> None:
    later = timedelta(days=3)
    told = tell(row("prompt", 0), row("tool", 60), row("stop", 100, boot="boot-2", wall=later))
    assert active_time(told, [], UTC) == {DAY: timedelta(seconds=60)}


def test_without_a_boot_id_the_wall_clock_counts() -> None:
    assert seconds([row("prompt", 0, boot=""), row("stop", 100, boot="")]) == 100


# --- days ---


def span(start: datetime, end: datetime, zone: ZoneInfo) -> dict[date, float]:
    length = (end - start).total_seconds()
    told = tell(row("prompt", 0, wall=start - NOON), row("stop", length, wall=start - NOON))
    return {day: took.total_seconds() / 3600 for day, took in active_time(told, [], zone).items()}


@pytest.mark.parametrize(
    ("zone", "start", "end", "expected"),
    [
        ("UTC", "2026-03-06T23:00", "2026-03-07T02:00", {6: 1, 7: 2}),
        ("UTC", "2026-03-06T23:00", "2026-03-07T00:00", {6: 1}),
        ("UTC", "2026-03-06T12:00", "2026-03-08T12:00", {6: 12, 7: 24, 8: 12}),
        ("Pacific/Kiritimati", "2026-03-06T09:30", "2026-03-06T10:30", {6: 0.5, 7: 0.5}),
        ("America/Los_Angeles", "2026-03-08T07:00", "2026-03-08T11:00", {7: 1, 8: 3}),
        # The night in which clocks go forward has 23 hours, the one in which they go back 25.
        ("Europe/Berlin", "2026-03-28T22:00", "2026-03-29T23:00", {28: 1, 29: 23, 30: 1}),
        ("Europe/Berlin", "2026-10-24T21:00", "2026-10-26T00:00", {24: 1, 25: 25, 26: 1}),
        # In Santiago the day on which clocks go forward begins at one.
        ("America/Santiago", "2026-09-06T03:00", "2026-09-06T05:00", {5: 1, 6: 1}),
    ],
)
def test_a_session_over_midnight_is_of_both_days_by_the_users_calendar(
    zone: str, start: str, end: str, expected: dict[int, float]
) -> None:
    begun, ended = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end))
    found = {day.day: round(took, 6) for day, took in span(begun, ended, ZoneInfo(zone)).items()}
    assert found == expected


# --- whatever is lost, doubled or late ---


@st.composite
def complete_sessions(draw: st.DrawFn) -> tuple[list[dict[str, object]], set[int]]:
    """The rows of a session with nothing missing, and the seconds in which something worked."""
    told: list[dict[str, object]] = [row("start", 0)]
    busy: set[int] = set()
    moment, number = 1, 0
    for turn in range(draw(st.integers(1, 4))):
        start = moment + draw(st.integers(0, 50))
        end = start + draw(st.integers(3, 60))
        told += [row("prompt", start, turn=f"turn-{turn}"), row("stop", end, turn=f"turn-{turn}")]
        busy |= set(range(start, end))
        for _ in range(draw(st.integers(0, 2))):
            number += 1
            begun = draw(st.integers(start, end - 1))
            done = begun + draw(st.integers(1, 90))
            told += [row("sub", begun, subagent=f"a{number}"), row("sub-stop", done, subagent=f"a{number}")]
            busy |= set(range(begun, done))
        moment = end + draw(st.integers(1, 50))
    return told, busy


def hours(events: list[Event]) -> timedelta:
    return sum(active_time(events, [], UTC).values(), timedelta())


@settings(deadline=None)
@given(session=complete_sessions(), data=st.data())
def test_a_complete_session_counts_the_union_in_any_order_and_however_often_it_is_told(
    session: tuple[list[dict[str, object]], set[int]], data: st.DataObject
) -> None:
    told, busy = session
    assert hours(tell(*told)) == timedelta(seconds=len(busy))
    shuffled = data.draw(st.permutations(told))
    assert hours(tell(*shuffled)) == timedelta(seconds=len(busy))
    twice = [{**one, "at": one["at"] + 0.01, "monotonic": one["monotonic"] + 0.01} for one in told]  # type: ignore[operator]
    doubled = hours(tell(*told, *twice))
    assert abs(doubled - timedelta(seconds=len(busy))) < timedelta(seconds=1)


WHATS = [
    "start",
    "resume",
    "compact",
    "prompt",
    "stop",
    "again",
    "fail",
    "sub",
    "sub-stop",
    "permission",
    "tool",
    "end",
]
anything = st.builds(
    lambda what, seconds, who, wall, boot: row(
        what, seconds, subagent=who, wall=timedelta(seconds=wall), boot=boot, turn=None
    ),
    st.sampled_from(WHATS),
    st.integers(0, 500),
    st.sampled_from(["", "", "a", "b"]),
    st.sampled_from([0, 0, 0, 7200, -7200]),
    st.sampled_from(["boot-1", "boot-1", "boot-2", ""]),
)
marks = st.builds(
    lambda effect, moment, took: Mark(at(moment), effect, DAY, timedelta(seconds=took)),
    st.sampled_from(list(Effect)),
    st.integers(0, 500),
    st.integers(0, 300),
)


@settings(deadline=None)
@given(told=st.lists(anything, min_size=1, max_size=25), what_else=st.lists(marks, max_size=6))
def test_whatever_is_told_and_whatever_the_clocks_do_the_hours_are_never_negative_and_never_more_than_passed(
    told: list[dict[str, object]], what_else: list[Mark]
) -> None:
    events = tell(*told)
    days = active_time(events, what_else, UTC)
    assert all(took > timedelta() for took in days.values())
    moments = placed([*(event.at for event in events), *(mark.at for mark in what_else)], at=lambda moment: moment)
    assert sum(days.values(), timedelta()) <= moments[-1][1] - moments[0][1]


@settings(deadline=None)
@given(told=st.lists(anything, min_size=1, max_size=25), what_else=st.lists(marks, max_size=6))
def test_while_the_clocks_agree_the_hours_are_never_more_than_from_the_first_event_to_the_last(
    told: list[dict[str, object]], what_else: list[Mark]
) -> None:
    steady = [
        {**one, "boot_id": "boot-1", "at": NOON.timestamp() - 1000 + float(str(one["monotonic"]))} for one in told
    ]
    events = tell(*steady)
    moments = [event.at.wall for event in events]
    assert sum(active_time(events, what_else, UTC).values(), timedelta()) <= max(moments) - min(moments)


@settings(deadline=None)
@given(session=complete_sessions(), data=st.data())
def test_what_is_lost_never_makes_more_hours_than_the_session_was_long(
    session: tuple[list[dict[str, object]], set[int]], data: st.DataObject
) -> None:
    told, _ = session
    kept = data.draw(st.lists(st.sampled_from(told), min_size=1, unique_by=id))
    length = max(float(str(one["at"])) for one in kept) - min(float(str(one["at"])) for one in kept)
    assert timedelta() <= hours(tell(*kept)) <= timedelta(seconds=length, microseconds=1)
