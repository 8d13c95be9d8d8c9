"""Deleting entries that were read just before: each kept whole in the journal first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import anyio

from keito_mcp import hours as decimal_hours
from keito_mcp.clock import elapsed
from keito_mcp.journal import Amendment, Claimed, Entry, EntryState, Settlement, Write, WriteKind, WriteState, asked_for
from keito_mcp.keito import KeitoError, NotFound, RateLimited, TimeEntry, Unreachable
from keito_mcp.timesheet import standing
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.listing import Progress
from keito_mcp.timesheet.standing import OPEN
from keito_mcp.timesheet.waiting import Waiting, holds_up, pause, unreachable, waits
from keito_mcp.waits import LONGEST_TIMER


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one delete: the entry is gone, or its delete waits, or it stands for a reason."""

    entry: TimeEntry
    kept: str | None = None
    waits: bool = False

    @property
    def is_gone(self) -> bool:
        """Whether the entry is gone."""
        return self.kept is None and not self.waits


async def delete(
    ledger: Ledger,
    session: tuple[str, str],
    entries: Sequence[TimeEntry],
    known: Mapping[str, Entry],
    reason: str | None,
    progress: Progress,
) -> list[Outcome]:
    """Delete entries one after the other; what Keito can't be reached for waits.

    Args:
        ledger: Where it is recorded and sent.
        session: The account and the session that they are discarded with.
        entries: The entries as Keito has just shown them.
        known: What this machine knows of them, by Keito's id.
        reason: Why, for the journal.
        progress: Told of each entry.

    Raises:
        JournalError: They couldn't be kept, so none was deleted.
    """
    if not entries:
        return []
    writes = [await _write(ledger, session, entry, known.get(entry.id), reason) for entry in entries]
    write_ids = await ledger.journal.begin(*writes)
    settlements: list[Settlement] = []
    outcomes: list[Outcome] = []
    stopped_by: KeitoError | None = None
    try:
        for number, (entry, write_id) in enumerate(zip(entries, write_ids, strict=True), 1):
            if stopped_by is None:
                outcome, settlement, stopped_by = await _delete(ledger, entry, known.get(entry.id), write_id)
            else:
                outcome, settlement = _not_sent(ledger, entry, known.get(entry.id), write_id, stopped_by)
            outcomes.append(outcome)
            settlements.append(settlement)
            await progress(number, len(entries), f"{number} of {len(entries)} entries")
    finally:
        # Also when the call was cancelled: what was deleted is recorded, and what wasn't sent is deleted later.
        rest = zip(entries[len(settlements) :], write_ids[len(settlements) :], strict=True)
        cancelled = Unreachable("the call was cancelled", nothing_written=True)
        settlements += [_not_sent(ledger, entry, known.get(entry.id), number, cancelled)[1] for entry, number in rest]
        with anyio.CancelScope(shield=True):
            await ledger.settle_all(*settlements)
    return outcomes


async def _write(
    ledger: Ledger, session: tuple[str, str], entry: TimeEntry, known: Entry | None, reason: str | None
) -> Write:
    account, session_id = session
    body = {"entry": entry.model_dump(mode="json"), "reason": reason, "session_id": session_id}
    return Write(
        account=account,
        kind=WriteKind.DELETE,
        entry_key=known.entry_key if known else None,
        entry_id=entry.id,
        body=body | (await _as_it_was(ledger, known) if known else {}),
        sent=ledger.clock.now(),
        lease=ledger.journal.process,
    )


async def _as_it_was(ledger: Ledger, known: Entry) -> dict[str, object]:
    """What of an entry Keito doesn't show: its state here, and the changes that it isn't told yet."""
    waiting = asked_for(await ledger.unsettled_updates(known))
    return {"was": known.state.value} | ({"waiting": waiting} if waiting else {})


_Settled = tuple[Outcome, Settlement]


async def _delete(
    ledger: Ledger, entry: TimeEntry, known: Entry | None, write_id: int
) -> tuple[Outcome, Settlement, KeitoError | None]:
    """Delete one entry; returns also what keeps the next ones from being tried."""
    with ledger.seeing_it_through() as deadline:
        try:
            await ledger.api.delete(entry.id, near=entry.spent_date)
        except NotFound:
            pass
        except KeitoError as error:
            if error.nothing_written:
                return _refused(ledger, entry, known, write_id, error)
            if not await _is_gone(ledger, entry, deadline):
                why = f"Keito gave no usable answer to the delete ({error})."
                settlement = _settlement(ledger, known, write_id, WriteState.UNKNOWN, why, rest=pause(0, error))
                return Outcome(entry, waits=True), settlement, error
        return Outcome(entry), _settlement(ledger, known, write_id, WriteState.DONE, None), None


