"""How many calls a second an HTTP server answers, against a bare server whose tool makes the same request to Keito.

    python tests/bench/throughput.py [--seconds N]

Both servers ask the same embedded Keito, and each is asked by the same clients in turn. Keito, the servers and the
clients are four processes on this machine, so that the ratio is of interest and the figures are not. keito-mcp tells
its callers apart by their keys, and says nothing of them in a log, as the bare server doesn't either.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from threading import Timer
from typing import Any

import anyio
import httpx

from tests.bench.wire import MILLISECOND, MODERN, PROGRAM, environment, table

BUDGET = 0.5
PRINCIPALS = 20
AT_A_TIME = (1, 20, 100)
BARE = (sys.executable, str(Path(__file__).with_name("bare_http_server.py")))
ENTRIES = 50
ROUNDS = 3


@dataclass
class Load:
    """What clients saw of a server: the nanoseconds of each call, and the seconds that all of them took."""

    calls: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def throughput(self) -> float:
        return len(self.calls) / self.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Calls a second over HTTP, against a bare server's.")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round; default: %(default)s")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sandbox = [*PROGRAM, "sandbox", "--port", "0"]
        serve = [*PROGRAM, "serve", "--port", "0", "--auth", "key"]
        with _listening(sandbox, environment(folder / "keito")) as keito:
            ours = environment(folder / "state", KEITO_API_URL=keito, KEITO_LOG_LEVEL="WARNING")
            with (
                _listening(serve, ours) as keito_mcp,
                _listening(BARE, environment(folder / "bare", BENCH_KEITO=keito)) as bare,
            ):
                anyio.run(_report, keito, keito_mcp, bare, seconds)


async def _report(keito: str, keito_mcp: str, bare: str, seconds: float) -> None:
    await _fill(keito)
    heads = ["calls at a time", "ours/s", "bare/s", "ratio", "budget", "ours p50 ms", "p99", "bare p50 ms", "p99"]
    rows = [heads]
    for at_a_time in AT_A_TIME:
        loads = {keito_mcp: Load(), bare: Load()}
        for url, load in itertools.chain.from_iterable(loads.items() for _ in range(ROUNDS)):
            await _load(url, at_a_time, seconds, load)
        ours, theirs = loads.values()
        ratio = ours.throughput / theirs.throughput
        figures = [f"{ours.throughput:.0f}", f"{theirs.throughput:.0f}", f"{ratio:.2f}", f"{BUDGET}"]
        rows.append([str(at_a_time), *figures, *_times(ours), *_times(theirs)])
    table(rows)
    sys.stdout.write(f"list_entries of {ENTRIES} entries, {PRINCIPALS} principals, protocol {MODERN}.\n")


def _times(load: Load) -> list[str]:
    return [f"{time / MILLISECOND:.1f}" for time in (median(load.calls), quantiles(load.calls, n=100)[98])]


async def _fill(keito: str) -> None:
    async with httpx.AsyncClient(base_url=keito, headers={"Authorization": "Bearer keito_sk_bench"}) as client:
        for number in range(ENTRIES):
            entry = {"project_id": "prj", "spent_date": "2026-03-06", "hours": 1, "source": "agent"}
            answer = await client.post("/v1/time-entries", json={**entry, "notes": f"Part {number} of the work"})
            answer.raise_for_status()


async def _load(url: str, at_a_time: int, seconds: float, load: Load) -> None:
    """Call a server from so many clients for a while; a call that fails ends it all."""
    begun = time.perf_counter()
    limits = httpx.Limits(max_connections=at_a_time, max_keepalive_connections=at_a_time)
    async with (
        httpx.AsyncClient(base_url=url, timeout=30, limits=limits, trust_env=False) as http,
        anyio.create_task_group() as tasks,
    ):

        async def call_again_and_again(number: int) -> None:
            headers = _headers(number % PRINCIPALS)
            while time.perf_counter() - begun < seconds:
                called = time.perf_counter_ns()
                answer = await http.post("/mcp", content=_CALL, headers=headers)
                load.calls.append(time.perf_counter_ns() - called)
                result = answer.raise_for_status().json()["result"]
                if result.get("isError"):
                    raise SystemExit(result["content"][0]["text"])

        for number in range(at_a_time):
            tasks.start_soon(call_again_and_again, number)
    load.seconds += time.perf_counter() - begun


def _headers(principal: int) -> Mapping[str, str]:
    return {
        "Authorization": f"Bearer keito_sk_bench_{principal}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "list_entries",
    }


def _message(arguments: Mapping[str, Any]) -> bytes:
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1.0"},
    }
    params = {"name": "list_entries", "arguments": arguments, "_meta": meta}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()


_CALL = _message({"limit": ENTRIES})


@contextmanager
def _listening(command: list[str] | tuple[str, ...], env: dict[str, str]) -> Iterator[str]:
    """A process that says where it listens; yields its address."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    watchdog = Timer(600, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        announced = process.stdout.readline()
        urls = [word for word in announced.split() if word.startswith("http://")]
        if not urls:
            raise SystemExit(f"{command} did not start: {announced}")
        yield "/".join(urls[0].split("/")[:3]).rstrip(".")
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
