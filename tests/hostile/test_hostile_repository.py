"""A clone that attacks: nothing of it runs, nothing in it is waited for, and none of it fills the memory."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from keito_mcp.sessions import hook
from keito_mcp.settings import checkout
from keito_mcp.settings.repository import Configuration, ConfigurationError
from tests.hostile.traps import GIT, TOO_MUCH, UNREADABLE, Repository, trapped
from tests.kit import Keito, until
from tests.processes import PATIENCE, PROGRAM, environment, wire
from tests.profile import profile

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="it has no FIFOs, and links are the administrator's"),
]

INSTALLED = (str(Path(sys.executable).with_name("keito-mcp")),)
SAFE = (sys.executable, "-P", "-m", "keito_mcp")
COMMANDS = (("sync", "--json"), ("doctor", "--json"), ("sessions", "--json"), ("init", "--project-id=p", "--yes"))
TRIED = (*(COMMANDS if profile().is_long else COMMANDS[1:2]), ("hook",))
"""The programs that are tried in each place: one reader serves them all, so that the short profile tries two."""
MORE_SECONDS = 2.0
MORE_MEMORY = 50 << 10
"""KiB."""


@dataclass
class Ran:
    """A program that came to its end by itself.

    Attributes:
        seconds: Of a processor: on a busy machine they aren't more.
        peak: KiB of memory at most.
    """

    code: int
    said: str
    seconds: float
    peak: int


async def ran(*command: str, cwd: Path, env: dict[str, str], told: object = None) -> Ran:
    """Run a program to its end, with its output in a pipe: a link to that is then one that never ends."""

    def run() -> Ran:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd, env=env
        )
        assert process.stdin
        assert process.stdout
        with process.stdout, process.stdin as stdin:
            stdin.write(json.dumps(told).encode() if told else b"")
            stdin.close()
            killer = threading.Timer(PATIENCE, process.kill)
            killer.start()
            _, status, used = os.wait4(process.pid, 0)
            killer.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode >= 0, f"{command} did not end"
            return Ran(
                process.returncode, process.stdout.read().decode(), used.ru_utime + used.ru_stime, used.ru_maxrss
            )

    return await anyio.to_thread.run_sync(run)


def settings(keito: Keito, repository: Repository, tmp_path: Path, name: str = "state") -> dict[str, str]:
    """A user's environment, with programs of the repository first on PATH in every way that there is."""
    path = os.pathsep.join(["", ".", "bin", str(repository.programs), os.environ["PATH"]])
    state = str(tmp_path / name)
    return environment(keito, KEITO_PROJECT_ID=None, KEITO_STATE_DIR=state, PATH=path, LANG="C.UTF-8")


async def before_ours() -> set[str]:
    """What Python imports for `-m` before any line of ours; only `-P` keeps it from a folder's modules of this name."""
    done = await anyio.run_process([sys.executable, "-I", "-c", "import runpy, sys; print(*sys.modules)"])
    return {name.partition(".")[0] for name in done.stdout.decode().split()} | {"keito_mcp"}


def event(name: str) -> dict[str, object]:
    return {
        "session_id": "s-1",
        "prompt_id": "p-1",
        "hook_event_name": name,
        "tool_name": "mcp__keito__log_time",
        "tool_use_id": f"toolu_{name}",
        "last_assistant_message": "Done.",
    }


@pytest.fixture
def clone(tmp_path: Path) -> Repository:
    return trapped(tmp_path)


async def test_the_traps_are_traps(clone: Repository) -> None:
    """What a careless program does here leaves its mark."""
    # A program that is measured has imported much before the first line of its own.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    for careless in ((sys.executable, "-c", "import json"), (sys.executable, "-m", "keito_mcp"), ("git", "status")):
        await anyio.run_process(careless, cwd=clone.folder, check=False, env=env)
    for program in ("keito-mcp", "git"):
        await anyio.run_process([program], cwd=clone.folder, check=False, env={**env, "PATH": "bin:/bin"})
    for sprung in ("module json", "module importlib", "bin/trap", "bin/keito-mcp", "bin/git"):
        assert sprung in clone.sprung


# --- nothing of it runs ---


