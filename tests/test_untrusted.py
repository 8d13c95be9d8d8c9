"""What the tools and the recorder do in a clone that brought its configuration along, before and after a yes."""

import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from keito_mcp.identity import git as safe_git
from keito_mcp.identity.facts import OURS
from keito_mcp.journal import Recorded
from keito_mcp.runtime import Runtime
from keito_mcp.server.server import build_server
from keito_mcp.sessions import spool
from keito_mcp.settings import trust
from keito_mcp.settings.config import Settings, variable
from tests.clones import THEIRS, clone, configure, git, repository
from tests.kit import API_VERSION, PROJECT, QUICK, SPOKEN, TASK, Desk, FakeClock, Keito
from tests.sessions.story import row

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")]

WAITS = (
    "This repository's .keito/config.yml came with the clone, as far as git tells, and is not used until the user says "
    "yes: keito-mcp trust"
)
OF_NO_OTHER_ACCOUNT = THEIRS.replace("workspace_id: co_theirs\n", "")

MakeServer = Callable[..., Desk]


def say_yes(folder: Path) -> None:
    settings = Settings.load(folder)
    assert settings.found.root is not None
    trust.give(settings.folder, trust.Yes.to(settings.found.root, settings.found.says))


@pytest.fixture
async def serve(keito: Keito, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakeServer]:
    """Start servers as hosts do: in a folder, by the environment's settings."""
    made: list[Runtime] = []

    def serve(folder: Path, **settings: str) -> Desk:
        usual = {"api_url": keito.url, "session_id": "session-1", "timezone": "UTC", "task_id": TASK}
        for name, value in {**usual, **SPOKEN[keito.wire.version], **settings}.items():
            monkeypatch.setenv(variable(name), value)
        monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(folder))
        runtime = Runtime(clock=clock, timeouts=QUICK)
        made.append(runtime)
        return Desk(runtime, build_server(runtime), [])

    yield serve
    for runtime in made:
        await runtime.aclose()


async def test_the_tools_work_as_if_there_were_no_file_and_say_so(
    serve: MakeServer, keito: Keito, tmp_path: Path, mode: str
) -> None:
    desk = serve(clone(tmp_path / "shop"), project_id=PROJECT)
    async with desk.client(mode) as agent:
        answers = [
            await agent.call("start_timer", notes="Fix"),
            await agent.call("stop_timer"),
            await agent.call("log_time", hours=1),
            await agent.call("discard_session", session_id="session-1"),
        ]
    for answer in answers:
        assert not answer.is_error
        assert WAITS in answer.text
        assert WAITS in answer["message"]
    assert {request.body["project_id"] for request in keito.requests if request.method == "POST"} == {PROJECT}
    for request in keito.requests:
        assert "theirs" not in str(request)
        assert "boss" not in str(request)


async def test_without_a_project_the_error_says_why_that_of_the_file_isnt_taken(
    serve: MakeServer, keito: Keito, tmp_path: Path
) -> None:
    async with serve(clone(tmp_path / "shop")).client() as agent:
        for refused in (await agent.call("start_timer"), await agent.call("log_time", hours=1)):
            assert refused.is_error
            assert "No project is named" in refused.text
            assert WAITS in refused.text
        assert WAITS not in (await agent.call("log_time", hours=1, project_id="prj_forbidden")).text
    assert keito.entries() == []


@pytest.mark.skipif(API_VERSION != "v2", reason="a key of v1 needs no account")
async def test_without_an_account_the_error_says_why_that_of_the_file_isnt_taken(
    serve: MakeServer, keito: Keito, tmp_path: Path
) -> None:
    async with serve(clone(tmp_path / "shop"), account_id="", project_id=PROJECT).client() as agent:
        refused = await agent.call("log_time", hours=1)
    assert refused.is_error
    assert "KEITO_ACCOUNT_ID is not set" in refused.text
    assert WAITS in refused.text
    assert keito.requests == []


