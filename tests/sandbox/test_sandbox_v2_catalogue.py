"""GET /api/v2/projects, /clients and /tasks."""

from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from keito_mcp.sandbox import Catalogue, Client, Project, Task
from tests.openapi import properties_of

pytestmark = pytest.mark.anyio

Connect = Callable[..., httpx.AsyncClient]

LATER = datetime(2026, 2, 1, tzinfo=UTC)
GIVEN = Catalogue(
    clients=(
        Client(id="c1", name="One"),
        Client(id="c2", name="Two", is_active=False, updated_at=LATER),
    ),
    projects=(
        Project(id="p1", name="Site", client_id="c1", code="S1"),
        Project(id="p2", name="Site", client_id="c2", updated_at=LATER),
        Project(id="p3", name="Gone", client_id="c3", is_active=False),
    ),
    tasks=(
        Task(id="t1", name="Coding"),
        Task(id="t2", name="Typing", is_active=False, updated_at=LATER),
    ),
)


async def found(client: httpx.AsyncClient, name: str, **wanted: str) -> list[str]:
    answer = await client.get(f"/{name}", params=wanted)
    assert answer.status_code == 200
    assert answer.json()["total_entries"] == len(answer.json()[name])
    return [item["id"] for item in answer.json()[name]]


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        ("projects", {}, ["p1", "p2"]),
        ("projects", {"is_active": "false"}, ["p3"]),
        ("projects", {"client_id": "c2"}, ["p2"]),
        ("projects", {"updated_since": "2026-02-01T00:00:00Z"}, ["p2"]),
        ("clients", {}, ["c1", "c2"]),
        ("clients", {"is_active": "true"}, ["c1"]),
        ("clients", {"updated_since": "2026-02-01T00:00:00Z"}, ["c2"]),
        ("tasks", {}, ["t1", "t2"]),
        ("tasks", {"is_active": "true"}, ["t1"]),
        ("tasks", {"updated_since": "2026-02-01T00:00:01Z"}, []),
    ],
    ids=str,
)
async def test_each_list_finds_what_its_filters_name(
    connect_v2: Connect, name: str, wanted: dict[str, str], expected: list[str]
) -> None:
    async with connect_v2(catalogue=GIVEN) as client:
        assert await found(client, name, **wanted) == expected


@pytest.mark.parametrize(("name", "schema"), [("projects", "Project"), ("clients", "Client"), ("tasks", "Task")])
async def test_each_item_has_every_property(v2: httpx.AsyncClient, name: str, schema: str) -> None:
    items = (await v2.get(f"/{name}")).json()[name]

    assert len(items) > 1
    assert all(set(item) == properties_of(schema) for item in items)


async def test_a_project_names_its_client(connect_v2: Connect) -> None:
    async with connect_v2(catalogue=GIVEN) as client:
        projects = (await client.get("/projects")).json()["projects"]
        [gone] = (await client.get("/projects", params={"is_active": "false"})).json()["projects"]

    assert [project["client"]["name"] for project in [*projects, gone]] == ["One", "Two", "c3"]


async def test_lists_come_in_pages(v2: httpx.AsyncClient) -> None:
    page = (await v2.get("/tasks", params={"per_page": "3", "page": "2"})).json()

    assert [task["id"] for task in page["tasks"]] == ["tsk_travel"]
    assert (page["total_pages"], page["total_entries"]) == (2, 4)


async def test_the_sandbox_s_own_catalogue_has_a_code_a_shared_name_and_a_default_task(v2: httpx.AsyncClient) -> None:
    projects = (await v2.get("/projects")).json()["projects"]
    tasks = (await v2.get("/tasks")).json()["tasks"]

    assert (projects[0]["id"], projects[0]["code"]) == ("prj_sandbox", "SAND")
    assert len({project["client"]["id"] for project in projects if project["name"] == "Website"}) == 2
    assert [task["id"] for task in tasks if task["is_default"]] == ["tsk_development"]
