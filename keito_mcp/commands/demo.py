"""The newcomer's tour: two agents, a real MCP client and server for each, and the embedded Keito.

Nothing of the user's is read or written: the servers get settings of their own, and a folder that is deleted
afterwards. After each call, what stands in the embedded Keito is compared with what should.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import anyio
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.types import TextContent

from keito_mcp.sandbox import Store
from keito_mcp.settings import paths

_PATIENCE = 60.0
"""Seconds that the tour may take; usually it is five."""

_PATIENCE_WITH_A_CALL = 20.0
_WORK = 1.0
_ROUNDING = 0.0001
_PROJECT = "prj_web"
_HEADINGS = ("", "HOURS", "PROJECT", "AGENT", "SESSION", "NOTES")
_BOLD, _DIM, _GREEN = "1", "2", "32"


class _Unexpected(Exception):
    """Something came out otherwise than the tour tells it."""


class _ReaderGone(Exception):
    """Nobody reads standard output any more (`keito-mcp demo | head -3`)."""


@dataclass(frozen=True, slots=True)
class Agent:
    """Who works, in which session, and the colour that its name has in a terminal."""

    agent_id: str
    session_id: str
    colour: str


@dataclass(frozen=True, slots=True)
class Expected:
    """An entry that should stand in Keito; one without hours (from, to) should still run."""

    agent: Agent
    notes: str
    hours: tuple[float, float] | None = None

    def differences(self, shown: Mapping[str, Any]) -> Iterator[str]:
        """What is different in Keito, a sentence each."""
        metadata = shown["metadata"] or {}
        facts = {
            "project": (_PROJECT, shown["project_id"]),
            "agent": (self.agent.agent_id, metadata.get("agent_id")),
            "session": (self.agent.session_id, metadata.get("session_id")),
            "notes": (self.notes, shown["notes"]),
            "source": ("agent", shown["source"]),
            "is_running": (self.hours is None, shown["is_running"]),
        }
        for name, (wanted, found) in facts.items():
            if wanted != found:
                yield f"Entry {shown['id']}: {name} should be {wanted!r} and is {found!r}."
        if self.hours and not self.hours[0] <= shown["hours"] <= self.hours[1]:
            least, most = self.hours
            yield f"Entry {shown['id']}: hours should be {least:.4f} to {most:.4f} and are {shown['hours']:.4f}."


def differences(entries: Collection[Mapping[str, Any]], expected: Mapping[str, Expected]) -> list[str]:
    """How Keito's entries differ from those that should stand there, a sentence each; empty if they don't.

    Args:
        entries: The entries as `Store.entries` shows them.
        expected: Those that should stand, by id.
    """
    shown = {str(entry["id"]): entry for entry in entries}
    found = [f"Entry {key} is in Keito and shouldn't be: {shown[key]['notes']!r}." for key in shown.keys() - expected]
    for key, wanted in expected.items():
        found += wanted.differences(shown[key]) if key in shown else [f"Entry {key} isn't in Keito and should be."]
    return found


class Screen:
    """Standard output: styled on a terminal, pure text in a pipe."""

    def __init__(self, stream: TextIO) -> None:
        """Look at what the stream is, and at the environment's wishes."""
        is_terminal = stream.isatty()
        self._stream = stream
        self.width = shutil.get_terminal_size().columns if is_terminal else None
        self._styled = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def say(self, text: str = "", style: str | None = None, *, end: str = "\n") -> None:
        """Write text at once; raises `_ReaderGone`, or `OSError` where it can't be written for another reason."""
        painted = f"\x1b[{style}m{text}\x1b[0m" if style and self._styled else text
        try:
            self._stream.write(painted + end)
            self._stream.flush()
        except OSError as error:
            # What is still buffered would fail once more when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if isinstance(error, BrokenPipeError):
                raise _ReaderGone from error
            raise


