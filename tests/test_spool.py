"""What hooks leave for the server."""

import os
import stat
import sys
from pathlib import Path

import pytest

from keito_mcp.sessions import spool
from keito_mcp.settings.paths import journal_file


def test_what_a_hook_leaves_is_what_the_server_reads(tmp_path: Path) -> None:
    file = spool.call_file(tmp_path / "state", "toolu_01ABC")
    assert file is not None
    row = {"session_id": "s", "subagent_id": "a", "subagent": "größe"}
    spool.write(file, row)
    assert spool.read(file) == row
    spool.write(file, {"session_id": "t"})
    assert spool.read(file) == {"session_id": "t"}
    assert [found.name for found in Path(file).parent.iterdir()] == ["toolu_01ABC.json"]


def test_it_lies_beside_the_journal(tmp_path: Path) -> None:
    assert Path(spool.folder(tmp_path)).parent == journal_file(tmp_path).parent


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_it_is_readable_by_its_user_alone(tmp_path: Path) -> None:
    file = spool.call_file(tmp_path / "state", "toolu_1")
    assert file is not None
    before = os.umask(0)
    try:
        spool.write(file, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(file).parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("call_id", ["", ".", "..", "../x", "a/b", "a\\b", "a.b", "a b", "é", "x" * 201, "a\n"])
def test_an_id_that_cant_be_a_files_name_has_no_file(call_id: str, tmp_path: Path) -> None:
    assert spool.call_file(tmp_path, call_id) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 70_000], ids=repr)
def test_what_cant_be_read_is_as_if_it_were_not_there(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "toolu_1.json"
    assert spool.read(file) is None
    file.write_bytes(content)
    assert spool.read(file) is None


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "spool" / "toolu_1.json"
    spool.write(file, {"session_id": "before"})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        spool.write(file, {"session_id": "after"})
    assert [found.name for found in Path(file).parent.iterdir()] == ["toolu_1.json"]
    assert spool.read(file) == {"session_id": "before"}
