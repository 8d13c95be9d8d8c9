"""`keito-mcp trust`, and what `init`, `doctor`, `sessions` and `sync` say of a clone's configuration."""

import json
import shutil
import time
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from keito_mcp.sessions import spool
from tests.clones import THEIRS, clone, commit, configure, git, repository
from tests.commands.program import at_a_terminal, command
from tests.kit import Keito
from tests.processes import environment, run
from tests.sessions.story import row

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return clone(tmp_path / "shop")


async def trust(keito: Keito, *arguments: object) -> CompletedProcess[str]:
    return await command(keito, "trust", *map(str, arguments))


async def described(keito: Keito, folder: Path) -> dict[str, Any]:
    """What a program is told of the configuration that is used."""
    done = await trust(keito, folder, "--json", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


async def test_it_shows_what_the_file_says_and_trusts_it_when_told_yes(keito: Keito, shop: Path) -> None:
    done = await trust(keito, shop, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("co_theirs", "prj_other", "tsk_2", "cost_centre: theirs", "Left out  agent_id", "log themselves"):
        assert words in done.stdout
    assert "boss" not in done.stdout
    again = await trust(keito, shop)
    assert again.returncode == 0
    assert "trusted already" in again.stdout


async def test_json_says_the_same_for_programs(keito: Keito, shop: Path) -> None:
    said = await described(keito, shop / ".keito")
    assert {name: said[name] for name in ("repository", "standing", "workspace_id", "project_id", "task_id")} == {
        "repository": str(shop),
        "standing": "trusted",
        "workspace_id": "co_theirs",
        "project_id": "prj_other",
        "task_id": "tsk_2",
    }
    assert (said["metadata"], said["left_out"]) == ({"cost_centre": "theirs"}, ["agent_id"])
    assert said["agent_tracking"]["enabled"] is True


async def test_where_nobody_can_be_asked_it_is_not_trusted(keito: Keito, shop: Path) -> None:
    for _ in range(2):
        done = await run("trust", str(shop), env=environment(keito))
        assert (done.returncode, done.stdout) == (1, "")
        assert "--yes" in done.stderr
        assert "co_theirs" in done.stderr


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("", 1), ("n", 1), ("yes", 0), ("yesterday", 1)])
async def test_at_a_terminal_it_asks_and_only_a_yes_is_one(keito: Keito, shop: Path, answer: str, code: int) -> None:
    async with at_a_terminal("trust", str(shop), env=environment(keito)) as terminal:
        await terminal.shows("Use it? [y/N]")
        account, project = terminal.shown.index("co_theirs"), terminal.shown.index("prj_other")
        assert terminal.shown.index("cost_centre") < project < account, "where money goes stands next to the question"
        terminal.type(answer)
        assert await terminal.end() == code
    assert (await trust(keito, shop)).returncode == code


async def test_an_untracked_file_needs_no_trust(keito: Keito, tmp_path: Path) -> None:
    shop = repository(tmp_path / "shop")
    configure(shop)
    done = await trust(keito, shop)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Git doesn't track" in done.stdout
    assert (await described(keito, shop))["standing"] == "own"


