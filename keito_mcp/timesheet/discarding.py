"""Throwing away a session that failed: which entries, and the deleting of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from keito_mcp.clock import latest_day
from keito_mcp.journal import Entry, EntryState, Owner, Thrown, WriteKind
from keito_mcp.keito import InvalidRequest, KeitoError, NotFound, PermissionDenied, TimeEntry, TimeEntryFilter
from keito_mcp.server.answers import DiscardAnswer, Kept
from keito_mcp.timesheet import creates, deletes, standing
from keito_mcp.timesheet.ledger import MOST_PAGES, ONE_DAY, PAGE_LIMIT, Ledger
from keito_mcp.timesheet.listing import Progress
from keito_mcp.timesheet.waiting import is_away, unreachable

DAYS_LOOKED_BACK = timedelta(days=30)
DAYS_OF_ANOTHER_SESSION = timedelta(days=7)
"""How far back an agent may discard a session that isn't the one it works in."""

_UNCERTAIN_SESSION = (
    "Which session this call belongs to isn't certain, "
    "so only what this agent wrote through this server was considered."
)
_ANOTHER_SESSION = "Of a session that isn't this one, only this agent's entries of the last 7 days were considered."
_TOO_MANY = f"Only the newest {MOST_PAGES * PAGE_LIMIT} agent entries of those days were looked through; call again."


async def discard(ledger: Ledger, owner: Owner, session: str, reason: str | None, progress: Progress) -> DiscardAnswer:
    """Delete a session's entries, finished or running, apart from what a person changed.

    Args:
        ledger: Where it is recorded and sent.
        owner: Who asks.
        session: The session's id.
        reason: Why, for the journal.
        progress: Told of each page and entry.

    Raises:
        JournalError: Nothing was deleted.
        KeitoError: Keito can't be asked which entries there are; nothing was deleted.
    """
    async with ledger.one_at_a_time(*owner.key):
        scope = await _scope(ledger, owner, session)
        try:
            found, all_seen = await _find(ledger, scope, progress)
        except KeitoError as error:
            if not is_away(error) or not scope.mine:
                raise
            return await _discard_here(ledger, scope, reason, error)
        kept = [Kept(id=entry.handle, reason=why) for entry, why in scope.left]
        wanted: list[TimeEntry] = []
        for entry in found:
            known = scope.known.get(entry.id)
            why = await standing.changed_since(ledger, known, entry) if known else None
            if why:
                kept.append(Kept(id=entry.id, reason=why))
            else:
                wanted.append(entry)
        outcomes = await deletes.delete(ledger, (owner.account, session), wanted, scope.known, reason, progress)
        now = ledger.clock.now()
        thrown = await ledger.journal.throw_away(scope.missing, reason, now) if scope.missing else []
    kept += [Kept(id=outcome.entry.id, reason=outcome.kept) for outcome in outcomes if outcome.kept]
    gone = [outcome.entry for outcome in outcomes if outcome.is_gone]
    later = scope.later + [outcome.entry.id for outcome in outcomes if outcome.waits] + _later(thrown)
    return DiscardAnswer(
        session_id=session,
        discarded=[entry.id for entry in gone] + scope.gone + _dropped(thrown),
        hours=sum((entry.hours or Decimal(0) for entry in gone), Decimal(0)) + _hours(thrown),
        kept=kept,
        queued=later or None,
        message=" ".join([*scope.notes, *([] if all_seen else [_TOO_MANY])]) or None,
    )


async def _discard_here(ledger: Ledger, scope: "_Scope", reason: str | None, error: KeitoError) -> DiscardAnswer:
    """Discard what this machine knows while Keito is away: what is there is deleted as soon as that can be done."""
    session = (scope.account, scope.session_id)
    thrown = await ledger.journal.throw_away(scope.mine, reason, ledger.clock.now(), session=session)
    away = f"{unreachable(error)} What other machines wrote in this session wasn't looked for."
    return DiscardAnswer(
        session_id=scope.session_id,
        discarded=_dropped(thrown),
        hours=_hours(thrown),
        kept=[Kept(id=entry.handle, reason=why) for entry, why in scope.left],
        queued=_later(thrown) or None,
        message=" ".join([away, *scope.notes]),
    )


