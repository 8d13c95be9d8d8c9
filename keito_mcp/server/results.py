"""What a tool gives back: structured content, and a short text that stands alone."""

from __future__ import annotations

import json
from typing import Annotated

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel  # noqa: TC002 -- the annotations below are read when the tools are made

from keito_mcp import hours as decimal_hours
from keito_mcp.server.answers import DiscardAnswer, EntryAnswer, EntryRow, ListAnswer, Status
from keito_mcp.server.shown import all_shown, shown

Entry = Annotated[CallToolResult, EntryAnswer]
Entries = Annotated[CallToolResult, ListAnswer]
Discarded = Annotated[CallToolResult, DiscardAnswer]

_HEADLINES = {
    Status.RUNNING: "Timer runs",
    Status.RUNNING_LOCALLY: "Timer runs on this machine, not in Keito",
    Status.ALREADY_RUNNING: "This timer already runs; nothing new was started",
    Status.STOPPED: "Timer stopped",
    Status.ALREADY_STOPPED: "Not running; nothing was changed",
    Status.LOGGED: "Time logged",
    Status.QUEUED: "Kept on this machine, not in Keito yet",
    Status.UPDATED: "Entry corrected",
    Status.DUPLICATE: "Already logged; nothing was added",
}


def entry(answer: EntryAnswer) -> CallToolResult:
    """One entry, and what became of it."""
    text = f"{_HEADLINES[answer.status]}: {_line(answer)}"
    return _result(answer, f"{text}\n{answer.message}" if answer.message else text)


def entries(answer: ListAnswer) -> CallToolResult:
    """A page of entries, a line each."""
    count = len(answer.entries)
    head = f"{count} {'entry' if count == 1 else 'entries'}, {decimal_hours.text(answer.total_hours)} h"
    lines = [f"{_line(row)} {row.status}" if row.status is Status.RUNNING else _line(row) for row in answer.entries]
    more = [f"More: call again with cursor={answer.next_cursor}"] if answer.has_more else []
    said = [answer.message] if answer.message else []
    return _result(answer, "\n".join([head, *lines, *more, *said]))


def discarded(answer: DiscardAnswer) -> CallToolResult:
    """What was deleted, and what was kept and why."""
    return _result(answer, text_of(answer))


def text_of(answer: DiscardAnswer) -> str:
    """The same as text."""
    count = len(answer.discarded)
    entries_ = f"{count} {'entry' if count == 1 else 'entries'} ({decimal_hours.text(answer.hours)} h)"
    head = f"Discarded {entries_} of session {answer.session_id}"
    lines = [f"{head}: {', '.join(answer.discarded)}" if count else f"{head}."]
    lines += [f"To be deleted as soon as Keito can be reached: {', '.join(answer.queued)}"] if answer.queued else []
    lines += [f"Kept {kept.id}: {kept.reason}" for kept in answer.kept]
    return "\n".join(lines + ([answer.message] if answer.message else []))


def _line(row: EntryAnswer | EntryRow) -> str:
    """An entry on one line. Notes are quoted: they are data, whoever wrote them."""
    where = "/".join(part for part in (row.project_id, row.task_id) if part)
    facts = [row.id, str(row.spent_date or ""), f"{decimal_hours.text(row.hours)} h", where]
    facts += ["not billable"] if row.is_billable is False else []
    facts += [json.dumps(row.notes, ensure_ascii=False)] if row.notes else []
    return " ".join(" ".join(fact.split()) for fact in facts if fact)


def _result(answer: BaseModel, text: str) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=shown(text))],
        structured_content=all_shown(answer.model_dump(mode="json", exclude_none=True)),
    )
