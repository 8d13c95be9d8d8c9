"""What an agent asked for and was answered, and whether Keito holds exactly that."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

_STOPPED_FIRST = re.compile(r"Timer (\S+) was stopped first, with ([\d.]+) h")
_WORK = re.compile(r"work (\S+)")
_ROUNDED = 0.006
"""Sentences give hours with two digits."""


@dataclass(frozen=True)
class Said:
    """The hours of a stopped timer, as an answer named them.

    Attributes:
        handle: The timer.
        hours: Its hours.
        exact: How exact they are.
        op: What was asked for, where the answer shows it.
    """

    handle: str
    hours: float
    exact: float
    op: str | None = None


@dataclass
class Asked:
    """One entry that was asked for.

    Attributes:
        hours: The hours that it may have; of a timer, the most that it may have.
        accepted: Whether a tool answered for it.
        unwanted: Whether it may be gone, because its session was asked to be discarded.
        discarded: Whether a tool answered that it is gone or will be.
        refused: Whether Keito refuses it.
    """

    tool: str
    hours: list[float] = field(default_factory=list)
    since: float = 0.0
    accepted: bool = False
    unwanted: bool = False
    discarded: bool = False
    refused: bool = False


@dataclass
class Tally:
    """What was counted in the end."""

    entries: int
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.invented)

    def __str__(self) -> str:
        return (
            f"lost {len(self.lost)}, doubled {len(self.doubled)}, invented {len(self.invented)} of {self.entries} "
            f"entries {' '.join(self.lost + self.doubled + self.invented)}".strip()
        )


@dataclass
class Book:
    """What was asked and answered so far."""

    asked: dict[str, Asked] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)

    def asks(self, tool: str, op: str | None, hours: float | None, since: float) -> None:
        if op is not None:
            made = self.asked.setdefault(op, Asked(tool, since=since))
            made.hours += [hours] if hours is not None else []
        if tool == "discard_session":
            for made in self.asked.values():
                made.unwanted = True

    def hears(self, tool: str, op: str | None, answer: dict[str, Any]) -> None:
        """A tool answered with success."""
        if op is not None:
            self.asked[op].accepted = True
        if tool == "stop_timer" and answer["status"] in {"stopped", "already_stopped", "queued"}:
            work = _WORK.match(answer.get("notes") or "")
            self.said.append(Said(answer["id"], float(answer["hours"]), 0.0, work[1] if work else None))
        for handle, hours in _STOPPED_FIRST.findall(answer.get("message") or ""):
            self.said.append(Said(handle, float(hours), _ROUNDED))
        if tool == "discard_session":
            for made in self.asked.values():
                made.discarded = made.discarded or made.unwanted

    def corrects(self, op: str, hours: float, *, answered: bool) -> None:
        """An entry got other hours; without an answer it may have either."""
        made = self.asked[op]
        made.hours = [hours] if answered else [*made.hours, hours]

    def against(self, entries: list[dict[str, Any]], now: float) -> Tally:
        """Compare with what stands in Keito."""
        tally = Tally(len(entries))
        ops = Counter(_op(entry) for entry in entries)
        keys = Counter(str(entry["metadata"].get("entry_key")) for entry in entries)
        tally.doubled = [name for counted in (ops, keys) for name, times in counted.items() if times > 1]
        for op, made in self.asked.items():
            is_owed = made.accepted and not made.unwanted and not made.refused
            if is_owed and not ops[op]:
                tally.lost.append(op)
            if ops[op] and (made.discarded or made.refused):
                tally.invented.append(f"{op} is there still")
        for entry in entries:
            tally.invented += self._wrong(entry, now)
        handles = {entry["id"] for entry in entries} | set(keys)
        tally.lost += [said.handle for said in self.said if said.handle not in handles and not self._may_be_gone(said)]
        return tally

    def _may_be_gone(self, said: Said) -> bool:
        named = self.asked.get(said.op or "")
        return any(made.unwanted for made in ([named] if named else self.asked.values()))

    def _wrong(self, entry: dict[str, Any], now: float) -> list[str]:
        made = self.asked.get(_op(entry))
        if made is None:
            return [f"{entry} was never asked for"]
        if made.tool == "log_time":
            return [] if entry["hours"] in made.hours else [f"{_op(entry)} has {entry['hours']} h, not {made.hours}"]
        handles = {entry["id"], entry["metadata"].get("entry_key")}
        wrong = [
            f"{_op(entry)} has {entry['hours']} h, not the {said.hours} h that were answered"
            for said in self.said
            if said.handle in handles and entry["hours"] != pytest.approx(said.hours, abs=said.exact or 1e-9)
        ]
        if entry["is_running"]:
            wrong.append(f"{_op(entry)} still runs")
        if entry["hours"] > (now - made.since) / 3600 + 0.05:
            wrong.append(f"{_op(entry)} has {entry['hours']} h, more than passed")
        return wrong


def _op(entry: dict[str, Any]) -> str:
    return str((entry["metadata"] or {}).get("op"))