def _refused(
    ledger: Ledger, entry: TimeEntry, known: Entry | None, write_id: int, error: KeitoError
) -> tuple[Outcome, Settlement, KeitoError | None]:
    if holds_up(error, promised=True):
        return (*_not_sent(ledger, entry, known, write_id, error), error)
    settlement = Settlement(at=ledger.clock.now(), write_id=write_id, outcome=WriteState.REFUSED, reason=f"{error}.")
    return Outcome(entry, kept=f"{error}."), settlement, None


def _not_sent(ledger: Ledger, entry: TimeEntry, known: Entry | None, write_id: int, error: KeitoError) -> _Settled:
    rest = pause(0, error) if isinstance(error, RateLimited) else 0.0
    settlement = _settlement(ledger, known, write_id, WriteState.QUEUED, unreachable(error), rest=rest)
    return Outcome(entry, waits=True), settlement


def _settlement(
    ledger: Ledger,
    known: Entry | None,
    write_id: int,
    outcome: WriteState,
    reason: str | None,
    *,
    rest: float = 0.0,
) -> Settlement:
    """What is recorded of a delete that was made or waits: for the agent the entry is gone."""
    return Settlement(
        at=ledger.clock.now(),
        write_id=write_id,
        outcome=outcome,
        reason=reason,
        entry_key=known.entry_key if known else None,
        changes={"state": EntryState.DISCARDED} if known and known.state is not EntryState.GONE else {},
        rest=rest,
        promised=outcome is not WriteState.DONE,
    )


async def _is_gone(ledger: Ledger, shown: TimeEntry, deadline: float) -> bool:
    try:
        await ledger.get(shown.id, deadline, near=shown.spent_date)
    except NotFound:
        return True
    except KeitoError:
        return False
    return False


async def deliver(ledger: Ledger, claimed: Claimed) -> Waiting | None:
    """Make a delete that waits, after reading the entry: what a person did to it meanwhile is final.

    Returns:
        Why it still waits; None where nothing is left to do.

    Raises:
        KeitoError: Keito refused it.
        Problem: A person was there first.
    """
    write, known = claimed.write, claimed.entry
    entry_id = write.entry_id or ""
    with ledger.seeing_it_through() as deadline:
        try:
            shown = await ledger.get(entry_id, near=known.spent_date if known else None)
        except NotFound:
            # What a person deleted first isn't ours to restore.
            await _made(ledger, claimed, WriteState.DONE if write.sends else WriteState.DROPPED)
            return None
        except KeitoError as error:
            return await _unreadable(ledger, claimed, error)
        if (why := await _changed(ledger, write, known, shown)) is not None:
            await _leave(ledger, claimed, why, shown, person=why)
            raise standing.left_alone(entry_id, why)
        stopped = {"waiting": _stop_of(write, known)} if shown.is_running and known is not None else {}
        write = replace(write, body={**write.body, "entry": shown.model_dump(mode="json"), **stopped})
        if not await ledger.journal.send(write, ledger.clock.now()):
            return Waiting("Another keito-mcp is sending it just now.")
        try:
            await ledger.api.delete(entry_id, near=shown.spent_date)
        except NotFound:
            pass
        except KeitoError as error:
            if not error.nothing_written and await _is_gone(ledger, shown, deadline):
                await _made(ledger, claimed)
                return None
            return await _failed(ledger, claimed, shown, error)
        await _made(ledger, claimed)
        return None


async def _made(ledger: Ledger, claimed: Claimed, outcome: WriteState = WriteState.DONE) -> None:
    """Record that an entry is gone; a process that ended while it discarded it left that to be done."""
    entry = claimed.entry
    changes = {"state": EntryState.DISCARDED} if entry is not None and entry.is_wanted else {}
    await ledger.settle(claimed.write.write_id, outcome, entry_key=claimed.write.entry_key, changes=changes)


