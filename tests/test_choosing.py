"""Where a name leaves several, the user is asked: by clients of both eras that can ask, and by no others."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.server.mcpserver import Context
from mcp.types import (
    ClientCapabilities,
    ElicitationCapability,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    UrlElicitationCapability,
)

from keito_mcp.sandbox import SANDBOX, Catalogue
from keito_mcp.server import choosing
from tests.kit import V2_KEY, Agent, Desk, FakeClock, Keito, MakeDesk
from tests.serving import TRANSPORTS, serving

pytestmark = pytest.mark.anyio

BOOKS, FOODS = "Website · Lighthouse Books · LB-WEB", "Website · Orchard Foods · OF-WEB"
TAKES_NO_TIME = timedelta()


@pytest.fixture
def api_version() -> str:
    """The settings of v1, which name no task: each test says what is configured."""
    return "v1"


@pytest.fixture
def catalogue() -> Catalogue:
    return SANDBOX


@pytest.fixture
def make_v2(make_desk: MakeDesk) -> MakeDesk:
    def make(**settings: Any) -> Desk:
        given = {"api_key": V2_KEY, "account_id": "co_made_up", "project_id": None, **settings}
        return make_desk(**given)

    return make


@pytest.fixture
def desk(make_v2: MakeDesk) -> Desk:
    return make_v2()


@dataclass
class User:
    """Who sits before the client, and gives these answers one after the other."""

    answers: list[ElicitResult | str]
    clock: FakeClock | None = None
    takes: timedelta = TAKES_NO_TIME
    asked: list[ElicitRequestFormParams] = field(default_factory=list)

    async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:  # noqa: ARG002
        assert isinstance(params, ElicitRequestFormParams)
        self.asked.append(params)
        if self.clock:
            self.clock.pass_time(self.takes)
        answer = self.answers[len(self.asked) - 1]
        return ElicitResult(action="accept", content={"choice": answer}) if isinstance(answer, str) else answer

    @property
    def choices(self) -> list[Any]:
        """What each question left to choose from."""
        return [question.requested_schema["properties"]["choice"]["enum"] for question in self.asked]


@asynccontextmanager
async def _client(desk: Desk, mode: str, user: User) -> AsyncIterator[Agent]:
    async with Client(desk.server, mode=mode, elicitation_callback=user.answer) as client:
        yield Agent(client)


async def test_the_user_chooses_between_projects_of_one_name(desk: Desk, keito: Keito, mode: str) -> None:
    user = User([FOODS])
    async with _client(desk, mode, user) as agent:
        started = await agent.call("start_timer", project_id="Website", notes="Fix")

    assert started["project_id"] == "prj_foods_web"
    assert keito.body()["project_id"] == "prj_foods_web"
    assert [question.message for question in user.asked] == ['2 projects match "Website". Which one is meant?']
    assert user.choices == [[BOOKS, FOODS]]


async def test_a_question_is_one_flat_form(desk: Desk, mode: str) -> None:
    user = User([FOODS])
    async with _client(desk, mode, user) as agent:
        await agent.call("log_time", hours=1, project_id="Website")

    schema = user.asked[0].requested_schema
    assert (schema["type"], schema["required"]) == ("object", ["choice"])
    assert schema["properties"] == {"choice": {"type": "string", "title": "Which one", "enum": [BOOKS, FOODS]}}


async def test_the_user_is_shown_what_nobody_sees_in_a_name_and_may_choose_it(
    desk: Desk, keito: Keito, mode: str
) -> None:
    named = {"tsk_review": "a\u202eb", "tsk_meeting": "c"}
    tasks = [{"id": task_id, "name": name, "is_active": True} for task_id, name in named.items()]
    page = {"tasks": tasks, "page": 1, "per_page": 2000, "total_pages": 1, "total_entries": 2}
    keito.fails("GET", path="/api/v2/tasks", status=200, body=json.dumps(page), times=9)
    user = User([r"a\u202eb"])
    async with _client(desk, mode, user) as agent:
        logged = await agent.call("log_time", hours=1, project_id="prj_books_web")

    assert logged["task_id"] == "tsk_review"
    assert user.choices == [[r"a\u202eb", "c"]]


async def test_the_user_corrects_a_name_that_nothing_has(desk: Desk, mode: str) -> None:
    user = User(["Upkeep · Orchard Foods"])
    async with _client(desk, mode, user) as agent:
        logged = await agent.call("log_time", hours=1, project_id="Upkep")

    assert logged["project_id"] == "prj_upkeep"
    assert user.choices[0][0] == "Upkeep · Orchard Foods"
    assert len(user.choices[0]) == 4


async def test_the_user_chooses_where_no_project_and_no_task_is_named(desk: Desk, keito: Keito, mode: str) -> None:
    tasks = [{"id": f"tsk_{name}", "name": name, "is_active": True} for name in ("review", "meeting")]
    page = {"tasks": tasks, "page": 1, "per_page": 2000, "total_pages": 1, "total_entries": 2}
    keito.fails("GET", path="/api/v2/tasks", status=200, body=json.dumps(page), times=9)
    user = User([BOOKS, "meeting"])
    async with _client(desk, mode, user) as agent:
        logged = await agent.call("log_time", hours=1)

    assert (logged["project_id"], logged["task_id"]) == ("prj_books_web", "tsk_meeting")
    assert [question.message for question in user.asked] == [
        "Which project is this time for?",
        "Which task is this time for?",
    ]


async def test_the_user_chooses_the_project_of_a_list(desk: Desk, mode: str) -> None:
    user = User([FOODS])
    async with _client(desk, mode, user) as agent:
        logged = await agent.call("log_time", hours=1, project_id="OF-WEB")
        listed = await agent.call("list_entries", project_id="Website")

    assert [entry["id"] for entry in listed["entries"]] == [logged["id"]]
    assert len(user.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [ElicitResult(action="decline"), ElicitResult(action="cancel"), "Another one"],
    ids=["declined", "cancelled", "none of them"],
)
async def test_an_answer_that_is_none_leaves_the_same_problem_as_no_question(
    desk: Desk, keito: Keito, mode: str, answer: ElicitResult | str
) -> None:
    async with _client(desk, mode, User([answer])) as agent:
        declined = await agent.call("log_time", hours=1, project_id="Website")
    async with desk.client(mode) as agent:
        never_asked = await agent.call("log_time", hours=1, project_id="Website")

    assert declined.is_error
    assert declined.text == never_asked.text
    assert "prj_foods_web" in declined.text
    assert keito.entries() == []


async def test_an_answer_of_another_shape_is_said_to_be_the_clients(desk: Desk, keito: Keito, mode: str) -> None:
    user = User([ElicitResult(action="accept", content={"project": 5})])
    async with _client(desk, mode, user) as agent:
        refused = await agent.call("log_time", hours=1, project_id="Website")

    assert refused.is_error
    assert refused.text.endswith(choosing.UNUSABLE_ANSWER)
    assert keito.entries() == []


async def test_what_is_clear_is_not_asked(desk: Desk, mode: str) -> None:
    user = User([])
    async with _client(desk, mode, user) as agent:
        await agent.call("log_time", hours=1, project_id="Upkeep", task_id="Code review")
        await agent.call("log_time", hours=2, project_id="LB-WEB")
        await agent.call("list_entries")
        unknown = await agent.call("list_entries", project_id="prj_closed")

    assert unknown.is_error
    assert user.asked == []


async def test_a_client_that_asks_only_by_url_is_not_in_the_way(
    desk: Desk, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_url = ClientCapabilities(elicitation=ElicitationCapability(url=UrlElicitationCapability()))
    monkeypatch.setattr(Context, "client_capabilities", by_url)
    async with _client(desk, mode, User([])) as agent:
        refused = await agent.call("log_time", hours=1, project_id="Website")

    assert refused.is_error
    assert "prj_foods_web" in refused.text


@pytest.mark.parametrize("takes", [timedelta(minutes=2), timedelta(hours=1)], ids=["two minutes", "an hour"])
@pytest.mark.parametrize(("word", "choice"), [("Website", FOODS), ("Upkep", "Upkeep · Orchard Foods")])
async def test_a_user_may_take_their_time(
    desk: Desk, keito: Keito, clock: FakeClock, mode: str, takes: timedelta, word: str, choice: str
) -> None:
    user = User([choice], clock, takes)
    async with _client(desk, mode, user) as agent:
        logged = await agent.call("log_time", hours=1, project_id=word)

    assert logged["status"] == "logged"
    assert len(user.asked) == 1
    assert keito.methods == ["GET", "GET", "POST"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_user_of_a_client_that_is_connected_over_http_is_asked_too(
    make_v2: MakeDesk, keito: Keito, mode: str, transport: str
) -> None:
    user = User([FOODS])
    server = make_v2(serves_one_user=False, agent_id=None, session_id=None).server
    async with (
        serving(server) as url,
        Client(TRANSPORTS[transport](url, None), mode=mode, elicitation_callback=user.answer) as client,
    ):
        logged = await Agent(client).call("log_time", hours=1, project_id="Website")

    assert logged["project_id"] == "prj_foods_web"
    assert len(keito.entries()) == 1
