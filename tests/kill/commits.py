"""The commits after which a server or a command is killed; of one core only, once the other one is gone.

Each is `name:n`, the n-th commit of that name. What is named first is tried in every run, the rest where there is time.
"""

from collections.abc import Iterable
from datetime import timedelta

from tests.profile import profile
from tests.support.cores import IS_OF_ROWS

MANY_KILLS = 20

DUE = timedelta(minutes=6)
"""After so long nothing rests any more, and what was sent twice is looked up once more."""

LAST_LOOK = timedelta(hours=1, minutes=1) if IS_OF_ROWS else DUE
"""After so long what was sent twice was looked up for the last time."""


def each(name: str, numbers: Iterable[int]) -> list[str]:
    return [f"{name}:{number}" for number in numbers]


def steps(once: list[str], more: list[str]) -> list[str]:
    """A step of each kind for every run, and all of them where there is time."""
    return list(dict.fromkeys([*once, *(more if profile().kills >= MANY_KILLS else [])]))


def _of(script: str, *commits: str) -> list[tuple[str, str]]:
    return [(script, commit) for commit in commits]


if IS_OF_ROWS:
    SERVER = [
        *_of("work", "add:2", "edit:3", "edit:5", "due:1"),
        *_of("discard", "edit_all:1", "edit_all:3"),
        *_of("refusal", "edit:4"),
        *_of("heir", "close_timer:1"),
    ]
    MORE_OF_SERVER = [
        *_of("work", *each("add", (1, 3, 4)), *each("edit", (1, 2, 4, *range(6, 13))), *each("due", (2, 3))),
        *_of("work", "turn:1", "turn:2", "prune:1"),
        *_of("lost_answers", *each("add", (1, 2)), *each("edit", range(1, 10)), *each("due", (1, 2, 3, 4))),
        *_of("discard", "edit_all:2", "edit_all:4", *each("add", range(1, 5)), *each("edit", range(1, 7)), "due:1"),
        *_of("refusal", *each("edit", (1, 2, 3, 5)), "add:2", "due:1"),
        *_of("heir", "add:1", "edit:1", "edit:2", "due:1", "sign:1", "beat:1"),
    ]
    SYNC = steps(["edit:2"], [*each("due", range(1, 5)), *each("edit", range(1, 9)), *each("turn", range(1, 5))])
    ADOPT = steps(["adopt:1"], ["due:1", "edit:1"])
    RESTORE = steps(["edit_all:1"], ["lift:1", *each("due", (1, 2)), *each("edit", range(1, 5))])
    DISCARD = steps(["edit_all:1"], ["edit_all:2"])
    RECORD = steps(
        ["take_in:1", "add:2"], ["add:1", *each("due", (1, 2)), *each("edit", range(1, 5)), "record_outcome:1"]
    )
else:
    SERVER = [
        *_of("work", "create:2", "settle:3", "amend:1", "claim:2", "send:1"),
        *_of("discard", "begin:1", "throw_away:1"),
        *_of("refusal", "told:1"),
        *_of("heir", "close_timer:1"),
    ]
    MORE_OF_SERVER = [
        *_of("work", *each("create", (1, 3, 4)), "amend:3", "send:2", *each("settle", (1, 4, 5, 6)), "claim:1"),
        *_of("work", "turn:1", "turn:2", "prune:1", "amend:2"),
        *_of("lost_answers", *each("settle", range(1, 7)), "send:1", "send:2", "claim:2", "claim:3"),
        *_of("discard", *each("settle", (3, 5, 6)), "send:1"),
        *_of("refusal", "settle:2"),
        *_of("heir", "sign:1", "create:1", "beat:1"),
    ]
    SYNC = steps(["send:2"], [step for name in ("claim", "send", "settle", "turn") for step in each(name, range(1, 5))])
    ADOPT = steps(["adopt:1"], ["send:1"])
    RESTORE = steps(
        ["restore:1"], ["restore:2", *(step for name in ("claim", "send", "settle") for step in each(name, (1, 2)))]
    )
    DISCARD = steps(["begin:1"], ["settle:1"])
    RECORD = steps(
        ["take_in:1", "record:2"],
        [*(step for name in ("record", "claim", "send", "settle") for step in each(name, (1, 2))), "record_outcome:1"],
    )

STEPS = [*SERVER, *(MORE_OF_SERVER if profile().kills >= MANY_KILLS else [])]
