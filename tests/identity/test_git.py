import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from keito_mcp.identity.git import Repository, run

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("git") is None, reason="there is no git"),
]
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for git is a shell script")


@pytest.fixture(autouse=True)
def plain_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No git setting of the machine, and no repository that happens to lie above the temporary folder."""
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    settings = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(tmp_path),
        **{f"GIT_{who}_{what}": "someone@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, message: str = "Change") -> str:
    git(folder, "commit", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "--short=12", "HEAD")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    git(made, "init", "--initial-branch=main")
    return made


async def facts(folder: Path) -> dict[str, str]:
    return await Repository(folder).facts()


async def test_a_repository_has_a_name_a_branch_and_a_revision(folder: Path) -> None:
    revision = commit(folder)
    assert await facts(folder) == {"repository": "project", "git_branch": "main", "git_rev": revision}
    assert len(revision) == 12


async def test_a_folder_within_a_repository_has_the_same_facts(folder: Path) -> None:
    commit(folder)
    (folder / "src" / "deep").mkdir(parents=True)
    assert await facts(folder / "src" / "deep") == await facts(folder)


async def test_a_repository_without_a_commit_has_no_revision(folder: Path) -> None:
    assert await facts(folder) == {"repository": "project", "git_branch": "main"}


async def test_a_detached_head_has_no_branch(folder: Path) -> None:
    revision = commit(folder)
    git(folder, "checkout", "--detach")
    assert await facts(folder) == {"repository": "project", "git_rev": revision}


async def test_a_branch_may_be_named_like_a_path(folder: Path) -> None:
    commit(folder)
    git(folder, "checkout", "-b", "feature/ümlaut")
    assert (await facts(folder))["git_branch"] == "feature/ümlaut"


async def test_a_worktree_has_a_branch_of_its_own(folder: Path, tmp_path: Path) -> None:
    commit(folder)
    git(folder, "remote", "add", "origin", "https://example.com/owner/name.git")
    git(folder, "worktree", "add", "-b", "side", str(tmp_path / "side"))
    revision = commit(tmp_path / "side")
    assert await facts(tmp_path / "side") == {"repository": "owner/name", "git_branch": "side", "git_rev": revision}
    assert (await facts(folder))["git_branch"] == "main"


async def test_a_folder_that_is_no_repository_has_no_facts(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert await facts(tmp_path / "plain") == {}


async def test_a_folder_that_does_not_exist_has_no_facts(tmp_path: Path) -> None:
    assert await facts(tmp_path / "missing") == {}


async def test_a_machine_without_git_has_no_facts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert await facts(folder) == {}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://github.com/owner/name.git", "owner/name"),
        ("https://github.com/owner/name", "owner/name"),
        ("https://github.com/owner/name.git/", "owner/name"),
        ("https://user:s3cret@github.com/owner/name.git", "owner/name"),
        ("https://x-access-token:ghp_s3cret@github.com/owner/name", "owner/name"),
        ("https://github.com/owner/name.git?token=s3cret", "owner/name"),
        ("http://localhost:3000/owner/name.git", "owner/name"),
        ("git@github.com:owner/name.git", "owner/name"),
        ("user:s3cret@github.com:owner/name.git", "owner/name"),
        ("github:owner/name", "owner/name"),
        ("git@github.com:name.git", "name"),
        ("git@example.com:/srv/git/owner/name.git", "owner/name"),
        ("ssh://git@example.com:2222/owner/name.git", "owner/name"),
        ("git://example.com/owner/name.git", "owner/name"),
        ("https://gitlab.example.com/group/sub/group/name.git", "group/name"),
        ("https://example.com/", "project"),
        ("file:///home/someone/secret-client/name.git", "project"),
        ("/home/someone/secret-client/name.git", "project"),
        ("../secret-client/name.git", "project"),
        ("C:/Users/someone/secret-client/name", "project"),
        ("C:\\Users\\someone\\secret-client", "project"),
        ("https://[broken/owner/name.git", "project"),
    ],
)
async def test_a_remotes_address_names_the_repository_without_a_host_a_folder_or_a_secret(
    folder: Path, address: str, name: str
) -> None:
    git(folder, "config", "remote.origin.url", address)
    assert (await facts(folder))["repository"] == name


async def test_a_new_commit_and_another_branch_are_seen(folder: Path) -> None:
    first = commit(folder)
    repository = Repository(folder, fresh=0)
    assert (await repository.facts())["git_rev"] == first
    second = commit(folder, "Second")
    assert (await repository.facts())["git_rev"] == second != first
    git(folder, "checkout", "-b", "side")
    assert await repository.facts() == {"repository": "project", "git_branch": "side", "git_rev": second}
    git(folder, "checkout", "--detach", "HEAD~1")
    assert await repository.facts() == {"repository": "project", "git_rev": first}


async def test_fresh_facts_are_taken_without_looking_again(folder: Path) -> None:
    first = commit(folder)
    repository = Repository(folder, fresh=600)
    before = await repository.facts()
    commit(folder, "Second")
    assert await repository.facts() == before == {"repository": "project", "git_branch": "main", "git_rev": first}


async def test_the_first_commit_and_a_repository_made_later_are_seen(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    folder.mkdir()
    repository = Repository(folder, fresh=0)
    assert await repository.facts() == {}
    git(folder, "init", "--initial-branch=main")
    assert await repository.facts() == {"repository": "later", "git_branch": "main"}
    revision = commit(folder)
    assert await repository.facts() == {"repository": "later", "git_branch": "main", "git_rev": revision}


async def test_a_repository_that_was_deleted_has_no_facts_any_more(folder: Path) -> None:
    commit(folder)
    repository = Repository(folder, fresh=0)
    assert await repository.facts()
    shutil.rmtree(folder)
    assert await repository.facts() == {}


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program that is found as `git` in git's place."""
    folder.mkdir()
    program = folder / "git"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@on_posix
