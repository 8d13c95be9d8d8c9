"""Take a discard back: each deleted entry is made again, once, out of what its row kept of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from keito_mcp.journal.entry import Entry, OutcomeKind, Presence
from keito_mcp.timesheet.answer import anew
from keito_mcp.timesheet.books import Books

_CREATED = ("project_id", "task_id", "spent_date", "hours", "notes", "is_billable", "metadata")


async def restore(books: Books, account: str, session_id: str) -> tuple[Sequence[Entry], bool]:
    """Want every entry of a discarded session again that was deleted and not restored yet.

    Each keeps its key and everything else but its id; a timer that ran comes back finished, with the hours that it
    had when it was stopped or discarded.

    Returns:
        The entries, and whether what its host's events tell of the session is counted again: it was discarded, had
        failed, or its entry was refused.

    Raises:
        JournalError: The journal can't be used.
    """
    recorded = await books.rows.recorded(account, session_id)
    was_refused = any(_was_refused(entry) for entry in recorded)
    is_counted = await books.journal.recordings.lift(account, session_id, was_refused=was_refused)
    entries = await books.rows.of_session(account, session_id)
    now = books.clock.now()
    edits: dict[str, Callable[[Entry], Entry]] = {entry.key: _restored for entry in entries if _was_deleted(entry)}
    if not edits:
        return [], is_counted
    restored = await books.rows.edit_all(edits, now)
    generations = {entry.key: entry.generation for entry in entries}
    again = [entry for entry in restored.values() if entry is not None and entry.generation > generations[entry.key]]
    return again, is_counted


def _restored(entry: Entry) -> Entry:
    """Return an entry that should be there again, unless somebody else restored it."""
    if not _was_deleted(entry) or entry.removed is None:
        return entry
    missing = {name: getattr(entry.removed, name) for name in _CREATED if getattr(entry.desired, name) is None}
    desired = replace(entry.desired, presence=Presence.FINISHED, hours_are_exact=True, **missing)
    metadata = {**(desired.metadata or {}), "entry_key": entry.key}
    desired = replace(desired, metadata=metadata)
    return replace(anew(entry), desired=desired, reason=None, rest=None, failures=0)


def _was_deleted(entry: Entry) -> bool:
    """Return whether an entry was deleted with its session, by us."""
    return (
        entry.desired.presence is Presence.ABSENT
        and entry.outcome is None
        and entry.observed is None
        and entry.removed is not None
        and entry.in_flight is None
        and entry.copy_of is None
    )


def _was_refused(entry: Entry) -> bool:
    is_refused = entry.outcome is not None and entry.outcome.kind is OutcomeKind.REFUSED
    return is_refused and entry.observed is None and entry.removed is None
