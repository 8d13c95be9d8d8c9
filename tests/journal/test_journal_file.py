import os
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path, PureWindowsPath

import pytest

from keito_mcp.journal import JournalError
from keito_mcp.journal.file import SCHEMA_VERSION, open_journal, wal_is_safe
from keito_mcp.paths import journal_file

INSERT = (
    "INSERT INTO writes (account, kind, body, state, sent_at, sent_monotonic, sent_boot) "
    "VALUES ('a', 'delete', '{}', 'sent', '2026', 1.5, 'boot-1')"
)
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="rights are another matter there")


def test_a_new_journal_has_its_schema_and_its_version(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path / "a" / "b")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1
        names = {row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names == {"entries", "writes"}
    assert journal_file(tmp_path / "a" / "b").is_file()


def test_an_existing_journal_is_opened_as_it_is(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as connection:
        connection.execute(INSERT)
    with closing(open_journal(tmp_path)) as connection:
        assert connection.execute("SELECT count(*) FROM writes").fetchone()[0] == 1


@pytest.mark.parametrize("mode", ["wal", "truncate"])
def test_the_way_of_writing_follows_from_where_the_file_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr("keito_mcp.journal.file.wal_is_safe", lambda _: mode == "wal")
    with closing(open_journal(tmp_path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == mode
        # 2 is FULL: a commit is on the disk before anything is sent.
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2


@on_posix
def test_only_its_owner_may_read_the_journal_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(open_journal(tmp_path / "state")) as connection:
            connection.execute(INSERT)
            rights = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert "journal.sqlite3" in rights
    assert set(rights.values()) == {0o600}


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JournalError, match="KEITO_STATE_DIR") as caught:
        open_journal(tmp_path / "file" / "state")
    assert str(tmp_path / "file" / "state") in str(caught.value)


def test_a_folder_in_the_journals_place_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    journal_file(tmp_path).mkdir()
    with pytest.raises(JournalError, match="KEITO_STATE_DIR"):
        open_journal(tmp_path)


def test_a_journal_of_a_newer_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with closing(open_journal(tmp_path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(JournalError, match="newer keito-mcp"):
        open_journal(tmp_path)
    with closing(sqlite3.connect(journal_file(tmp_path))) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION + 1


def test_a_file_that_is_no_database_is_an_error_and_left_as_it_is(tmp_path: Path) -> None:
    content = b"these are somebody's own words, not a database\n" * 100
    journal_file(tmp_path).write_bytes(content)
    with pytest.raises(JournalError, match="not a database") as caught:
        open_journal(tmp_path)
    assert str(journal_file(tmp_path)) in str(caught.value)
    assert journal_file(tmp_path).read_bytes() == content


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
