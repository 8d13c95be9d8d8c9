"""What it takes to find out who makes a call of Claude Code: with a long transcript, against a short one.

    python tests/bench/identity.py [--calls N] [--megabytes N]

Each call's row is written just before it, as Claude Code does, into a session of a user who has a thousand others.
Beside the calls of the main agent and of a sub-agent there are those whose session is only found by looking into all
transcripts, and those that no transcript holds.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import anyio

from keito_mcp.identity import Identifier, Machine
from keito_mcp.process import Ancestor
from tests.bench.wire import table
from tests.identity.calls import SESSION, SUBAGENT, ClaudeFiles, call, tool_use_row

BUDGET, LONGEST = 5.0, 150.0
PID = 29795
PROJECTS, SESSIONS = 50, 20
MEGABYTE = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description="The time to identify a call of Claude Code.")
    parser.add_argument("--calls", type=int, default=200, help="of each kind; default: %(default)s")
    parser.add_argument("--megabytes", type=int, default=100, help="of the long transcript; default: %(default)s")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = anyio.run(_measure, Path(name), given.calls, given.megabytes)
    begun = f"{given.megabytes} MB of transcript against 0.1, {PROJECTS * SESSIONS} other sessions; milliseconds"
    table([[begun, "short p50", f"long p50 (budget {BUDGET:.0f})", "ratio", f"longest ({LONGEST:.0f})"], *rows])


async def _measure(folder: Path, calls: int, megabytes: int) -> list[list[str]]:
    short, long = (_user(folder / name, size) for name, size in (("short", 0.1), ("long", megabytes)))
    kinds: dict[str, Callable[[ClaudeFiles, str], Machine]] = {
        "the main agent": _main_agent,
        "a sub-agent": _subagent,
        "a session that only its transcript tells": _unregistered,
        "a call that no transcript holds": _unwritten,
    }
    rows = []
    for kind, make in kinds.items():
        before, after = [await _times(files, make, calls, kind) for files in (short, long)]
        ratio = median(after) / median(before)
        rows.append([kind, f"{median(before):.2f}", f"{median(after):.2f}", f"{ratio:.2f}", f"{max(after):.1f}"])
    return rows


async def _times(files: ClaudeFiles, make: Callable[[ClaudeFiles, str], Machine], calls: int, kind: str) -> list[float]:
    identifier, taken = Identifier(), []
    for number in range(calls):
        tool_use = f"toolu_{kind.replace(' ', '_')}_{number}"
        machine = make(files, tool_use)
        made = call(meta={"claudecode/toolUseId": tool_use}, machine=machine)
        begun = time.perf_counter()
        identity = await identifier.identify(made)
        taken.append((time.perf_counter() - begun) * 1000)
        known = identity.value("model") is not None
        if known == (make is _unwritten):
            raise SystemExit(f"{kind}: identified as {identity}")
    return taken


def _user(home: Path, megabytes: float) -> ClaudeFiles:
    """A user with many sessions, one of them this long."""
    files = ClaudeFiles(home)
    for project in range(PROJECTS):
        folder = files.folder / "projects" / f"-home-someone-{project}"
        folder.mkdir(parents=True)
        for number in range(SESSIONS):
            (folder / f"session-{project}-{number}.jsonl").write_text('{"type": "user"}\n' * 10)
    files.register(PID)
    row = {"type": "user", "message": {"content": "x" * 20_000}}
    files.write(*[row for _ in range(int(megabytes * MEGABYTE / 20_100))])
    return files


def _main_agent(files: ClaudeFiles, tool_use: str) -> Machine:
    files.write(tool_use_row(tool_use))
    return files.machine(Ancestor(PID, None))


def _subagent(files: ClaudeFiles, tool_use: str) -> Machine:
    files.write(tool_use_row(tool_use, subagent=SUBAGENT), subagent=SUBAGENT)
    return files.machine(Ancestor(PID, None))


def _unregistered(files: ClaudeFiles, tool_use: str) -> Machine:
    files.write(tool_use_row(tool_use, session=SESSION))
    return files.machine()


def _unwritten(files: ClaudeFiles, _: str) -> Machine:
    return files.machine(Ancestor(PID, None))


if __name__ == "__main__":
    main()
