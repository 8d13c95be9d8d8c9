"""The end of a host's transcript: when something was written last, and which model answered.

Claude Code and Codex write JSON lines with a `timestamp`; the format is theirs and undocumented, so a row of another
shape says nothing. Of a row nothing but these two is read.
"""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from keito_mcp.identity.facts import bounded
from keito_mcp.settings import checkout

_END = 1 << 18
"""Bytes that are read from its end."""


@dataclass(frozen=True, slots=True)
class LastWords:
    """What the end of a transcript says; None is what it doesn't say."""

    at: datetime | None = None
    model: str | None = None


def last_words(file: Path) -> LastWords:
    """What the end of a transcript says; it blocks meanwhile, and never raises."""
    at: datetime | None = None
    model: str | None = None
    for line in reversed(_end(file).split(b"\n")):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            at = at or _timestamp(row.get("timestamp"))
            model = model or _model(row)
        if at and model:
            break
    return LastWords(at, model)


def _end(file: Path) -> bytes:
    try:
        with open(file, "rb", opener=checkout.regular) as opened:
            opened.seek(max(0, opened.seek(0, os.SEEK_END) - _END))
            return opened.read(_END)
    except (OSError, ValueError):
        return b""


def _timestamp(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at.astimezone(UTC) if at and at.tzinfo else None


def _model(row: dict[str, object]) -> str | None:
    message = row.get("message")
    if row.get("type") != "assistant" or not isinstance(message, dict) or row.get("isApiErrorMessage"):
        return None
    model = bounded(message.get("model"))
    return None if model == "<synthetic>" else model