async def _changed(ledger: Ledger, write: Write, known: Entry | None, shown: TimeEntry) -> str | None:
    """What a person did to an entry since it was discarded."""
    if known is not None:
        before = replace(known, state=EntryState(write.body.get("was", known.state)))
        why = await standing.changed_since(ledger, before, shown)
        if why is not None and (stopped := await _stopped_since(ledger, write, known, shown)) is not None:
            return await standing.changed_since(ledger, stopped, shown)
        return why
    kept = write.body.get("entry")
    if kept is None:
        return None
    before_ = TimeEntry.model_validate(kept)
    names = ["project_id", "task_id", "spent_date", "notes", "is_billable", "is_running"]
    names += [] if shown.is_running else ["hours"]
    differing = [name for name in names if getattr(before_, name) != getattr(shown, name)]
    return f"A person changed its {', '.join(differing)}." if differing else None


async def _stopped_since(ledger: Ledger, write: Write, known: Entry, shown: TimeEntry) -> Entry | None:
    """The entry as our own stop left it, where that was on its way when the session was discarded.

    Keito answered us the hours that it shows now; a change that never left was never answered.
    """
    waiting: dict[str, Any] = write.body.get("waiting", {})
    if waiting.get("is_running") is not False or shown.is_running is not False:
        return None
    now = await ledger.journal.find(known.owner.account, known.entry_key)
    if now is None or not now.hours_answered or not decimal_hours.same(now.hours, Decimal(str(waiting["hours"]))):
        return None
    return replace(now, state=EntryState.STOPPED)


async def _unreadable(ledger: Ledger, claimed: Claimed, error: KeitoError) -> Waiting:
    if error.nothing_written and not holds_up(error, promised=True):
        await _leave(ledger, claimed, f"{error}.")
        raise error
    write = claimed.write
    return await waits(ledger, write, write.state, Waiting(unreachable(error), pause(write.attempts, error), error))


async def _failed(ledger: Ledger, claimed: Claimed, shown: TimeEntry, error: KeitoError) -> Waiting:
    write = claimed.write
    if not error.nothing_written:
        why = f"Keito gave no usable answer to the delete ({error})."
        return await waits(ledger, write, WriteState.UNKNOWN, Waiting(why, pause(write.attempts, error), error))
    if holds_up(error, promised=True):
        waiting = Waiting(unreachable(error), pause(write.attempts, error), error)
        return await waits(ledger, write, WriteState.QUEUED, waiting)
    await _leave(ledger, claimed, f"{error}.", shown)
    raise error


async def _leave(
    ledger: Ledger, claimed: Claimed, why: str, shown: TimeEntry | None = None, *, person: str | None = None
) -> None:
    """Leave an entry in Keito that was to be deleted: it is refused, or a person changed it.

    A timer that runs there is stopped, though: its work ended when it was stopped or discarded here.
    """
    write, entry = claimed.write, claimed.entry
    changes: dict[str, object] = {}
    if entry is not None and entry.state is EntryState.DISCARDED:
        if shown is not None and shown.is_running and write.body.get("was") in OPEN:
            await _stop(ledger, write, entry)
            changes = {"state": EntryState.STOPPING}
        else:
            changes = {"state": EntryState.STOPPED} | ({"person": person} if person else {})
    await ledger.settle(write.write_id, WriteState.REFUSED, why, entry_key=write.entry_key, changes=changes)


async def _stop(ledger: Ledger, write: Write, entry: Entry) -> None:
    """Queue the stop of a timer that its session's discard should have deleted, unless one waits already."""
    if any(update.body.get("is_running") is False for update in await ledger.unsettled_updates(entry)):
        return
    amendment = Amendment(entry_key=entry.entry_key, body=_stop_of(write, entry), leave_now=False, of_a_kept_one=True)
    await ledger.journal.amend(amendment, ledger.clock.now())


def _stop_of(write: Write, entry: Entry) -> dict[str, Any]:
    """How a timer stops whose delete waits: as it was stopped before, or when it was discarded.

    Once the delete is sent its own time is the sending's, so this is kept with it then.
    """
    waiting: dict[str, Any] = write.body.get("waiting", {})
    if waiting.get("is_running") is False:
        return waiting
    took = elapsed(entry.started, write.sent).duration if entry.started else LONGEST_TIMER
    hours = float(decimal_hours.of_duration(min(took, LONGEST_TIMER)))
    return {**waiting, "hours": hours, "is_running": False}