async def test_hooks_run_nothing_of_it_and_the_end_of_the_session_is_delivered_by_its_configuration(
    clone: Repository, keito: Keito, tmp_path: Path
) -> None:
    env = settings(keito, clone, tmp_path)
    first = ["SessionStart", "UserPromptSubmit"]
    last = ["Stop", "SessionEnd"]
    others = [name for name in hook.EVENTS.split() if name not in {*first, *last, "sessionEnd", "stop"}]
    for name in [*first, *others, *last]:
        done = await ran(*INSTALLED, "hook", cwd=clone.folder, env=env, told=event(name))
        assert (done.code, done.said) == (0, "")
    await until(keito.entries, seconds=PATIENCE)
    assert [entry["project_id"] for entry in keito.entries()] == ["prj_shop"]
    assert clone.sprung == ""


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
async def test_variables_of_python_that_lead_into_it_dont_reach_the_delivery(
    clone: Repository, keito: Keito, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = str(clone.folder)
    lead = {
        "PYTHONPATH": os.pathsep.join(["", ".", inside, f"{inside}/../clone", str(tmp_path / "link")]),
        "PYTHONHOME": inside,
        "PYTHONUSERBASE": inside,
        "PYTHONPYCACHEPREFIX": f"{inside}/cache",
        "PYTHONSTARTUP": f"{inside}/json.py",
        "PYTHONWARNINGS": "ignore::json.Warning",
        "PYTHONBREAKPOINT": "json.dump",
    }
    (tmp_path / "link").symlink_to(inside)
    for name, value in {**settings(keito, clone, tmp_path), **lead}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(clone.folder)
    for name in ("SessionStart", "UserPromptSubmit", "Stop", "SessionEnd"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(event(name)).encode())))
        await anyio.to_thread.run_sync(hook.main, [])
    await until(keito.entries, seconds=PATIENCE)
    assert clone.sprung == ""


@pytest.mark.parametrize("program", [INSTALLED, SAFE, PROGRAM], ids=["keito-mcp", "python -P -m", "python -m"])
async def test_neither_commands_nor_the_server_run_anything_of_it(
    program: tuple[str, ...], keito: Keito, tmp_path: Path
) -> None:
    clone = trapped(tmp_path, without=await before_ours() if program is PROGRAM else ())
    env = settings(keito, clone, tmp_path)
    for command in COMMANDS:
        done = await ran(*program, *command, cwd=clone.folder, env=env)
        assert done.code == 0, done.said
    async with wire(env=env, tmp_path=tmp_path, cwd=clone.folder, program=program) as host:
        await host.greet()
        await host.done("log_time", hours=1, project_id="prj_abc")
        await host.end()
    [entry] = keito.entries()
    assert entry["metadata"]["git_branch"], "git was asked"
    assert clone.sprung == ""


@pytest.mark.parametrize("cwd", ["bare", "bare/objects", ".git"])
async def test_a_bare_repository_in_it_and_its_own_folder_run_nothing(
    cwd: str, clone: Repository, keito: Keito, tmp_path: Path
) -> None:
    env = settings(keito, clone, tmp_path)
    for command in (*COMMANDS[:3], ("hook",)):
        await ran(*INSTALLED, *command, cwd=clone.folder / cwd, env=env, told=event("SessionEnd"))
    assert clone.sprung == ""


# --- nothing in it is waited for ---


@pytest.mark.parametrize("make", [*UNREADABLE.values(), *GIT.values()], ids=[*UNREADABLE, *GIT])
async def test_all_programs_come_to_their_end_whatever_lies_in_its_places(
    make: Callable[[Repository], None], clone: Repository, keito: Keito, tmp_path: Path
) -> None:
    await _usual(clone, keito, tmp_path)
    make(clone)
    await _cost_no_more(clone, keito, tmp_path)
    assert clone.sprung == ""


@pytest.mark.parametrize("configuration", ["deep lists", "aliases of aliases", "a long time"])
async def test_all_programs_come_to_their_end_whatever_its_configuration_says(
    configuration: str, clone: Repository, keito: Keito, tmp_path: Path
) -> None:
    await _usual(clone, keito, tmp_path)
    clone.write(TOO_MUCH[configuration])
    await _cost_no_more(clone, keito, tmp_path)


_costs: dict[tuple[str, ...], tuple[Ran, float]] = {}
"""What each program costs in a repository whose configuration is as it should be."""


