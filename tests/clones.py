"""Repositories as somebody else made them, with a `.keito/config.yml` of theirs."""

import os
import subprocess
from pathlib import Path

from keito_mcp.settings import checkout

THEIRS = """\
version: 1
workspace_id: co_theirs
project_id: prj_other
task_id: tsk_2
metadata: {cost_centre: theirs, agent_id: boss}
"""
WHO = {f"GIT_{who}_{what}": "someone@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(folder: Path, *arguments: str) -> str:
    """Run git as a person would, by no settings of this machine."""
    plain = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", "-C", str(folder), *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **plain, **WHO},
    )
    return done.stdout.strip()


def repository(folder: Path) -> Path:
    """A repository with a commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "commit", "-q", "--allow-empty", "-m", "Start")
    return folder


def configure(folder: Path, text: str = THEIRS) -> Path:
    """Write a folder's configuration, and commit nothing."""
    file = folder / checkout.CONFIG
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def commit(folder: Path) -> None:
    """Commit all that is there."""
    git(folder, "add", "--force", ".")
    git(folder, "commit", "-q", "-m", "Change")


def clone(folder: Path, text: str = THEIRS) -> Path:
    """A repository that came with its configuration."""
    configure(repository(folder), text)
    commit(folder)
    return folder
