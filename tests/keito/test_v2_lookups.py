import pytest

from keito_mcp.keito import KeitoV2, Project, Task, UnexpectedAnswer, User
from tests.keito.v2_kit import SmallKeito

pytestmark = pytest.mark.anyio

PROJECT = {
    "id": "prj_1",
    "client": {"id": "cli_1", "name": "Acme"},
    "name": "Website",
    "code": "WEB",
    "is_active": True,
    "is_billable": True,
    "budget": 1000,
}
TASK = {"id": "tsk_1", "name": "Development", "is_default": True, "is_active": True, "default_hourly_rate": 90}
USER = {
    "id": "usr_1",
    "first_name": "Ada",
    "last_name": None,
    "email": "ada@example.com",
    "timezone": "Europe/Berlin",
    "user_type": "agent",
    "company": {"id": "cmp_1", "name": "Engines"},
}


async def test_projects_are_the_active_ones_with_their_clients(v2: KeitoV2, small: SmallKeito) -> None:
    small.rows["projects"] = [PROJECT, {"id": "prj_2", "client": None, "code": None}]
    assert await v2.projects() == (
        Project(
            id="prj_1",
            name="Website",
            code="WEB",
            client_id="cli_1",
            client_name="Acme",
            is_active=True,
            is_billable=True,
        ),
        Project(id="prj_2"),
    )
    assert small.sent == [("GET", "/api/v2/projects")]
    assert small.queries == [{"is_active": "true", "page": "1", "per_page": "2000"}]


async def test_tasks_are_the_active_ones(v2: KeitoV2, small: SmallKeito) -> None:
    small.rows["tasks"] = [TASK]
    assert await v2.tasks() == (Task(id="tsk_1", name="Development", is_default=True, is_active=True),)
    assert small.sent == [("GET", "/api/v2/tasks")]
    assert small.queries == [{"is_active": "true", "page": "1", "per_page": "2000"}]


async def test_all_pages_are_read(v2: KeitoV2, small: SmallKeito) -> None:
    small.rows["tasks"] = [{"id": f"tsk_{number}"} for number in range(5)]
    small.most_rows = 2
    assert [task.id for task in await v2.tasks()] == [f"tsk_{number}" for number in range(5)]
    assert [query["page"] for query in small.queries] == ["1", "2", "3"]


async def test_no_more_than_three_pages_are_read(v2: KeitoV2, small: SmallKeito) -> None:
    small.rows["projects"] = [{"id": f"prj_{number}"} for number in range(9)]
    small.most_rows = 2
    assert len(await v2.projects()) == 6
    assert len(small.requests) == 3


async def test_one_that_comes_on_two_pages_is_given_once(v2: KeitoV2, small: SmallKeito) -> None:
    small.says({"tasks": [{"id": "tsk_1"}, {"id": "tsk_2"}], "total_pages": 2})
    small.says({"tasks": [{"id": "tsk_2"}, {"id": "tsk_3"}], "total_pages": 2})
    assert [task.id for task in await v2.tasks()] == ["tsk_1", "tsk_2", "tsk_3"]


@pytest.mark.parametrize(
    "answer", [{}, {"projects": 7}, {"projects": [{"name": "no id"}]}, {"projects": [5]}, []], ids=str
)
async def test_an_answer_that_is_no_list_is_unexpected(v2: KeitoV2, small: SmallKeito, answer: object) -> None:
    small.says(answer)
    with pytest.raises(UnexpectedAnswer, match="not a list of projects"):
        await v2.projects()


async def test_the_keys_user_is_told_with_the_account(v2: KeitoV2, small: SmallKeito) -> None:
    small.says(USER)
    assert await v2.me() == User(
        id="usr_1",
        first_name="Ada",
        email="ada@example.com",
        timezone="Europe/Berlin",
        user_type="agent",
        company_id="cmp_1",
        company_name="Engines",
    )
    assert (small.sent, small.queries) == ([("GET", "/api/v2/users/me")], [{}])


@pytest.mark.parametrize("answer", [{}, [], 7, {"user": {"id": "usr_1"}}], ids=str)
async def test_an_answer_that_is_no_user_is_unexpected(v2: KeitoV2, small: SmallKeito, answer: object) -> None:
    small.says(answer)
    with pytest.raises(UnexpectedAnswer, match="not a user"):
        await v2.me()
