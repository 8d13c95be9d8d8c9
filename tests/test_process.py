import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from keito_mcp.process import Process, _parents, ancestors, is_gone, this_process

PROC = Path("/proc/self/stat")
needs_proc = pytest.mark.skipif(not PROC.exists(), reason="there is no /proc")
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="processes end otherwise there")

CHILD = """
import sys
from pathlib import Path
from keito_mcp.process import this_process
if len(sys.argv) > 1:
    Path("/proc/self/comm").write_text(sys.argv[1])
print(this_process(), flush=True)
sys.stdin.read()
"""


class Child:
    """A process that waits until it is killed."""

    def __init__(self, *arguments: str) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._popen.stdout is not None
        self.text = self._popen.stdout.readline().strip()
        process = Process.read(self.text)
        assert process is not None
        self.process = process

    def kill(self) -> None:
        """Kill it, and wait for its end without reaping it."""
        self._popen.kill()
        os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOWAIT)

    def end(self) -> None:
        """Kill it, if it still runs, and reap it."""
        with suppress(ProcessLookupError):
            self._popen.kill()
        self._popen.communicate()


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.end()


@pytest.fixture(params=["missing", "empty"])
def without_proc(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where nothing is mounted at /proc, or where there is no such thing."""
    folder = tmp_path / "proc"
    if request.param == "empty":
        folder.mkdir()
    monkeypatch.setattr("keito_mcp.process._PROCESSES", folder)


def test_a_process_is_read_as_it_was_written(child: Child) -> None:
    assert Process.read(str(child.process)) == child.process
    assert str(child.process) == child.text
    assert Process.read(str(this_process())) == this_process()
    assert this_process().pid == os.getpid()


@pytest.mark.parametrize("text", ["", "process-1", "host boot ns pid 12", "host boot ns 1 2 3", "host  boot ns 1"])
def test_another_text_is_no_process_and_nothing_is_known_of_its_end(text: str) -> None:
    assert Process.read(text) is None
    assert is_gone(text) is False


def test_a_process_that_lives_is_not_gone(child: Child) -> None:
    assert is_gone(child.text) is False
    assert is_gone(str(this_process())) is False


@on_posix
@needs_proc
def test_a_process_that_was_killed_is_gone_even_before_anybody_reaped_it(child: Child) -> None:
    child.kill()
    os.kill(child.process.pid, 0)
    assert is_gone(child.text) is True


@on_posix
def test_a_process_that_was_reaped_is_gone(child: Child) -> None:
    child.end()
    assert is_gone(child.text) is True


@needs_proc
def test_a_later_process_with_the_same_id_is_another_one(child: Child) -> None:
    earlier = replace(child.process, started=str(int(child.process.started) - 1))
    assert is_gone(str(earlier)) is True
    assert is_gone(child.text) is False


@needs_proc
@on_posix
@pytest.mark.parametrize("name", ["Z) Z 1 (Z", "a b", ") Z"])
def test_a_processs_name_says_nothing_about_its_end(name: str) -> None:
    named = Child(name)
    try:
        assert is_gone(named.text) is False
        named.kill()
        assert is_gone(named.text) is True
    finally:
        named.end()


@pytest.mark.parametrize("elsewhere", [{"host": "another"}, {"pid_namespace": "pid:[1]"}], ids=str)
def test_what_runs_on_another_host_or_in_another_container_cannot_be_seen(
    child: Child, elsewhere: dict[str, str]
) -> None:
    child.end()
    assert is_gone(str(replace(child.process, **elsewhere))) is False  # type: ignore[arg-type]


def test_what_ran_before_the_machine_was_started_anew_is_gone(child: Child) -> None:
    before = replace(child.process, boot_id="another-boot")
    here = replace(this_process(), boot_id="this-boot")
    assert is_gone(str(before), here) is True


@pytest.mark.parametrize(("theirs", "here"), [("-", "this-boot"), ("this-boot", "-")])
def test_where_one_of_two_cannot_tell_the_boot_nothing_is_certain(child: Child, theirs: str, here: str) -> None:
    process = replace(child.process, boot_id=theirs)
    assert is_gone(str(process), replace(this_process(), boot_id=here)) is False


@on_posix
@pytest.mark.usefixtures("without_proc")
def test_without_proc_a_process_is_gone_once_its_id_is_free(child: Child) -> None:
    assert is_gone(child.text) is False
    assert is_gone(str(replace(child.process, started="-"))) is False
    child.end()
    assert is_gone(child.text) is True


@on_posix
@pytest.mark.usefixtures("without_proc")
def test_without_proc_neither_an_unreaped_process_nor_a_later_one_with_the_same_id_can_be_told(child: Child) -> None:
    assert is_gone(str(replace(child.process, started="1"))) is False
    child.kill()
    assert is_gone(child.text) is False


@needs_proc
def test_a_process_that_is_hidden_in_proc_is_not_gone(
    child: Child, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / str(os.getpid())).mkdir()
    (tmp_path / str(os.getpid()) / "stat").write_text(PROC.read_text())
    monkeypatch.setattr("keito_mcp.process._PROCESSES", tmp_path)
    assert is_gone(child.text) is False


@needs_proc
def test_a_process_that_could_not_tell_its_start_is_not_gone_while_its_id_is_taken(child: Child) -> None:
    process = str(replace(child.process, started="-"))
    assert is_gone(process) is False
    child.end()
    assert is_gone(process) is True


@needs_proc
def test_a_start_that_cannot_be_read_leaves_a_process_alive(
    child: Child, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / str(child.process.pid)).mkdir()
    (tmp_path / str(child.process.pid) / "stat").write_text("12 (python) S 1")
    monkeypatch.setattr("keito_mcp.process._PROCESSES", tmp_path)
    assert is_gone(child.text) is False


@on_posix
@needs_proc
def test_a_process_that_is_only_stopped_is_not_gone(child: Child) -> None:
    os.kill(child.process.pid, signal.SIGSTOP)
    assert is_gone(child.text) is False


def test_a_process_without_a_boot_id_or_a_proc_still_has_a_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("keito_mcp.process._PROCESSES", tmp_path)
    monkeypatch.setattr("keito_mcp.process.boot_id", lambda: None)
    this_process.cache_clear()
    try:
        process = this_process()
    finally:
        this_process.cache_clear()
    assert (process.boot_id, process.started, process.pid) == ("-", "-", os.getpid())
    assert Process.read(str(process)) == process


# --- who started it ---

GRANDCHILD = """
import subprocess, sys
said = "from keito_mcp.process import ancestors; print(*[(a.pid, a.started) for a in ancestors()], sep='|')"
print(subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout, end="")
"""


@needs_proc
def test_a_process_knows_those_it_descends_from_the_nearest_first() -> None:
    with subprocess.Popen([sys.executable, "-c", GRANDCHILD], stdout=subprocess.PIPE, text=True) as parent:
        said, _ = parent.communicate(timeout=20)
    pids = [int(text.strip("()").split(",")[0]) for text in said.strip().split("|")]
    assert pids[:2] == [parent.pid, os.getpid()]
    mine = this_process()
    assert f"({os.getpid()}, '{mine.started}')" in said


def test_the_first_process_of_a_container_may_be_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert [ancestor.pid for ancestor in ancestors()] == [1]


@on_posix
def test_where_proc_is_missing_ps_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = [ancestor.pid for ancestor in ancestors()]
    monkeypatch.setattr("keito_mcp.process._PROCESSES", tmp_path)
    _parents.cache_clear()
    try:
        assert [ancestor.pid for ancestor in ancestors()] == seen
        assert {ancestor.started for ancestor in ancestors()} == {None}
    finally:
        _parents.cache_clear()


def test_where_nothing_tells_only_the_parent_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("keito_mcp.process._PROCESSES", tmp_path)
    monkeypatch.setattr("keito_mcp.process._EACH_WITH_ITS_PARENT", (str(tmp_path / "missing"),))
    _parents.cache_clear()
    try:
        assert [ancestor.pid for ancestor in ancestors()] == [os.getppid()]
    finally:
        _parents.cache_clear()
