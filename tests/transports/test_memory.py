"""A server's memory stays bounded whatever callers send and don't read, and others are served meanwhile."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from tests.processes import LEGACY, MODERN, Listener, environment, listening
from tests.serving import ACCEPT, GREETING, connected, raw

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
PADDING = "x" * 500_000
META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Listener]:
    env = environment(KEITO_API_URL="http://127.0.0.1:9", KEITO_LOG_LEVEL="WARNING")
    async with listening("serve", "--port", "0", "--auth", "key", env=env, tmp_path=tmp_path) as server:
        async with connected(server.url, "sse", headers=bearer("warm-up")) as agent:
            await agent.client.list_tools()
        yield server


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer made-up-key-of-{name}"}


def memory(server: Listener) -> float:
    """The most memory that a process ever had, in MiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+)", status)
    return int(kilobytes) / 1024


@dataclass
class Mallory:
    """A caller who reads no answers."""

    server: Listener
    name: str = "mallory"
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    session: str | None = None
    path: str = "/mcp"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def at(cls, server: Listener, name: str = "mallory") -> AsyncIterator["Mallory"]:
        async with AsyncExitStack() as stack:
            yield cls(server, name, stack)

    async def connect(self) -> SocketStream:
        host, port = self.server.url.removeprefix("http://").split(":")
        return await self.stack.enter_async_context(await anyio.connect_tcp(host, int(port)))

    async def begin(self, method: str, path: str, body: bytes = b"", **headers: str) -> SocketStream:
        """Send a request, and read nothing."""
        stream = await self.connect()
        about = {
            "Host": "localhost",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **ACCEPT,
            **bearer(self.name),
            **self.headers,
            **headers,
        }
        lines = [f"{method} {path} HTTP/1.1", *(f"{key}: {value}" for key, value in about.items()), "", ""]
        try:
            with anyio.fail_after(20):
                await stream.send("\r\n".join(lines).encode() + body)
        except anyio.BrokenResourceError:
            pass  # refused before the body was read
        return stream

    async def post(self, message: dict[str, Any] | bytes) -> int:
        """Send a message and return the status of what answers it; 0 where the connection was cut."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        stream = await self.begin("POST", self.path, body, **self.routed(message))
        try:
            with anyio.fail_after(20):
                return int((await stream.receive()).split(b" ", 2)[1])
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return 0

    def routed(self, message: dict[str, Any] | bytes) -> dict[str, str]:
        """The headers that say of a message of the 2026 protocol what is in it."""
        if isinstance(message, bytes) or self.headers.get("MCP-Protocol-Version") != MODERN:
            return {}
        params = message.get("params", {})
        named = {"Mcp-Name": str(params.get("name") or params.get("uri"))} if {"name", "uri"} & set(params) else {}
        return {"Mcp-Method": message.get("method", ""), **named}

    async def open_sse(self) -> SocketStream:
        stream = await self.begin("GET", "/sse")
        begun = b""
        while not (found := re.search(rb"/messages/\?session_id=[0-9a-f]{32}", begun)):
            begun += await stream.receive()
        self.path = found[0].decode()
        return stream

    async def open_streamable(self) -> None:
        async with raw(self.server.url) as client:
            opened = await client.post("/mcp", headers=bearer(self.name), json=GREETING)
        self.headers = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": LEGACY}
        await self.begin("GET", "/mcp")

    async def open_modern(self) -> None:
        self.headers = {"MCP-Protocol-Version": MODERN}


async def is_served(server: Listener) -> None:
    """Somebody else is served as if nothing were the matter."""
    with anyio.fail_after(20):
        for transport, mode in (("sse", "legacy"), ("http", "legacy"), ("http", "auto")):
            async with connected(server.url, transport, mode, headers=bearer("bob")) as bob:
                assert len((await bob.client.list_tools()).tools) == 5


NUMBERS = count(1)


def request(method: str, **params: Any) -> Callable[[], list[dict[str, Any]]]:
    def made() -> list[dict[str, Any]]:
        padded = {**params, "_meta": {**META, "padding": PADDING}}
        return [{"jsonrpc": "2.0", "id": next(NUMBERS), "method": method, "params": padded}]

    return made


def cancelled() -> list[dict[str, Any]]:
    [asked] = request("tools/list")()
    cancel = {"requestId": asked["id"], "reason": PADDING}
    return [asked, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel}]


def wide() -> list[dict[str, Any]]:
    """A body that takes twenty times as much memory once it is read."""
    meta = {**META, "padding": [{}] * 250_000}
    return [{"jsonrpc": "2.0", "id": next(NUMBERS), "method": "ping", "params": {"_meta": meta}}]


METHODS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "tools/list": request("tools/list"),
    "ping": request("ping"),
    "initialize": request("initialize", **GREETING["params"]),  # type: ignore[arg-type]
    "tools/call": request("tools/call", name="log_time", arguments={"hours": 1}),
    "resources/read": request("resources/read", uri="keito://session"),
    "an unknown method": request("none/such"),
    "the same id": lambda: [{**request("tools/list")()[0], "id": 7}],
    "a cancelled request": cancelled,
    "a notification": lambda: [
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "padding": PADDING}}
    ],
    "a response": lambda: [{"jsonrpc": "2.0", "id": 3, "result": {"padding": PADDING}}],
    "an error": lambda: [{"jsonrpc": "2.0", "id": 3, "error": {"code": 1, "message": PADDING}}],
    "objects": wide,
}
OPENERS: dict[str, Callable[[Mallory], Awaitable[object]]] = {
    "sse": Mallory.open_sse,
    "streamable": Mallory.open_streamable,
    "2026": Mallory.open_modern,
}


@pytest.mark.parametrize("transport", OPENERS)
async def test_messages_of_a_caller_who_reads_no_answers_take_bounded_memory(server: Listener, transport: str) -> None:
    before = memory(server)
    statuses = set()
    for messages in METHODS.values():
        async with Mallory.at(server) as mallory:
            await OPENERS[transport](mallory)
            for _ in range(60):
                for message in messages():
                    statuses.add(await mallory.post(message))
            await is_served(server)
    assert memory(server) - before < 64
    assert statuses <= {0, 200, 202, 400, 404, 413, 429}
    assert transport != "sse" or 429 in statuses


@pytest.mark.parametrize("transport", OPENERS)
@pytest.mark.parametrize("is_cut", [True, False], ids=["gone at once", "there, and reading nothing"])
async def test_calls_that_nobody_waits_for_take_bounded_memory(
    server: Listener, transport: str, *, is_cut: bool
) -> None:
    before = memory(server)
    async with Mallory.at(server) as mallory:
        await OPENERS[transport](mallory)
        for number in range(300):
            message = METHODS["tools/call" if number % 2 else "the same id"]()[0]
            body = json.dumps(message).encode()
            stream = await mallory.begin("POST", mallory.path, body, **mallory.routed(message))
            if is_cut:
                await stream.aclose()
        await is_served(server)
    assert memory(server) - before < 96


async def test_bodies_that_never_end_take_bounded_memory(server: Listener) -> None:
    before = memory(server)
    async with Mallory.at(server) as mallory:
        for number in range(300):
            mallory.name = f"mallory {number}".replace(" ", "-")
            await mallory.begin("POST", "/mcp", b"x" * 900_000, **{"Content-Length": "1000000"})
        await is_served(server)
    assert memory(server) - before < 128


async def test_a_crowd_of_made_up_callers_takes_bounded_memory_and_keeps_nobody_out(server: Listener) -> None:
    before = memory(server)
    async with AsyncExitStack() as stack:
        statuses = []
        for number in range(200):
            mallory = await stack.enter_async_context(Mallory.at(server, f"mallory-{number}"))
            await mallory.open_sse()
            statuses += [await mallory.post(METHODS["initialize"]()[0]) for _ in range(5)]
        await is_served(server)
    assert 503 in statuses
    assert memory(server) - before < 160


async def test_small_messages_of_a_session_that_reads_nothing_are_refused_at_last(server: Listener) -> None:
    async with Mallory.at(server) as mallory, raw(server.url) as client:
        await mallory.open_sse()
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        for message in (GREETING, *[asked] * 4000):
            refused = await client.post(mallory.path, headers=bearer("mallory"), json=message)
            if refused.status_code != 202:
                break
        assert refused.status_code == 429
        await is_served(server)


async def test_a_reader_who_is_slow_gets_every_answer(server: Listener) -> None:
    async with Mallory.at(server, "slow") as slow:
        stream = await slow.open_sse()
        assert await slow.post(GREETING) == 202
        assert await slow.post({"jsonrpc": "2.0", "method": "notifications/initialized"}) == 202
        for number in range(2, 102):
            assert await slow.post({"jsonrpc": "2.0", "id": number, "method": "tools/list"}) == 202
        answered: set[int] = set()
        read = b""
        with anyio.fail_after(20):
            while len(answered) < 101:
                read += await stream.receive(4096)
                answered |= {int(found) for found in re.findall(rb'"id":(\d+)', read)}


async def test_a_refused_message_says_what_to_do_and_is_taken_once_the_answers_were_read(server: Listener) -> None:
    async with Mallory.at(server, "late") as late, raw(server.url) as client:
        stream = await late.open_sse()
        body = METHODS["tools/list"]()[0]
        while (refused := await client.post(late.path, headers=bearer("late"), json=body)).status_code == 202:
            pass
        assert refused.status_code == 429
        assert "was not taken: read them, then send it again" in refused.text
        assert refused.headers["retry-after"] == "1"
        with anyio.fail_after(20):
            while (await client.post(late.path, headers=bearer("late"), json=body)).status_code != 202:
                await stream.receive(65_536)
