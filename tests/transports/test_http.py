import json
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp.types import TextContent, TextResourceContents

from keito_mcp.transports.access import Refused
from keito_mcp.transports.http import serve_http
from tests.identity.calls import SESSION, SUBAGENT, TOOL_USE, ClaudeFiles, tool_use_row
from tests.kit import Desk, Keito, MakeDesk, until
from tests.processes import LEGACY, MODERN, environment, gone, listening, run
from tests.serving import GREETING, TRANSPORTS, connected, raw, serving

pytestmark = pytest.mark.anyio

ENTRIES = "/v1/time-entries"


AFTER_SIGTERM = 4.5
"""Seconds within which a server must be gone: 3 for calls in flight, and some for a busy machine."""


def has_ipv6() -> bool:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.fixture
def plain_desk(make_desk: MakeDesk) -> Desk:
    """A server for others' agents whose operator set no identity."""
    return make_desk(serves_one_user=False, agent_id=None, session_id=None)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_all_five_tools_work_and_a_start_looks_first_whether_another_replica_started_it(
    plain_desk: Desk, keito: Keito, transport: str, mode: str
) -> None:
    async with serving(plain_desk.server) as url, connected(url, transport, mode) as agent:
        assert agent.client.protocol_version == (MODERN if mode == "auto" else LEGACY)
        assert len((await agent.client.list_tools()).tools) == 5
        assert keito.requests == []

        # A session that names itself may have been served by another replica.
        looked_first = ["GET"]
        said = {"ai.keito/session_id": "conversation-1"}
        started = await agent.call("start_timer", meta=said, notes="Read the code")
        stopped = await agent.call("stop_timer", meta=said)
        logged = await agent.call("log_time", meta=said, hours=1.5)
        listed = await agent.call("list_entries", meta=said)
        discarded = await agent.call("discard_session", meta=said)

    assert (started["status"], stopped["status"], logged["status"]) == ("running", "stopped", "logged")
    assert stopped["id"] == started["id"]
    assert {row["id"] for row in listed["entries"]} == {started["id"], logged["id"]}
    assert set(discarded["discarded"]) == {started["id"], logged["id"]}
    assert keito.methods == [*looked_first, "POST", "GET", "PATCH", "POST", "GET", "GET", "DELETE", "DELETE"]
    assert keito.entries() == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_two_sessions_of_the_same_agent_have_a_timer_each(plain_desk: Desk, keito: Keito, transport: str) -> None:
    async with (
        serving(plain_desk.server) as url,
        connected(url, transport) as first,
        connected(url, transport) as second,
    ):
        one = await first.call("start_timer", notes="The same work")
        two = await second.call("start_timer", notes="The same work")
        assert (one["status"], two["status"]) == ("running", "running")
        assert one["id"] != two["id"]
        assert one["session_id"] != two["session_id"]

        assert (await first.call("stop_timer"))["id"] == one["id"]
        assert [entry["id"] for entry in keito.entries() if entry["is_running"]] == [two["id"]]
        assert (await second.call("start_timer", notes="The same work"))["status"] == "already_running"
        assert (await second.call("discard_session"))["discarded"] == [two["id"]]
    assert [entry["id"] for entry in keito.entries()] == [one["id"]]


async def test_two_conversations_that_name_themselves_have_a_timer_each_without_http_sessions(
    plain_desk: Desk, keito: Keito
) -> None:
    async with serving(plain_desk.server) as url, connected(url, "http", "auto") as agent:
        one = await agent.call("start_timer", meta={"ai.keito/session_id": "chat-1"})
        two = await agent.call("start_timer", meta={"ai.keito/session_id": "chat-2"})
        assert (await agent.call("stop_timer", meta={"ai.keito/session_id": "chat-1"}))["id"] == one["id"]
    assert (one["session_id"], two["session_id"]) == ("chat-1", "chat-2")
    assert [entry["id"] for entry in keito.entries() if entry["is_running"]] == [two["id"]]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_operators_own_identity_is_not_given_to_callers(
    make_desk: MakeDesk, keito: Keito, transport: str, mode: str
) -> None:
    operator = {
        "agent_id": "operators-agent",
        "agent_type": "operators-type",
        "session_id": "operators-session",
        "model": "operators-model",
    }
    desk = make_desk(serves_one_user=False, **operator)
    async with serving(desk.server) as url, connected(url, transport, mode, name="goose") as agent:
        await agent.call("log_time", hours=1)
    metadata = keito.body()["metadata"]
    assert metadata["agent_type"] == "goose"
    assert metadata["agent_id"].startswith("goose@")
    assert "model" not in metadata
    assert not set(operator.values()) & set(metadata.values())


