"""What a tool call costs the server itself, beside the time that Keito and the journal's disk take.

    python tests/bench/calls.py [--calls N]

The server's own share is the call's time as the host sees it, minus the time inside httpx and the journal. Each
call is followed by one of the same tool, with the same arguments, of a bare server whose tools do nothing. The
embedded Keito is a third process, and the server works in a git repository.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Timer
from typing import Any

from tests.bench.wire import BARE, ERAS, MILLISECOND, PROGRAM, Peer, environment, serving, table

BUDGET, COMMITS = 1.6, 2
WARM_UP = 20
MEASURED = (sys.executable, str(Path(__file__).with_name("measured_server.py")))
TOOLS: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "log_time": lambda number: {"hours": 0.25, "notes": f"Fixed the login redirect, part {number}"},
    "list_entries": lambda _: {"limit": 1},
    "start_timer": lambda number: {"notes": f"Work on part {number}"},
    "stop_timer": lambda number: {"notes": f"Done with part {number}"},
}
Timed = dict[str, list[dict[str, int]]]


def main() -> None:
    parser = argparse.ArgumentParser(description="A tool call's own share of time, against a bare server's.")
    parser.add_argument("--calls", type=int, default=300, help="of each tool and era; default: %(default)s")
    calls = parser.parse_args().calls
    for era in ERAS:
        with tempfile.TemporaryDirectory() as name:
            report(era, _measure(era, calls, Path(name)))


def _measure(era: str, calls: int, folder: Path) -> Timed:
    repository, journal, lines = folder / "repository", folder / "state", folder / "calls.jsonl"
    _make_repository(repository)
    env = environment(journal, KEITO_API_KEY="keito_sk_bench", BENCH_CALLS=str(lines))
    timed: Timed = {tool: [] for tool in TOOLS}
    with (
        _keito(folder) as url,
        serving(MEASURED, env=env | {"KEITO_API_URL": url}, cwd=repository) as keito_mcp,
        serving(BARE, env=env, cwd=repository) as bare,
    ):
        keito_mcp.greet(era)
        bare.greet(era)
        asked = [(tool, number) for number in range(WARM_UP + calls) for tool in TOOLS]
        seen = [_pair(tool, TOOLS[tool](number), keito_mcp, bare) for tool, number in asked]
    inside = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    for (tool, number), pair, spent in zip(asked, seen, inside, strict=True):
        if number >= WARM_UP:
            timed[tool].append({**spent, **pair})
    return timed


def _pair(tool: str, arguments: Mapping[str, Any], keito_mcp: Peer, bare: Peer) -> dict[str, int]:
    return {"call": keito_mcp.call(tool, arguments)[0], "nothing": bare.call(tool, arguments)[0]}


def _make_repository(folder: Path) -> None:
    folder.mkdir()
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.com")
    for arguments in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "Start"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True, timeout=30)


@contextmanager
def _keito(folder: Path) -> Iterator[str]:
    """The embedded Keito as a process of its own; yields its address."""
    command = [*PROGRAM, "sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(folder / "keito")) as process:
        watchdog = Timer(600, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            announced = process.stdout.readline()
            urls = [word.rstrip(".") for word in announced.split() if word.startswith("http://")]
            if not urls:
                raise SystemExit("the embedded Keito did not start")
            yield urls[0]
        finally:
            watchdog.cancel()
            process.kill()


def report(era: str, timed: Timed) -> None:
    heads = ["call", "httpx", "commits", "reads", "own", "no-op", "ratio", "budget", "commits/call", "requests/call"]
    rows = [[f"{era}, p50 in ms", *heads]]
    for tool, calls in timed.items():
        own = median(call["call"] - sum(call.get(part, 0) for part in ("request", "commit", "read")) for call in calls)
        nothing = median(call["nothing"] for call in calls)
        parts = [median(call.get(part, 0) for call in calls) for part in ("call", "request", "commit", "read")]
        counts = [f"{max(call.get(part, 0) for call in calls)}" for part in ("commits", "requests")]
        times = [f"{time / MILLISECOND:.2f}" for time in (*parts, own, nothing)]
        rows.append([tool, *times, f"{own / nothing:.2f}", f"{BUDGET}", *counts])
    table(rows)
    sys.stdout.write(f"Commits and requests are the most of any call; the budget is {COMMITS} commits.\n\n")


if __name__ == "__main__":
    main()
