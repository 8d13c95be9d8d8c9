"""Whose configuration is obeyed: a repository's own user's, and a clone's only after their yes."""

import json
import logging
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from keito_mcp.settings import checkout, trust
from keito_mcp.settings.config import Settings
from keito_mcp.settings.repository import Configuration, ConfigurationError
from keito_mcp.settings.trust import Found, Standing, TrustError, Yes
from tests.clones import THEIRS, clone, commit, configure, git, repository

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def standing(folder: Path, state: Path) -> Standing:
    return trust.find(folder, state).standing


def say_yes(folder: Path, state: Path) -> None:
    found = trust.find(folder, state)
    assert found.root is not None
    trust.give(state, Yes.to(found.root, found.says))


# --- what git tracks ---


@pytest.mark.parametrize(
    ("committed", "is_there"),
    [
        (".keito/config.yml", True),
        (".keito/Config.YML", True),
        (".\u212aeito/config.yml", False),
        (".kei\u200cto/config.yml", False),
        (".keito/con\ufb01g.yml", False),
        (".keito/other.yml", False),
    ],
)
def test_a_name_that_only_the_file_system_takes_for_the_files_is_not_it(
    committed: str, tmp_path: Path, *, is_there: bool
) -> None:
    (tmp_path / committed).parent.mkdir()
    (tmp_path / committed).touch()
    assert trust.is_listed(tmp_path, Path(checkout.CONFIG)) is is_there


def test_a_configuration_that_came_with_the_clone_is_not_used_before_its_user_said_yes(
    tmp_path: Path, state: Path
) -> None:
    shop = clone(tmp_path / "shop")
    found = trust.find(shop, state)
    assert found.standing is Standing.UNTRUSTED
    assert (found.says.project_id, found.used.project_id) == ("prj_other", None)
    say_yes(shop, state)
    found = trust.find(shop, state)
    assert (found.standing, found.used.project_id) == (Standing.TRUSTED, "prj_other")


def test_what_git_doesnt_track_is_its_users_own(tmp_path: Path, state: Path) -> None:
    shop = repository(tmp_path / "shop")
    assert trust.find(shop, state) == Found()
    configure(shop)
    assert standing(shop, state) is Standing.OWN
    (shop / ".git" / "info" / "exclude").write_text("/.keito/\n")
    assert standing(shop, state) is Standing.OWN
    git(shop, "add", "--force", ".keito")
    assert standing(shop, state) is Standing.UNTRUSTED
    git(shop, "rm", "-q", "--cached", ".keito/config.yml")
    assert standing(shop, state) is Standing.OWN


def test_other_files_beside_it_that_git_tracks_dont_make_it_theirs(tmp_path: Path, state: Path) -> None:
    shop = repository(tmp_path / "shop")
    (shop / ".keito").mkdir()
    (shop / ".keito" / "README").touch()
    commit(shop)
    configure(shop)
    assert standing(shop, state) is Standing.OWN


def test_outside_of_git_a_folders_file_is_its_users_own(tmp_path: Path, state: Path) -> None:
    configure(tmp_path / "shop")
    assert standing(tmp_path / "shop", state) is Standing.OWN


@pytest.mark.parametrize("name", ["src", "a[b]*?", "back\\slash", "Größe", "-x", ":(top)"])
def test_a_file_below_the_root_counts_wherever_it_lies(tmp_path: Path, state: Path, name: str) -> None:
    shop = repository(tmp_path / "shop")
    configure(shop / name)
    assert standing(shop / name, state) is Standing.OWN
    commit(shop)
    (shop / name / "deep").mkdir()
    assert standing(shop / name / "deep", state) is Standing.UNTRUSTED


@pytest.mark.parametrize("tracked", [".KEITO/Config.YML", ".Keito/config.yml", ".keito/config.YML"])
def test_on_a_disk_that_knows_no_case_the_name_in_git_may_be_another(tmp_path: Path, state: Path, tracked: str) -> None:
    shop = repository(tmp_path / "shop")
    file = configure(shop)
    blob = git(shop, "hash-object", "-w", str(file))
    git(shop, "update-index", "--add", "--cacheinfo", f"100644,{blob},{tracked}")
    assert standing(shop, state) is Standing.UNTRUSTED


def test_a_parent_folder_may_be_called_by_another_case_too(tmp_path: Path, state: Path) -> None:
    shop = repository(tmp_path / "shop")
    blob = git(shop, "hash-object", "-w", str(configure(shop / "Sub")))
    git(shop, "update-index", "--add", "--cacheinfo", f"100644,{blob},sub/.keito/config.yml")
    assert standing(shop / "Sub", state) is Standing.UNTRUSTED


def test_a_folder_that_is_a_submodule_brings_its_file_with_the_clone(tmp_path: Path, state: Path) -> None:
    theirs = repository(tmp_path / "theirs")
    (theirs / "config.yml").write_text(THEIRS)
    commit(theirs)
    shop = repository(tmp_path / "shop")
    git(shop, "submodule", "--quiet", "add", str(theirs), ".keito")
    commit(shop)
    git(tmp_path, "clone", "-q", "--recurse-submodules", str(shop), "cloned")
    assert standing(tmp_path / "cloned", state) is Standing.UNTRUSTED


