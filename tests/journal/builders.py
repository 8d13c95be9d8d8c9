"""Entries, writes and what becomes of them, as the journal's tests ask for them."""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
from hypothesis import HealthCheck, settings

from keito_mcp.clock import Instant
from keito_mcp.journal import (
    Claimed,
    Earlier,
    Entry,
    EntryState,
    Journal,
    Owner,
    Settlement,
    Sign,
    Write,
    WriteKind,
    WriteState,
)
from keito_mcp.settings.paths import journal_file
from tests.kit import NOON

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
"""A busy machine is no failure."""

MINE, OTHERS = "process-1", "process-2"
ACCOUNT = "account-1"
ME = Owner(
    account=ACCOUNT,
    session_id="session-1",
    agent_id="agent-1",
    subagent_id="",
    session_is_certain=True,
    process=MINE,
)
WINDOW = timedelta(minutes=2)

Created = int | Earlier
Work = Callable[[Journal], Awaitable[Any]]


def instant(at: datetime = NOON) -> Instant:
    """A moment by a wall clock and a monotonic clock that agree."""
    return Instant(at, 1000.25 + (at - NOON).total_seconds(), "boot-1")


def after(seconds: float) -> Instant:
    """So many seconds after noon."""
    return instant(NOON + timedelta(seconds=seconds))


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
    """The create of an entry, on its way and in this process's hands."""
    counted: dict[str, Any] = {"is_running": True} if made.is_timer else {"hours": 1.5}
    known: dict[str, Any] = {
        "kind": WriteKind.CREATE,
        "entry_id": None,
        "body": {"project_id": made.project_id, "notes": "Überstunden", **counted},
        "sent": instant(made.changed_at),
        "idempotency_key": f"idem-{made.entry_key}",
        "lease": MINE,
    }
    return Write(account=made.owner.account, entry_key=made.entry_key, **{**known, **fields})


def changing(made: Entry, **fields: Any) -> Write:
    """A stop of an entry, on its way."""
    known: dict[str, Any] = {
        "account": made.owner.account,
        "kind": WriteKind.UPDATE,
        "entry_key": made.entry_key,
        "entry_id": "te_1",
        "body": {"hours": 1.5, "is_running": False},
        "sent": instant(),
    }
    return Write(**{**known, **fields})


def deleting(made: Entry, **fields: Any) -> Write:
    """The delete of an entry, on its way."""
    body = {"reason": None, "session_id": made.owner.session_id, "entry": {"id": "te_1"}, "was": "stopped"}
    return changing(made, **{"kind": WriteKind.DELETE, "body": body, **fields})


WAITS: dict[str, Any] = {"state": WriteState.QUEUED, "sends": 0, "lease": None}
"""What makes a write one that never left."""


async def create(journal: Journal, made: Entry, **fields: Any) -> Created:
    return await journal.create(made, creating(made, **fields), same_since=made.changed_at - WINDOW)


async def created(journal: Journal, made: Entry, entry_id: str | None = None, **fields: Any) -> int:
    """An entry that Keito answered, where it has an id; else one whose create is as the fields say."""
    write_id = await create(journal, made, **fields)
    assert isinstance(write_id, int)
    if entry_id:
        await journal.settle(settlement(write_id, made, {"entry_id": entry_id}, arrived=made.is_timer))
    return write_id


async def queued(journal: Journal, made: Entry, **fields: Any) -> int:
    """An entry whose create waits."""
    return await created(journal, made, **{**WAITS, **fields})


async def begun(journal: Journal, write: Write) -> int:
    [write_id] = await journal.begin(write)
    return write_id


def settlement(
    write_id: int | None, made: Entry, changes: Mapping[str, object] | None = None, **fields: Any
) -> Settlement:
    return Settlement(
        **{"at": instant(), "write_id": write_id, "entry_key": made.entry_key, "changes": changes or {}, **fields}
    )


async def settle(
    journal: Journal, write_id: int, outcome: WriteState = WriteState.DONE, at: float = 0, **fields: Any
) -> None:
    """Say what became of a write alone."""
    await journal.settle(Settlement(at=after(at), write_id=write_id, outcome=outcome, **fields))


async def becomes(journal: Journal, made: Entry, state: EntryState, at: datetime = NOON, **changes: object) -> None:
    """Say what was seen of an entry."""
    await journal.settle(settlement(None, made, {"state": state, **changes}, at=instant(at)))


async def claim(journal: Journal, at: Instant | float = 0, write_id: int | None = None) -> Write:
    """A write that may be worked on at this moment."""
    claimed = await journal.claim(ACCOUNT, at if isinstance(at, Instant) else after(at), write_id)
    assert isinstance(claimed, Claimed), claimed
    return claimed.write


async def known(journal: Journal, key: str) -> Entry:
    found = await journal.find(ACCOUNT, key)
    assert found is not None
    return found


async def open_ids(journal: Journal) -> list[int]:
    return [write.write_id for write in await journal.unsettled(ACCOUNT)]


async def the_write(journal: Journal, write_id: int) -> Write:
    """A write that something is still to be done for."""
    [found] = [write for write in await journal.unsettled(ACCOUNT) if write.write_id == write_id]
    return found


def sign(owner: Owner = ME, at: Instant | None = None, process: str | None = MINE) -> Sign:
    return Sign(owner.account, owner.session_id, at or instant(), f"the account {owner.account}", process)


def first_of(answer: Created) -> str | None:
    """The key of the entry that a create was taken for; None where it is a new one."""
    return answer.entry.entry_key if isinstance(answer, Earlier) else None


def stranger(session_id: str = "session-2", **other: Any) -> Owner:
    """The same agent in another session."""
    return replace(ME, session_id=session_id, **other)


def rows(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    """What the file holds, seen by somebody else."""
    with closing(sqlite3.connect(journal_file(folder))) as connection:
        return connection.execute(statement).fetchall()


def states(folder: Path) -> dict[int, str]:
    """The state of each write."""
    return dict(rows(folder, "SELECT write_id, state FROM writes"))


def everything(folder: Path) -> list[str]:
    """All that the file holds."""
    with closing(sqlite3.connect(journal_file(folder))) as connection:
        return list(connection.iterdump())


async def at_once(journals: list[Journal], *works: Work) -> list[Any]:
    """What each piece of work answers, all started together, by one journal after the other."""
    answers: list[Any] = []

    async def run(journal: Journal, work: Work) -> None:
        answers.append(await work(journal))

    async with anyio.create_task_group() as tasks:
        for number, work in enumerate(works):
            tasks.start_soon(run, journals[number % len(journals)], work)
    return answers
