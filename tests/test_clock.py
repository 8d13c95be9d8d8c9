from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keito_mcp import clock
from keito_mcp.clock import Elapsed, Instant, SystemClock, elapsed, latest_day

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""

NOON = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
START = Instant(NOON, 1000.0, "boot-1")
HOUR = timedelta(hours=1)

instants = st.builds(
    Instant,
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    st.floats(0, 1e7),
    st.sampled_from(["boot-1", "boot-2"]),
)


def end(wall: timedelta, monotonic: timedelta, boot_id: str = "boot-1") -> Instant:
    return Instant(NOON + wall, 1000.0 + monotonic.total_seconds(), boot_id)


def test_while_both_clocks_agree_their_time_is_the_time() -> None:
    assert elapsed(START, end(HOUR, HOUR)) == Elapsed(HOUR, clock_moved=False)
    assert elapsed(START, START) == Elapsed(timedelta(), clock_moved=False)


def test_a_small_drift_is_no_moved_clock_and_the_smaller_time_counts() -> None:
    assert elapsed(START, end(HOUR + timedelta(seconds=30), HOUR)) == Elapsed(HOUR, clock_moved=False)
    assert elapsed(START, end(HOUR, HOUR + timedelta(minutes=1))) == Elapsed(HOUR, clock_moved=False)


def test_a_machine_that_slept_bills_only_the_time_that_it_was_awake() -> None:
    assert elapsed(START, end(9 * HOUR, HOUR)) == Elapsed(HOUR, clock_moved=True)


def test_a_clock_that_was_set_forward_bills_nothing_of_it() -> None:
    assert elapsed(START, end(timedelta(days=365), HOUR)) == Elapsed(HOUR, clock_moved=True)


def test_a_clock_that_was_set_back_a_little_bills_the_smaller_time() -> None:
    assert elapsed(START, end(HOUR / 2, HOUR)) == Elapsed(HOUR / 2, clock_moved=True)


def test_a_clock_that_was_set_back_before_the_start_leaves_the_monotonic_time() -> None:
    assert elapsed(START, end(-HOUR, 2 * HOUR)) == Elapsed(2 * HOUR, clock_moved=True)
    assert elapsed(START, end(timedelta(seconds=-1), HOUR)) == Elapsed(HOUR, clock_moved=True)


def test_across_boots_only_the_wall_clock_can_say() -> None:
    assert elapsed(START, end(3 * HOUR, -HOUR / 4, "boot-2")) == Elapsed(3 * HOUR, clock_moved=False)
    assert elapsed(START, end(3 * HOUR, HOUR, "boot-2")) == Elapsed(3 * HOUR, clock_moved=False)


def test_a_clock_that_went_back_across_boots_leaves_no_time_and_says_so() -> None:
    assert elapsed(START, end(-HOUR, HOUR, "boot-2")) == Elapsed(timedelta(), clock_moved=True)


def test_a_monotonic_clock_that_went_back_leaves_no_time() -> None:
    assert elapsed(START, end(HOUR, -HOUR / 4)) == Elapsed(timedelta(), clock_moved=True)


@UNHURRIED
@given(instants, instants)
def test_time_is_never_negative_and_within_one_boot_never_more_than_either_clock_that_went_on(
    start: Instant, end: Instant
) -> None:
    duration = elapsed(start, end).duration
    assert duration >= timedelta()
    if end.wall >= start.wall:
        assert duration <= end.wall - start.wall
    if start.boot_id == end.boot_id:
        assert duration <= timedelta(seconds=max(end.monotonic - start.monotonic, 0))


@pytest.mark.parametrize(
    ("moment", "latest"),
    [
        (datetime(2026, 3, 6, 9, 59, 59, tzinfo=UTC), date(2026, 3, 6)),
        (datetime(2026, 3, 6, 10, 0, tzinfo=UTC), date(2026, 3, 7)),
        (datetime(2026, 3, 6, 23, 59, tzinfo=timezone(timedelta(hours=-12))), date(2026, 3, 8)),
        (datetime(2026, 3, 6, 0, 0, tzinfo=ZoneInfo("Pacific/Kiritimati")), date(2026, 3, 6)),
        (datetime(2026, 12, 31, 10, 0, tzinfo=UTC), date(2027, 1, 1)),
    ],
)
def test_the_latest_day_is_the_one_that_begins_first_on_earth(moment: datetime, latest: date) -> None:
    assert latest_day(moment) == latest


@UNHURRIED
@given(st.datetimes(timezones=st.timezones(), min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001
def test_nobodys_today_is_later_than_the_latest_day(moment: datetime) -> None:
    assert moment.date() <= latest_day(moment)


def test_the_machines_clock_tells_utc_and_goes_on_within_one_boot() -> None:
    before = datetime.now(UTC)
    first, second = SystemClock().now(), SystemClock().now()
    assert before <= first.wall <= datetime.now(UTC)
    assert first.wall.tzinfo is UTC
    assert first.monotonic <= second.monotonic
    assert first.boot_id == second.boot_id != ""


@pytest.fixture
def without_a_boot_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """On a machine that doesn't tell which boot it is; each process asks once."""
    monkeypatch.setattr("keito_mcp.clock._BOOT_ID_FILE", tmp_path / "missing")
    cached = (clock.boot_id, clock._counted_from)  # noqa: SLF001 -- what the process asked once
    for read in cached:
        read.cache_clear()
    yield
    for read in cached:
        read.cache_clear()


def test_a_machine_without_a_boot_id_counts_from_this_process(request: pytest.FixtureRequest) -> None:
    known = SystemClock().now().boot_id
    request.getfixturevalue("without_a_boot_id")
    first, second = SystemClock().now(), SystemClock().now()
    assert first.boot_id == second.boot_id
    assert first.boot_id not in {"", known}
    assert clock.boot_id() is None


@pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="only Linux tells")
def test_a_machine_that_tells_its_boot_counts_from_there() -> None:
    assert SystemClock().now().boot_id == clock.boot_id() != ""
