"""Where a project's configuration is, and its files: regular, small, and opened without waiting."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from keito_mcp.identity.claude_code.transcript import Transcripts
from keito_mcp.sessions import spool
from keito_mcp.sessions.transcript import LastWords, last_words
from keito_mcp.settings import checkout

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no FIFOs, and links are the administrator's")


def git(*arguments: str, cwd: Path) -> None:
    who = ("-c", "user.name=someone", "-c", "user.email=someone@example.com")
    subprocess.run(["git", *who, *arguments], cwd=cwd, check=True, capture_output=True)


def test_a_small_file_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x" * checkout.LONGEST)
    assert checkout.read(str(tmp_path), "a/b") == b"x" * checkout.LONGEST
    (tmp_path / "a" / "b").write_bytes(b"x" * (checkout.LONGEST + 1))
    with pytest.raises(OSError, match="larger than 64 KiB"):
        checkout.read(str(tmp_path), "a/b")


def test_a_folder_that_is_exchanged_for_a_link_meanwhile_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "b").touch()
    (tmp_path / "a").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "c").symlink_to(tmp_path / "real" / "b")
    monkeypatch.setattr("os.path.islink", lambda _: False)
    for name in ("a/b", "real/c"):
        with pytest.raises(OSError, match=r"links|directory"):
            checkout.read(str(tmp_path), name)


def test_no_descriptor_stays_open_whatever_is_found(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    before = len([*Path("/dev/fd").iterdir()])
    for name in ("fifo", "folder", "missing", "folder/missing", "fifo/missing"):
        with pytest.raises(OSError, match=r"\w"):
            checkout.read(str(tmp_path), name)
    assert len([*Path("/dev/fd").iterdir()]) == before


def _finished(look: Callable[[], object]) -> list[object]:
    """What a look finds, if it doesn't wait for anybody."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(look()), daemon=True)
    thread.start()
    thread.join(10)
    return found


def test_a_transcript_or_a_spooled_file_that_is_a_fifo_says_nothing_and_is_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "projects" / "shop"
    folder.mkdir(parents=True)
    fifo = folder / "s-1.jsonl"
    os.mkfifo(fifo)
    transcripts = Transcripts(tmp_path / "projects")
    assert _finished(lambda: last_words(fifo)) == [LastWords()]
    assert _finished(lambda: last_words(Path("/dev/zero"))) == [LastWords()]
    assert _finished(lambda: transcripts.find("toolu_1", ["s-1"], everywhere=True, at_most=1 << 20)) == [None]
    assert _finished(lambda: spool.read(fifo)) == [None]


# --- where it is ---


def test_a_git_file_that_its_main_worktree_doesnt_know_leads_to_no_other_project(tmp_path: Path) -> None:
    for name in ("main", "claimed"):
        (tmp_path / name).mkdir()
    git("init", "-q", cwd=tmp_path / "main")
    git("commit", "-q", "--allow-empty", "-m", "Start", cwd=tmp_path / "main")
    git("worktree", "add", "-q", str(tmp_path / "linked"), cwd=tmp_path / "main")
    (tmp_path / "main" / ".keito").mkdir()
    (tmp_path / "main" / ".keito" / "config.yml").touch()
    (tmp_path / "claimed" / ".git").write_text((tmp_path / "linked" / ".git").read_text())
    assert checkout.find(str(tmp_path / "linked")) == str(tmp_path / "main")
    assert checkout.find(str(tmp_path / "claimed")) is None


def test_a_submodule_is_a_repository_of_its_own(tmp_path: Path) -> None:
    for name in ("outer", "library"):
        (tmp_path / name).mkdir()
        git("init", "-q", cwd=tmp_path / name)
        git("commit", "-q", "--allow-empty", "-m", "Start", cwd=tmp_path / name)
    add = ("submodule", "--quiet", "add", str(tmp_path / "library"), "inner")
    git("-c", "protocol.file.allow=always", *add, cwd=tmp_path / "outer")
    (tmp_path / "outer" / ".keito").mkdir()
    (tmp_path / "outer" / ".keito" / "config.yml").touch()
    assert checkout.find(str(tmp_path / "outer" / "inner")) is None


@pytest.mark.parametrize("is_home", [False, True], ids=["a project", "a project that holds the home folder"])
def test_only_absolute_places_outside_of_a_project_are_searched(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_home: bool,  # noqa: FBT001 -- a table
) -> None:
    project = tmp_path / "a" / "shop"
    (project / "deep" / "down").mkdir(parents=True)
    (project / ".git").mkdir()
    (tmp_path / "link").symlink_to(project / "bin")
    monkeypatch.setenv("HOME", str(project / "home" if is_home else tmp_path))
    monkeypatch.chdir(project)
    neighbour, parent = f"{project}-2", str(tmp_path)
    inside = [str(project), f"{project}/bin/", f"{project}/../shop/bin", str(tmp_path / "link")]
    found = checkout.outside(
        str(project / "deep" / "down"), os.pathsep.join(["", ".", "bin", "/usr/bin", *inside, neighbour, parent])
    )
    assert found == ["/usr/bin", *(inside if is_home else []), neighbour, parent]
