"""Throwing away a session that failed: which entries, and the deleting of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from keito_mcp.answers import DiscardAnswer, Kept
from keito_mcp.clock import latest_day
from keito_mcp.journal import Entry, EntryState, Owner
from keito_mcp.keito import InvalidRequest, NotFound, PermissionDenied, TimeEntry, TimeEntryFilter
from keito_mcp.timesheet import deletes, standing
from keito_mcp.timesheet.ledger import MOST_PAGES, ONE_DAY, PAGE_LIMIT, Ledger
from keito_mcp.timesheet.listing import Progress
from keito_mcp.timesheet.work import Worker

DAYS_LOOKED_BACK = timedelta(days=30)
DAYS_OF_ANOTHER_SESSION = timedelta(days=7)
"""How far back an agent may discard a session that isn't the one it works in."""

_UNCERTAIN_SESSION = (
    "Which session this call belongs to isn't certain, "
    "so only what this agent wrote through this server was considered."
)
_ANOTHER_SESSION = "Of a session that isn't this one, only this agent's entries of the last 7 days were considered."
_TOO_MANY = f"Only the newest {MOST_PAGES * PAGE_LIMIT} agent entries of those days were looked through; call again."


async def discard(
    ledger: Ledger, worker: Worker, session: str, reason: str | None, progress: Progress
) -> DiscardAnswer:
    """Delete a session's entries, finished or running, apart from what a person changed.

    Args:
        ledger: Where it is recorded and sent.
        worker: Who asks.
        session: The session's id.
        reason: Why, for the journal.
        progress: Told of each page and entry.

    Raises:
        JournalError: Nothing was deleted.
        KeitoError: Keito can't be asked which entries there are; nothing was deleted.
    """
    async with ledger.one_at_a_time(*worker.owner.key):
        scope = await _scope(ledger, worker, session)
        found, all_seen = await _find(ledger, scope, progress)
        kept = [Kept(id=entry.entry_id or entry.entry_key, reason=why) for entry, why in scope.left]
        wanted: list[TimeEntry] = []
        for entry in found:
            why = await _changed(ledger, scope.known.get(entry.id), entry)
            if why:
                kept.append(Kept(id=entry.id, reason=why))
            else:
                wanted.append(entry)
        outcomes = await deletes.delete(ledger, worker.owner.account, wanted, scope.known, reason, progress)
    kept += [Kept(id=entry.id, reason=outcome) for entry, outcome in outcomes if outcome]
    gone = [entry for entry, outcome in outcomes if outcome is None]
    return DiscardAnswer(
        session_id=session,
        discarded=[entry.id for entry in gone] + scope.gone,
        hours=sum((entry.hours or Decimal(0) for entry in gone), Decimal(0)),
        kept=kept,
        message=" ".join([*scope.notes, *([] if all_seen else [_TOO_MANY])]) or None,
    )


@dataclass(slots=True)
class _Scope:
    """What may be discarded.

    Attributes:
        known: This machine's entries of the session, by Keito's id.
        keys: The keys of those whose create got no answer.
        left: Entries of the session that are left out, and why.
        gone: Ids that turned out to be deleted already.
        notes: What the answer must say of the limits.
        first, last: The days to look through.
    """

    session_id: str
    agent_id: str | None
    only_known: bool
    known: dict[str, Entry]
    keys: dict[str, Entry]
    first: date
    last: date
    left: list[tuple[Entry, str]]
    gone: list[str]
    notes: list[str]

    def holds(self, entry: TimeEntry) -> bool:
        """Whether an entry that Keito shows is one of those."""
        if entry.source != "agent":
            return False
        if entry.id in self.known or entry.fact("entry_key") in self.keys:
            return True
        return (
            not self.only_known
            and entry.fact("session_id") == self.session_id
            and (self.agent_id is None or entry.fact("agent_id") == self.agent_id)
        )