@pytest.mark.parametrize("name", ["workspace_id", "project_id", "task_id"])
async def test_an_id_that_nothing_can_hold_keeps_no_tool_from_its_work(
    name: str, serve: MakeServer, keito: Keito, tmp_path: Path
) -> None:
    async with serve(clone(tmp_path / "shop", f'{name}: "\\ud800"\n'), project_id=PROJECT).client() as agent:
        answer = await agent.call("log_time", hours=1)
    assert (answer.is_error, WAITS in answer.text) == (False, True)
    assert len(keito.entries()) == 1


async def test_a_yes_counts_from_the_next_call_on(serve: MakeServer, keito: Keito, tmp_path: Path, mode: str) -> None:
    shop = clone(tmp_path / "shop", OF_NO_OTHER_ACCOUNT)
    async with serve(shop).client(mode) as agent:
        assert (await agent.call("log_time", hours=1)).is_error
        say_yes(shop)
        answer = await agent.call("log_time", hours=1)
        assert (answer["project_id"], "message" in answer) == ("prj_other", False)
    [entry] = keito.entries()
    assert (entry["metadata"]["cost_centre"], entry["metadata"]["agent_id"] == "boss") == ("theirs", False)


@pytest.mark.skipif(API_VERSION != "v1", reason="with v2 the environment names the account, which wins")
async def test_a_yes_that_leads_to_another_account_counts_once_the_server_is_restarted(
    serve: MakeServer, tmp_path: Path
) -> None:
    shop = clone(tmp_path / "shop")
    async with serve(shop, project_id=PROJECT).client() as agent:
        started = await agent.call("start_timer")
        assert "restart keito-mcp" in started.text
        say_yes(shop)
        stopped = await agent.call("stop_timer")
        assert stopped["id"] == started["id"]
    desk = serve(shop)
    async with desk.client() as agent:
        assert "message" not in await agent.call("log_time", hours=1)
    assert desk.runtime.settings.account_id == "co_theirs"


async def test_a_file_of_ones_own_is_used_at_once(serve: MakeServer, keito: Keito, tmp_path: Path) -> None:
    shop = repository(tmp_path / "shop")
    configure(shop, OF_NO_OTHER_ACCOUNT)
    async with serve(shop).client() as agent:
        answer = await agent.call("log_time", hours=1)
    assert (answer["project_id"], "message" in answer) == ("prj_other", False)
    assert keito.entries()[0]["metadata"]["cost_centre"] == "theirs"


async def test_a_yes_that_is_taken_back_counts_no_more_for_a_new_server(
    serve: MakeServer, keito: Keito, tmp_path: Path
) -> None:
    shop = clone(tmp_path / "shop", OF_NO_OTHER_ACCOUNT)
    say_yes(shop)
    assert trust.take_back(Settings.load().folder, shop)
    async with serve(shop).client() as agent:
        assert WAITS in (await agent.call("log_time", hours=1)).text
    assert keito.entries() == []


async def test_a_server_for_others_obeys_no_folder(keito: Keito, tmp_path: Path, clock: FakeClock) -> None:
    shop = clone(tmp_path / "shop", OF_NO_OTHER_ACCOUNT)
    say_yes(shop)
    loaded: list[Path | None] = []
    given: dict[str, Any] = {**SPOKEN[keito.wire.version], "api_url": keito.url, "project_id": PROJECT}

    def load(folder: Path | None) -> Settings:
        loaded.append(folder)
        return Settings(**given, state_dir=tmp_path / "state")

    runtime = Runtime(load=load, clock=clock, timeouts=QUICK, serves_one_user=False)
    async with Desk(runtime, build_server(runtime), []).client() as agent:
        assert (await agent.call("log_time", hours=1, task_id=TASK))["project_id"] == PROJECT
    await runtime.aclose()
    assert loaded == [None]


