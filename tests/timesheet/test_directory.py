import json
from collections.abc import Sequence
from datetime import timedelta

import pytest
from pydantic import SecretStr

from keito_mcp.account import Account
from keito_mcp.keito import Unreachable
from keito_mcp.settings.principal import Principal
from keito_mcp.timesheet import Directories, Kind, candidates, directory
from keito_mcp.timesheet.candidates import Named
from tests.kit import V2_KEY, Desk, FakeClock, Keito, MakeDesk

pytestmark = pytest.mark.anyio


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    return make_desk(serves_one_user=False, api_key=None, api_version="v2")


def _account(desk: Desk, company: str) -> Account:
    return desk.runtime.account_of(Principal(f"key of {company}", SecretStr(V2_KEY), company))


def _shows(keito: Keito, name: str) -> None:
    row = {"id": f"prj_{name}", "name": name, "is_active": True}
    page = {"projects": [row], "page": 1, "per_page": 2000, "total_pages": 1, "total_entries": 1}
    keito.fails("GET", status=200, body=json.dumps(page))


async def _known(account: Account) -> Sequence[str]:
    return [one.name for one in await account.naming().known(Kind.PROJECT)]


async def test_nothing_of_one_account_is_shown_to_another(desk: Desk, keito: Keito) -> None:
    _shows(keito, "alices")
    assert await _known(_account(desk, "co_alice")) == ["alices"]
    _shows(keito, "bobs")
    assert await _known(_account(desk, "co_bob")) == ["bobs"]

    assert await _known(_account(desk, "co_alice")) == ["alices"]
    assert await _known(_account(desk, "co_bob")) == ["bobs"]
    assert keito.methods == ["GET", "GET"]


async def test_the_lists_of_many_accounts_are_forgotten_in_time(clock: FakeClock) -> None:
    directories = Directories(clock)
    first = directories.of("first")
    for number in range(directory.MOST_ACCOUNTS - 1):
        directories.of(str(number))
    assert directories.of("first") is first

    directories.of("one more")

    assert directories.of("first") is first
    for number in range(directory.MOST_ACCOUNTS):
        directories.of(f"another {number}")
    assert directories.of("first") is not first


async def test_a_list_that_never_comes_is_not_waited_for_long(
    desk: Desk, keito: Keito, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "PATIENCE", 0.1)
    keito.fails("GET", hang=True, times=20)

    with pytest.raises(Unreachable, match="no list of projects within"):
        await _known(_account(desk, "co_alice"))


async def test_a_clock_that_is_set_back_makes_no_list_young(desk: Desk, keito: Keito, clock: FakeClock) -> None:
    await _known(_account(desk, "co_alice"))
    clock.pass_time(timedelta(minutes=11))
    clock.wall -= timedelta(days=1)

    await _known(_account(desk, "co_alice"))

    assert keito.methods == ["GET", "GET"]


def test_names_are_the_same_whatever_their_case_white_space_and_composition() -> None:
    known = [Named(id="prj_1", name="Cafe\u0301  Straße")]

    assert candidates.matching(" CAFÉ strasse\t", known) == known
    assert candidates.matching("Cafe Strasse", known) == []


def test_labels_tell_projects_apart_that_look_the_same() -> None:
    known = [Named(id=f"prj_{number}", name="Website", client="Orchard") for number in (1, 2)]

    assert candidates.matching("website", known) == known
    assert list(candidates.labels(known).items()) == [
        ("Website · Orchard", "prj_1"),
        ("Website · Orchard · prj_2", "prj_2"),
    ]
