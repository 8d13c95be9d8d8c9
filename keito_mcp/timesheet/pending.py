"""Say what is still to be made of an entry, what was refused, and what its agent must hear of that: pure."""

from dataclasses import dataclass, replace

from keito_mcp.clock import Instant
from keito_mcp.journal.entry import Entry, FlightKind, Presence
from keito_mcp.keito.api import Traits
from keito_mcp.timesheet.step import LookUpAll, Nothing, Wait, next_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """One request that is still to be made, or was refused.

    Attributes:
        kind: `create`, `update` or `delete`.
        entry_key, entry_id: The entry: our key, and Keito's id once it is known.
        state: `queued`; `unknown` where it left without an answer; `confirming` where only a second copy is looked
            for; `held` where only the end of its timer brings it on; or `refused`.
        session_id: The session of the entry.
        sent: Since when.
        sends: How often it left and may have arrived.
        reason: Why it is so, as a sentence.
    """

    kind: str
    entry_key: str
    entry_id: str | None
    session_id: str
    state: str
    sent: Instant
    sends: int
    reason: str | None

    @property
    def discards(self) -> str | None:
        """Return the session that is discarded by it; None where it is no part of a discard."""
        return self.session_id if self.kind == "delete" else None

    @property
    def is_to_be_made(self) -> bool:
        """Return whether something is to be brought to Keito, now or when it is back."""
        return self.state in {"queued", "unknown"}


def pending(entry: Entry, now: Instant, traits: Traits) -> Pending | None:
    """Return what is still to be made of an entry; None where nothing is."""
    step = next_step(entry, now, traits)
    if isinstance(step, Nothing):
        return _pending(entry, "confirming", step.why) if step.seconds is not None else None
    if isinstance(step, LookUpAll):
        return _pending(entry, "confirming", step.why)
    if isinstance(step, Wait) and step.seconds is None:
        return _pending(entry, "held", step.why)
    why = step.why if isinstance(step, Wait) else entry.rest.why if entry.rest else None
    if entry.in_flight is not None:
        return _pending(entry, "unknown", entry.in_flight.why or why)
    return _pending(entry, "queued", why)


def refused(entry: Entry) -> list[Pending]:
    """Return what was to be made of an entry, and Keito or a person refused."""
    found = []
    if entry.kept is not None:
        found.append(replace(_pending(entry, "refused", entry.kept), kind="delete"))
    if entry.outcome is not None and not _was_deleted_first(entry):
        found.append(_pending(entry, "refused", entry.outcome.why))
    return found


def noted(before: Entry, after: Entry) -> Entry:
    """Return the entry with a sentence for its agent, where a step showed that what was promised won't be made."""
    if after.kept is not None and before.kept is None:
        return _telling(after, "delete", after.kept)
    if after.outcome is None or before.outcome is not None or _was_deleted_first(after):
        return after
    return _telling(after, _kind(after), after.outcome.why)


def _pending(entry: Entry, state: str, why: str | None) -> Pending:
    flight = entry.in_flight
    sent = flight.sent if flight else None
    if sent is None and entry.observed is None and entry.creates_sent:
        sent = entry.last_sent
    is_create = _kind(entry) == "create"
    return Pending(
        kind=_kind(entry),
        entry_key=entry.key,
        entry_id=_id(entry),
        session_id=entry.owner.session_id,
        state=state,
        sent=sent or (entry.ended if not is_create else None) or entry.created,
        sends=entry.creates_sent if is_create else int(flight is not None),
        reason=why,
    )


def _kind(entry: Entry) -> str:
    """Return the kind of request by which an entry is brought to what it should be."""
    if entry.in_flight is not None:
        return "update" if entry.in_flight.kind is FlightKind.STOP else entry.in_flight.kind.value
    if entry.desired.presence is Presence.ABSENT:
        return "delete"
    return "create" if entry.observed is None and not entry.accepted else "update"


def _was_deleted_first(entry: Entry) -> bool:
    """Return whether a person deleted what was to be deleted."""
    return entry.desired.presence is Presence.ABSENT and entry.observed is None


def _id(entry: Entry) -> str | None:
    stood = entry.observed or entry.removed
    return stood.entry_id if stood else None


def _telling(entry: Entry, kind: str, why: str) -> Entry:
    handle = _id(entry) or entry.key
    said = f"Not made: the {kind} of entry {handle}, which was to be made later. {why.rstrip('.')}."
    return replace(entry, unheard=(*entry.unheard, said))