async def test_git_is_asked_once_for_each_reading_and_beside_the_event_loop(
    serve: MakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = repository(tmp_path / "shop")
    configure(shop, OF_NO_OTHER_ACCOUNT)
    asked: list[str] = []
    really = safe_git.run

    def run(folder: Path, *arguments: str, **more: Any) -> str | None:
        if arguments[0] == "ls-files":
            asked.append(threading.current_thread().name)
        return really(folder, *arguments, **more)

    monkeypatch.setattr(safe_git, "run", run)
    async with serve(shop).client() as agent:
        for _ in range(3):
            await agent.call("log_time", hours=1)
        await agent.client.read_resource("keito://session")
    assert len(asked) == 1
    assert threading.main_thread().name not in asked


async def test_every_key_of_an_entrys_metadata_is_one_that_no_file_sets(
    serve: MakeServer, keito: Keito, tmp_path: Path
) -> None:
    shop = repository(tmp_path / "shop")
    async with serve(shop, project_id=PROJECT, model="m", agent_type="t").client() as agent:
        await agent.call("start_timer")
        await agent.call("stop_timer")
        await agent.call("log_time", hours=1)
    for entry in keito.entries():
        assert set(entry["metadata"]) <= OURS


# --- sessions that log themselves ---


class Told:
    """A session that a host's hooks told of, in a repository."""

    def __init__(self, desk: Desk, shop: Path) -> None:
        self.desk = desk
        self.folder = Path(spool.folder(str(desk.runtime.settings.folder)))
        for number, (what, seconds) in enumerate([("prompt", 0.0), ("stop", 3600.0), ("end", 3610.0)]):
            left = row(what, seconds, folder=str(shop), message="All tests pass.")
            spool.write(self.folder / f"{number:020}.1.json", left)

    async def record(self) -> Recorded | None:
        await self.desk.runtime.own.recorder().run()
        await self.desk.deliver_all()
        [told] = await self.desk.runtime.journal.recordings.told()
        return told.recorded


async def test_a_session_in_a_clone_waits_and_is_logged_once_after_the_yes(
    serve: MakeServer, keito: Keito, tmp_path: Path
) -> None:
    shop = clone(tmp_path / "shop", OF_NO_OTHER_ACCOUNT)
    told = Told(serve(shop, project_id=PROJECT), shop)
    for _ in range(2):
        recorded = await told.record()
        assert recorded is not None
        assert recorded.outcome == "left"
        assert "waits for your yes" in recorded.said
        assert "keito-mcp trust" in recorded.said
    assert keito.requests == []

    say_yes(shop)
    for _ in range(2):
        recorded = await told.record()
        assert recorded is not None
        assert recorded.outcome == "logged"
    [entry] = keito.entries()
    assert (entry["hours"], entry["project_id"]) == (1, PROJECT)
    assert entry["notes"].endswith("All tests pass.")
    assert entry["metadata"]["cost_centre"] == "theirs"
    assert entry["metadata"]["agent_id"] != "boss"
    assert set(entry["metadata"]) - {"cost_centre"} <= OURS


async def test_who_has_all_sessions_logged_has_those_of_a_clone_logged_by_their_own_settings(
    serve: MakeServer, keito: Keito, tmp_path: Path
) -> None:
    shop = clone(tmp_path / "shop", THEIRS + "agent_tracking: {enabled: false}\n")
    recorded = await Told(serve(shop, project_id=PROJECT, autolog="1"), shop).record()
    assert recorded is not None
    assert recorded.outcome == "logged"
    [entry] = keito.entries()
    assert (entry["hours"], entry["project_id"]) == (1, PROJECT)
    assert "cost_centre" not in entry["metadata"]


async def test_a_session_waits_again_once_its_repository_names_another_account(
    serve: MakeServer, keito: Keito, tmp_path: Path
) -> None:
    shop = clone(tmp_path / "shop", OF_NO_OTHER_ACCOUNT)
    say_yes(shop)
    configure(shop, THEIRS)
    git(shop, "commit", "-qam", "Redirect")
    recorded = await Told(serve(shop, project_id=PROJECT), shop).record()
    assert recorded is not None
    assert recorded.outcome == "left"
    assert keito.entries() == []
