"""Turn what an agent asks for into rows: the entry as it should be, its metadata, and how long a timer ran."""

import uuid
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from keito_mcp import hours as decimal_hours
from keito_mcp.clock import Elapsed, Instant, elapsed
from keito_mcp.journal.entry import Desired, Entry, Observed, Presence
from keito_mcp.keito import TimeEntry
from keito_mcp.timesheet.asking import observed
from keito_mcp.timesheet.work import Work, Worker, parse_utc, utc_text
from keito_mcp.waits import LONGEST_TIMER

LONGEST = decimal_hours.of_duration(LONGEST_TIMER)
"""The most decimal hours that a timer counts."""

_ELSEWHERE = "elsewhere"
"""The boot of another machine's start: its monotonic clock says nothing here."""


def finished(
    worker: Worker, work: Work, now: Instant, *, spent_date: date, hours: Decimal, key: str | None = None
) -> Entry:
    """Return the row of finished work; without a key of its own it gets a new one.

    Raises:
        Problem: Its metadata is larger than Keito takes.
    """
    key = key or str(uuid.uuid4())
    metadata = worker.metadata(work, key)
    desired = Desired(presence=Presence.FINISHED, spent_date=spent_date, hours=hours, metadata=metadata, **_about(work))
    return Entry(
        key=key,
        owner=worker.owner,
        desired=desired,
        created=now,
        ended=now,
        host_session=worker.identity.host_session,
    )


def timer(worker: Worker, work: Work, now: Instant, *, spent_date: date) -> Entry:
    """Return the row of a timer that starts now; raises as `finished` does."""
    key = str(uuid.uuid4())
    metadata = worker.metadata(work, key, started_at=utc_text(now.wall))
    desired = Desired(presence=Presence.RUNNING, spent_date=spent_date, metadata=metadata, **_about(work))
    return Entry(
        key=key,
        owner=worker.owner,
        desired=desired,
        created=now,
        started=now,
        host_session=worker.identity.host_session,
    )


def adopted(worker: Worker, shown: TimeEntry, now: Instant) -> Entry:
    """Return the row of a timer that runs in Keito, and that this machine doesn't know.

    Its `started` is None where nobody says when it started.
    """
    seen = observed(shown)
    made = _moment(shown.created_at) or now
    owner = replace(
        worker.owner,
        session_id=shown.fact("session_id") or worker.owner.session_id,
        agent_id=shown.fact("agent_id") or worker.owner.agent_id,
        subagent_id=shown.fact("subagent_id") or "",
    )
    return Entry(
        key=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{owner.account}\n{shown.id}")),
        owner=owner,
        desired=as_observed(seen, Presence.RUNNING),
        created=now,
        observed=replace(seen, is_running=True),
        started=_moment(parse_utc(shown.fact("started_at"))) or _moment(shown.created_at),
        first_sent=made,
        last_sent=made,
        arrived=made,
        is_fresh=True,
    )


def as_observed(seen: Observed, presence: Presence) -> Desired:
    """Return the desired state of an entry that should stay as it is."""
    return Desired(
        presence=presence,
        project_id=seen.project_id,
        task_id=seen.task_id,
        spent_date=seen.spent_date,
        hours=None if presence is Presence.RUNNING else seen.hours,
        notes=seen.notes,
        is_billable=seen.is_billable,
        metadata=seen.metadata,
    )


@dataclass(frozen=True, slots=True)
class Counted:
    """How much a timer counts.

    Attributes:
        hours: As far as a timer counts.
        ran: How long it ran.
    """

    hours: Decimal
    ran: Elapsed

    @property
    def is_capped(self) -> bool:
        """Return whether it ran longer than a timer counts."""
        return self.ran.duration > LONGEST_TIMER

    @property
    def is_exact(self) -> bool:
        """Return whether Keito must have these very hours: it counts by a clock that was never set."""
        return self.is_capped or self.ran.clock_moved


def counted(started: Instant, ended: Instant) -> Counted:
    """Return how much a timer counts that ran from one moment to another."""
    ran = elapsed(started, ended)
    return Counted(decimal_hours.of_duration(min(ran.duration, LONGEST_TIMER)), ran)


def _moment(wall: datetime | None) -> Instant | None:
    return Instant(wall, 0.0, _ELSEWHERE) if wall is not None and wall.tzinfo is not None else None


def _about(work: Work) -> dict[str, Any]:
    return {
        "project_id": work.project_id,
        "task_id": work.task_id,
        "notes": work.notes,
        "is_billable": work.is_billable,
    }