async def _scope(ledger: Ledger, worker: Worker, session: str) -> _Scope:
    owner = worker.owner
    now = ledger.clock.now().wall
    is_current = session == owner.session_id
    mine = [
        entry
        for entry in await ledger.journal.of_session(owner.account, session)
        if entry.state not in {EntryState.GONE, EntryState.DISCARDED}
        and (not is_current or owner.session_is_certain or _wrote(owner, entry.owner))
        and (is_current or entry.owner.agent_id == owner.agent_id)
    ]
    earliest = ledger.day(now) - (DAYS_LOOKED_BACK if is_current else DAYS_OF_ANOTHER_SESSION)
    too_old = [] if is_current else [entry for entry in mine if entry.spent_date < earliest]
    mine = [entry for entry in mine if entry not in too_old]
    days = [entry.spent_date for entry in mine] if is_current else []
    notes = [_UNCERTAIN_SESSION] if is_current and not owner.session_is_certain else []
    return _Scope(
        session_id=session,
        agent_id=None if is_current else owner.agent_id,
        only_known=is_current and not owner.session_is_certain,
        known={entry.entry_id: entry for entry in mine if entry.entry_id},
        keys={entry.entry_key: entry for entry in mine if not entry.entry_id},
        first=min(days) - ONE_DAY if days else earliest,
        last=max(days) + ONE_DAY if days else latest_day(now),
        left=[(entry, "It is older than 7 days; delete it in Keito if it should go.") for entry in too_old],
        gone=[],
        notes=notes if is_current else [_ANOTHER_SESSION],
    )


async def _find(ledger: Ledger, scope: _Scope, progress: Progress) -> tuple[list[TimeEntry], bool]:
    """The entries as Keito shows them, and whether all of those days was seen."""
    if scope.only_known and not scope.known and not scope.keys:
        return [], True
    wanted = TimeEntryFilter(source="agent", from_date=scope.first, to_date=scope.last, limit=PAGE_LIMIT)
    found: dict[str, TimeEntry] = {}
    pages, more = 0, False
    async for page in ledger.api.pages(wanted, at_most=MOST_PAGES):
        pages, more = pages + 1, page.following is not None
        found |= {entry.id: entry for entry in page.data if scope.holds(entry)}
        await progress(pages, MOST_PAGES, f"{len(found)} entries of the session found")
    for entry_id in scope.known.keys() - found.keys():
        # A person may have moved it to another day, or deleted it.
        try:
            found[entry_id] = await ledger.api.get(entry_id)
        except NotFound:
            await ledger.seen(scope.known[entry_id], EntryState.GONE)
            scope.gone.append(entry_id)
        except (PermissionDenied, InvalidRequest) as error:
            scope.left.append((scope.known[entry_id], f"{error}."))
    await _match_keys(ledger, scope, found)
    return list(found.values()), not more


async def _match_keys(ledger: Ledger, scope: _Scope, found: Mapping[str, TimeEntry]) -> None:
    """Settle the creates that got no answer: found by their key, or still missing."""
    by_key = {entry.fact("entry_key"): entry for entry in found.values()}
    for key, entry in scope.keys.items():
        if (shown := by_key.get(key)) is None:
            why = "Keito gave no answer when it was written; it isn't there now. Look again in 2 minutes."
            scope.left.append((entry, why))
            continue
        state = EntryState.RUNNING if entry.is_timer and shown.is_running is not False else EntryState.STOPPED
        await ledger.seen(entry, state, shown)
        known = await ledger.journal.find(entry.owner.account, shown.id)
        if known is not None:
            scope.known[shown.id] = known


async def _changed(ledger: Ledger, known: Entry | None, shown: TimeEntry) -> str | None:
    if known is None:
        return None
    why = await standing.changed_by_a_person(ledger, known, shown)
    if why is None and standing.runs(known, shown):
        return standing.edited_by_a_person(known, shown)
    return why


def _wrote(owner: Owner, writer: Owner) -> bool:
    """Whether it was this agent, in this process: over HTTP one process serves many."""
    return (writer.process, writer.agent_id, writer.subagent_id) == (owner.process, owner.agent_id, owner.subagent_id)