HEADERS = {
    "X-Keito-Agent-Id": "ci-bot",
    "X-Keito-Agent-Type": "ci",
    "X-Keito-Session-Id": "run-42",
    "X-Keito-Model": "gpt-5.5",
}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_headers_say_who_works_and_separate_sessions(
    plain_desk: Desk, keito: Keito, transport: str, mode: str
) -> None:
    another = {**HEADERS, "X-Keito-Session-Id": "run-43"}
    async with (
        serving(plain_desk.server) as url,
        connected(url, transport, mode, headers=HEADERS) as agent,
        connected(url, transport, mode, headers=another) as other,
    ):
        started = await agent.call("start_timer")
        assert (await other.call("start_timer"))["id"] != started["id"]
        [content] = (await agent.client.read_resource("keito://session")).contents
        assert isinstance(content, TextResourceContents)
        shown = json.loads(content.text)
        assert (await other.call("discard_session"))["session_id"] == "run-43"
    identity = {"agent_id": "ci-bot", "agent_type": "ci", "session_id": "run-42", "model": "gpt-5.5"}
    metadata = keito.entry(started["id"])["metadata"]
    assert {field: metadata[field] for field in identity} == identity
    assert {field: shown["identity"][field]["source"] for field in identity} == {
        "agent_id": "X-Keito-Agent-Id",
        "agent_type": "X-Keito-Agent-Type",
        "session_id": "X-Keito-Session-Id",
        "model": "X-Keito-Model",
    }
    assert shown["running_timer"]["id"] == started["id"]


@pytest.mark.parametrize("value", ["", "x" * 201, "a\tb", "/etc/passwd", "\x7f"], ids=repr)
async def test_a_header_that_says_nothing_usable_is_as_if_it_were_not_there(
    plain_desk: Desk, keito: Keito, value: str
) -> None:
    async with (
        serving(plain_desk.server) as url,
        connected(url, "http", headers=dict.fromkeys(HEADERS, value)) as agent,
    ):
        await agent.call("log_time", hours=1)
    metadata = keito.body()["metadata"]
    assert metadata["agent_type"] == "claude-code"
    assert "model" not in metadata
    assert value not in metadata.values()


