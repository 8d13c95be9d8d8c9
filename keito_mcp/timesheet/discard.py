"""Throw away a session that failed: find its entries, want them absent, and delete them as far as that can be done."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from uuid import NAMESPACE_OID, UUID, uuid5

from keito_mcp.clock import latest_day
from keito_mcp.journal import Owner
from keito_mcp.journal.entry import Desired, Entry, Presence
from keito_mcp.keito import (
    InvalidRequest,
    KeitoError,
    NotFound,
    PermissionDenied,
    TimeEntry,
    TimeEntryFilter,
)
from keito_mcp.server.answers import DiscardAnswer, Kept
from keito_mcp.timesheet import deleting, record
from keito_mcp.timesheet.asked import LONGEST
from keito_mcp.timesheet.asking import observed
from keito_mcp.timesheet.books import Books
from keito_mcp.timesheet.deleting import Unwanted
from keito_mcp.timesheet.ledger import MOST_PAGES, ONE_DAY, PAGE_LIMIT
from keito_mcp.timesheet.listing import Progress
from keito_mcp.timesheet.problem import Problem
from keito_mcp.timesheet.waiting import is_away, unreachable
from keito_mcp.timesheet.work import Worker

CURRENT = "current"
"""How a call names the session it is made in."""

DAYS_LOOKED_BACK = timedelta(days=30)
DAYS_OF_ANOTHER_SESSION = timedelta(days=7)
"""How far back an agent may discard a session that isn't the one it works in."""

_UNCERTAIN_SESSION = (
    "Which session this call belongs to isn't certain, "
    "so only what this agent wrote through this server was considered."
)
_ANOTHER_SESSION = "Of a session that isn't this one, only this agent's entries of the last 7 days were considered."


async def discard(
    books: Books, worker: Worker, session_id: str, reason: str | None, progress: Progress
) -> DiscardAnswer:
    """Delete a session's entries for an agent, apart from what a person changed.

    Args:
        books: Where it is recorded and sent.
        worker: Who asks.
        session_id: The session, or `current`.
        reason: Why, for the journal.
        progress: Told of each page and entry.

    Raises:
        Problem: Which session it is can't be known.
        JournalError: Nothing was deleted.
        KeitoError: Keito can't be asked which entries there are; nothing was deleted.
    """
    owner, host_session = worker.owner, worker.identity.host_session
    session = owner.session_id if session_id == CURRENT else session_id
    if worker.session_is_shared and session == owner.session_id:
        raise Problem(
            "Which session this call belongs to can't be known: the client has none over HTTP.",
            "Nothing was deleted.",
            "Have the client send ai.keito/session_id in the _meta of each call, or delete the entries in Keito.",
        )
    if session != owner.session_id and await books.rows.open_timer(owner) is not None:
        await books.journal.sign(books.sign(owner))
    answer = await discard_session(books, owner, session, reason, progress)
    if session != owner.session_id or host_session is None:
        return answer
    # What is recorded of a session that the operator named otherwise is kept under the host's own id.
    thrown = await record.withdraw(books, owner.account, host_session, reason, discards=True)
    later = [*(answer.queued or []), *(entry.handle for entry in thrown if entry.observed)]
    dropped = [entry.handle for entry in thrown if not entry.observed]
    return answer.model_copy(update={"discarded": [*answer.discarded, *dropped], "queued": later or None})


async def discard_as_person(
    books: Books, account: str, session_id: str, reason: str | None, progress: Progress
) -> DiscardAnswer:
    """Delete the entries of any session, whichever agents it had; a person asks for it. Raises as `discard` does."""
    owner = Owner(account, session_id, "", "", session_is_certain=True, process=books.journal.process)
    return await discard_session(books, owner, session_id, reason, progress)