def test_a_submodule_is_a_repository_of_its_own(tmp_path: Path, state: Path) -> None:
    theirs = clone(tmp_path / "theirs")
    shop = repository(tmp_path / "shop")
    git(shop, "submodule", "--quiet", "add", str(theirs), "inner")
    assert standing(shop / "inner", state) is Standing.UNTRUSTED
    say_yes(shop / "inner", state)
    assert standing(shop / "inner", state) is Standing.TRUSTED
    assert {yes.repository for yes in trust.given(state)} == {str(shop / "inner")}


def test_a_linked_worktree_shares_its_main_worktrees_yes(tmp_path: Path, state: Path) -> None:
    shop = clone(tmp_path / "shop")
    git(shop, "worktree", "add", "-q", str(tmp_path / "linked"))
    assert standing(tmp_path / "linked", state) is Standing.UNTRUSTED
    say_yes(tmp_path / "linked", state)
    assert standing(tmp_path / "linked", state) is Standing.TRUSTED
    assert standing(shop, state) is Standing.TRUSTED


def test_a_linked_worktree_without_a_file_uses_its_main_worktrees_own(tmp_path: Path, state: Path) -> None:
    shop = repository(tmp_path / "shop")
    git(shop, "worktree", "add", "-q", str(tmp_path / "linked"))
    configure(shop)
    assert standing(tmp_path / "linked", state) is Standing.OWN


def test_a_folder_that_claims_to_be_a_worktree_of_a_trusted_repository_is_not(tmp_path: Path, state: Path) -> None:
    shop = clone(tmp_path / "shop")
    git(shop, "worktree", "add", "-q", str(tmp_path / "linked"))
    say_yes(shop, state)
    configure(tmp_path / "claims")
    shutil.copy(tmp_path / "linked" / ".git", tmp_path / "claims" / ".git")
    assert standing(tmp_path / "claims", state) is Standing.UNTRUSTED


# --- where git can't tell ---


