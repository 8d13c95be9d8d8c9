"""Rows as the journal's tests ask for them, and any entry that there can be."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints
from uuid import UUID

from hypothesis import strategies as st

from keito_mcp.clock import Instant
from keito_mcp.journal import Journal
from keito_mcp.journal.entry import Desired, Entry, Observed, Outcome, OutcomeKind, Presence, Rest
from keito_mcp.journal.protocol import Edit, Lease, Rows
from keito_mcp.timesheet.step import seconds_left
from tests.journal.builders import ACCOUNT, ME, after, instant
from tests.kit import NOON
from tests.support.worlds import V1

LEFT = partial(seconds_left, traits=V1)


def rows(journal: Journal) -> Rows:
    return journal.rows(LEFT)


def key(number: int) -> str:
    return str(UUID(int=number))


def asked(number: int, *, timer: bool = False, at: datetime = NOON, **given: Any) -> Entry:
    """A row as a tool makes it. What isn't a field of the entry is one of `desired`."""
    known = {
        "presence": Presence.RUNNING if timer else Presence.FINISHED,
        "project_id": "prj_abc",
        "notes": "Fix the login",
        "spent_date": at.date(),
        "hours": None if timer else Decimal("1.50"),
        "metadata": {"entry_key": key(number)},
    }
    own = {name: value for name, value in given.items() if name in {one.name for one in fields(Entry)}}
    desired = Desired(**{**known, **{name: value for name, value in given.items() if name not in own}})
    made = {"owner": ME, "created": instant(at), "started": instant(at) if timer else None}
    return Entry(**{**made, **own, "key": key(number), "desired": desired})


def delivered(entry: Entry, entry_id: str = "te_1") -> Entry:
    """The row once Keito answered its create."""
    shown = {one.name: getattr(entry.desired, one.name) for one in fields(Desired) if hasattr(Observed, one.name)}
    runs = entry.desired.presence is Presence.RUNNING
    return replace(entry, observed=Observed(**shown, entry_id=entry_id, is_running=runs))


def to_be(presence: Presence) -> Edit:
    """A change of how an entry should stand."""

    def change(entry: Entry) -> Entry:
        ended = instant() if presence is Presence.FINISHED else None
        return replace(entry, desired=replace(entry.desired, presence=presence), ended=ended)

    return change


def settled(kind: OutcomeKind) -> Edit:
    return lambda entry: replace(entry, outcome=Outcome(kind, "So it is."))


def resting(seconds: float, *, since: Instant | None = None) -> Edit:
    return lambda entry: replace(entry, rest=Rest(since or instant(), seconds, "Keito is away."))


def gone(entry: Entry) -> Entry:
    """The row of an entry that isn't in Keito any more."""
    return replace(entry, observed=None, removed=entry.observed)


async def edit(rows: Rows, number: int, change: Edit, at: float = 0, lease: Lease = Lease.UNASKED) -> Entry | None:
    return await rows.edit(key(number), change, after(at), lease=lease)


async def add(rows: Rows, entry: Entry, *, held: bool = False, **given: Any) -> Entry | None:
    return await rows.add(entry, entry.created, held=held, **given)


async def known(rows: Rows, number: int) -> Entry:
    found = await rows.find(ACCOUNT, key(number))
    assert found is not None
    return found


# --- any entry ---

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
HOURS = st.decimals(0, 24, places=4) | st.sampled_from([Decimal("1.50"), Decimal("0E-7"), Decimal(2)])
DAYS = st.dates(date(2020, 1, 1), date(2100, 1, 1))
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
OBJECTS = st.dictionaries(
    TEXTS, st.recursive(st.none() | st.booleans() | st.integers() | TEXTS, st.lists, max_leaves=4)
)
_BY_KEITOS_NAMES: Mapping[str, st.SearchStrategy[Any]] = {
    "project_id": TEXTS,
    "task_id": TEXTS | st.none(),
    "spent_date": DAYS,
    "hours": HOURS,
    "notes": TEXTS,
    "is_billable": st.booleans(),
    "is_running": st.booleans(),
    "metadata": OBJECTS,
}
BODIES = st.fixed_dictionaries({}, optional=dict(_BY_KEITOS_NAMES))
_SIMPLE: Mapping[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    bool: st.booleans(),
    int: st.integers(0, 99),
    float: st.floats(0, 1e9),
    Decimal: HOURS,
    date: DAYS,
    datetime: MOMENTS,
}


def _any_of(name: str, hint: Any) -> st.SearchStrategy[Any]:
    """Whatever a field of this type may hold."""
    origin, arguments = get_origin(hint), [one for one in get_args(hint) if one is not NoneType]
    if origin is UnionType:
        return st.none() | _any_of(name, arguments[0])
    if origin is Mapping:
        return OBJECTS if name == "metadata" else BODIES
    if origin in {tuple, frozenset}:
        make: Callable[[Any], Any] = origin
        return st.lists(_any_of(name, arguments[0]), max_size=3).map(make)
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        parts = {one.name: _any_of(one.name, hints[one.name]) for one in fields(hint)}
        return st.builds(hint, **parts)  # type: ignore[arg-type] # it is a class
    if issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    return _SIMPLE[hint]


ANY_ENTRY: st.SearchStrategy[Entry] = _any_of("", Entry)
