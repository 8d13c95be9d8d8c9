"""Who may come in to API v2, and what is there."""

from collections.abc import Callable

import httpx
import pytest

from keito_mcp.sandbox import Catalogue, Store, User, create_app, user_of
from tests.openapi import properties_of

pytestmark = pytest.mark.anyio

Connect = Callable[..., httpx.AsyncClient]

LEAST = {"project_id": "prj_sandbox", "task_id": "tsk_review", "spent_date": "2026-03-06"}


def error_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.json()["error_description"]
    return answer.status_code, answer.json()["error"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic abc", "kto_test", "Bearer a b"])
@pytest.mark.parametrize("path", ["/time_entries", "/projects", "/clients", "/tasks", "/users/me"])
async def test_without_a_bearer_key_nobody_comes_in(v2: httpx.AsyncClient, path: str, header: str | None) -> None:
    del v2.headers["Authorization"]
    answer = await v2.get(path, headers={} if header is None else {"Authorization": header})

    assert error_of(answer) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("account", [None, "", " "])
async def test_a_key_without_its_account_is_refused(v2: httpx.AsyncClient, store: Store, account: str | None) -> None:
    del v2.headers["Keito-Account-Id"]
    headers = {} if account is None else {"Keito-Account-Id": account}
    for answer in (
        await v2.get("/time_entries", headers=headers),
        await v2.post("/time_entries", json=LEAST, headers=headers),
        await v2.patch("/time_entries/te_x", json={}, headers=headers),
        await v2.patch("/time_entries/te_x/stop", headers=headers),
        await v2.delete("/time_entries/te_x", headers=headers),
    ):
        assert error_of(answer) == (401, "unauthorized")
        assert "Keito-Account-Id" in answer.json()["error_description"]
    assert store.entries() == []


async def test_a_token_that_is_no_key_needs_no_account(connect_v2: Connect) -> None:
    async with connect_v2("eyJhbGciOi.J9.x") as client:
        del client.headers["Keito-Account-Id"]
        answer = await client.get("/users/me")

    assert answer.json()["company"] == {"id": "cmp_sandbox", "name": "Sandbox"}


async def test_only_known_keys_come_in_where_keys_are_listed(connect_v2: Connect) -> None:
    async with connect_v2("kto_one", api_keys={"kto_one"}) as client:
        assert (await client.get("/tasks")).status_code == 200
        assert error_of(await client.get("/tasks", headers={"Authorization": "Bearer kto_two"})) == (
            401,
            "unauthorized",
        )


async def test_me_is_the_user_of_the_key_in_the_company_of_the_account(v2: httpx.AsyncClient) -> None:
    me = (await v2.get("/users/me")).json()

    assert set(me) == properties_of("User")
    assert me["id"] == user_of("kto_test")
    assert me["company"]["id"] == "cmp_test"
    assert (me["first_name"], me["roles"]) == (None, ["manager"])


async def test_a_user_of_the_catalogue_is_known_by_name(connect_v2: Connect) -> None:
    ada = User(id=user_of("kto_ada"), first_name="Ada", last_name="Byron", user_type="agent", roles=("member",))
    async with connect_v2("kto_ada", catalogue=Catalogue(users=(ada,))) as client:
        me = (await client.get("/users/me")).json()

    assert (me["first_name"], me["last_name"], me["user_type"], me["roles"]) == ("Ada", "Byron", "agent", ["member"])


@pytest.mark.parametrize("path", ["/api/v2/", "/api/v2/expenses", "/api/v2/time_entries/", "/api/v2/users"])
async def test_an_unknown_path_is_not_found(connect: Connect, path: str) -> None:
    async with connect("kto_test") as client:
        answer = await client.get(path)

    assert error_of(answer) == (404, "not found")
    assert answer.headers["X-Keito-API-Version"] == "2"


async def test_a_single_entry_cannot_be_read(connect: Connect) -> None:
    async with connect("kto_test") as client:
        answer = await client.get("/api/v2/time_entries/te_x")

    assert error_of(answer) == (405, "method not allowed")
    assert set(answer.headers["Allow"].split(", ")) == {"PATCH", "DELETE"}


async def test_a_failure_of_the_sandbox_itself_is_a_documented_500(store: Store) -> None:
    transport = httpx.ASGITransport(create_app(store), raise_app_exceptions=False)
    store.close()
    async with httpx.AsyncClient(transport=transport, base_url="http://keito.test") as client:
        answer = await client.get("/api/v2/time_entries", headers={"Authorization": "Bearer a.jwt"})

    assert error_of(answer) == (500, "internal server error")
    assert answer.headers["X-Keito-API-Version"] == "2"
