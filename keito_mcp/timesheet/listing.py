"""Looking back: what stands in Keito."""

import re
from collections.abc import Awaitable, Callable
from decimal import Decimal

from keito_mcp.answers import EntryRow, ListAnswer
from keito_mcp.keito import TimeEntry, TimeEntryFilter
from keito_mcp.timesheet.ledger import MOST_PAGES, PAGE_LIMIT, Ledger

Progress = Callable[[int, int, str], Awaitable[None]]
"""Told how much is done, of how much, and what is being done."""

_PLACE = re.compile(r"(\d{1,3})@(.*)", re.DOTALL)


async def list_entries(ledger: Ledger, wanted: TimeEntryFilter) -> ListAnswer:
    """One page of Keito's; raises `KeitoError`."""
    page = await ledger.api.list(wanted)
    return _answer(page.data, page.following)


async def list_session(ledger: Ledger, wanted: TimeEntryFilter, session_id: str, progress: Progress) -> ListAnswer:
    """The entries of a session, at most `wanted.limit`. Keito can't filter by session, so pages are walked.

    At most ten pages of 200; `next_cursor` goes on from there, or from the middle of a page.

    Raises:
        KeitoError: Keito refused or can't be reached.
    """
    cursor, skip = _place(wanted.cursor)
    walk = wanted.model_copy(update={"cursor": cursor, "limit": PAGE_LIMIT})
    shown: list[TimeEntry] = []
    pages = 0
    async for page in ledger.api.pages(walk, at_most=MOST_PAGES):
        pages += 1
        found = [entry for entry in page.data if entry.fact("session_id") == session_id][skip:]
        room = wanted.limit - len(shown)
        shown += found[:room]
        if len(found) > room:
            return _answer(shown, _cursor(cursor, skip + room))
        cursor, skip = page.following, 0
        if cursor is None or len(shown) == wanted.limit:
            break
        await progress(pages, MOST_PAGES, f"{pages} pages read, {len(shown)} entries of the session found")
    return _answer(shown, _cursor(cursor, 0) if cursor else None)


def _cursor(cursor: str | None, skip: int) -> str:
    """A cursor that leads into the middle of one of Keito's pages; `_place` reads it."""
    return f"{skip}@{cursor or ''}"


def _place(cursor: str | None) -> tuple[str | None, int]:
    """Keito's cursor, and how many of the session's entries on that page were shown already."""
    match = _PLACE.fullmatch(cursor or "")
    return (match[2] or None, int(match[1])) if match else (cursor, 0)


def _answer(entries: list[TimeEntry], next_cursor: str | None) -> ListAnswer:
    return ListAnswer(
        entries=[EntryRow.listed(entry) for entry in entries],
        total_hours=sum((entry.hours or Decimal(0) for entry in entries), Decimal(0)),
        has_more=next_cursor is not None,
        next_cursor=next_cursor,
    )
