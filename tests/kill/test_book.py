from typing import Any

import pytest

from tests.kill.book import Book

_HOUR = 3600.0


def entry(op: str, hours: float, *, key: str = "key", runs: bool = False) -> dict[str, Any]:
    metadata = {"op": op, "entry_key": key}
    return {"id": f"te_{op}_{key}", "hours": hours, "is_running": runs, "metadata": metadata}


@pytest.fixture
def book() -> Book:
    """One hour was logged, and a timer of a quarter of an hour was stopped."""
    made = Book()
    made.asks("log_time", "log", 1.0, 0.0)
    made.hears("log_time", "log", {"id": "te_log_a", "status": "queued", "hours": 1.0})
    made.asks("start_timer", "timer", None, 0.0)
    made.hears("start_timer", "timer", {"id": "te_timer_b", "status": "running", "hours": 0})
    made.hears("stop_timer", None, {"id": "b", "status": "stopped", "hours": 0.25})
    return made


def test_what_was_answered_for_and_is_there_once_is_in_order(book: Book) -> None:
    assert book.against([entry("log", 1.0, key="a"), entry("timer", 0.25, key="b")], _HOUR).is_clean


def test_an_entry_that_isnt_there_is_lost(book: Book) -> None:
    assert book.against([entry("timer", 0.25, key="b")], _HOUR).lost == ["log"]


def test_an_entry_that_is_there_twice_is_doubled(book: Book) -> None:
    twice = [entry("log", 1.0, key="a"), entry("log", 1.0, key="c"), entry("timer", 0.25, key="b")]
    assert book.against(twice, _HOUR).doubled == ["log"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (entry("nobody", 1.0, key="c"), "never asked for"),
        (entry("log", 1.5, key="a"), "not [1.0]"),
        (entry("timer", 0.5, key="b"), "not the 0.25 h that were answered"),
        (entry("timer", 0.25, key="b", runs=True), "still runs"),
        (entry("timer", 3.0, key="b"), "more than passed"),
    ],
)
def test_hours_that_nobody_worked_are_invented(book: Book, wrong: dict[str, Any], said: str) -> None:
    assert said in " ".join(book.against([wrong], _HOUR).invented)


def test_what_was_discarded_and_is_there_still_is_invented_and_what_came_later_is_still_owed(book: Book) -> None:
    book.asks("discard_session", None, None, 0.0)
    book.hears("discard_session", None, {"session_id": "session-1"})
    book.asks("log_time", "later", 2.0, 0.0)
    book.hears("log_time", "later", {"id": "te_later_c", "status": "logged", "hours": 2.0})
    tally = book.against([entry("log", 1.0, key="a")], _HOUR)
    assert (tally.invented, tally.lost) == (["log is there still"], ["later"])


def test_a_timer_whose_stop_was_answered_is_owed_although_other_work_was_discarded_before() -> None:
    book = Book()
    book.asks("log_time", "log", 1.0, 0.0)
    book.asks("discard_session", None, None, 0.0)
    book.asks("start_timer", "timer", None, 0.0)
    book.hears("stop_timer", None, {"id": "b", "status": "stopped", "hours": 0.25, "notes": "work timer"})
    assert book.against([], _HOUR).lost == ["b"]
