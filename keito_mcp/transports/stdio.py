"""One host over stdin and stdout."""

from __future__ import annotations

import os
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

import anyio
from mcp.server.stdio import stdio_server

from keito_mcp.transports.ending import end, end_on_signals, end_within

if TYPE_CHECKING:
    from keito_mcp.server.server import KeitoServer

_AFTER_EOF = 0.5
"""Seconds that answers on their way have once the host has closed its end."""


def run_stdio(server: KeitoServer) -> NoReturn:
    """Serve one host over stdin and stdout until it is gone, then end the process at once.

    There is no shutdown work: what matters is in the journal before it is acted on. Waiting for threads would
    only keep a host waiting that sends SIGKILL half a second later anyway.
    """
    end_on_signals()
    anyio.run(_serve_stdio, server)
    end()


async def _serve_stdio(server: KeitoServer) -> None:
    low_level = server._lowlevel_server  # noqa: SLF001 -- the SDK takes streams for stdio nowhere else
    host = _HostInput(_take_stdin()), _HostOutput(_take_stdout())
    async with anyio.create_task_group() as tasks, stdio_server(*host) as (received, sent):
        tasks.start_soon(server.runtime.work_in_background)
        await low_level.run(received, sent, low_level.create_initialization_options())
        tasks.cancel_scope.cancel()


class _HostInput(anyio.AsyncFile[str]):
    """What the host says; when it says no more, the process has little time left."""

    async def readline(self) -> str:
        """The next line, or nothing once the host has hung up."""
        line = await super().readline()
        if not line:
            end_within(_AFTER_EOF)
        return line


class _HostOutput(anyio.AsyncFile[str]):
    """What the host hears; when it doesn't listen any more, nothing is left to do."""

    async def write(self, b: str) -> int:
        """Say something to the host."""
        try:
            return await super().write(b)
        except OSError:
            end()

    async def flush(self) -> None:
        """Let the host hear what was said."""
        try:
            await super().flush()
        except OSError:
            end()


def _take_stdin() -> TextIOWrapper:
    """Standard input for the protocol alone: children of this process read an empty one."""
    wire = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return TextIOWrapper(os.fdopen(wire, "rb"), encoding="utf-8", errors="replace")


def _take_stdout() -> TextIOWrapper:
    """Standard output for the protocol alone: what anything else prints goes to stderr."""
    wire = os.dup(1)
    try:
        os.dup2(2, 1)
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)
    return TextIOWrapper(os.fdopen(wire, "wb"), encoding="utf-8")