def _dropped(thrown: Sequence[Thrown]) -> list[str]:
    return [one.entry.handle for one in thrown if one.is_gone]


def _later(thrown: Sequence[Thrown]) -> list[str]:
    return [one.entry.handle for one in thrown if not one.is_gone]


def _hours(thrown: Sequence[Thrown]) -> Decimal:
    return sum((one.entry.hours for one in thrown if one.is_gone), Decimal(0))


@dataclass(slots=True)
class _Scope:
    """What may be discarded.

    Attributes:
        known: This machine's entries of the session, by Keito's id.
        keys: Those that aren't known to be in Keito, by their key.
        missing: Of those, the ones that Keito doesn't show.
        later: The ids of those that were discarded before, and are to be deleted already.
        left: Entries of the session that are left out, and why.
        gone: Ids that turned out to be deleted already.
        notes: What the answer must say of the limits.
        first, last: The days to look through.
    """

    account: str
    session_id: str
    agent_id: str | None
    only_known: bool
    known: dict[str, Entry]
    keys: dict[str, Entry]
    missing: list[Entry]
    later: list[str]
    first: date
    last: date
    left: list[tuple[Entry, str]]
    gone: list[str]
    notes: list[str]

    @property
    def mine(self) -> list[Entry]:
        """What this machine knows of them."""
        return [*self.known.values(), *self.keys.values()]

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


async def _scope(ledger: Ledger, owner: Owner, session: str) -> _Scope:
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
        account=owner.account,
        session_id=session,
        agent_id=None if is_current else owner.agent_id,
        only_known=is_current and not owner.session_is_certain,
        known={entry.entry_id: entry for entry in mine if entry.entry_id},
        keys={entry.entry_key: entry for entry in mine if not entry.entry_id},
        missing=[],
        later=[],
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
    await _leave_to_the_queue(ledger, scope, found)
    for entry_id in scope.known.keys() - found.keys():
        # A person may have moved it to another day, or deleted it.
        try:
            found[entry_id] = await ledger.api.get(entry_id, near=scope.known[entry_id].spent_date)
        except NotFound:
            await ledger.seen(scope.known[entry_id], EntryState.GONE)
            scope.gone.append(entry_id)
        except (PermissionDenied, InvalidRequest) as error:
            scope.left.append((scope.known[entry_id], f"{error}."))
    await _match_keys(ledger, scope, found)
    return list(found.values()), not more


async def _leave_to_the_queue(ledger: Ledger, scope: _Scope, found: dict[str, TimeEntry]) -> None:
    """Leave out what was discarded before and is to be deleted already: only its own write knows what it was then."""
    for entry_id in found.keys() - scope.known.keys():
        known = await ledger.journal.find(scope.account, entry_id)
        if known is None or known.state is not EntryState.DISCARDED:
            continue
        waiting = await ledger.journal.unsettled(scope.account, known.entry_key)
        if any(write.kind is WriteKind.DELETE for write in waiting):
            del found[entry_id]
            scope.later.append(entry_id)


async def _match_keys(ledger: Ledger, scope: _Scope, found: Mapping[str, TimeEntry]) -> None:
    """See which of those that weren't known to be in Keito are there."""
    by_key = {entry.fact("entry_key"): entry for entry in found.values()}
    for key, entry in scope.keys.items():
        if (shown := by_key.get(key)) is None:
            scope.missing.append(entry)
            continue
        await creates.turned_up(ledger, await ledger.journal.create_of(entry), entry, shown)
        known = await ledger.journal.find(entry.owner.account, shown.id)
        if known is not None:
            scope.known[shown.id] = known


def _wrote(owner: Owner, writer: Owner) -> bool:
    """Whether it was this agent, in this process: over HTTP one process serves many."""
    return (writer.process, writer.agent_id, writer.subagent_id) == (owner.process, owner.agent_id, owner.subagent_id)
