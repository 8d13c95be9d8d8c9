"""Whether what Keito shows is what was sent: Keito may keep it a little differently."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from keito_mcp import hours as decimal_hours
from keito_mcp.keito import TimeEntry


def same_notes(one: str | None, other: str | None) -> bool:
    """Whether notes say the same: Keito may keep them without the white space around them."""
    return " ".join((one or "").split()) == " ".join((other or "").split())


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
