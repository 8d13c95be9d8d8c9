"""The commands as a person runs them: in a shell, as a program's child, or at a terminal."""

import io
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any
from unittest import mock

import anyio

from keito_mcp import cli
from tests.kit import Keito, until
from tests.processes import PATIENCE, PROGRAM, environment, gone, run, spawned


def another_account(keito: Keito) -> dict[str, str]:
    """The settings with which a program works in another account than the agents of a test."""
    return {"KEITO_ACCOUNT_ID": "co_another"} if keito.wire.counts else {"KEITO_API_KEY": "keito_sk_another"}


async def command(keito: Keito, *arguments: str, **settings: str | None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in this process, which is quicker, and where nobody can be asked anything."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment(keito, **settings), clear=True),
        redirect_stdout(out),
        redirect_stderr(err),
        anyio.fail_after(PATIENCE),
    ):
        code = await anyio.to_thread.run_sync(cli.main, arguments)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


async def program(keito: Keito, *arguments: str, **settings: str | None) -> subprocess.CompletedProcess[str]:
    """Run the real program to its end."""
    return await run(*arguments, env=environment(keito, **settings))


async def as_json(keito: Keito, *arguments: str, code: int = 0) -> Any:
    """What a command says to a program."""
    done = await command(keito, *arguments, "--json")
    assert (done.returncode, done.stderr) == (code, "")
    return json.loads(done.stdout)


@dataclass
class Terminal:
    """A program at a terminal: what it showed there, and what its caller types."""

    process: anyio.abc.Process
    ours: int
    shown: str = ""

    def read(self) -> str:
        """All that it showed so far."""
        # There may be nothing yet; and nothing more once it ended.
        with suppress(OSError):
            self.shown += os.read(self.ours, 100_000).decode()
        return self.shown

    async def shows(self, text: str) -> None:
        """Wait until it shows this."""
        await until(lambda: text in self.read())

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self.ours, text.encode() + b"\n")

    async def end(self) -> int:
        """Wait for its end; returns its exit code."""
        code, _ = await gone(self.process)
        self.read()
        return code


@asynccontextmanager
async def at_a_terminal(*arguments: str, env: dict[str, str]) -> AsyncIterator[Terminal]:
    """A command at a terminal of its own."""
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    try:
        process = await anyio.open_process([*PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        async with spawned(process):
            yield Terminal(process, ours)
    finally:
        os.close(ours)
