"""Show an entry's row to those who only look at it: commands, resources, and the count of sessions."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from keito_mcp.clock import Instant
from keito_mcp.journal import Owner
from keito_mcp.journal.entry import Entry, OutcomeKind, Presence
from keito_mcp.journal.rules import is_open_timer
from keito_mcp.timesheet import compare


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """One entry, as it stands or will stand once all is delivered.

    Attributes:
        entry_key: This project's own key.
        entry_id: Keito's id, once Keito showed it.
        state: Whether it runs, is finished, or isn't there, in a word.
        person: What a person did to it, where it was left alone for that.
        closed: Why its timer was stopped without its agent.
        started, ended: When a timer started, and when its work was over.
        changed_at: When its work was over last; of a timer that runs, when it started.
        is_recorded: Whether nobody asked for it.
        runs: Whether it is a timer that runs, or should.
        is_wanted: Whether it stands in Keito, or should.
        is_discarded: Whether it was thrown away.
    """

    entry_key: str
    entry_id: str | None
    owner: Owner
    state: str
    project_id: str
    task_id: str | None
    notes: str | None
    spent_date: date
    hours: Decimal
    person: str | None
    closed: str | None
    started: Instant | None
    ended: Instant | None
    changed_at: datetime
    is_recorded: bool
    runs: bool
    is_wanted: bool
    is_discarded: bool

    @property
    def handle(self) -> str:
        """Return how a call names it."""
        return self.entry_id or self.entry_key

    @classmethod
    def of(cls, entry: Entry) -> "Logged":
        """Return what is to be seen of a row."""
        desired, stood = entry.desired, entry.observed or entry.removed
        created = entry.created.wall
        return cls(
            entry_key=entry.key,
            entry_id=stood.entry_id if stood else None,
            owner=entry.owner,
            state=_state(entry),
            project_id=desired.project_id or "",
            task_id=desired.task_id,
            notes=entry.observed.notes if entry.observed and is_left(entry) else desired.notes,
            spent_date=desired.spent_date or created.date(),
            hours=_hours(entry),
            person=entry.outcome.why if entry.outcome is not None and is_left(entry) else None,
            closed=entry.closed,
            started=entry.started,
            ended=entry.ended,
            changed_at=(entry.ended or entry.created).wall,
            is_recorded=entry.is_recorded,
            runs=is_open_timer(entry),
            is_wanted=stands(entry),
            is_discarded=desired.presence is Presence.ABSENT and not stands(entry),
        )


def stands(entry: Entry) -> bool:
    """Return whether an entry stands in Keito or should, and isn't to be deleted."""
    if entry.outcome is not None:
        return entry.observed is not None
    return entry.desired.presence is not Presence.ABSENT


def is_left(entry: Entry) -> bool:
    """Return whether an entry that stands in Keito is left to a person."""
    outcome = entry.outcome
    return outcome is not None and outcome.kind is OutcomeKind.PERSON and entry.observed is not None


def _hours(entry: Entry) -> Decimal:
    seen = entry.observed.hours if entry.observed else None
    if is_left(entry) or (seen is not None and "hours" not in compare.difference(entry)):
        return seen or Decimal(0)
    if entry.desired.presence is Presence.RUNNING:
        return Decimal(0)
    return entry.desired.hours or Decimal(0)


def _state(entry: Entry) -> str:
    if not stands(entry):
        return Presence.ABSENT.value
    runs = is_open_timer(entry) or (entry.observed is not None and entry.observed.is_running is True)
    return (Presence.RUNNING if runs else Presence.FINISHED).value
