"""`keito-mcp init`, as the real program in real repositories."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.processes import environment, run

pytestmark = pytest.mark.anyio


def git(*arguments: str, cwd: Path) -> str:
    who = ("-c", "user.name=someone", "-c", "user.email=someone@example.com")
    done = subprocess.run(["git", *who, *arguments], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "src").mkdir(parents=True)
    git("init", "-q", cwd=folder)
    git("commit", "-q", "--allow-empty", "-m", "Start", cwd=folder)
    return folder


def read(folder: Path) -> dict[str, object]:
    content = yaml.safe_load((folder / ".keito" / "config.yml").read_text())
    assert isinstance(content, dict)
    return content


async def init(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await run("init", *arguments, cwd=folder, env=environment())


async def test_it_writes_the_file_at_the_root_keeps_it_out_of_git_and_says_what_will_be_logged(
    repository: Path,
) -> None:
    done = await init(repository / "src", "--project-id", "prj_1", "--project-name", "Shop", "--task-id", "tsk_1")
    assert (done.returncode, done.stderr) == (0, "")
    assert read(repository) == {
        "version": 1,
        "project_id": "prj_1",
        "project_name": "Shop",
        "task_id": "tsk_1",
        "agent_tracking": {
            "enabled": True,
            "source": "agent",
            "min_duration_seconds": 60,
            "max_duration_seconds": 28800,
            "redact_notes": False,
        },
    }
    assert git("status", "--porcelain", cwd=repository) == ""
    assert "Agents' time goes to Shop, tsk_1." in done.stdout
    assert "failed are not logged" in done.stdout
    assert str(repository) not in done.stdout


async def test_it_says_whether_git_sees_the_file(repository: Path, tmp_path: Path) -> None:
    done = await init(repository, "--project-id", "prj_1")
    assert "git doesn't see it" in done.stdout
    git("add", "--force", ".keito", cwd=repository)
    done = await init(repository, "--project-id", "prj_2", "--yes")
    assert "git tracks it" in done.stdout
    done = await init(tmp_path, "--project-id", "prj_1")
    assert "this is no git repository" in done.stdout


async def test_without_a_terminal_and_without_a_project_it_fails_and_writes_nothing(repository: Path) -> None:
    done = await init(repository)
    assert done.returncode == 1
    assert "--project-id" in done.stderr
    assert not (repository / ".keito").exists()


async def test_a_file_that_is_there_is_changed_only_when_told_so_and_keeps_what_init_doesnt_know(
    repository: Path,
) -> None:
    (repository / ".keito").mkdir()
    earlier = {
        "version": 1,
        "project_id": "prj_1",
        "task_id": "tsk_1",
        "somebody_elses": [1, 2],
        "agent_tracking": {"min_duration_seconds": 300, "theirs": True},
        "metadata": {"cost_centre": "sales"},
    }
    (repository / ".keito" / "config.yml").write_text(yaml.safe_dump(earlier))
    refused = await init(repository, "--project-id", "prj_2")
    assert refused.returncode == 1
    assert "--yes" in refused.stderr
    assert read(repository) == earlier

    done = await init(repository, "--project-id", "prj_2", "--redact-notes", "--yes")
    assert done.returncode == 0
    content = read(repository)
    assert (content["project_id"], content["somebody_elses"]) == ("prj_2", [1, 2])
    assert content["metadata"] == {"cost_centre": "sales"}
    assert "task_id" not in content, "a task of another project"
    tracking = content["agent_tracking"]
    assert isinstance(tracking, dict)
    assert (tracking["min_duration_seconds"], tracking["theirs"], tracking["redact_notes"]) == (300, True, True)


async def test_the_same_again_changes_nothing(repository: Path) -> None:
    await init(repository, "--project-id", "prj_1")
    before = (repository / ".keito" / "config.yml").read_text()
    exclude = (repository / ".git" / "info" / "exclude").read_text()
    assert (await init(repository, "--project-id", "prj_1")).returncode == 0
    assert (await init(repository)).returncode == 0
    assert (repository / ".keito" / "config.yml").read_text() == before
    assert (repository / ".git" / "info" / "exclude").read_text() == exclude
    assert exclude.count("/.keito/") == 1


async def test_in_a_linked_worktree_its_own_file_is_kept_out_of_git_too(repository: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git("worktree", "add", "-q", str(linked), cwd=repository)
    assert (await init(linked, "--project-id", "prj_1")).returncode == 0
    assert read(linked)["project_id"] == "prj_1"
    assert git("status", "--porcelain", cwd=linked) == ""


async def test_without_git_the_file_is_in_the_folder_itself(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    assert (await init(folder, "--project-id", "prj_1")).returncode == 0
    assert read(folder)["project_id"] == "prj_1"


async def test_programs_read_what_was_written(repository: Path) -> None:
    done = await init(repository, "--project-id", "prj_1", "--json")
    assert json.loads(done.stdout) == read(repository)


@pytest.mark.parametrize("broken", ["a: b: c", "[1]", "version: 9"])
async def test_a_file_that_cant_be_understood_is_left_as_it_is(repository: Path, broken: str) -> None:
    (repository / ".keito").mkdir()
    (repository / ".keito" / "config.yml").write_text(broken)
    done = await init(repository, "--project-id", "prj_1", "--yes")
    assert done.returncode == 1
    assert ".keito/config.yml" in done.stderr
    assert (repository / ".keito" / "config.yml").read_text() == broken


async def test_pause_and_resume_need_a_configuration_and_say_where_they_stand(repository: Path) -> None:
    nowhere = await run("pause", cwd=repository, env=environment())
    assert nowhere.returncode == 1
    assert "keito-mcp init" in nowhere.stderr
    await init(repository, "--project-id", "prj_1")
    for command, words in (
        ("pause", "is paused"),
        ("pause", "already paused"),
        ("resume", "is on"),
        ("resume", "already on"),
    ):
        done = await run(command, cwd=repository / "src", env=environment())
        assert done.returncode == 0
        assert words in done.stdout