async def demo() -> bool:
    """Take the tour, on standard output.

    Returns:
        Whether everything came out as expected; if not, standard error says what didn't.
    """
    with (
        tempfile.TemporaryDirectory(prefix="keito-demo-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log,
    ):
        try:
            with anyio.fail_after(_PATIENCE):
                await _take_tour(Path(folder), log)
        except* _ReaderGone:
            done = False
        except* (_Unexpected, MCPError, OSError) as failed:
            done = False
            log.seek(0)
            _complain(failed, log.read())
        else:
            done = True
    return done


def _complain(failed: BaseException, log: str) -> None:
    while isinstance(failed, BaseExceptionGroup):
        failed = failed.exceptions[0]
    what = str(failed) or f"It took too long ({type(failed).__name__})."
    server = f"The server's log:\n{log}" if log else ""
    sys.stderr.write(f"\nThe demo did not come out as expected.\n{what}\n{server}")


async def _take_tour(folder: Path, log: TextIO) -> None:
    coder = Agent("coder-1", "login", "1;36")
    another = Agent("coder-2", "search", "1;35")
    screen = Screen(sys.stdout)
    screen.say("Two AI agents keep their time in an embedded Keito: no account, no network.", _BOLD)
    screen.say("Each has a real MCP client and a real stdio server; nothing stays behind.")
    with closing(Store(paths.sandbox_file(folder))) as store:
        tour = _Tour(screen, store)
        async with _at_work(coder, folder, log) as client:
            await tour.ordinary_session(coder, client)
        async with _at_work(another, folder, log) as client:
            await tour.failed_session(another, client)
        tour.show_what_stands()


@asynccontextmanager
async def _at_work(agent: Agent, folder: Path, log: TextIO) -> AsyncIterator[Client]:
    """A server for one agent, which sees none of the user's settings, and a client connected to it."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-P", "-m", "keito_mcp", "--sandbox"],
        cwd=folder,
        env=_environment(agent, folder),
    )
    async with Client(stdio_client(server, log), read_timeout_seconds=_PATIENCE_WITH_A_CALL) as client:
        yield client


def _environment(agent: Agent, folder: Path) -> dict[str, str]:
    """What a server sees; to it the SDK adds PATH, HOME and the like, and nothing else."""
    return {
        "KEITO_STATE_DIR": str(folder),
        "KEITO_PROJECT_ID": _PROJECT,
        "KEITO_AGENT_ID": agent.agent_id,
        "KEITO_SESSION_ID": agent.session_id,
        "XDG_CONFIG_HOME": str(folder),
        # The server works in another folder than this process; it finds its modules where this one does.
        "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path),
    }


class _Tour:
    """The story, and what should stand in Keito at each point of it."""

    def __init__(self, screen: Screen, store: Store) -> None:
        self._screen = screen
        self._store = store
        self._expected: dict[str, Expected] = {}
        self._discarded: list[tuple[Mapping[str, Any], str]] = []

    async def ordinary_session(self, agent: Agent, client: Client) -> None:
        """Time that a timer counts, time that it doesn't, and a call that is delivered twice."""
        self._tell(agent, "I start on the login bug.")
        await self._call(client, "start_timer", "running", Expected(agent, "Fix the login"))

        self._tell(agent, "I work for a second, and am done. The time is counted for me.")
        await anyio.sleep(_WORK)
        counted = (_WORK / 3600 - _ROUNDING, _PATIENCE / 3600)
        await self._call(client, "stop_timer", "stopped", Expected(agent, "Login fixed", counted))

        self._tell(agent, "Before that I reviewed code, and no timer ran.")
        reviewed = Expected(agent, "Code review", (0.75, 0.75))
        await self._call(client, "log_time", "logged", reviewed, hours=0.75)

        self._tell(agent, "The same call once more: it adds nothing.")
        await self._call(client, "log_time", "duplicate", reviewed, hours=0.75)

        self._tell(agent, "What stands in my timesheet?")
        await self._list(client)

    async def failed_session(self, agent: Agent, client: Client) -> None:
        """Work in another session that nobody should pay for."""
        self._tell(agent, "I am another agent, in another session. I rewrite the search.")
        await self._call(client, "start_timer", "running", Expected(agent, "Rewrite the search"))

        self._tell(agent, "It failed. Nobody should pay for this session.")
        await self._discard(client, agent, "tests fail")

    def show_what_stands(self) -> None:
        """The table at the end, as Keito has it."""
        self._check()
        entries = self._store.entries()
        rows = [_row("in Keito", entry, entry["notes"]) for entry in entries]
        rows += [_row("discarded", entry, f"{entry['notes']} ({reason})") for entry, reason in self._discarded]
        widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
        self._screen.say()
        for row in (_HEADINGS, *rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            style = {_HEADINGS[0]: _BOLD, "discarded": _DIM}.get(row[0])
            self._screen.say(line.rstrip()[: self._screen.width], style)
        self._screen.say()
        self._screen.say(f"As expected: {len(entries)} entries stand, {len(self._discarded)} was discarded.", _GREEN)

    def _tell(self, agent: Agent, words: str) -> None:
        self._screen.say()
        self._screen.say(agent.agent_id, agent.colour, end=f"  {words}\n")

    async def _call(self, client: Client, tool: str, status: str, expected: Expected, **arguments: object) -> None:
        """Call a tool that answers one entry, which should stand in Keito as expected from now on."""
        answer = await self._ask(client, tool, **arguments, notes=expected.notes)
        counted = f", {answer['hours']} h" if status == "stopped" else ""
        self._screen.say(f"{answer['status']} {answer['id']}{counted}", _GREEN)
        if answer["status"] != status:
            raise _Unexpected(f"{tool} should answer {status!r} and answered {answer}.")
        self._expected[answer["id"]] = expected
        self._check()

    async def _list(self, client: Client) -> None:
        answer = await self._ask(client, "list_entries", session_id="current")
        self._screen.say(f"{len(answer['entries'])} entries, {answer['total_hours']} h", _GREEN)
        stands = {entry["id"]: entry["hours"] for entry in self._store.entries()}
        listed = {entry["id"]: entry["hours"] for entry in answer["entries"]}
        if listed != stands or abs(answer["total_hours"] - sum(stands.values())) > _ROUNDING / 2:
            raise _Unexpected(f"list_entries should show {stands} and answered {answer}.")

    async def _discard(self, client: Client, agent: Agent, reason: str) -> None:
        failed = {key for key, entry in self._expected.items() if entry.agent is agent}
        shown = [entry for entry in self._store.entries() if entry["id"] in failed]
        answer = await self._ask(client, "discard_session", reason=reason)
        self._screen.say(f"discarded {', '.join(answer['discarded'])}", _GREEN)
        if set(answer["discarded"]) != failed or answer["kept"]:
            raise _Unexpected(f"discard_session should discard {failed} and answered {answer}.")
        self._expected = {key: entry for key, entry in self._expected.items() if key not in failed}
        self._discarded += [(entry, reason) for entry in shown]
        self._check()

    async def _ask(self, client: Client, tool: str, **arguments: object) -> dict[str, Any]:
        """Show a call, make it, and give its structured answer."""
        spelled = ", ".join(f"{name}={json.dumps(value)}" for name, value in arguments.items())
        self._screen.say(f"  {tool}({spelled})", _DIM, end=" -> ")
        result = await client.call_tool(tool, arguments)
        if result.is_error or result.structured_content is None:
            said = [part.text for part in result.content if isinstance(part, TextContent)]
            raise _Unexpected(f"{tool} failed: {' '.join(said)}")
        return dict(result.structured_content)

    def _check(self) -> None:
        if found := differences(self._store.entries(), self._expected):
            raise _Unexpected("\n".join(found))


def _row(title: str, entry: Mapping[str, Any], notes: str) -> tuple[str, ...]:
    metadata = entry["metadata"]
    return title, f"{entry['hours']:.4f}", entry["project_id"], metadata["agent_id"], metadata["session_id"], notes
