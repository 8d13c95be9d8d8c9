"""Claude Code's registry of running sessions: which session a process is in at this moment.

One JSON file for each process, named by its id (`hosts.md` §1.3). Beside them lie `.key` files: secrets, which are
never opened.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from keito_mcp.identity.facts import bounded
from keito_mcp.process import Ancestor

_LONGEST = 65_536


def current_session(sessions: Path, ancestors: Iterable[Ancestor]) -> str | None:
    """The session of the nearest ancestor that is a Claude Code; None where none is, or its file can't be read."""
    for ancestor in ancestors:
        try:
            with (sessions / f"{ancestor.pid}.json").open("rb") as opened:
                row = json.loads(opened.read(_LONGEST))
        except OSError:
            continue
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            # It may be being written; a Claude Code further up would be another one, in another session.
            return None
        if _is_of(row, ancestor):
            return bounded(row.get("sessionId"))
    return None


def _is_of(row: dict[str, object], process: Ancestor) -> bool:
    """Whether a file is of this process, not of an earlier one that had the same id."""
    if row.get("pid") != process.pid:
        return False
    started = row.get("procStart")
    return process.started is None or not isinstance(started, str) or started == process.started
