"""Claude Code's transcripts: which row of which session made a tool call.

The format is Claude Code's own and undocumented (`hosts.md` §1.7), so nothing is taken for granted: a row of another
shape says nothing. Of a row only the session, the sub-agent and the model are read, and nothing of it is kept.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keito_mcp.identity.facts import bounded
from keito_mcp.settings import checkout

_BLOCK = 1 << 17
_NEWEST = 32
"""Transcripts that are looked into."""
_KNOWN_FOLDERS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """What a transcript says of one tool call; None is what it doesn't say.

    Attributes:
        agent_is_certain: Whether it says which agent of the session calls: the main one, or which sub-agent.
    """

    session_id: str | None
    subagent_id: str | None
    subagent: str | None
    model: str | None
    agent_is_certain: bool = True


class Transcripts:
    """The transcripts of one Claude Code configuration folder."""

    def __init__(self, projects: Path) -> None:
        """Nothing is read yet; `projects` need not exist."""
        self._projects = projects
        self._folders: dict[str, Path] = {}

        self.exist = True
        """Whether there were any when they were last looked for."""

    def find(self, tool_use: str, sessions: Sequence[str], *, everywhere: bool, at_most: int) -> Row | None:
        """The row that made a tool call, or None where it isn't in what is read; it blocks meanwhile.

        Args:
            tool_use: The call's id.
            sessions: The sessions to look into first.
            everywhere: Whether to look into all others after them.
            at_most: Bytes to read, over all transcripts.
        """
        self.exist = os.path.isdir(self._projects)  # noqa: PTH112 -- it never raises
        first = [file for session in dict.fromkeys(sessions) for file in self._of_session(session)]
        search = _Search(tool_use, at_most)
        if not everywhere:
            return search.through(_newest(first))
        return search.through(_newest(first)[: _NEWEST // 2], lambda: _newest(set(self._all()) - set(first)))

    def _of_session(self, session: str) -> list[Path]:
        """A session's transcript and those of its sub-agents."""
        if not _is_a_name(session):
            return []
        folder = self._folders.get(session) or self._folder_of(session)
        if folder is None:
            return []
        if len(self._folders) >= _KNOWN_FOLDERS:
            self._folders.clear()
        self._folders[session] = folder
        return [folder / f"{session}.jsonl", *_of_subagents(folder / session)]

    def _folder_of(self, session: str) -> Path | None:
        for folder in _entries(self._projects):
            if os.path.exists(folder / f"{session}.jsonl"):  # noqa: PTH110 -- it never raises
                return folder
        return None

    def _all(self) -> Iterator[Path]:
        for folder in _entries(self._projects):
            for entry in _entries(folder):
                if entry.suffix == ".jsonl":
                    yield entry
                else:
                    yield from _of_subagents(entry)


def _of_subagents(session: Path) -> list[Path]:
    try:
        return list((session / "subagents").rglob("*.jsonl"))
    except OSError:
        return []


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]  # noqa: PTH208 -- quicker over thousands of files
    except OSError:
        return []


def _is_a_name(session: str) -> bool:
    return bool(session) and session == Path(session).name and session not in {".", ".."}


def _newest(files: Iterable[Path]) -> list[Path]:
    """Those written last, the very last first: the row that is looked for was written a moment ago."""
    written = []
    for file in files:
        try:
            written.append((file.stat().st_mtime_ns, file))
        except OSError:
            continue
    written.sort(reverse=True, key=lambda pair: pair[0])
    return [file for _, file in written[:_NEWEST]]


class _Search:
    """The search for one tool call, over files that are read backwards and in turn, the ends of all of them first."""

    def __init__(self, tool_use: str, at_most: int) -> None:
        self._tool_use = tool_use
        self._needle = json.dumps(tool_use).encode()
        self._left = at_most

    def through(self, files: Sequence[Path], others: Callable[[], Sequence[Path]] = tuple) -> Row | None:
        """The row, if it is in the part that may be read of these files, or of others where it isn't at their ends."""
        ends = [_Backwards(file) for file in files]
        if row := self._row_at(ends):
            return row
        reading = [*map(_Backwards, others()), *ends]
        while reading := [file for file in reading if file.has_more and self._left > 0]:
            if row := self._row_at(reading):
                return row
        return None

    def _row_at(self, files: Sequence["_Backwards"]) -> Row | None:
        """The row, if it is in what is read next of these files."""
        for file in files:
            lines, length = file.read(self._left)
            self._left -= length
            if row := self._row_in(lines):
                return row
        return None

    def _row_in(self, lines: bytes) -> Row | None:
        """The last of these lines that is the row of the call."""
        end = len(lines)
        while (at := lines.rfind(self._needle, 0, end)) >= 0:
            start, stop = lines.rfind(b"\n", 0, at) + 1, lines.find(b"\n", at)
            if row := read_row(lines[start : stop if stop >= 0 else len(lines)], self._tool_use):
                return row
            end = start
        return None


class _Backwards:
    """A file that is read from its end on, each time twice as much as the last time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._size = _BLOCK
        self._at: int | None = None
        self._rest = b""

    @property
    def has_more(self) -> bool:
        """Whether something is left of it."""
        return self._at != 0

    def read(self, at_most: int) -> tuple[bytes, int]:
        """The whole lines before those of the last time, and how much was read for them."""
        try:
            with open(self._file, "rb", buffering=0, opener=checkout.regular) as opened:
                end = opened.seek(0, os.SEEK_END) if self._at is None else self._at
                self._at = max(0, end - min(self._size, at_most))
                opened.seek(self._at)
                block = opened.read(end - self._at)
        except OSError:
            self._at = 0
            return b"", 0
        self._size *= 2
        lines = block + self._rest
        # Where no line begins in it, all of this is the tail of one that begins before.
        cut = 0 if self._at == 0 else lines.find(b"\n") + 1 or len(lines)
        self._rest = lines[:cut]
        return lines[cut:], len(block)


def read_row(line: bytes, tool_use: str) -> Row | None:
    """What a line says of a tool call; None if it isn't the row of a model's answer that made it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    message = row.get("message") if isinstance(row, dict) and row.get("type") == "assistant" else None
    if not isinstance(message, dict) or not _makes(message, tool_use):
        return None
    # Such a row is Claude Code's own words, and names no model that answered.
    spoken = not row.get("isApiErrorMessage") and message.get("model") != "<synthetic>"
    is_subagent = row.get("isSidechain") is True
    subagent_id = bounded(row.get("agentId")) if is_subagent else None
    return Row(
        session_id=bounded(row.get("sessionId")),
        subagent_id=subagent_id,
        subagent=bounded(row.get("attributionAgent")) if is_subagent else None,
        model=bounded(message.get("model")) if spoken else None,
        agent_is_certain=not is_subagent or subagent_id is not None,
    )


def _makes(message: dict[str, Any], tool_use: str) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(
        isinstance(block, dict) and block.get("type") == "tool_use" and block.get("id") == tool_use for block in content
    )