async def test_nothing_is_started_while_nothing_changed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(folder)
    started = tmp_path / "started"
    stand_in(tmp_path / "bin", monkeypatch, f'echo "$@" >> "{started}"\nexec "{shutil.which("git")}" "$@"')
    repository = Repository(folder, fresh=0)
    first = await repository.facts()
    asked = len(started.read_text().splitlines())
    assert 1 <= asked <= 4
    assert await repository.facts() == first
    assert await repository.facts() == first
    assert len(started.read_text().splitlines()) == asked


@on_posix
async def test_a_git_that_does_not_answer_is_not_waited_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keito_mcp.identity.git._PATIENCE", 0.1)
    stand_in(tmp_path / "bin", monkeypatch, "exec sleep 60")
    with anyio.fail_after(20):
        assert await facts(folder) == {}


@on_posix
async def test_what_git_complains_of_is_not_taken_for_facts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "bin", monkeypatch, "echo nonsense\necho fatal >&2\nexit 128")
    assert await facts(folder) == {}


async def test_a_repository_that_git_itself_points_to_is_not_taken_for_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "elsewhere"):
        await anyio.run_process(["git", "init", "--quiet", "--initial-branch", name, str(tmp_path / name)])
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "elsewhere"))

    assert (await Repository(tmp_path / "here").facts())["repository"] == "here"


@on_posix
@pytest.mark.parametrize("file", [".git", ".git/HEAD", ".git/config", ".git/index", ".git/packed-refs"])
def test_git_is_not_started_where_it_would_wait_for_a_fifo(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, clone = tmp_path / "bin", tmp_path / "clone"
    programs.mkdir()
    (clone / file).parent.mkdir(parents=True)
    os.mkfifo(clone / file)
    (programs / "git").write_text("#!/bin/sh\necho started\n")
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    assert run(clone, "rev-parse", "HEAD") is None
    (clone / file).unlink()
    assert run(clone, "rev-parse", "HEAD") == "started"