async def _usual(clone: Repository, keito: Keito, tmp_path: Path) -> None:
    if not _costs:
        _costs.update({command: await _cost(command, clone, keito, tmp_path) for command in TRIED})


async def _cost(command: tuple[str, ...], clone: Repository, keito: Keito, tmp_path: Path) -> tuple[Ran, float]:
    begun = time.monotonic()
    env = settings(keito, clone, tmp_path)
    done = await ran(*INSTALLED, *command, cwd=clone.folder, env=env, told=event("SessionEnd"))
    assert "Traceback" not in done.said
    return done, time.monotonic() - begun


async def _cost_no_more(clone: Repository, keito: Keito, tmp_path: Path) -> None:
    """Run each program, and compare."""
    for command, (usual, usual_wait) in _costs.items():
        done, wait = await _cost(command, clone, keito, tmp_path)
        assert done.seconds < usual.seconds + MORE_SECONDS, command
        assert done.peak < usual.peak + MORE_MEMORY, command
        # Machines are busy; whatever waits for somebody waits until it is killed.
        assert wait < 3 * usual_wait + 3 * MORE_SECONDS, command
    async with wire(
        env=settings(keito, clone, tmp_path), tmp_path=tmp_path, cwd=clone.folder, program=INSTALLED
    ) as host:
        await host.greet()
        text, _ = await host.call("log_time", hours=1, project_id="prj_abc")
        assert text
        await host.end()


@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_configuration_that_cant_be_read_is_a_sentence_of_each_command_and_of_a_tool(
    make: Callable[[Repository], None], clone: Repository, keito: Keito, tmp_path: Path
) -> None:
    make(clone)
    with pytest.raises(ConfigurationError, match=r"^\.keito/config\.yml: it can't be read \(") as raised:
        Configuration.read(clone.folder)
    env = settings(keito, clone, tmp_path)
    for command in ("doctor", "sessions", "sync") if profile().is_long else ("sync",):
        done = await ran(*INSTALLED, command, cwd=clone.folder, env=env)
        assert (done.code, str(raised.value) in done.said) == (1, True), done.said
    async with wire(env=env, tmp_path=tmp_path, cwd=clone.folder, program=INSTALLED) as host:
        await host.greet()
        assert str(raised.value) in await host.refused("log_time", hours=1)


@pytest.mark.parametrize("configuration", TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_is_too_much_is_refused_at_once_in_one_sentence(configuration: str, clone: Repository) -> None:
    clone.write(configuration[: checkout.LONGEST])
    begun = time.process_time()
    with pytest.raises(ConfigurationError, match=r"^\.keito/config\.yml: [^\n]{5,100}$"):
        Configuration.read(clone.folder)
    assert time.process_time() - begun < MORE_SECONDS


# --- nothing is written through it ---


@pytest.mark.parametrize("place", [".keito", ".git/info", ".git/info/exclude", ".git"])
async def test_init_writes_through_no_link(place: str, clone: Repository, keito: Keito, tmp_path: Path) -> None:
    elsewhere = _made(tmp_path / "elsewhere")
    (elsewhere / "exclude").write_text("precious\n")
    before = sorted(elsewhere.rglob("*"))
    (clone.folder / place).rename(tmp_path / "was")
    (clone.folder / place).symlink_to(elsewhere / "exclude" if place.endswith("exclude") else elsewhere)
    env = settings(keito, clone, tmp_path)
    done = await ran(*INSTALLED, "init", "--project-id=p", "--yes", cwd=clone.folder, env=env)
    assert (sorted(elsewhere.rglob("*")), (elsewhere / "exclude").read_text()) == (before, "precious\n")
    assert done.code == 1
    assert ".keito/config.yml" in done.said


async def test_init_writes_into_no_other_worktree_that_its_configuration_names(
    clone: Repository, keito: Keito, tmp_path: Path
) -> None:
    elsewhere = _made(tmp_path / "elsewhere")
    with (clone.folder / ".git" / "config").open("a") as opened:
        opened.write(f"[core]\n    worktree = {elsewhere}\n")
    env = settings(keito, clone, tmp_path)
    await ran(*INSTALLED, "init", "--project-id=p", "--yes", cwd=clone.folder, env=env)
    assert list(elsewhere.iterdir()) == []
    assert "project_id: p" in clone.file.read_text()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
