"""Looking back: what stands in Keito."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Self

from keito_mcp.keito import TimeEntry, TimeEntryFilter
from keito_mcp.server.answers import EntryRow, ListAnswer
from keito_mcp.timesheet.ledger import MOST_PAGES, PAGE_LIMIT, Ledger

Progress = Callable[[int, int, str], Awaitable[None]]
"""Told how much is done, of how much, and what is being done."""

_PLACE = re.compile(r"(\d{1,3}):([^@]*)@(.*)", re.DOTALL)


async def list_entries(
    ledger: Ledger, wanted: TimeEntryFilter, progress: Progress, session_id: str | None = None
) -> ListAnswer:
    """Entries, at most `wanted.limit`: one page of Keito's where all of it may be shown, else what a walk finds.

    Keito can filter neither by session nor by principal, so pages are walked for those, at most ten of 200;
    `next_cursor` goes on from there, or from the middle of a page.

    Raises:
        KeitoError: Keito refused or can't be reached.
    """
    if session_id is None and not ledger.is_shared:
        page = await ledger.view.list(wanted)
        return _answer(page.data, page.following)
    place = _Place.read(wanted.cursor)
    walk = wanted.model_copy(update={"cursor": place.cursor, "limit": PAGE_LIMIT})
    shown: list[TimeEntry] = []
    pages = 0
    async for page in ledger.view.pages(walk, at_most=MOST_PAGES):
        pages += 1
        found = place.rest([entry for entry in page.data if session_id in {None, entry.fact("session_id")}])
        room = wanted.limit - len(shown)
        shown += found[:room]
        if len(found) > room:
            return _answer(shown, place.after(shown[-1], room).text())
        place = _Place(page.following)
        if place.cursor is None or len(shown) == wanted.limit:
            break
        await progress(pages, MOST_PAGES, f"{pages} pages read, {len(shown)} entries found")
    return _answer(shown, place.text() if place.cursor else None)


@dataclass(frozen=True, slots=True)
class _Place:
    """A place among the entries that a walk finds: one of Keito's pages, and what of it was shown already.

    Attributes:
        cursor: Keito's cursor of the page; None for the first.
        skip: How many of its entries that were found were shown.
        last: The id of the last of those; the count serves where it is gone.
    """

    cursor: str | None
    skip: int = 0
    last: str = ""

    @classmethod
    def read(cls, text: str | None) -> Self:
        """The place that `text` made, or Keito's own cursor."""
        match = _PLACE.fullmatch(text or "")
        return cls(match[3] or None, int(match[1]), match[2]) if match else cls(text)

    def text(self) -> str:
        """The place as an opaque cursor."""
        return f"{self.skip}:{self.last}@{self.cursor or ''}"

    def rest(self, entries: list[TimeEntry]) -> list[TimeEntry]:
        """Those of a page's entries that were not shown yet, also when newer ones were added before them."""
        ids = [entry.id for entry in entries]
        return entries[ids.index(self.last) + 1 :] if self.last in ids else entries[self.skip :]

    def after(self, entry: TimeEntry, more: int) -> Self:
        """The place behind an entry of the same page."""
        return replace(self, skip=self.skip + more, last=entry.id)


def _answer(entries: list[TimeEntry], next_cursor: str | None) -> ListAnswer:
    return ListAnswer(
        entries=[EntryRow.listed(entry) for entry in entries],
        total_hours=sum((entry.hours or Decimal(0) for entry in entries), Decimal(0)),
        has_more=next_cursor is not None,
        next_cursor=next_cursor,
    )
