"""What the benchmarks share: a server process spoken to in raw JSON-RPC lines, and figures in columns.

Blocking pipes and nothing else: a client library would be measured along with the server.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

PROGRAM = (sys.executable, "-m", "keito_mcp")
BARE = (sys.executable, str(Path(__file__).with_name("bare_server.py")))
LEGACY, MODERN = "2025-11-25", "2026-07-28"
ERAS = (LEGACY, MODERN)
MILLISECOND = 1_000_000

_LONGEST_LIFE = 600.0
_GRACE = 5.0
_CLIENT = {"name": "bench", "version": "1.0"}
_INITIALIZE = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": _CLIENT}
_ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": _CLIENT,
}


class Peer:
    """A server on the other end of two pipes."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin, process.stdout
        self._number = 0
        self._meta: Mapping[str, Any] = {}

    def greet(self, era: str) -> None:
        """Say what a host of that era says first."""
        if era == MODERN:
            self._meta = {"_meta": _ENVELOPE}
            self.ask("server/discover")
        else:
            self.ask("initialize", _INITIALIZE)
            self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def ask(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The result of a request."""
        self._write(self._request(method, params))
        return self._result(self._from.readline())

    def call(self, tool: str, arguments: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Nanoseconds that a tool took, from the request's first byte to the answer's last, and its result."""
        line = json.dumps(self._request("tools/call", {"name": tool, "arguments": arguments})).encode() + b"\n"
        begun = time.perf_counter_ns()
        self._to.write(line)
        self._to.flush()
        answer = self._from.readline()
        took = time.perf_counter_ns() - begun
        result = self._result(answer)
        if result.get("isError"):
            raise SystemExit(f"{tool} failed: {result['content'][0]['text']}")
        return took, result

    def _request(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        self._number += 1
        return {"jsonrpc": "2.0", "id": self._number, "method": method, "params": {**(params or {}), **self._meta}}

    def _write(self, message: Mapping[str, Any]) -> None:
        self._to.write(json.dumps(message).encode() + b"\n")
        self._to.flush()

    @staticmethod
    def _result(line: bytes) -> dict[str, Any]:
        if not line:
            raise SystemExit("the server ended without an answer")
        message = json.loads(line)
        if "result" not in message:
            raise SystemExit(f"the server refused: {message}")
        result: dict[str, Any] = message["result"]
        return result


@contextmanager
def serving(command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> Iterator[Peer]:
    """A server that lives as long as the block, and never longer than a benchmark may take."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=cwd) as process:
        watchdog = Timer(_LONGEST_LIFE, process.kill)
        watchdog.start()
        try:
            yield Peer(process)
        finally:
            watchdog.cancel()
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """An environment without the machine's own settings for keito-mcp or a host."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("KEITO_", "CLAUDE"))}
    return {**mine, "KEITO_STATE_DIR": str(folder), "KEITO_PROJECT_ID": "prj_bench", **settings}


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns: the first to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        sys.stdout.write("  ".join([first.ljust(widths[0]), *cells]) + "\n")
    sys.stdout.flush()
