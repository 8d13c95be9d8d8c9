import logging
import os
import shlex
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path, PureWindowsPath
from threading import Barrier

import pytest

from keito_mcp.journal import Journal, JournalError
from keito_mcp.journal.file import check_journal, open_journal, wal_is_safe
from keito_mcp.journal.place import locked
from keito_mcp.journal.schema import SCHEMA_VERSION
from keito_mcp.settings.paths import journal_file

INSERT = (
    "INSERT INTO writes (account, kind, body, state, asked_at, sent_at, sent_monotonic, sent_boot, sends, looks, "
    "attempts, rested_at, rested_monotonic, rested_boot, rest, promised) "
    "VALUES ('a', 'delete', '{}', 'sent', '2026', '2026', 1.5, 'boot-1', 1, 0, 1, '2026', 1.5, 'boot-1', 0.0, 0)"
)
NOT_A_DATABASE = b"these are somebody's own words, not a database\n" * 100
NOBODY = 65534
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="rights are another matter there")
as_root = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a file to another user"
)


def writes(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM writes").fetchone()[0])


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def aside(folder: Path) -> list[Path]:
    """The databases that were set aside, without what belongs to them."""
    return sorted(path for path in folder.glob("*.corrupt-*") if not path.name.endswith(("-wal", "-shm", "-journal")))


def damage(folder: Path, table: str) -> None:
    """Write over the first page of one table; the file's first page and its schema stay as they are."""
    with closing(sqlite3.connect(journal_file(folder))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    with journal_file(folder).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_a_new_journal_has_its_schema_and_its_version(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path / "a" / "b")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1
        names = {row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    kept = {"entries", "writes", "accounts", "sessions", "events", "recorded", "discards", "pauses", "rows"}
    assert names == {*kept, "sqlite_sequence"}
    assert journal_file(tmp_path / "a" / "b").is_file()


def test_an_existing_journal_is_opened_as_it_is(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as connection:
        connection.execute(INSERT)
    with closing(open_journal(tmp_path)) as connection:
        assert writes(connection) == 1


@pytest.mark.parametrize("name", ["with spaces", "100%41 ?#&mode=ro", "Zeit für später"])
def test_the_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    with closing(open_journal(tmp_path / name)) as connection:
        connection.execute(INSERT)
    assert journal_file(tmp_path / name).is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_may_be_named_from_where_the_server_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_journal(Path("state")).close()
    assert journal_file(tmp_path / "state").is_file()


@pytest.mark.parametrize("mode", ["wal", "truncate"])
def test_the_way_of_writing_follows_from_where_the_file_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr("keito_mcp.journal.file.wal_is_safe", lambda _: mode == "wal")
    with closing(open_journal(tmp_path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == mode
        # 2 is FULL: a commit is on the disk before anything is sent.
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2


# --- whose it is ---


@on_posix
@pytest.mark.parametrize("mask", [0, 0o777], ids=["everybody", "nobody"])
def test_only_its_owner_may_read_the_journal_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    folder = tmp_path / "above" / "state"
    with umask(mask), closing(open_journal(folder)) as connection:
        connection.execute(INSERT)
        found = {path.name: rights(path) for path in folder.iterdir()}
    assert (rights(folder.parent), rights(folder)) == (0o700, 0o700)
    assert {"journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm"} <= set(found)
    assert set(found.values()) == {0o600}


@on_posix
def test_a_folder_and_files_that_others_may_read_are_closed_to_them(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with closing(open_journal(folder)) as held:
        held.execute(INSERT)
        folder.chmod(0o755)
        for path in folder.iterdir():
            path.chmod(0o666)
        with closing(open_journal(folder)) as connection:
            assert writes(connection) == 1
        assert rights(folder) == 0o700
        for ending in ("", "-wal", "-shm"):
            assert rights(folder / f"journal.sqlite3{ending}") == 0o600


@on_posix
def test_a_folder_that_is_there_to_be_shared_stays_so_and_the_journal_in_it_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o1777)
    open_journal(folder).close()
    assert rights(folder) == 0o1777
    assert rights(journal_file(folder)) == 0o600


@as_root
@pytest.mark.parametrize("whose", ["state", "state/journal.sqlite3", "state/journal.sqlite3-wal"])
@pytest.mark.parametrize("owner", [NOBODY, 54321])
def test_what_belongs_to_another_user_is_refused_with_the_owners_name(tmp_path: Path, whose: str, owner: int) -> None:
    folder = tmp_path / "state"
    with closing(open_journal(folder)) as connection:
        connection.execute(INSERT)
        os.chown(tmp_path / whose, owner, -1)
        (tmp_path / whose).chmod(0o777)
        with pytest.raises(JournalError, match="KEITO_STATE_DIR") as caught:
            open_journal(folder)
        assert rights(tmp_path / whose) == 0o777
    assert str(tmp_path / whose) in str(caught.value)
    assert {NOBODY: "nobody", 54321: "54321"}[owner] in str(caught.value)


@as_root
def test_a_link_to_another_users_file_is_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.sqlite3"
    theirs.write_bytes(NOT_A_DATABASE)
    os.chown(theirs, NOBODY, -1)
    folder = tmp_path / "state"
    folder.mkdir()
    journal_file(folder).symlink_to(theirs)
    with pytest.raises(JournalError, match="nobody"):
        open_journal(folder)
    assert theirs.read_bytes() == NOT_A_DATABASE


@as_root
def test_another_users_link_to_a_file_of_ones_own_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_bytes(NOT_A_DATABASE)
    own.chmod(0o644)
    folder = tmp_path / "state"
    folder.mkdir()
    journal_file(folder).symlink_to(own)
    os.chown(journal_file(folder), NOBODY, -1, follow_symlinks=False)
    with pytest.raises(JournalError, match="nobody"):
        open_journal(folder)
    assert (own.read_bytes(), rights(own)) == (NOT_A_DATABASE, 0o644)


@on_posix
@pytest.mark.parametrize("content", [None, NOT_A_DATABASE], ids=["of a file to be made", "of a damaged file"])
def test_a_link_of_ones_own_leads_to_the_journal(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "state").mkdir()
    target = tmp_path / "disk" / "keito.sqlite3"
    if content is not None:
        target.write_bytes(content)
    journal_file(tmp_path / "state").symlink_to(target)
    open_journal(tmp_path / "state").close()
    with closing(sqlite3.connect(target)) as connection:
        assert writes(connection) == 0
    assert journal_file(tmp_path / "state").is_symlink()
    assert [path.read_bytes() for path in aside(tmp_path / "disk")] == ([] if content is None else [content])


# --- what can't be used ---


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "state", tmp_path / "file" / "deep" / "state"):
        with pytest.raises(JournalError, match="KEITO_STATE_DIR") as caught:
            open_journal(folder)
        assert str(folder) in str(caught.value)


def test_a_folder_in_the_journals_place_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    journal_file(tmp_path).mkdir()
    with pytest.raises(JournalError, match="KEITO_STATE_DIR"):
        open_journal(tmp_path)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_journal_that_its_owner_may_not_write_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    open_journal(tmp_path).close()
    journal_file(tmp_path).chmod(0o400)
    with pytest.raises(JournalError, match=r"read-only.*KEITO_STATE_DIR"):
        open_journal(tmp_path)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_journal_of_a_newer_program_is_refused_and_left_as_it_is(tmp_path: Path, mode: str) -> None:
    with closing(open_journal(tmp_path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    content = journal_file(tmp_path).read_bytes()
    with pytest.raises(JournalError, match="newer keito-mcp"):
        open_journal(tmp_path)
    assert journal_file(tmp_path).read_bytes() == content
    assert aside(tmp_path) == []


def test_a_newer_programs_schema_that_this_sqlite_cannot_read_is_no_damage(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'STRICT', 'STRICTER')")
    with pytest.raises(JournalError, match="newer keito-mcp"):
        open_journal(tmp_path)
    assert aside(tmp_path) == []


def test_a_python_whose_sqlite_is_too_old_leaves_the_journal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_journal(tmp_path).close()
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 36, 0))
    with pytest.raises(JournalError, match=r"SQLite 3\.37"):
        open_journal(tmp_path)
    assert aside(tmp_path) == []


@pytest.mark.parametrize("mode", ["wal", "truncate"])
def test_a_file_that_another_program_holds_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr("keito_mcp.journal.file.wal_is_safe", lambda _: mode == "wal")
    monkeypatch.setattr("keito_mcp.journal.file._BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(journal_file(tmp_path), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalError, match="locked"):
            open_journal(tmp_path)
    open_journal(tmp_path).close()


def test_a_file_that_another_program_just_makes_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keito_mcp.journal.file.wal_is_safe", lambda _: True)
    with closing(sqlite3.connect(journal_file(tmp_path), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        # SQLite refuses to change the mode now, and doesn't wait; the pause before the next try is when it ends.
        monkeypatch.setattr("keito_mcp.journal.file.time.sleep", lambda _: other.execute("ROLLBACK"))
        with closing(open_journal(tmp_path)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_schema_that_cannot_be_made_is_not_made_by_half(tmp_path: Path) -> None:
    with closing(sqlite3.connect(journal_file(tmp_path))) as other:
        other.execute("CREATE TABLE writes (strange)")
        other.commit()
    with pytest.raises(JournalError, match="already exists"):
        open_journal(tmp_path)
    with closing(sqlite3.connect(journal_file(tmp_path))) as other:
        assert [row[0] for row in other.execute("SELECT name FROM sqlite_master")] == ["writes"]


# --- damage ---


def test_a_corrupt_file_is_set_aside_and_work_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal_file(tmp_path).write_bytes(NOT_A_DATABASE)
    with closing(open_journal(tmp_path)) as connection:
        connection.execute(INSERT)
    with closing(open_journal(tmp_path)) as connection:
        assert writes(connection) == 1
    [old] = aside(tmp_path)
    assert old.read_bytes() == NOT_A_DATABASE
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    for part in (str(journal_file(tmp_path)), f"set aside as {old};", "not a database", "not delivered"):
        assert part in record.getMessage()


def test_the_warning_says_how_to_read_what_was_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "with spaces"
    with closing(open_journal(folder)) as connection:
        connection.execute(INSERT)
    damage(folder, "entries")
    open_journal(folder, suspect=True).close()
    [old] = aside(folder)
    command = shlex.split(caplog.records[0].getMessage().rpartition(": ")[2])
    assert command[:3] == ["sqlite3", "-readonly", str(old)]
    with closing(sqlite3.connect(command[2])) as connection:
        assert connection.execute(command[3]).fetchall() == [("delete", None, "{}")]
    if shutil.which("sqlite3"):
        shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
        assert shown.stdout == "delete||{}\n"


@pytest.mark.parametrize("content", [b"\0" * 8192, b"short", NOT_A_DATABASE, b"SQLite format 3\0" + b"\xff" * 4080])
def test_a_file_whose_first_page_is_damaged_is_set_aside(tmp_path: Path, content: bytes) -> None:
    journal_file(tmp_path).write_bytes(content)
    open_journal(tmp_path).close()
    assert [path.read_bytes() for path in aside(tmp_path)] == [content]


def test_a_file_whose_schema_is_damaged_is_set_aside(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE entries' WHERE name = 'entries'")
    open_journal(tmp_path).close()
    assert len(aside(tmp_path)) == 1


def test_a_file_that_a_migration_finds_damaged_is_set_aside(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as connection:
        connection.executescript("DROP TABLE writes; DROP TABLE accounts; DROP TABLE sessions;")
        connection.execute("CREATE TABLE writes (write_id INTEGER PRIMARY KEY, state)")
        connection.executescript("DROP INDEX open_timers; ALTER TABLE entries DROP COLUMN closed")
        connection.execute("PRAGMA user_version = 1")
    damage(tmp_path, "entries")
    with closing(open_journal(tmp_path)) as connection:
        assert writes(connection) == 0
    assert len(aside(tmp_path)) == 1


@pytest.mark.parametrize("table", ["writes", "writes_by_entry"])
def test_damage_further_on_is_found_once_the_file_is_suspect(tmp_path: Path, table: str) -> None:
    with closing(open_journal(tmp_path)) as connection:
        connection.execute(INSERT)
    damage(tmp_path, table)
    open_journal(tmp_path).close()
    assert aside(tmp_path) == []
    with closing(open_journal(tmp_path, suspect=True)) as connection:
        assert writes(connection) == 0
    assert len(aside(tmp_path)) == 1


def test_a_suspect_file_that_is_whole_is_kept(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as connection:
        connection.execute(INSERT)
    with closing(open_journal(tmp_path, suspect=True)) as connection:
        assert writes(connection) == 1
    assert aside(tmp_path) == []


def test_no_file_is_overwritten_by_one_that_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keito_mcp.journal.place.time.strftime", lambda *_: "20261125T101500Z")
    # Even the log of a database that isn't there any more.
    (tmp_path / "journal.sqlite3.corrupt-20261125T101500Z-wal").write_text("kept")
    for content in (b"one", b"two"):
        journal_file(tmp_path).write_bytes(content)
        open_journal(tmp_path).close()
        journal_file(tmp_path).unlink()
    assert {path.name.rpartition("Z")[2]: path.read_bytes() for path in tmp_path.glob("*.corrupt-*")} == {
        "-wal": b"kept",
        "-2": b"one",
        "-3": b"two",
    }


def test_what_another_process_has_open_is_set_aside_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as held:
        damage(tmp_path, "entries")
        held.execute(INSERT)
        with closing(open_journal(tmp_path, suspect=True)) as new:
            [old] = aside(tmp_path)
            assert held.is_in_place() is False
            assert new.is_in_place() is True
            assert old.with_name(f"{old.name}-wal").stat().st_size > 0
            new.execute(INSERT)
            new.execute(INSERT)
            # It closes after its files have other names, and another's have theirs.
            held.close()
            with closing(open_journal(tmp_path)) as third:
                assert writes(third) == 2
    with closing(sqlite3.connect(old)) as connection:
        assert writes(connection) == 1


def test_what_is_left_of_a_file_that_is_gone_is_kept_too(tmp_path: Path) -> None:
    for ending in ("-wal", "-shm", "-journal"):
        (tmp_path / f"journal.sqlite3{ending}").write_text(f"left{ending}")
    open_journal(tmp_path).close()
    left = {path.read_text() for path in tmp_path.glob("journal.sqlite3.corrupt-*")}
    assert left == {"left-wal", "left-shm", "left-journal"}


def test_a_journal_that_was_deleted_is_no_longer_in_place(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as connection:
        assert connection.is_in_place()
        if sys.platform != "win32":
            journal_file(tmp_path).unlink()
            assert not connection.is_in_place()


def test_several_that_find_the_damage_at_once_set_it_aside_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    together = Barrier(8)

    def work(folder: Path) -> None:
        together.wait(10)
        with closing(open_journal(folder, suspect=True)) as connection:
            connection.execute(INSERT)

    with ThreadPoolExecutor(8) as threads:
        for number in range(10):
            folder = tmp_path / str(number)
            folder.mkdir()
            journal_file(folder).write_bytes(NOT_A_DATABASE)
            list(threads.map(work, [folder] * 8))
            with closing(open_journal(folder)) as connection:
                assert writes(connection) == 8
            assert [path.read_bytes() for path in aside(folder)] == [NOT_A_DATABASE]
    assert len(caplog.records) == 10


PROCESS = """
import sys
from pathlib import Path
from keito_mcp.journal.file import open_journal
print("ready", flush=True)
sys.stdin.readline()
connection = open_journal(Path(sys.argv[1]))
connection.execute(sys.argv[2])
connection.close()
"""


@pytest.mark.parametrize("content", [None, NOT_A_DATABASE], ids=["no file", "a damaged file"])
def test_several_processes_at_once_come_to_one_new_journal(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        journal_file(tmp_path).write_bytes(content)
    command = [sys.executable, "-c", PROCESS, str(tmp_path), INSERT]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=20)[1] for process in processes]
    with closing(open_journal(tmp_path)) as connection:
        assert writes(connection) == 6
    assert [path.read_bytes() for path in aside(tmp_path)] == ([] if content is None else [content])
    assert "".join(errors).count("set aside as") == (0 if content is None else 1)


def test_a_lock_that_another_process_keeps_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keito_mcp.journal.place._PATIENCE_SECONDS", 0.05)
    journal_file(tmp_path).write_bytes(NOT_A_DATABASE)
    with locked(journal_file(tmp_path)), pytest.raises(JournalError, match="lock"):
        open_journal(tmp_path)
    assert journal_file(tmp_path).read_bytes() == NOT_A_DATABASE
    open_journal(tmp_path).close()


def test_a_check_finds_a_whole_journal_well(tmp_path: Path) -> None:
    check_journal(tmp_path / "state")
    assert journal_file(tmp_path / "state").is_file()


@pytest.mark.parametrize("where", ["first page", "writes", "writes_by_entry"])
def test_a_check_says_what_is_damaged_and_leaves_it_where_it_is(tmp_path: Path, where: str) -> None:
    with closing(open_journal(tmp_path)) as connection:
        connection.execute(INSERT)
    if where == "first page":
        journal_file(tmp_path).write_bytes(NOT_A_DATABASE)
    else:
        damage(tmp_path, where)
    content = journal_file(tmp_path).read_bytes()
    with pytest.raises(JournalError, match="integrity_check") as caught:
        check_journal(tmp_path)
    assert str(journal_file(tmp_path)) in str(caught.value)
    assert journal_file(tmp_path).read_bytes() == content
    assert aside(tmp_path) == []


@pytest.mark.anyio
async def test_damage_that_a_call_meets_fails_this_call_and_not_the_next(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as connection:
        connection.execute(INSERT)
    damage(tmp_path, "entries_by_session")
    damage(tmp_path, "entries")
    with closing(Journal(tmp_path)) as journal:
        with pytest.raises(JournalError, match="malformed"):
            await journal.of_session("a", "session-1")
        assert aside(tmp_path) == []
        assert await journal.of_session("a", "session-1") == []
        await journal.check_integrity()
    assert len(aside(tmp_path)) == 1


@pytest.mark.anyio
async def test_a_server_goes_over_to_the_new_file_when_another_set_its_own_aside(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        assert await journal.of_session("a", "session-1") == []
        damage(tmp_path, "entries")
        open_journal(tmp_path, suspect=True).close()
        assert await journal.of_session("a", "session-1") == []
    assert len(aside(tmp_path)) == 1


# --- a full disk ---


LIMITED = """
import resource, sys
from pathlib import Path
from keito_mcp.journal import JournalError
from keito_mcp.journal.file import open_journal

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

limit(20_000)
try:
    open_journal(Path(sys.argv[1]))
except JournalError as error:
    print(error)
limit(resource.RLIM_INFINITY)
connection = open_journal(Path(sys.argv[1]))
connection.execute(sys.argv[2])
print(connection.execute("SELECT count(*) FROM writes").fetchone()[0])
"""


@on_posix
def test_a_journal_that_may_not_grow_is_an_error_and_is_made_once_it_may(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path), INSERT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said, count = done.stdout.splitlines()
    assert said.startswith(f"the journal {journal_file(tmp_path)} can't be opened (")
    assert count == "1"
    assert aside(tmp_path) == []


FULL = """
import os, sqlite3, sys
from pathlib import Path
from keito_mcp.journal import JournalError
from keito_mcp.journal.file import check_journal, open_journal

disk = Path(sys.argv[1])

def fill():
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            pass

fill()
for folder in (disk / "state", disk / "state"):
    try:
        open_journal(folder)
    except JournalError as error:
        print(error)
(disk / "ballast").unlink()
connection = open_journal(disk / "state")
connection.execute(sys.argv[2])
fill()
written = 1
try:
    while True:
        connection.execute(sys.argv[2])
        written += 1
except sqlite3.OperationalError as error:
    print(error)
(disk / "ballast").unlink()
connection.execute(sys.argv[2])
connection.close()
check_journal(disk / "state")
connection = open_journal(disk / "state")
print(connection.execute("SELECT count(*) FROM writes").fetchone()[0] - written)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a process mounts of its own")
def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    own = ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs -o size=512k none "$0"; "$@"', str(disk)]
    try:
        subprocess.run([*own, "true"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a disk")
    command = [*own, sys.executable, "-c", FULL, str(disk), INSERT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, refused, more = done.stdout.splitlines()
    for said in (first, second):
        assert str(disk / "state") in said
        assert "full" in said or "No space left" in said
    assert refused == "database or disk is full"
    assert more == "1"


# --- where WAL is safe ---


LOCAL = "/dev/sda1 / ext4 rw,relatime 0 0\n"
NOT_SHARED = {
    "the machine's own disk": LOCAL,
    "a disk below a shared folder": LOCAL + "server:/home /home nfs4 rw 0 0\n/dev/sdb1 /home/me ext4 rw 0 0\n",
    "a shared folder beside it": LOCAL + "server:/x /home/me/else nfs4 rw 0 0\n",
    "a shared folder whose name only begins the same": LOCAL + "server:/x /home/m nfs4 rw 0 0\n",
    "a disk mounted over a shared folder": LOCAL + "server:/home /home nfs4 rw 0 0\n/dev/sdb1 /home ext4 rw 0 0\n",
    "lines that say nothing": "\nnonsense\n" + LOCAL + "two fields\n",
    "nothing at all": "",
    "bytes that are no text": "/dev/\udcff / ext4 rw 0 0\n",
}
SHARED = {
    "nfs": LOCAL + "server:/home /home nfs4 rw 0 0\n",
    "cifs": LOCAL + "//server/home /home cifs rw 0 0\n",
    "smb3": LOCAL + "//server/home /home smb3 rw 0 0\n",
    "sshfs": LOCAL + "me@server: /home/me fuse.sshfs rw 0 0\n",
    "a folder of a virtual machine's host": LOCAL + "share /home/me virtiofs rw 0 0\n",
    "Windows under Linux": LOCAL + "C:\\134 /home 9p rw 0 0\n",
    "a shared root": "server:/ / nfs4 rw 0 0\n",
    "a shared folder below a disk, named first": "server:/home /home nfs4 rw 0 0\n" + LOCAL,
    "a shared folder with a space in its name": LOCAL + "server:/x /home/me/my\\040state nfs4 rw 0 0\n",
    "a shared folder mounted over its automounter": LOCAL
    + "systemd-1 /home autofs rw 0 0\nserver:/home /home nfs4 rw 0 0\n",
}
STATE = Path("/home/me/my state/journal.sqlite3")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "mounts"


@on_posix
@pytest.mark.parametrize("mounts", NOT_SHARED.values(), ids=NOT_SHARED)
def test_wal_is_safe_on_a_disk_of_this_machine(table: Path, mounts: str) -> None:
    table.write_bytes(mounts.encode("utf-8", "surrogateescape"))
    assert wal_is_safe(STATE, table)


@on_posix
@pytest.mark.parametrize("mounts", SHARED.values(), ids=SHARED)
def test_wal_is_not_safe_where_another_machine_may_hold_the_file(table: Path, mounts: str) -> None:
    table.write_text(mounts)
    assert not wal_is_safe(STATE, table)


@on_posix
def test_wal_is_judged_by_where_a_link_leads(tmp_path: Path, table: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "shared")
    table.write_text(f"{LOCAL}server:/x {(tmp_path / 'shared').resolve()} nfs rw 0 0\n")
    assert not wal_is_safe(tmp_path / "link" / "journal.sqlite3", table)
    assert wal_is_safe(tmp_path / "journal.sqlite3", table)


def test_wal_is_taken_for_safe_where_no_mounts_can_be_read(tmp_path: Path) -> None:
    assert wal_is_safe(tmp_path / "journal.sqlite3", tmp_path / "missing")
    assert wal_is_safe(tmp_path / "journal.sqlite3", tmp_path)


def test_wal_is_never_safe_on_a_share_of_windows(tmp_path: Path) -> None:
    class OnAShare(type(tmp_path)):  # type: ignore[misc]
        def resolve(self, strict: bool = False) -> PureWindowsPath:  # noqa: FBT001, FBT002, ARG002
            return PureWindowsPath(r"\\server\home\journal.sqlite3")

    assert not wal_is_safe(OnAShare("Z:/journal.sqlite3"), tmp_path / "missing")
