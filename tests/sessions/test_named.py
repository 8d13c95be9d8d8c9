"""Sessions in repositories whose configuration names project and task by their names, in Keito's version 2."""

from dataclasses import replace
from pathlib import Path

import pytest

from keito_mcp.sandbox import SANDBOX, Catalogue
from tests.kit import V2_KEY, Desk, FakeClock, Keito, MakeDesk
from tests.sessions.test_recorder import Host

pytestmark = pytest.mark.anyio


@pytest.fixture
def catalogue() -> Catalogue:
    return SANDBOX


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    # The server's own project and task are not those of the session's repository.
    return make_desk(api_key=V2_KEY, account_id="co_made_up", project_id="Nowhere", task_id="Nothing")


@pytest.fixture
def host(desk: Desk, clock: FakeClock, tmp_path: Path) -> Host:
    return Host(desk, clock, tmp_path)


def _named(host: Host, project: str | None, task: str | None = None) -> None:
    assert host.rules is not None
    host.rules = replace(host.rules, project_id=project, task_id=task)


async def test_a_session_is_recorded_under_what_its_repository_names(host: Host, keito: Keito) -> None:
    _named(host, "upkeep", "Code review")
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()

    [entry] = keito.entries()
    assert (entry["project_id"], entry["task_id"]) == ("prj_upkeep", "tsk_review")


async def test_a_session_without_a_task_is_recorded_under_the_accounts_default(host: Host, keito: Keito) -> None:
    _named(host, "OF-WEB")
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()

    [entry] = keito.entries()
    assert (entry["project_id"], entry["task_id"]) == ("prj_foods_web", "tsk_development")


async def test_a_session_of_several_projects_is_left_until_its_repository_names_one(host: Host, keito: Keito) -> None:
    _named(host, "Website")
    host.turn(0, 3600)
    host.tell("end", 3610)
    await host.record()
    outcome, said = await host.said()
    assert outcome == "left"
    assert '2 projects match "Website".' in said
    assert keito.entries() == []

    _named(host, "LB-WEB")
    await host.record()
    [entry] = keito.entries()
    assert entry["project_id"] == "prj_books_web"


async def test_a_session_whose_names_cant_be_looked_up_now_is_recorded_later(host: Host, keito: Keito) -> None:
    _named(host, "Upkeep")
    host.turn(0, 3600)
    host.tell("end", 3610)
    async with keito.away():
        await host.record()
    assert (await host.said())[0] == "left"

    await host.record()
    [entry] = keito.entries()
    assert (entry["project_id"], entry["hours"]) == ("prj_upkeep", 1)