async def test_without_a_file_there_is_nothing_to_trust(keito: Keito, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        done = await trust(keito, folder, "--yes")
        assert done.returncode == 1
        assert "keito-mcp init" in done.stderr


async def test_a_file_that_cant_be_used_cant_be_trusted(keito: Keito, tmp_path: Path) -> None:
    done = await trust(keito, clone(tmp_path / "shop", "version: 7"), "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert ".keito/config.yml: version" in done.stderr


async def test_trust_is_taken_back_also_where_the_repository_is_gone(keito: Keito, shop: Path) -> None:
    await trust(keito, shop, "--yes")
    removed = await trust(keito, shop, "--remove")
    assert (removed.returncode, "no longer trusted" in removed.stdout) == (0, True)
    assert (await trust(keito, shop)).returncode == 1
    await trust(keito, shop, "--yes")
    shutil.rmtree(shop)
    assert json.loads((await trust(keito, shop, "--remove", "--json")).stdout) == {"was_trusted": True}
    assert json.loads((await trust(keito, shop, "--remove", "--json")).stdout) == {"was_trusted": False}


async def test_wrong_usage_is_2(keito: Keito) -> None:
    done = await run("trust", "one", "two", env=environment(keito))
    assert done.returncode == 2


async def test_a_terminal_is_shown_nothing_that_it_would_obey_or_hide(keito: Keito, tmp_path: Path) -> None:
    text = json.dumps({"project_id": "prj\x1b[2J\u009b1A\u202e", "metadata": {"a\u200b": "b" * 500, "\x07": True}})
    shop = clone(tmp_path / "shop", text)
    shown = (await run("trust", str(shop), env=environment(keito))).stderr
    shown += (await trust(keito, shop, "--yes")).stdout
    shown += (await trust(keito, shop, "--json")).stdout
    shown += (await command(keito, "doctor", CLAUDE_PROJECT_DIR=str(shop))).stdout
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "b" * 100 not in (await trust(keito, shop)).stdout


async def test_a_state_folder_that_cant_be_written_is_said(keito: Keito, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = await command(keito, "trust", str(shop), "--yes", KEITO_STATE_DIR=str(tmp_path / "file" / "state"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "KEITO_STATE_DIR" in done.stderr


# --- init ---


async def test_who_writes_the_file_trusts_it_should_git_ever_track_it(keito: Keito, tmp_path: Path) -> None:
    shop = repository(tmp_path / "shop")
    env = environment(keito, KEITO_PROJECT_ID=None)
    assert (await run("init", "--project-id", "prj_shop", cwd=shop, env=env)).returncode == 0
    commit(shop)
    assert (await described(keito, shop))["standing"] == "trusted"


async def test_init_shows_what_came_with_the_clone_before_it_takes_it_over(keito: Keito, shop: Path) -> None:
    env = environment(keito, KEITO_PROJECT_ID=None)
    for arguments in ((), ("--task-id", "tsk_1")):
        done = await run("init", *arguments, cwd=shop, env=env)
        assert done.returncode == 1
        assert "came with the clone" in done.stderr
        assert "co_theirs" in done.stderr
    assert git(shop, "status", "--porcelain") == ""
    assert (await trust(keito, shop)).returncode == 1
    assert (await run("init", "--yes", cwd=shop, env=env)).returncode == 0
    assert (await trust(keito, shop)).returncode == 0


# --- doctor, sessions, sync ---


async def test_the_doctor_says_that_it_isnt_used_and_what_it_would_change(
    keito: Keito, shop: Path, tmp_path: Path
) -> None:
    unset = dict.fromkeys(("KEITO_ACCOUNT_ID", "KEITO_PROJECT_ID", "KEITO_TASK_ID"))
    report = json.loads((await command(keito, "doctor", "--json", CLAUDE_PROJECT_DIR=str(shop), **unset)).stdout)
    said = "\n".join(report["warnings"])
    assert "came with the clone, as far as git tells, and is not used until the user says yes: keito-mcp trust" in said
    for words in (
        "KEITO_ACCOUNT_ID not set -> 'co_theirs'",
        "KEITO_PROJECT_ID not set -> 'prj_other'",
        "KEITO_TASK_ID",
    ):
        assert words in said
    assert "sessions log themselves; metadata {'cost_centre': 'theirs'}" in said
    assert "can't set agent_id in metadata" in said
    assert report["settings"]["KEITO_ACCOUNT_ID"]["value"] is None

    done = await command(keito, "doctor", CLAUDE_PROJECT_DIR=str(shop))
    assert "KEITO_PROJECT_ID not set ->" not in done.stdout, "the environment's goes before it"

    mine = tmp_path / "mine"
    configure(mine, THEIRS)
    done = await command(keito, "doctor", CLAUDE_PROJECT_DIR=str(mine))
    assert "can't set agent_id in metadata" in done.stdout
    assert "keito-mcp trust" not in done.stdout


async def test_sessions_says_that_it_isnt_used_beside_what_it_lists(keito: Keito, shop: Path) -> None:
    done = await command(keito, "sessions", "--json", CLAUDE_PROJECT_DIR=str(shop))
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert (
        "came with the clone, as far as git tells, and is not used until the user says yes: keito-mcp trust"
        in done.stderr
    )
    await trust(keito, shop, "--yes")
    assert (await command(keito, "sessions", CLAUDE_PROJECT_DIR=str(shop))).stderr == ""


async def test_a_session_in_a_clone_is_shown_to_wait_until_its_user_says_yes(
    keito: Keito, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = clone(tmp_path / "shop", "metadata: {cost_centre: theirs}\n")
    monkeypatch.chdir(tmp_path)
    folder = Path(spool.folder(str(tmp_path / "state")))
    begun = time.time() - 86_400
    for number, (what, seconds) in enumerate([("prompt", 0.0), ("stop", 1800.0), ("end", 1810.0)]):
        told = row(what, seconds, folder=str(shop), at=begun + seconds)
        spool.write(folder / f"{number:020}.1.json", told)

    synced = await command(keito, "sync", "--json")
    assert synced.returncode == 0
    [left] = json.loads(synced.stdout)["sessions_left"]
    assert left["session_id"] == "session-1"
    assert "keito-mcp trust" in left["why"]
    assert keito.requests == []
    assert "waits for your yes" in (await command(keito, "sync")).stdout
    assert "waits for your yes" in (await command(keito, "sessions")).stdout
    [session] = json.loads((await command(keito, "sessions", "--json")).stdout)
    assert "keito-mcp trust" in session["recorded"]["said"]

    await trust(keito, shop, "--yes")
    for _ in range(2):
        assert json.loads((await command(keito, "sync", "--json")).stdout)["sessions_left"] == []
    entries = keito.entries()
    # It may have gone on over a midnight.
    assert sum(entry["hours"] for entry in entries) == pytest.approx(0.5)
    assert {entry["metadata"]["cost_centre"] for entry in entries} == {"theirs"}