@pytest.mark.parametrize("forwarded", [None, "X-Forwarded-For", "Forwarded", "Via"])
async def test_a_claude_code_on_the_same_machine_is_found_in_its_files_unless_a_proxy_speaks_for_it(
    plain_desk: Desk, keito: Keito, tmp_path: Path, mode: str, forwarded: str | None
) -> None:
    ClaudeFiles(tmp_path / "home").write(tool_use_row(subagent=SUBAGENT), subagent=SUBAGENT)
    headers = {forwarded: "203.0.113.7"} if forwarded else {}
    async with serving(plain_desk.server) as url, connected(url, "http", mode, headers=headers) as agent:
        await agent.call("log_time", meta={"claudecode/toolUseId": TOOL_USE}, hours=1)
    metadata = keito.body()["metadata"]
    found = {"session_id": SESSION, "subagent_id": SUBAGENT, "model": "claude-sonnet-5-5"}
    assert {field: metadata.get(field) == value for field, value in found.items()} == dict.fromkeys(
        found, forwarded is None
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_session_resource_shows_the_running_timer_and_where_each_field_was_read(
    plain_desk: Desk, transport: str
) -> None:
    async with serving(plain_desk.server) as url, connected(url, transport) as agent:

        async def session() -> dict[str, Any]:
            [content] = (await agent.client.read_resource("keito://session")).contents
            assert isinstance(content, TextResourceContents)
            assert content.mime_type == "application/json"
            read: dict[str, Any] = json.loads(content.text)
            return read

        assert (await session())["running_timer"] is None
        started = await agent.call("start_timer", notes="Read the code")
        shown = await session()
        assert shown["running_timer"] == {
            "id": started["id"],
            "state": "running",
            "project_id": started["project_id"],
            "task_id": None,
            "notes": "Read the code",
            "started_at": "2026-03-06T12:00:00+00:00",
        }
        assert shown["unsettled_writes"] == []
        sources = {name: fact["source"] for name, fact in shown["identity"].items()}
        assert sources == {
            "agent_id": "default: agent_type@hostname",
            "agent_type": "clientInfo.name",
            "agent_version": "clientInfo.version",
            "session_id": "the HTTP session",
            "model": "not known",
        }
        assert shown["identity"]["session_id"]["value"] == started["session_id"]

        await agent.call("stop_timer")
        assert (await session())["running_timer"] is None


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_prompt_track_tells_how_to_track_the_work_that_is_named(plain_desk: Desk, transport: str) -> None:
    async with serving(plain_desk.server) as url, connected(url, transport) as agent:
        [prompt] = (await agent.client.list_prompts()).prompts
        assert prompt.name == "track"
        [message] = (await agent.client.get_prompt("track", {"work": "Fix the login"})).messages
    assert isinstance(message.content, TextContent)
    assert "Fix the login" in message.content.text
    assert all(tool in message.content.text for tool in ("start_timer", "stop_timer", "discard_session"))


STRANGERS = {
    "a foreign Host": ({"Host": "evil.example"}, 421),
    "a Host that begins like ours": ({"Host": "127.0.0.1.evil.example"}, 421),
    "a foreign Origin": ({"Origin": "https://evil.example"}, 403),
    "an Origin that begins like ours": ({"Origin": "http://localhost.evil.example"}, 403),
    "a null Origin": ({"Origin": "null"}, 403),
}


@pytest.mark.parametrize(("headers", "status"), STRANGERS.values(), ids=STRANGERS.keys())
async def test_a_request_that_a_web_page_could_send_is_refused_at_each_address(
    plain_desk: Desk, headers: dict[str, str], status: int
) -> None:
    messages = "/messages/?session_id=00000000000000000000000000000000"
    async with serving(plain_desk.server) as url, raw(url) as client:
        for path in ("/mcp", messages):
            assert (await client.post(path, headers=headers, json=GREETING)).status_code == status
        for path in ("/mcp", "/sse"):
            # Were it taken, the stream would not end.
            async with client.stream("GET", path, headers=headers) as stream:
                assert stream.status_code == status


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:{port}", "http://localhost:3000", "http://[::1]:3000"])
async def test_a_request_of_this_machine_is_taken(plain_desk: Desk, origin: str | None) -> None:
    async with serving(plain_desk.server) as url, raw(url) as client:
        port = url.rpartition(":")[2]
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost"):
            headers = {"Host": host} | ({"Origin": origin.format(port=port)} if origin else {})
            assert (await client.post("/mcp", headers=headers, json=GREETING)).status_code == 200


@pytest.mark.parametrize("host", ["::1", "localhost"])
async def test_other_names_of_this_machine_are_served_under_the_address_that_is_announced(
    plain_desk: Desk, host: str
) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no ::1")
    async with serving(plain_desk.server, host) as url, connected(url, "http", "auto") as agent:
        assert (await agent.call("log_time", hours=1))["status"] == "logged"


REACHABLE = ["0.0.0.0", "::", "192.0.2.1", "example.com", "127.0.0.1.example.com", ""]  # noqa: S104 -- refused


@pytest.mark.parametrize("host", REACHABLE)
async def test_an_address_that_others_can_reach_is_refused_before_anything_listens(
    plain_desk: Desk, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    def listen(*_: object, **__: object) -> None:
        raise AssertionError("it listens")

    monkeypatch.setattr(socket, "create_server", listen)
    announced: list[str] = []
    with pytest.raises(Refused):
        await serve_http(plain_desk.server, host=host, port=0, on_ready=announced.append)
    assert announced == []


async def test_the_command_refuses_an_address_that_others_can_reach_in_one_sentence() -> None:
    # The port is taken: that it isn't the reason shows that listening isn't even tried.
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104 -- this test wants everything taken
        result = await run("serve", "--host", "0.0.0.0", "--port", str(taken.getsockname()[1]))  # noqa: S104
    assert result.returncode == 1
    assert result.stdout == ""
    [sentence] = result.stderr.splitlines()
    assert "loopback" in sentence
    assert "0.0.0.0" in sentence  # noqa: S104


async def test_the_command_says_in_one_sentence_that_a_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = await run("serve", "--port", str(port))
    assert result.returncode == 1
    assert result.stdout == ""
    [sentence] = result.stderr.splitlines()
    assert f"127.0.0.1:{port}" in sentence
    assert "--port" in sentence


async def test_the_command_takes_neither_its_operators_identity_nor_its_repository_for_the_callers(
    keito: Keito, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    await anyio.run_process(["git", "init", "--quiet", str(repository)])
    settings = environment(
        keito,
        KEITO_SESSION_ID="operators-session",
        KEITO_AGENT_ID="operators-agent",
        KEITO_MODEL="operators-model",
        CLAUDE_PROJECT_DIR=str(repository),
    )
    async with (
        listening("serve", "--port", "0", env=settings, tmp_path=tmp_path) as server,
        connected(server.url, "http", "auto", name="goose") as agent,
    ):
        await agent.call("log_time", hours=1)
    metadata = keito.body()["metadata"]
    assert metadata.keys() == {"agent_id", "agent_type", "agent_version", "session_id", "entry_key", "client"}
    assert metadata["session_id"] != "operators-session"
    assert metadata["agent_id"].startswith("goose@")


async def test_the_command_serves_both_transports_and_ends_at_sigterm_without_a_word(
    keito: Keito, tmp_path: Path
) -> None:
    quiet = environment(keito, KEITO_LOG_LEVEL="WARNING")
    async with listening("serve", "--port", "0", env=quiet, tmp_path=tmp_path) as server:
        announcement = server.errors
        assert f"{server.url}/mcp" in announcement
        assert "/sse" in announcement
        async with connected(server.url, "http", "auto") as agent:
            logged = await agent.call("log_time", hours=1)
        async with connected(server.url, "sse") as agent:
            listed = await agent.call("list_entries")
        assert [row["id"] for row in listed["entries"]] == [logged["id"]]
        async with raw(server.url) as client, client.stream("GET", "/sse") as left:
            assert left.status_code == 200

        server.process.terminate()
        code, took = await gone(server.process)
    assert code == 0
    assert took < AFTER_SIGTERM
    assert server.errors == announcement


async def test_sigterm_ends_the_command_while_streams_are_open(keito: Keito, tmp_path: Path) -> None:
    async with (
        listening("serve", "--port", "0", env=environment(keito), tmp_path=tmp_path) as server,
        raw(server.url) as client,
    ):
        session = await client.post("/mcp", json=GREETING)
        headers = {"Mcp-Session-Id": session.headers["mcp-session-id"]}
        async with client.stream("GET", "/mcp", headers=headers) as http, client.stream("GET", "/sse") as sse:
            for stream in (http, sse):
                assert stream.status_code == 200
                assert stream.headers["content-type"].startswith("text/event-stream")
            server.process.send_signal(signal.SIGTERM)
            code, took = await gone(server.process)
    assert code == 0
    assert took < AFTER_SIGTERM
    assert "Traceback" not in server.errors


async def test_sigterm_ends_the_command_while_calls_of_both_eras_wait_for_keito(keito: Keito, tmp_path: Path) -> None:
    keito.fails("POST", hang=True, times=2)

    def call(notes: str, **params: Any) -> dict[str, Any]:
        params |= {"name": "log_time", "arguments": {"hours": 1, "notes": notes}}
        return {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}

    async with (
        listening("serve", "--port", "0", env=environment(keito), tmp_path=tmp_path) as server,
        raw(server.url) as client,
        anyio.create_task_group() as tasks,
    ):

        async def send(headers: dict[str, str], message: dict[str, Any]) -> None:
            with suppress(httpx.RemoteProtocolError):
                await client.post("/mcp", headers=headers, json=message)

        session = await client.post("/mcp", json=GREETING)
        legacy = {"Mcp-Session-Id": session.headers["mcp-session-id"], "MCP-Protocol-Version": LEGACY}
        await send(legacy, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        tasks.start_soon(send, legacy, call("legacy"))

        modern = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "log_time"}
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        tasks.start_soon(send, modern, call("modern", _meta=meta))

        await until(lambda: keito.methods == ["POST", "POST"])
        server.process.send_signal(signal.SIGTERM)
        code, took = await gone(server.process, within=6)
    assert code == 0
    assert took < AFTER_SIGTERM
    assert "Traceback" not in server.errors
