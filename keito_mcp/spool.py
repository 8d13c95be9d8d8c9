"""What a host's hooks leave for the server: small files beside the journal, one for each tool call.

Standard library only, and little of it: the hook and the server must agree, and a hook must be quick. A file is one
JSON object. It appears whole or not at all, because it is renamed into its place.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

_FOLDER = "spool"
_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_LONGEST = 65_536
"""Bytes of a file that are read; a hook writes far less."""


def folder(state: Path) -> Path:
    """The spool in a state folder."""
    return state / _FOLDER


def call_file(state: Path, call_id: str) -> Path | None:
    """The file of one tool call, by the host's id of it; None for an id that can't be a file's name."""
    return folder(state) / f"{call_id}.json" if _CALL_ID.fullmatch(call_id) else None


def write(file: Path, row: dict[str, Any]) -> None:
    """Leave one row, readable by this user alone; raises OSError, and then nothing is left."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            json.dump(row, opened)
            opened.flush()
            os.fsync(opened.fileno())
        unfinished.replace(file)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def read(file: Path) -> dict[str, Any] | None:
    """What a hook left; None where there is nothing, or nothing that can be read."""
    try:
        with file.open("rb") as opened:
            row = json.loads(opened.read(_LONGEST))
    except (OSError, ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