def test_without_git_nobody_can_tell_and_it_counts_as_theirs(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = repository(tmp_path / "shop")
    configure(shop)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert standing(shop, state) is Standing.UNTRUSTED
    say_yes(shop, state)
    assert standing(shop, state) is Standing.TRUSTED


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for git is a shell script")
@pytest.mark.parametrize("does", ["exec sleep 60", "exit 128", "kill -9 $$"])
def test_a_git_that_hangs_or_fails_tells_nothing(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    shop = repository(tmp_path / "shop")
    configure(shop)
    stand_in = tmp_path / "bin" / "git"
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!/bin/sh\n{does}\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(stand_in.parent), prepend=os.pathsep)
    assert standing(shop, state) is Standing.UNTRUSTED


@pytest.mark.parametrize("broken", ["index", "HEAD", "config"])
def test_a_broken_repository_tells_nothing(tmp_path: Path, state: Path, broken: str) -> None:
    shop = repository(tmp_path / "shop")
    configure(shop)
    (shop / ".git" / broken).write_bytes(b"[broken")
    assert standing(shop, state) is Standing.UNTRUSTED


def test_a_git_folder_that_is_none_tells_nothing(tmp_path: Path, state: Path) -> None:
    configure(tmp_path / "shop")
    (tmp_path / "shop" / ".git").touch()
    assert standing(tmp_path / "shop", state) is Standing.UNTRUSTED


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root gives a folder away")
def test_a_repository_of_another_user_tells_nothing(tmp_path: Path, state: Path) -> None:
    shop = repository(tmp_path / "shop")
    configure(shop)
    for path in (shop, shop / ".git"):
        os.chown(path, 12345, 12345)
    assert standing(shop, state) is Standing.UNTRUSTED


def test_a_file_of_theirs_that_cant_be_read_is_not_used_and_one_of_the_users_own_is_an_error(
    tmp_path: Path, state: Path
) -> None:
    shop = clone(tmp_path / "shop", "version: 7")
    found = trust.find(shop, state)
    assert (found.standing, found.used.project_id) == (Standing.UNTRUSTED, None)
    assert "version" in str(found.problem)
    git(shop, "rm", "-q", "--cached", ".keito/config.yml")
    with pytest.raises(ConfigurationError, match="version"):
        trust.find(shop, state)


# --- what a yes is for ---


@pytest.mark.parametrize(
    "change", [{"workspace_id": "co_another"}, {"project_id": "prj_another"}, {"workspace_id": None}], ids=str
)
def test_a_later_change_of_account_or_project_asks_again(
    tmp_path: Path, state: Path, change: dict[str, str | None]
) -> None:
    shop = clone(tmp_path / "shop")
    say_yes(shop, state)
    content = {"workspace_id": "co_theirs", "project_id": "prj_other", **change}
    configure(shop, json.dumps({name: value for name, value in content.items() if value}))
    assert standing(shop, state) is Standing.UNTRUSTED
    configure(shop, THEIRS)
    assert standing(shop, state) is Standing.TRUSTED


def test_a_later_change_of_anything_else_does_not(tmp_path: Path, state: Path) -> None:
    shop = clone(tmp_path / "shop")
    say_yes(shop, state)
    configure(shop, THEIRS.replace("tsk_2", "tsk_1") + "agent_tracking: {redact_notes: true}\n")
    assert standing(shop, state) is Standing.TRUSTED


def test_a_yes_is_for_one_path_and_for_no_copy_of_it(tmp_path: Path, state: Path) -> None:
    shop = clone(tmp_path / "shop")
    say_yes(shop, state)
    (tmp_path / "link").symlink_to(shop)
    assert standing(tmp_path / "link", state) is Standing.TRUSTED
    shop.rename(tmp_path / "moved")
    assert standing(tmp_path / "moved", state) is Standing.UNTRUSTED


def test_a_yes_that_is_taken_back_is_asked_for_again(tmp_path: Path, state: Path) -> None:
    shop, other = clone(tmp_path / "shop"), clone(tmp_path / "other")
    for folder in (shop, other):
        say_yes(folder, state)
    configure(shop, "project_id: prj_shop")
    say_yes(shop, state)
    assert trust.take_back(state, shop)
    assert standing(shop, state) is Standing.UNTRUSTED
    configure(shop, THEIRS)
    assert standing(shop, state) is Standing.UNTRUSTED
    assert standing(other, state) is Standing.TRUSTED
    assert not trust.take_back(state, shop)


# --- where it is kept ---


def test_it_is_kept_in_a_file_for_its_user_alone(tmp_path: Path, state: Path) -> None:
    say_yes(clone(tmp_path / "shop"), state)
    file = state / "trusted.json"
    assert json.loads(file.read_text()) == [
        {"repository": str(tmp_path / "shop"), "workspace_id": "co_theirs", "project_id": "prj_other"}
    ]
    if sys.platform != "win32":
        assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(state.stat().st_mode)) == (0o600, 0o700)
    assert [path.name for path in state.iterdir() if "lock" not in path.name] == ["trusted.json"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "null", "1", '["x"]', '[{"repository": "x"}]', '[{"repository": "x", "more": 1}]', "[" * 30_000, "[[]]"],
    ids=lambda text: text[:20],
)
def test_a_file_that_says_nothing_usable_is_no_yes_and_is_written_anew(
    tmp_path: Path, state: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    shop = clone(tmp_path / "shop")
    say_yes(shop, state)
    (state / "trusted.json").write_text(content)
    assert standing(shop, state) is Standing.UNTRUSTED
    assert "trusted.json" in caplog.text
    say_yes(shop, state)
    assert standing(shop, state) is Standing.TRUSTED


@pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")
def test_what_others_may_have_written_is_no_yes(tmp_path: Path, state: Path) -> None:
    shop = clone(tmp_path / "shop")
    say_yes(shop, state)
    file = state / "trusted.json"
    file.chmod(0o666)
    assert standing(shop, state) is Standing.UNTRUSTED
    file.chmod(0o600)
    assert standing(shop, state) is Standing.TRUSTED
    file.rename(tmp_path / "theirs")
    file.symlink_to(tmp_path / "theirs")
    assert standing(shop, state) is Standing.UNTRUSTED
    file.unlink()
    os.mkfifo(file)
    assert standing(shop, state) is Standing.UNTRUSTED


def test_a_yes_that_cant_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrustError, match="KEITO_STATE_DIR"):
        say_yes(clone(tmp_path / "shop"), tmp_path / "file" / "state")


# --- identity ---


@pytest.mark.parametrize("name", ["agent_id", "Session_ID", " model ", "principal", "hours_written", "entry_key"])
def test_metadata_of_a_configuration_never_sets_who_works(
    tmp_path: Path, state: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    configure(tmp_path / "shop", json.dumps({"metadata": {name: "boss", "cost_centre": "web"}}))
    with caplog.at_level(logging.DEBUG, "keito_mcp"):
        found = trust.find(tmp_path / "shop", state)
    assert found.used.metadata == {"cost_centre": "web"}
    assert found.used.refused_metadata == [name]
    assert f"can't set {name} in metadata" in caplog.text


# --- in the settings ---


def test_the_settings_of_an_untrusted_repository_are_those_without_a_file(tmp_path: Path) -> None:
    shop = clone(tmp_path / "shop")
    settings = Settings.load(shop)
    assert settings.model_dump() == Settings.load().model_dump()
    assert settings.configuration == Configuration()
    assert settings.source("project_id") == "default"
    assert "keito-mcp trust" in str(settings.untrusted)
    assert "restart" in str(settings.untrusted), "its account is another one"
    assert (settings.if_trusted.account_id, settings.if_trusted.project_id) == ("co_theirs", "prj_other")


def test_a_repository_is_found_by_its_main_worktree(tmp_path: Path) -> None:
    shop = repository(tmp_path / "shop")
    git(shop, "worktree", "add", "-q", str(tmp_path / "linked"))
    (shop / "src").mkdir()
    for folder in (shop, shop / "src", tmp_path / "linked"):
        assert checkout.repository(str(folder)) == str(shop)
    assert checkout.repository(str(tmp_path)) == str(tmp_path)
