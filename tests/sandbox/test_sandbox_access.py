"""Who may come in, where, and what every answer looks like."""

from collections.abc import Callable

import httpx
import pytest

from keito_mcp.sandbox import Store, create_app

pytestmark = pytest.mark.anyio

PATH = "/v1/time-entries"
BODY = {"project_id": "prj_abc", "spent_date": "2026-03-06", "hours": 1.5}


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "keito_sk_test", "Bearer a b"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_a_bearer_key_nobody_comes_in(
    client: httpx.AsyncClient, store: Store, method: str, header: str | None
) -> None:
    del client.headers["Authorization"]
    headers = {} if header is None else {"Authorization": header}
    answer = await client.request(method, PATH, headers=headers, json=BODY if method == "POST" else None)

    assert error_of(answer) == (401, "authentication_error")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert store.entries() == []


async def test_an_entry_is_not_shown_without_a_key(client: httpx.AsyncClient) -> None:
    entry = (await client.post(PATH, json=BODY)).json()["id"]
    del client.headers["Authorization"]

    assert error_of(await client.get(f"{PATH}/{entry}")) == (401, "authentication_error")


async def test_only_known_keys_come_in_where_keys_are_listed(connect: Callable[..., httpx.AsyncClient]) -> None:
    async with connect("keito_sk_one", api_keys={"keito_sk_one"}) as client:
        assert (await client.get(PATH)).status_code == 200
        for header in ("Bearer keito_sk_two", "Bearer keito_sk_on", "Basic keito_sk_one"):
            answer = await client.get(PATH, headers={"Authorization": header})
            assert error_of(answer) == (401, "authentication_error")
        assert (await client.get(PATH, headers={"Authorization": "bearer keito_sk_one"})).status_code == 200


async def test_a_user_is_stable_differs_by_key_and_does_not_give_it_away(
    connect: Callable[..., httpx.AsyncClient], store: Store
) -> None:
    for key in ("keito_sk_one", "keito_sk_two", "keito_sk_one"):
        async with connect(key) as client:
            await client.post(PATH, json=BODY)

    one, two, one_again = (entry["user_id"] for entry in store.entries())
    assert one == one_again != two
    assert one.startswith("usr_")
    assert "keito_sk" not in one


async def test_any_user_may_change_what_another_one_logged(connect: Callable[..., httpx.AsyncClient]) -> None:
    async with connect("keito_sk_one") as one, connect("keito_sk_two") as two:
        entry = (await one.post(PATH, json=BODY)).json()["id"]
        assert (await two.delete(f"{PATH}/{entry}")).status_code == 204


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/", "/v1/expenses", f"{PATH}/", "/_sandbox/requests"])
async def test_an_unknown_path_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    assert error_of(await client.get(path)) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", f"{PATH}/te_x", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("POST", f"{PATH}/te_x", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("DELETE", PATH, {"GET", "HEAD", "POST"}),
        ("PATCH", PATH, {"GET", "HEAD", "POST"}),
    ],
)
async def test_another_method_is_not_allowed(
    client: httpx.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    answer = await client.request(method, path)

    assert error_of(answer) == (405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == allowed


async def test_every_answer_has_a_request_id_of_its_own(client: httpx.AsyncClient) -> None:
    created = await client.post(PATH, json=BODY)
    answers = [
        created,
        await client.get(PATH),
        await client.delete(f"{PATH}/{created.json()['id']}"),
        await client.get(f"{PATH}/te_none"),
        await client.post(PATH, content=b"{"),
        await client.put(PATH),
        await client.get("/nowhere"),
    ]

    assert len({answer.headers["X-Request-Id"] for answer in answers}) == len(answers)


async def test_the_front_door_says_what_this_is_without_a_key(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    answer = await client.get("/")

    assert answer.status_code == 200
    assert answer.json()["service"] == "embedded Keito"


async def test_a_failure_of_the_sandbox_itself_is_a_documented_500(store: Store) -> None:
    transport = httpx.ASGITransport(create_app(store), raise_app_exceptions=False)
    store.close()
    async with httpx.AsyncClient(transport=transport, base_url="http://keito.test") as client:
        answer = await client.get(PATH, headers={"Authorization": "Bearer keito_sk_test"})

    assert error_of(answer) == (500, "internal_error")
