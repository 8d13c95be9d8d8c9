"""Say what rows mean to one another: pure rules, the same for every engine that keeps them."""

from datetime import datetime, timedelta

from keito_mcp.clock import Instant
from keito_mcp.journal.entry import Entry, OutcomeKind, Presence, Rest
from keito_mcp.waits import LEASE

_ONE_NIGHT = timedelta(hours=12)
"""Within this, a call that isn't settled yet and is made again over midnight is still the same call."""


def is_open_timer(entry: Entry) -> bool:
    """Return whether an entry is a timer that runs or should, and so stands in the way of its owner's next one."""
    return entry.started is not None and entry.desired.presence is Presence.RUNNING and entry.outcome is None


def is_finished_timer(entry: Entry) -> bool:
    """Return whether an entry is a timer that was finished, and that neither a person nor Keito decided otherwise."""
    if entry.started is None or entry.desired.presence is not Presence.FINISHED:
        return False
    if entry.outcome is None:
        return True
    # Keito may have refused a change of it; what it didn't let be made or stopped isn't finished.
    is_refused = entry.outcome.kind is OutcomeKind.REFUSED
    return is_refused and entry.observed is not None and entry.observed.is_running is False


def is_same_call(known: Entry, asked: Entry, same_since: datetime | None) -> bool:
    """Return whether an entry is asked for that a row stands for already.

    By the host's id of the call; or the same work of the same agent, unless both say for certain that they are of
    different sessions (a made-up session id says nothing: the process may have been restarted).

    Args:
        known: The row.
        asked: The entry.
        same_since: Since when the same work is the same call; before, only what isn't settled yet is.
    """
    mine, others = asked.owner, known.owner
    is_by_same_agent = (mine.account, mine.agent_id, mine.subagent_id) == (
        others.account,
        others.agent_id,
        others.subagent_id,
    )
    if not is_by_same_agent or asked.fingerprint is None or asked.fingerprint != known.fingerprint:
        return False
    if _was_refused(known):
        return False
    if asked.call_id is not None and asked.call_id == known.call_id:
        return True
    is_of_another_session = (
        mine.session_id != others.session_id and mine.session_is_certain and others.session_is_certain
    )
    if is_of_another_session or _is_no_more(known):
        return False
    if same_since is not None and known.created.wall >= same_since:
        return True
    is_of_the_day = known.desired.spent_date == asked.desired.spent_date
    return known.observed is None and (is_of_the_day or known.created.wall >= asked.created.wall - _ONE_NIGHT)


def is_counted_anew(before: Entry, after: Entry) -> bool:
    """Return whether a session that logs itself is to be counted anew, for a change of one of its entries.

    The hours beyond those that a person has left in an entry go into another one; what was recorded while an entry
    was discarded may hold the time that it holds once it is restored.
    """
    is_left = after.is_recorded and before.outcome is None and after.outcome is not None
    was_there = after.observed is not None or after.removed is not None
    return (is_left and was_there) or before.generation != after.generation


def lease_left(taken: Instant, now: Instant) -> float:
    """Return the seconds that are left of a lease; 0 where the clock was ahead when it was taken, before a boot."""
    return Rest(taken, LEASE.total_seconds(), "").left(now)


def _was_refused(entry: Entry) -> bool:
    """Return whether Keito refused to make an entry."""
    is_refused = entry.outcome is not None and entry.outcome.kind is OutcomeKind.REFUSED
    return is_refused and entry.observed is None and entry.removed is None


def _is_no_more(entry: Entry) -> bool:
    """Return whether an entry was thrown away here, or isn't in Keito any more."""
    if entry.outcome is not None:
        return entry.observed is None
    return entry.desired.presence is Presence.ABSENT
