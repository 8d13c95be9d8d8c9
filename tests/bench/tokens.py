"""How much of a model's context the tools take: characters of compact JSON (or of text), divided by 4.

python tests/bench/tokens.py
"""

import json
import sys
import tempfile
import uuid
from datetime import UTC, datetime
from pathlib import Path

from keito_mcp.sandbox import Store
from keito_mcp.sandbox.entry import Entry
from keito_mcp.settings import paths
from tests.bench.wire import LEGACY, PROGRAM, environment, serving, table

TOOLS, STRUCTURED, TEXT = 1_500, 4_500, 2_500
ENTRIES = 50
NOTES = "Fixed the login redirect after the session cookie had expired, with tests, and reviewed the change"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _fill(folder)
        with serving((*PROGRAM, "--sandbox"), env=environment(folder), cwd=folder) as peer:
            peer.greet(LEGACY)
            tools = peer.ask("tools/list")
            _, listed = peer.call("list_entries", {"limit": ENTRIES})
    answer = listed["structuredContent"]
    if len(answer["entries"]) != ENTRIES:
        raise SystemExit(f"{len(answer['entries'])} entries instead of {ENTRIES}")
    text = "".join(part["text"] for part in listed["content"])
    rows = [["", "characters", "tokens", "budget"], _row("tools/list", _compact(tools), TOOLS)]
    rows += [_row(f"  {tool['name']}", _compact(tool)) for tool in tools["tools"]]
    rows += [
        _row(f"list_entries of {ENTRIES}, structured", _compact(answer), STRUCTURED),
        _row(f"list_entries of {ENTRIES}, text", text, TEXT),
    ]
    table(rows)
    first, second, *_ = text.splitlines()
    sys.stdout.write(f"\nThe text begins:\n{first}\n{second}\n")


def _fill(folder: Path) -> None:
    """Entries such as agents write: three sessions of one agent, notes longer than a list shows."""
    store = Store(paths.sandbox_file(folder))
    sessions = [str(uuid.uuid4()) for _ in range(3)]
    now = datetime.now(UTC)
    for number in range(ENTRIES):
        metadata = {"agent_id": "claude-code@workstation-17", "session_id": sessions[number % len(sessions)]}
        store.create(
            Entry(
                id=f"te_{uuid.uuid4().hex[:16]}",
                user_id="usr_7f3a9c2e41d05b68",
                project_id=f"prj_{number % 3:016x}",
                task_id="tsk_9b1e7d3c5a802f46",
                spent_date=now.date().isoformat(),
                units=1234 + 37 * number,
                started_at=None,
                notes=f"{NOTES} ({number})",
                is_billable=True,
                source="agent",
                metadata=metadata,
                created_at=now,
                updated_at=now,
            )
        )
    store.close()


def _row(name: str, text: str, budget: int | None = None) -> list[str]:
    return [name, f"{len(text):,}", f"{len(text) / 4:,.0f}", f"{budget:,}" if budget else ""]


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


if __name__ == "__main__":
    main()
