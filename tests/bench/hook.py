"""What an event costs a host: the installed `keito-mcp hook`, against an interpreter that does nothing.

    python tests/bench/hook.py [--events N]

The event is the end of a turn in a repository that is counted: read, understood, written down and on the disk.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tests.bench.wire import environment, table

BUDGET = 3.0
NOTHING = (sys.executable, "-S", "-c", "pass")
HOOK = (str(Path(sys.executable).with_name("keito-mcp")), "hook", "--host", "claude-code")


def main() -> None:
    parser = argparse.ArgumentParser(description="The time that a hook takes, against an interpreter's start.")
    parser.add_argument("--events", type=int, default=100, help="default: %(default)s")
    events = parser.parse_args().events
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / ".keito").mkdir()
        (folder / ".keito" / "config.yml").touch()
        event = {"session_id": "s", "hook_event_name": "Stop", "last_assistant_message": "Done.", "cwd": name}
        said = json.dumps(event).encode()
        env = environment(folder / "state", CLAUDE_PROJECT_DIR=name)
        pairs = [(_timed(NOTHING, said, env), _timed(HOOK, said, env)) for _ in range(events)]
        left = len(list((folder / "state" / "spool").iterdir()))
    if left != events:
        raise SystemExit(f"{events} events left {left} files")
    nothing, hook = (median(times) for times in zip(*pairs, strict=True))
    table(
        [
            ["p50 in ms", "time", "ratio", "budget"],
            ["python -S -c pass", f"{nothing:.1f}", "1.00", ""],
            ["keito-mcp hook", f"{hook:.1f}", f"{hook / nothing:.2f}", f"{BUDGET:.2f}"],
        ]
    )


def _timed(command: Sequence[str], said: bytes, env: dict[str, str]) -> float:
    begun = time.perf_counter()
    # With a time limit, Python looks for the end of a process in ever longer pauses.
    subprocess.run(command, input=said, env=env, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    main()
