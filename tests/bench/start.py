"""How long a host waits for the server: from spawning it to its answer to `initialize`.

    python tests/bench/start.py [--runs N]

Runs of keito-mcp and of a bare server of the SDK alternate, so that both see the same machine.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tests.bench.wire import BARE, LEGACY, MILLISECOND, PROGRAM, environment, serving, table

BUDGET = 1.10


def main() -> None:
    parser = argparse.ArgumentParser(description="Spawn to `initialize` answered, against a bare server.")
    parser.add_argument("--runs", type=int, default=20, help="of each command; default: %(default)s")
    runs = parser.parse_args().runs
    commands: dict[str, Sequence[str]] = {"bare MCPServer": BARE, "python -m keito_mcp": PROGRAM}
    script = Path(sys.executable).with_name("keito-mcp")
    if script.exists():
        commands["keito-mcp (script)"] = (str(script),)
    took: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs + 1):
            for name, command in commands.items():
                milliseconds = _start(command, Path(folder))
                if number:  # the first run of each compiles and fills caches
                    took[name].append(milliseconds)
    report(took)


def _start(command: Sequence[str], folder: Path) -> float:
    begun = time.perf_counter_ns()
    with serving(command, env=environment(folder), cwd=folder) as peer:
        peer.greet(LEGACY)
        return (time.perf_counter_ns() - begun) / MILLISECOND


def report(took: dict[str, list[float]]) -> None:
    bare = next(iter(took.values()))
    rows = [["spawn to `initialize` answered", "median ms", "min ms", "ratio", "ratio of min", "budget"]]
    for name, times in took.items():
        ratios = [f"{median(times) / median(bare):.2f}", f"{min(times) / min(bare):.2f}"]
        budget = "" if times is bare else f"{BUDGET:.2f}"
        rows.append([name, f"{median(times):.0f}", f"{min(times):.0f}", *ratios, budget])
    table(rows)


if __name__ == "__main__":
    main()
