"""Where state lives: one answer for the server, the command line and the hooks.

Standard library only. The folder is found from the home directory alone, because some hosts start their
servers without `XDG_*` variables and the server and the hook of one user must agree.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

STATE_DIR_VARIABLE = "KEITO_STATE_DIR"
_FOLDER = "keito-mcp"


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds the journal: `KEITO_STATE_DIR`, else the platform's per-user state folder."""
    if chosen := environ.get(STATE_DIR_VARIABLE, "").strip():
        return Path(chosen).expanduser()
    return _platform_state_dir(Path.home(), sys.platform)


def _platform_state_dir(home: Path, platform: str) -> Path:
    if platform == "win32":
        return home / "AppData" / "Local" / _FOLDER
    if platform == "darwin":
        return home / "Library" / "Application Support" / _FOLDER
    return home / ".local" / "state" / _FOLDER


def journal_file(folder: Path) -> Path:
    """The journal's SQLite file in a state folder."""
    return folder / "journal.sqlite3"


def sandbox_file(folder: Path) -> Path:
    """The embedded Keito's SQLite file in a state folder (`--sandbox`)."""
    return folder / "sandbox.sqlite3"
