"""The real program as a process: what is said to it, what it says, how it ends. Every wait has a deadline."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from keito_mcp.settings.config import variable
from tests.kit import PROJECT, SPOKEN, Keito, until

PROGRAM = (sys.executable, "-m", "keito_mcp")
PATIENCE = 20.0
"""Seconds after which something that should have happened is taken for something that never will."""

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
_LONGEST_LINE = 1_000_000


def environment(keito: Keito | None = None, /, **settings: str | None) -> dict[str, str]:
    """The environment of a program: an agent's usual settings for this Keito; `None` takes one away."""
    usual: dict[str, str | None] = {"KEITO_TIMEZONE": "UTC", "PYTHONUNBUFFERED": None}
    if keito is not None:
        usual |= {variable(name): value for name, value in SPOKEN[keito.wire.version].items()}
        usual |= {"KEITO_API_URL": keito.url, "KEITO_PROJECT_ID": PROJECT}
    given = {**os.environ, **usual, **settings}
    return {name: value for name, value in given.items() if value is not None}


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port of this machine at which nobody listens, nor can begin to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@asynccontextmanager
async def spawned(process: Process) -> AsyncIterator[Process]:
    """A process that is gone afterwards, whatever happens."""
    async with process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()


async def run(
    *arguments: str,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    program: tuple[str, ...] = PROGRAM,
    within: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, with nothing on its standard input."""
    with anyio.fail_after(within):
        done = await anyio.run_process(
            [*program, *arguments], stdin=subprocess.DEVNULL, env=env or environment(), cwd=cwd, check=False
        )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


async def gone(process: Process, within: float = PATIENCE) -> tuple[int, float]:
    """The exit code of a process that is about to end, and how long it took from now on."""
    begun = time.monotonic()
    with anyio.fail_after(within):
        code = await process.wait()
    return code, time.monotonic() - begun


@dataclass
class Listener:
    """A program that listens on a port, and said where."""

    process: Process
    url: str
    stdout: Path
    stderr: Path

    @property
    def said(self) -> str:
        """What it wrote on stdout."""
        return self.stdout.read_text()

    @property
    def errors(self) -> str:
        """What it wrote on stderr."""
        return self.stderr.read_text()


@asynccontextmanager
async def listening(
    *arguments: str, env: dict[str, str], tmp_path: Path, announced_on: str = "stderr"
) -> AsyncIterator[Listener]:
    """A program that announces `... http://address:port ...` on one of its streams."""
    logs = {name: tmp_path / f"{name}-{os.urandom(4).hex()}" for name in ("stdout", "stderr")}
    with logs["stdout"].open("wb") as out, logs["stderr"].open("wb") as err:
        process = await anyio.open_process(
            [*PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, cwd=tmp_path
        )
    announcement = logs[announced_on]
    async with spawned(process):
        await until(lambda: "\n" in announcement.read_text() or process.returncode is not None)
        words = announcement.read_text().split()
        [url, *_] = [word for word in words if word.startswith("http://")] or [""]
        assert url, f"it announced nothing: {logs['stdout'].read_text()}{logs['stderr'].read_text()}"
        origin = "/".join(url.split("/")[:3]).rstrip(".")
        yield Listener(process, origin, logs["stdout"], logs["stderr"])


@dataclass
class Wire:
    """A host that speaks JSON-RPC to a stdio server, line by line, in one of the protocol's eras."""

    process: Process
    mode: str
    log: Path
    lines: list[bytes] = field(default_factory=list)
    """Every line that came from the server's stdout."""

    def __post_init__(self) -> None:
        self._ids = count(1)
        self._answers: dict[object, dict[str, Any]] = {}
        self._received = BufferedByteReceiveStream(self._stdout)

    @property
    def _stdin(self) -> ByteSendStream:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def _stdout(self) -> ByteReceiveStream:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def errors(self) -> str:
        """What the server wrote on stderr so far."""
        return self.log.read_text()

    @property
    def said(self) -> bytes:
        """All that the server wrote on stdout, as far as it was read."""
        return b"\n".join(self.lines)

    async def write(self, line: bytes) -> None:
        """Send a line as it is."""
        await self._stdin.send(line + b"\n")

    async def send(self, method: str, params: dict[str, Any] | None = None) -> int:
        """Send a request and don't wait for its answer; returns its id."""
        number = next(self._ids)
        if self.mode != "legacy":
            meta = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "claude-code", "version": "2.1"},
            }
            params = {**(params or {}), "_meta": meta}
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}}
        await self.write(json.dumps(message).encode())
        return number

    async def answer(self, number: int) -> dict[str, Any]:
        """The message that answers a request; whatever comes before it must be a message too."""
        with anyio.fail_after(PATIENCE):
            while number not in self._answers:
                line = await self._received.receive_until(b"\n", _LONGEST_LINE)
                self.lines.append(line)
                message: dict[str, Any] = json.loads(line)
                self._answers[message.get("id")] = message
        return self._answers.pop(number)

    async def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The result of a request."""
        message = await self.answer(await self.send(method, params))
        assert "result" in message, message
        result: dict[str, Any] = message["result"]
        return result

    async def greet(self) -> dict[str, Any]:
        """What a host says first in this era; returns what the server says of itself."""
        if self.mode != "legacy":
            return await self.ask("server/discover")
        result = await self.ask(
            "initialize",
            {
                "protocolVersion": LEGACY,
                "capabilities": {},
                "clientInfo": {"name": "claude-code", "version": "2.1"},
            },
        )
        await self.write(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')
        return result

    async def start(self, tool: str, **arguments: Any) -> int:
        """Call a tool and don't wait for its answer."""
        return await self.send("tools/call", {"name": tool, "arguments": arguments})

    async def call(self, tool: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
        """A tool's text and its result; `isError` says whether it failed."""
        result = await self.ask("tools/call", {"name": tool, "arguments": arguments})
        return result["content"][0]["text"], result

    async def done(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a tool that succeeds answers."""
        text, result = await self.call(tool, **arguments)
        assert not result.get("isError"), text
        content: dict[str, Any] = result["structuredContent"]
        return content

    async def refused(self, tool: str, **arguments: Any) -> str:
        """What a tool that fails says."""
        text, result = await self.call(tool, **arguments)
        assert result.get("isError") is True, text
        return text

    async def hang_up(self) -> None:
        """Close the end that the server reads from."""
        await self._stdin.aclose()

    async def end(self, within: float = PATIENCE) -> int:
        """Hang up, hear the server out and return its exit code."""
        await self.hang_up()
        with anyio.fail_after(within):
            rest = self._received.buffer + b"".join([chunk async for chunk in self._stdout])
        self.lines += rest.splitlines()
        code, _ = await gone(self.process, within)
        return code


@asynccontextmanager
async def wire(
    *arguments: str,
    env: dict[str, str],
    tmp_path: Path,
    mode: str = "auto",
    cwd: Path | None = None,
    program: tuple[str, ...] = PROGRAM,
) -> AsyncIterator[Wire]:
    """A stdio server and a host that it can be spoken to through; it works in a folder that is no repository."""
    log = tmp_path / f"stderr-{os.urandom(4).hex()}"
    with log.open("wb") as stderr:
        process = await anyio.open_process([*program, *arguments], stderr=stderr, env=env, cwd=cwd or tmp_path)
    async with spawned(process):
        yield Wire(process, mode, log)