async def discard_session(
    books: Books, owner: Owner, session: str, reason: str | None, progress: Progress
) -> DiscardAnswer:
    """Delete a session's entries, finished or running, and count nothing that its host told of it until now.

    Raises as `discard` does.
    """
    async with books.one_at_a_time(*owner.key):
        scope = await _scope(books, owner, session)
        try:
            unwanted, all_seen = await _find(books, scope, progress)
        except KeitoError as error:
            if not is_away(error) or not scope.mine:
                raise
            away = f"{unreachable(error)} What other machines wrote in this session wasn't looked for."
            scope.notes.insert(0, away)
            unwanted, all_seen = [Unwanted(entry) for entry in scope.mine], True
            scope.gone, scope.later = [], []
        ends = await deleting.delete(books, (owner.account, session), unwanted, reason, progress)
    if not all_seen:
        most = MOST_PAGES * PAGE_LIMIT
        scope.notes.append(f"Only the newest {most} agent entries of those days were looked through; call again.")
    later = scope.later + [end.handle for end in ends if end.waits]
    return DiscardAnswer(
        session_id=session,
        discarded=[end.handle for end in ends if end.is_gone] + scope.gone,
        hours=sum((end.hours for end in ends if end.is_gone), Decimal(0)),
        kept=[
            *(Kept(id=entry.handle, reason=why) for entry, why in scope.left),
            *(Kept(id=end.handle, reason=end.kept) for end in ends if end.kept is not None),
        ],
        queued=later or None,
        message=" ".join(scope.notes) or None,
    )


@dataclass(slots=True)
class _Scope:
    """What may be discarded.

    Attributes:
        mine: This machine's entries of the session.
        later: The ids of those that were discarded before, and are to be deleted already.
        left: Entries of the session that are left out, and why.
        gone: Ids that turned out to be deleted already.
        notes: What the answer must say of the limits.
        first, last: The days to look through.
    """

    owner: Owner
    session_id: str
    agent_id: str | None
    only_known: bool
    mine: list[Entry]
    first: date
    last: date
    notes: list[str]
    left: list[tuple[Entry, str]]
    later: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def holds(self, shown: TimeEntry, ids: set[str], keys: set[str]) -> bool:
        """Return whether an entry that Keito shows is one of those."""
        if shown.source != "agent":
            return False
        if shown.id in ids or shown.fact("entry_key") in keys:
            return True
        return (
            not self.only_known
            and shown.fact("session_id") == self.session_id
            and (self.agent_id is None or shown.fact("agent_id") == self.agent_id)
        )


async def _scope(books: Books, owner: Owner, session: str) -> _Scope:
    now = books.clock.now().wall
    is_current = session == owner.session_id
    mine = [
        entry
        for entry in await books.rows.of_session(owner.account, session)
        if _stands(entry)
        and (not is_current or owner.session_is_certain or _wrote(owner, entry.owner))
        and (is_current or entry.owner.agent_id == owner.agent_id)
    ]
    earliest = books.day(now) - (DAYS_LOOKED_BACK if is_current else DAYS_OF_ANOTHER_SESSION)
    too_old = [] if is_current else [entry for entry in mine if _day(entry, earliest) < earliest]
    mine = [entry for entry in mine if entry not in too_old]
    days = [_day(entry, earliest) for entry in mine] if is_current else []
    uncertain = [_UNCERTAIN_SESSION] if is_current and not owner.session_is_certain else []
    return _Scope(
        owner=owner,
        session_id=session,
        agent_id=None if is_current else owner.agent_id,
        only_known=is_current and not owner.session_is_certain,
        mine=mine,
        first=min(days) - ONE_DAY if days else earliest,
        last=max(days) + ONE_DAY if days else latest_day(now),
        notes=uncertain if is_current else [_ANOTHER_SESSION],
        left=[(entry, "It is older than 7 days; delete it in Keito if it should go.") for entry in too_old],
    )


def _stands(entry: Entry) -> bool:
    """Return whether an entry is in Keito, or may come there, and isn't to be deleted already."""
    if entry.outcome is not None:
        return entry.observed is not None
    return entry.desired.presence is not Presence.ABSENT


