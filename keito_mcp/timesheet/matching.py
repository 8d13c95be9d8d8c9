"""Whether what Keito shows is what was sent: Keito may keep it a little differently."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from keito_mcp import hours as decimal_hours
from keito_mcp.journal import Entry
from keito_mcp.keito import TimeEntry
from keito_mcp.server.answers import EntryAnswer


def same_notes(one: str | None, other: str | None) -> bool:
    """Whether notes say the same: Keito may keep them without the white space around them."""
    return " ".join((one or "").split()) == " ".join((other or "").split())


def edited_by_a_person(known: Entry, shown: TimeEntry | EntryAnswer) -> str | None:
    """Which field of an entry a person edited, as a sentence; what isn't known here or not shown counts as unedited."""
    for name in ("project_id", "task_id", "spent_date", "is_billable"):
        before, after = getattr(known, name), getattr(shown, name)
        if before is not None and after is not None and before != after:
            return f"A person changed its {name}."
    if shown.notes is not None and not same_notes(known.notes, shown.notes):
        return "A person changed its notes."
    return None


def shows(body: Mapping[str, Any], shown: TimeEntry, before: Decimal | None = None) -> bool:
    """Whether an entry is as a change would have it; hours that are as they were `before` are no change."""
    if "is_running" in body and shown.is_running is True:
        return False
    if "hours" in body and not _counts(Decimal(str(body["hours"])), shown.hours, before):
        return False
    return "notes" not in body or same_notes(shown.notes, body["notes"])


def _counts(asked: Decimal, shown: Decimal | None, before: Decimal | None) -> bool:
    """Whether Keito shows the hours that were asked for, however near those from before may be."""
    return shown == asked or (shown != before and decimal_hours.same(shown, asked))
