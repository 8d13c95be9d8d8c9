"""From a session's events to the stretches in which an agent worked, and how each turn ended."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from keito_mcp.clock import Instant
from keito_mcp.sessions.events import Event, Kind
from keito_mcp.sessions.timeline import between

_SAME_PROMPT = timedelta(seconds=2)
"""A prompt that is told twice, by the hooks of two hosts: where it has no id, within so long."""
_LAST_BREATH = timedelta(seconds=60)
"""A session's end is itself a sign of life of the turn that it interrupts, within so long of the one before."""


class Outcome(StrEnum):
    """How a turn ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


_OUTCOMES = {
    Kind.COMPLETED: Outcome.COMPLETED,
    Kind.FAILED: Outcome.FAILED,
    Kind.INTERRUPTED: Outcome.INTERRUPTED,
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """From one event to a later one, both by their places in the list."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Turn(Stretch):
    """From a prompt to its answer, or as far as it got."""

    outcome: Outcome


def turns(events: Sequence[Event]) -> list[Turn]:
    """The turns of a session; the last one counts as interrupted where nothing closes it.

    An interrupted turn counts up to its last sign of life: any event before the one that closes it.

    Args:
        events: In the order in which they were seen.
    """
    found: list[Turn] = []
    opened: int | None = None
    for here, event in enumerate(events):
        if event.kind in _OUTCOMES and opened is not None:
            found.append(Turn(opened, here, _OUTCOMES[event.kind]))
            opened = None
        elif event.kind in _OUTCOMES and found and _goes_on(events[found[-1].last], event):
            found[-1] = replace(found[-1], last=here, outcome=_OUTCOMES[event.kind])
        elif event.kind in {Kind.PROMPT, Kind.STARTED, Kind.ENDED} and opened is not None:
            if event.kind is Kind.PROMPT and _is_told_twice(events[opened], event):
                continue
            found.append(Turn(opened, last_sign(events[: here + 1]), Outcome.INTERRUPTED))
            opened = here if event.kind is Kind.PROMPT else None
        elif event.kind is Kind.PROMPT and not (found and _is_told_twice(events[found[-1].first], event)):
            opened = here
    if opened is not None:
        found.append(Turn(opened, len(events) - 1, Outcome.INTERRUPTED))
    return found


def _goes_on(end: Event, again: Event) -> bool:
    """Whether a turn went on after its end: a hook of the user's own may send the agent back to work."""
    if end.turn is not None and again.turn is not None:
        return end.turn == again.turn
    return again.detail == "again"


def _is_told_twice(prompt: Event, again: Event) -> bool:
    if prompt.turn is not None and again.turn is not None:
        return prompt.turn == again.turn
    return between(prompt.at, again.at) <= _SAME_PROMPT


def last_sign(events: Sequence[Event]) -> int:
    """The place of the last sign of life before what closes a turn or a session, the last of some events.

    The end of a session is one itself, soon enough after the one before; a prompt and a start are of what follows.
    """
    closing = len(events) - 1
    if events[closing].kind not in {Kind.PROMPT, Kind.STARTED, Kind.ENDED} or not closing:
        return closing
    ends_soon = between(events[closing - 1].at, events[closing].at) <= _LAST_BREATH
    return closing if events[closing].kind is Kind.ENDED and ends_soon else closing - 1


def subagents(events: Sequence[Event]) -> list[Stretch]:
    """The stretches in which sub-agents worked, also beyond the turn that started them.

    One whose end nobody told counts up to the last event of its own.
    """
    found: list[Stretch] = []
    open_: dict[str, Stretch] = {}
    for here, event in enumerate(events):
        who = event.subagent_id
        if event.kind is Kind.SUBAGENT_STARTED:
            open_.setdefault(who, Stretch(here, here))
        elif who in open_:
            open_[who] = replace(open_[who], last=here)
            if event.kind is Kind.SUBAGENT_STOPPED:
                found.append(open_.pop(who))
    return [*found, *open_.values()]


def with_grants(events: Sequence[Event]) -> list[Event]:
    """The events, and the moments at which a person let a tool run after it was asked for.

    Nobody tells of such a moment; but what happens next may be the tool's end, and say how long it ran.
    """
    found: list[Event] = []
    for event, then in zip(events, [*events[1:], None], strict=True):
        found.append(event)
        took = then.row.get("took") if then is not None else None
        if event.kind is not Kind.WAITING or then is None or not isinstance(took, int | float) or took <= 0:
            continue
        ran = min(timedelta(seconds=took), between(event.at, then.at))
        granted = Instant(then.at.wall - ran, then.at.monotonic - ran.total_seconds(), then.at.boot_id)
        found.append(Event(name=f"{event.name} granted", kind=Kind.SIGN, at=granted, row={}))
    return found


def waits(events: Sequence[Event]) -> list[Stretch]:
    """The stretches in which an agent waited for a person: from the request to whatever happened next."""
    return [
        Stretch(here, here + 1)
        for here, event in enumerate(events)
        if event.kind is Kind.WAITING and here + 1 < len(events)
    ]


def has_failed(found: Sequence[Turn]) -> bool:
    """Whether a session failed: a turn did, and none was completed after it."""
    ended = [turn.outcome for turn in found if turn.outcome is not Outcome.INTERRUPTED]
    return bool(ended) and ended[-1] is Outcome.FAILED


def was_only_interrupted(found: Sequence[Turn]) -> bool:
    """Whether no turn of a session came to its end."""
    return bool(found) and all(turn.outcome is Outcome.INTERRUPTED for turn in found)
