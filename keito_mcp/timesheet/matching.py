"""Whether what Keito shows is what was sent: Keito may keep it a little differently."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from keito_mcp import hours as decimal_hours
from keito_mcp.keito import TimeEntry


def same_notes(one: str | None, other: str | None) -> bool:
    """Whether notes say the same: Keito may keep them without the white space around them."""
    return " ".join((one or "").split()) == " ".join((other or "").split())


def shows(body: Mapping[str, Any], shown: TimeEntry) -> bool:
    """Whether an entry is as a change would have it."""
    if "is_running" in body and shown.is_running is True:
        return False
    if "hours" in body and not decimal_hours.same(shown.hours, Decimal(str(body["hours"]))):
        return False
    return "notes" not in body or same_notes(shown.notes, body["notes"])
