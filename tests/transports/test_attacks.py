"""What a stranger, or a caller with bad intentions, may try at an HTTP server."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx
import pytest

from keito_mcp.transports import edges as edges_module
from keito_mcp.transports.edges import Edges
from tests.kit import Keito, MakeDesk
from tests.processes import LEGACY, MODERN
from tests.serving import ACCEPT, GREETING, raw
from tests.transports.team import TOKENS, Team, team

pytestmark = pytest.mark.anyio

MESSAGES = "/messages/?session_id=00000000000000000000000000000000"
ALICE = {"Authorization": f"Bearer {TOKENS[0]}"}


@pytest.fixture
async def a_team(make_desk: MakeDesk) -> AsyncIterator[Team]:
    a_team = team(make_desk, "token")
    async with a_team.serving(Edges(most_sessions=3, body_seconds=0.5)):
        yield a_team


async def spoken(url: str, wire: bytes, within: float = 5) -> bytes:
    """What a server answers to bytes as they are, until it closes the connection or says no more."""
    host, port = url.removeprefix("http://").split(":")
    received = b""
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send(wire)
        with anyio.move_on_after(within):
            while b"\r\n\r\n" not in received:
                try:
                    received += await stream.receive()
                except anyio.EndOfStream:
                    break
    return received


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


CREDENTIALS: dict[str, dict[str, str]] = {
    "no token": {},
    "a wrong token": {"Authorization": "Bearer made-up-token-of-nobody"},
    "the right token in the wrong scheme": {"Authorization": f"Basic {TOKENS[0]}"},
    "the right token in another header": {"X-Api-Key": TOKENS[0]},
    "a Keito key": {"Authorization": "Bearer keito_sk_made_up"},
}


@pytest.mark.parametrize("headers", CREDENTIALS.values(), ids=CREDENTIALS.keys())
async def test_without_a_right_token_nothing_is_served_and_no_body_is_read(
    a_team: Team, keito: Keito, headers: dict[str, str]
) -> None:
    async with raw(a_team.url) as client:
        for method, path in (
            ("POST", "/mcp"),
            ("GET", "/mcp"),
            ("DELETE", "/mcp"),
            ("GET", "/sse"),
            ("POST", MESSAGES),
        ):
            refused = await client.request(method, path, headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith('Bearer realm="keito-mcp"')
            assert "resource_metadata" not in refused.headers["www-authenticate"]
    # The answer comes although the body never does.
    lines = [f"{name}: {value}" for name, value in {**headers, "Content-Length": "1000", "Host": "localhost"}.items()]
    answer = await spoken(a_team.url, "\r\n".join(["POST /mcp HTTP/1.1", *lines, "", ""]).encode())
    assert status_of(answer) == 401
    assert keito.requests == []


async def test_a_token_in_the_address_opens_nothing(a_team: Team) -> None:
    async with raw(a_team.url) as client:
        for query in (f"?access_token={TOKENS[0]}", f"?token={TOKENS[0]}"):
            assert (await client.post(f"/mcp{query}", json=GREETING)).status_code == 401


async def test_no_authorization_server_is_announced_where_there_is_none(a_team: Team) -> None:
    async with raw(a_team.url) as client:
        for name in ("oauth-protected-resource", "oauth-protected-resource/mcp", "oauth-authorization-server"):
            assert (await client.get(f"/.well-known/{name}")).status_code == 404


FOREIGN = {
    "a foreign Host": ({"Host": "evil.example"}, 421),
    "a Host that begins like ours": ({"Host": "localhost.evil.example"}, 421),
    "a foreign Origin": ({"Origin": "https://evil.example"}, 403),
    "a null Origin": ({"Origin": "null"}, 403),
    "a foreign host as a proxy would name it": ({"X-Forwarded-Host": "evil.example"}, 200),
}


@pytest.mark.parametrize(("headers", "status"), FOREIGN.values(), ids=FOREIGN.keys())
async def test_a_foreign_page_can_not_use_a_token_that_a_browser_keeps(
    a_team: Team, headers: dict[str, str], status: int
) -> None:
    async with raw(a_team.url) as client:
        assert (await client.post("/mcp", headers={**ALICE, **headers}, json=GREETING)).status_code == status


async def test_names_and_origins_that_the_operator_allows_are_served_and_no_others(make_desk: MakeDesk) -> None:
    a_team = team(make_desk, "token")
    allowed = Edges(allowed_hosts=["keito.example.com"], allowed_origins=["https://app.example.com"])
    async with a_team.serving(allowed), raw(a_team.url) as client:

        async def status(host: str, origin: str | None = None) -> int:
            headers = {**ALICE, "Host": host} | ({"Origin": origin} if origin else {})
            return (await client.post("/mcp", headers=headers, json=GREETING)).status_code

        assert await status("keito.example.com") == 200
        assert await status("keito.example.com:8443", "https://app.example.com") == 200
        assert await status("keito.example.com", "https://app.example.com.evil.example") == 403
        assert await status("keito.example.com", "http://app.example.com") == 403
        assert await status("other.example.com") == 421
        assert await status("keito.example.com.evil.example") == 421


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("path", ["/mcp", MESSAGES])
async def test_a_body_of_2_mib_is_refused(a_team: Team, path: str, *, is_chunked: bool) -> None:
    body = json.dumps({**GREETING, "padding": "x" * 2 * 1024 * 1024}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    headers = {**ALICE, "Content-Type": "application/json"}
    async with raw(a_team.url) as client:
        try:
            refused = await client.post(path, headers=headers, content=chunks() if is_chunked else body)
        except (httpx.WriteError, httpx.ReadError):
            # Closed while the rest was still on its way.
            assert is_chunked
        else:
            assert refused.status_code == 413
        assert (await client.post("/mcp", headers=ALICE, json=GREETING)).status_code == 200


async def test_a_body_of_nearly_1_mib_is_taken(a_team: Team) -> None:
    async with raw(a_team.url) as client:
        params: Any = GREETING["params"]
        greeting = {**GREETING, "params": {**params, "_meta": {"padding": "x" * (1024 * 1024 - 1000)}}}
        assert (await client.post("/mcp", headers=ALICE, json=greeting)).status_code == 200


INJECTED = {
    "a line break": "run-42\r\nX-Keito-Agent-Id: root",
    "a line break alone": "run-42\nX-Keito-Agent-Id: root",
    "a zero": "run\x0042",
}


@pytest.mark.parametrize("value", INJECTED.values(), ids=INJECTED.keys())
async def test_a_header_can_not_bring_another_one_into_keito(a_team: Team, keito: Keito, value: str) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "log_time",
            "arguments": {"hours": 1},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    }
    body = json.dumps(call)
    lines = {
        **ALICE,
        **ACCEPT,
        "Host": "localhost",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "log_time",
        "X-Keito-Session-Id": value,
    }
    head = "\r\n".join(["POST /mcp HTTP/1.1", *(f"{name}: {text}" for name, text in lines.items()), "", ""])
    answer = await spoken(a_team.url, (head + body).encode())
    for entry in keito.entries():
        assert "\n" not in json.dumps(entry["metadata"], ensure_ascii=False)
        assert entry["metadata"]["principal"] == "token alice"
    assert status_of(answer) in {200, 400}
    assert all("x-keito-agent-id" not in request.headers for request in keito.requests)


SMUGGLED = {
    "two ways to tell the length": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "two lengths": b"Content-Length: 6\r\nContent-Length: 5\r\n\r\n0\r\n\r\nG",
    "a length with a sign": b"Content-Length: +6\r\n\r\n0\r\n\r\nG",
    "an unknown encoding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a chunk without a size": b"Transfer-Encoding: chunked\r\n\r\nZ\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("rest", SMUGGLED.values(), ids=SMUGGLED.keys())
async def test_a_request_of_which_two_servers_might_disagree_where_it_ends_brings_no_second_one(
    a_team: Team, keito: Keito, rest: bytes
) -> None:
    second = b"\r\nPOST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{_line(ALICE)}".encode()
    answer = await spoken(a_team.url, head + rest + second)
    assert status_of(answer) in {400, 408, 413, 501}
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()
    assert keito.requests == []


def _line(headers: dict[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


TRICKS = [
    "/healthz/../mcp",
    "/healthz/..%2fmcp",
    "/./mcp",
    "//mcp",
    "/mcp/..",
    "/mcp;/healthz",
    "/MCP",
    "/healthz%2f..%2fmcp",
    "/mcp%00",
    "/readyz/mcp",
    "/messages/../sse",
    "/messages/anything?session_id=00000000000000000000000000000000",
    "/",
    "/.env",
]


@pytest.mark.parametrize("path", TRICKS)
async def test_no_spelling_of_a_path_leads_around_the_gate(a_team: Team, keito: Keito, path: str) -> None:
    for method in ("GET", "POST"):
        request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        assert status_of(await spoken(a_team.url, request.encode())) in {401, 404}
    assert keito.requests == []


@pytest.mark.parametrize("path", ["/mcp/", "/%6dcp", "/sse/", "/messages"])
async def test_another_spelling_of_a_path_that_is_served_needs_a_token_too(a_team: Team, path: str) -> None:
    async with raw(a_team.url) as client:
        assert (await client.request("POST", path, json=GREETING)).status_code == 401


async def test_a_trailing_slash_leads_to_the_same_place(a_team: Team) -> None:
    async with raw(a_team.url) as client:
        assert (await client.post("/mcp/", headers=ALICE, json=GREETING)).status_code == 200


async def test_more_sessions_than_allowed_are_refused_and_those_that_are_open_go_on(a_team: Team) -> None:
    call = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    async with raw(a_team.url) as client:
        opened = [await client.post("/mcp", headers=ALICE, json=GREETING) for _ in range(4)]
        assert [answer.status_code for answer in opened] == [200, 200, 200, 503]
        session = {**ALICE, "Mcp-Session-Id": opened[0].headers["mcp-session-id"], "MCP-Protocol-Version": LEGACY}
        assert (await client.post("/mcp", headers=session, json=call)).status_code == 200
        assert (await client.delete("/mcp", headers=session)).status_code == 200
        assert (await client.post("/mcp", headers=ALICE, json=GREETING)).status_code == 200

        async with AsyncExitStack() as streams:
            statuses = [
                (await streams.enter_async_context(client.stream("GET", "/sse", headers=ALICE))).status_code
                for _ in range(4)
            ]
        assert statuses == [200, 200, 200, 503]


async def test_a_session_that_nobody_uses_is_closed(make_desk: MakeDesk) -> None:
    a_team = team(make_desk, "token")
    async with a_team.serving(Edges(idle=0.2)), raw(a_team.url) as client:
        opened = await client.post("/mcp", headers=ALICE, json=GREETING)
        session = {**ALICE, "Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": LEGACY}
        with anyio.fail_after(5):
            async with client.stream("GET", "/sse", headers=ALICE) as stream:
                assert "session_id=" in "".join([line async for line in stream.aiter_lines()])
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}

        async def is_closed() -> bool:
            return (await client.post("/mcp", headers=session, json=ping)).status_code == 404

        with anyio.fail_after(5):
            # Each look is a use, so looks must be rarer than the session may be idle.
            while not await is_closed():  # noqa: ASYNC110 -- the server closes it, and tells nobody
                await anyio.sleep(0.3)


async def test_a_body_that_never_comes_is_not_waited_for(a_team: Team) -> None:
    about = {**ALICE, "Host": "localhost", "Content-Type": "application/json", "Content-Length": "99"}
    begun = f"POST /mcp HTTP/1.1\r\n{_line(about)}\r\n{{"
    assert status_of(await spoken(a_team.url, begun.encode())) == 408


@pytest.mark.parametrize("wire", [b"", b"POST /mcp HTTP/1.1\r\nHost: loc", b"\x16\x03\x01"])
async def test_headers_that_never_come_are_not_waited_for(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch, wire: bytes
) -> None:
    monkeypatch.setattr(edges_module, "_HEADER_SECONDS", 0.3)
    a_team = team(make_desk, "token")
    async with a_team.serving():
        with anyio.fail_after(5):
            answer = await spoken(a_team.url, wire or b"\r\n", within=30)
    assert status_of(answer) in {0, 400}


async def test_the_second_request_of_a_connection_is_not_waited_for_either(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edges_module, "_HEADER_SECONDS", 0.3)
    a_team = team(make_desk, "token")
    async with a_team.serving():
        host, port = a_team.url.removeprefix("http://").split(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200" in await stream.receive()
            await stream.send(b"GET /heal")
            with anyio.fail_after(4):
                rest = b"".join([part async for part in stream])
    assert rest in {b"", b'{"alive":true}'}


async def test_a_slow_answer_is_not_taken_for_slow_headers(
    make_desk: MakeDesk, keito: Keito, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edges_module, "_HEADER_SECONDS", 0.2)
    keito.fails("POST", delay=0.5)
    a_team = team(make_desk, "token")
    async with a_team.serving(), a_team.agent(a_team.alice) as alice:
        assert (await alice.call("log_time", hours=1))["status"] == "logged"


async def test_what_a_load_balancer_asks_is_answered_without_a_token(a_team: Team, keito: Keito) -> None:
    async with raw(a_team.url) as client:
        assert (await client.get("/healthz")).json() == {"alive": True}
        assert (await client.get("/readyz")).json() == {"ready": True, "waiting_writes": 0}
        async with a_team.agent(a_team.alice) as alice, keito.away():
            await alice.call("log_time", hours=1)
            assert (await client.get("/readyz")).json() == {"ready": True, "waiting_writes": 1}


async def test_a_server_that_can_not_keep_its_journal_is_not_ready(make_desk: MakeDesk, tmp_path: Any) -> None:
    file = tmp_path / "no-folder"
    file.write_text("")
    a_team = team(make_desk, "token")
    a_team.desk.runtime.__dict__["settings"] = a_team.desk.runtime.settings.model_copy(update={"state_dir": file})
    async with a_team.serving(), raw(a_team.url) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["ready"] is False
        assert (await client.get("/healthz")).status_code == 200


async def test_nothing_listens_for_anything_but_http(a_team: Team) -> None:
    upgrade = (
        f"GET /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{_line(ALICE)}"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert status_of(await spoken(a_team.url, upgrade.encode())) in {400, 406}


@pytest.mark.parametrize(
    "request_", ["HEAD /sse", "HEAD /mcp", "PUT /mcp", "POST /sse", "GET /messages/", "OPTIONS /mcp"]
)
async def test_a_method_that_an_address_does_not_take_is_refused(a_team: Team, request_: str) -> None:
    async with raw(a_team.url) as client:
        refused = await client.request(*request_.split(), headers=ALICE)
    assert refused.status_code == 405
    assert refused.headers["allow"]


async def test_one_caller_can_not_take_all_sessions(make_desk: MakeDesk) -> None:
    a_team = team(make_desk, "token")
    bob = {"Authorization": f"Bearer {TOKENS[1]}"}
    async with a_team.serving(Edges(most_sessions=5, most_of_one=2)), raw(a_team.url) as client:
        opened = [(await client.post("/mcp", headers=ALICE, json=GREETING)).status_code for _ in range(3)]
        assert opened == [200, 200, 503]
        assert (await client.post("/mcp", headers=bob, json=GREETING)).status_code == 200
        async with AsyncExitStack() as streams:
            statuses = [
                (await streams.enter_async_context(client.stream("GET", "/sse", headers=headers))).status_code
                for headers in (ALICE, ALICE, ALICE, bob)
            ]
        assert statuses == [200, 200, 503, 200]
        async with a_team.agent(a_team.alice) as modern:
            assert (await modern.call("log_time", hours=1))["status"] == "logged"