def _day(entry: Entry, otherwise: date) -> date:
    return entry.desired.spent_date or otherwise


def _wrote(owner: Owner, writer: Owner) -> bool:
    """Return whether it was this agent, in this process: over HTTP one process serves many."""
    return (writer.process, writer.agent_id, writer.subagent_id) == (owner.process, owner.agent_id, owner.subagent_id)


async def _find(books: Books, scope: _Scope, progress: Progress) -> tuple[list[Unwanted], bool]:
    """Return the entries as Keito shows them, and whether all of those days was seen."""
    if scope.only_known and not scope.mine:
        return [], True
    known = {entry.observed.entry_id: entry for entry in scope.mine if entry.observed}
    unseen = {entry.key: entry for entry in scope.mine if not entry.observed}
    wanted = TimeEntryFilter(source="agent", from_date=scope.first, to_date=scope.last, limit=PAGE_LIMIT)
    found: dict[str, TimeEntry] = {}
    pages, more = 0, False
    async for page in books.api.pages(wanted, at_most=MOST_PAGES):
        pages, more = pages + 1, page.following is not None
        found |= {shown.id: shown for shown in page.data if scope.holds(shown, set(known), set(unseen))}
        await progress(pages, MOST_PAGES, f"{len(found)} entries of the session found")
    unwanted: list[Unwanted] = []
    for shown in found.values():
        entry = known.get(shown.id) or unseen.pop(shown.fact("entry_key") or "", None)
        if entry is None and (entry := await _of_another(books, scope, shown)) is None:
            continue
        unwanted.append(Unwanted(entry, shown))
    for entry_id in known.keys() - found.keys():
        unwanted += await _read(books, scope, known[entry_id])
    return unwanted + [Unwanted(entry) for entry in unseen.values()], not more


async def _of_another(books: Books, scope: _Scope, shown: TimeEntry) -> Entry | None:
    """Return the row of an entry that wasn't known to be of this session; None where it is to be deleted already."""
    account = scope.owner.account
    known = await books.rows.find(account, shown.id)
    if known is None:
        return await _new(books, scope, shown)
    if known.observed is None:
        # A list that lags behind still shows what was deleted.
        return None
    if not _stands(known):
        scope.later.append(shown.id)
        return None
    return known


async def _new(books: Books, scope: _Scope, shown: TimeEntry) -> Entry:
    """Return a row for an entry that this machine didn't know."""
    account, now = scope.owner.account, books.clock.now()
    given = shown.fact("entry_key")
    key = given if given is not None and _is_key(given) and not await books.rows.find(account, given) else None
    owner = replace(
        scope.owner,
        session_id=scope.session_id,
        agent_id=shown.fact("agent_id") or "",
        subagent_id=shown.fact("subagent_id") or "",
        session_is_certain=True,
    )
    seen = observed(shown)
    key = key or str(uuid5(NAMESPACE_OID, f"{account}\n{shown.id}"))
    desired = Desired(
        presence=Presence.FINISHED,
        project_id=seen.project_id,
        task_id=seen.task_id,
        spent_date=seen.spent_date or books.day(now.wall),
        hours=min(seen.hours or Decimal(0), LONGEST) if seen.is_running else seen.hours,
        notes=seen.notes,
        is_billable=seen.is_billable,
        metadata={**(seen.metadata or {}), "entry_key": key},
    )
    return Entry(key=key, owner=owner, desired=desired, created=now, observed=seen)


def _is_key(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


async def _read(books: Books, scope: _Scope, entry: Entry) -> Sequence[Unwanted]:
    """Look at an entry that the list doesn't show: a person may have moved it to another day, or deleted it."""
    try:
        return [Unwanted(entry, await books.api.get(entry.handle, near=entry.desired.spent_date))]
    except NotFound:
        scope.gone.append(entry.handle)
        return [Unwanted(entry, is_gone=True)]
    except (PermissionDenied, InvalidRequest) as error:
        scope.left.append((entry, f"{error}."))
        return []
