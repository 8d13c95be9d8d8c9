import time
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keito_mcp import hours
from keito_mcp.hours import NotHours

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""

places = st.integers(min_value=1, max_value=240_000).map(lambda units: Decimal(units) / 10_000)
texts = st.text() | st.from_regex(
    r"[0-9]{1,3}([.:][0-9]{1,3})? ?(h|m|s|min|hours)? ?([0-9]{1,3} ?[ms]?)?", fullmatch=True
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, "1.5"),
        (1, "1"),
        (24, "24"),
        (24.0, "24"),
        (0.1, "0.1"),
        (Decimal("0.3333"), "0.3333"),
        (1.00005, "1.0001"),
        (1 / 3, "0.3333"),
        (0.00005, "0.0001"),
        ("1.5", "1.5"),
        (" 1.5 ", "1.5"),
        ("2", "2"),
        ("1:30", "1.5"),
        ("0:01", "0.0167"),
        ("24:00", "24"),
        ("1:30:36", "1.51"),
        ("90m", "1.5"),
        ("90 min", "1.5"),
        ("90 minutes", "1.5"),
        ("1 minute", "0.0167"),
        ("1h", "1"),
        ("1.5h", "1.5"),
        ("2 hours", "2"),
        ("1 hour", "1"),
        ("2 hrs", "2"),
        ("1h30m", "1.5"),
        ("1h 30m", "1.5"),
        ("1H 30M", "1.5"),
        ("1 hour 30 minutes", "1.5"),
        ("1h 30m 36s", "1.51"),
        ("36s", "0.01"),
        ("36 seconds", "0.01"),
        ("1h 36 sec", "1.01"),
        ("0.5h 30m", "1"),
    ],
    ids=repr,
)
def test_a_duration_is_read_in_each_form_that_people_and_models_write(value: object, expected: str) -> None:
    assert hours.parse(value) == Decimal(expected)


@pytest.mark.parametrize(
    "value", [0, -1, -0.5, 0.00004, 24.0001, 25, 10**30, "0", "0:00", "24:01", "0m", "1441m", "-1", "1e300"]
)
def test_a_duration_outside_of_a_day_is_refused(value: object) -> None:
    with pytest.raises(NotHours, match="more than 0 and at most 24"):
        hours.parse(value)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, [], {}, [1.5], b"1.5", timedelta(hours=1), float("nan"), float("inf"), Decimal("sNaN")),
        *(
            "",
            " ",
            "abc",
            "1,5",
            "1:5",
            "1:60",
            "1:30:60",
            "1h30",
            "h",
            "m",
            "1 30",
            "1h 1h",
            "30m 1h",
            "nan",
            "-inf",
            "0x1",
        ),
    ],
    ids=repr,
)
def test_a_value_that_is_no_duration_is_refused_with_the_forms_that_are_understood(value: object) -> None:
    with pytest.raises(NotHours, match=r'decimal hours such as 1\.5 .*"1:30", "90m" and "1h 30m"'):
        hours.parse(value)


@pytest.mark.parametrize(("value", "shown"), [("abc", "'abc'"), (25.5, "25.5"), ("25h", "'25h'")])
def test_a_refusal_shows_what_was_refused(value: object, shown: str) -> None:
    with pytest.raises(NotHours) as caught:
        hours.parse(value)
    assert str(caught.value).endswith(f", not {shown}")


@pytest.mark.parametrize("value", ["x" * 100_000, "1" * 100_000, "9" * 4000 + "h"])
def test_a_refusal_is_short_however_long_the_value_is(value: str) -> None:
    with pytest.raises(NotHours) as caught:
        hours.parse(value)
    assert len(str(caught.value)) < 200


def test_a_long_text_that_almost_is_a_duration_is_refused_without_trying_for_seconds() -> None:
    began = time.thread_time()
    with pytest.raises(NotHours):
        hours.parse("1h" + " " * 10_000 + "x")
    assert time.thread_time() - began < 1


@UNHURRIED
@given(places)
def test_hours_with_four_places_survive_the_way_through_a_json_number(value: Decimal) -> None:
    assert hours.parse(float(value)) == value
    assert hours.parse(str(value)) == value
    assert hours.parse(repr(float(value))) == value


@UNHURRIED
@given(st.floats() | st.integers() | st.decimals() | texts | st.none() | st.booleans())
def test_whatever_is_read_lies_within_a_day_and_has_four_places(value: object) -> None:
    try:
        parsed = hours.parse(value)
    except NotHours:
        return
    assert 0 < parsed <= 24
    assert parsed == parsed.quantize(Decimal("0.0001"))


@UNHURRIED
@given(st.integers(min_value=0, max_value=23), st.integers(min_value=0, max_value=59))
def test_all_ways_to_write_hours_and_minutes_are_the_same_duration(whole: int, minutes: int) -> None:
    if whole or minutes:
        clock = hours.parse(f"{whole}:{minutes:02}")
        assert clock == hours.parse(f"{whole}h {minutes}m") == hours.parse(f"{60 * whole + minutes}m")
        assert clock == hours.of_duration(timedelta(hours=whole, minutes=minutes))


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(hours=1, minutes=30), "1.5"),
        (timedelta(seconds=36), "0.01"),
        (timedelta(microseconds=180_000), "0.0001"),
        (timedelta(microseconds=539_999), "0.0001"),
        (timedelta(microseconds=540_000), "0.0002"),
        (timedelta(microseconds=1), "0.0001"),
        (timedelta(), "0.0001"),
        (timedelta(hours=-1), "0.0001"),
        (timedelta(days=3), "72"),
    ],
    ids=str,
)
def test_elapsed_time_is_rounded_to_four_places_and_a_timer_that_ran_has_run(
    duration: timedelta, expected: str
) -> None:
    assert hours.of_duration(duration) == Decimal(expected)


@pytest.mark.parametrize(("given_hours", "rounded"), [("1.00005", "1.0001"), ("1.00004", "1"), ("0.00015", "0.0002")])
def test_halves_are_rounded_up(given_hours: str, rounded: str) -> None:
    assert hours.round_to_places(Decimal(given_hours)) == Decimal(rounded)


@pytest.mark.parametrize(
    ("value", "written"), [("1.5000", "1.5"), ("0.0001", "0.0001"), ("10", "10"), ("24.0000", "24"), ("0", "0")]
)
def test_hours_are_written_without_zeros_at_the_end(value: str, written: str) -> None:
    assert hours.text(Decimal(value)) == written


def test_hours_are_the_same_within_what_two_places_may_lose() -> None:
    assert hours.same(Decimal("1.5"), Decimal("1.5000"))
    assert hours.same(Decimal("1.2346"), Decimal("1.23"))
    assert hours.same(Decimal("1.23"), Decimal("1.235"))
    assert not hours.same(Decimal("1.23"), Decimal("1.2351"))
    assert not hours.same(Decimal("1.5"), Decimal(2))
    assert not hours.same(None, Decimal(1))
    assert not hours.same(Decimal(1), None)
    assert not hours.same(None, None)
