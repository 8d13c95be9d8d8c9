import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import Implementation

from keito_mcp.version import __version__
from tests.kit import KEY, PROJECT, Agent, Keito
from tests.processes import LEGACY, MODERN, PATIENCE, PROGRAM, environment, gone, refusing_port, spawned, wire

pytestmark = pytest.mark.anyio

ENTRIES = "/v1/time-entries"
TOOLS = {"start_timer", "stop_timer", "log_time", "list_entries", "discard_session"}
INVALID = {
    "a time zone that doesn't exist": {"KEITO_TIMEZONE": "Mars/Olympus"},
    "a key with a line break": {"KEITO_API_KEY": f"{KEY}\nx"},
}


@asynccontextmanager
async def host(
    tmp_path: Path, env: dict[str, str], mode: str, *arguments: str
) -> AsyncIterator[tuple[Agent, Client, Path]]:
    """The SDK's client and the server that it started; the server's stderr is kept in a file."""
    command, *module = PROGRAM
    parameters = StdioServerParameters(command=command, args=[*module, *arguments], env=env, cwd=tmp_path)
    log = tmp_path / "stderr"
    info = Implementation(name="claude-code", version="2.1.330")
    with log.open("w") as stderr:
        transport = stdio_client(parameters, errlog=stderr)
        async with Client(transport, mode=mode, client_info=info, read_timeout_seconds=PATIENCE) as client:
            yield Agent(client), client, log


def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def same_day(spent_date: object, before: date) -> bool:
    return date.fromisoformat(str(spent_date)) in {before, datetime.now(UTC).date()}


async def test_each_tool_sends_keito_as_many_requests_as_the_design_allows(
    keito: Keito, tmp_path: Path, mode: str
) -> None:
    settings = environment(keito, KEITO_SESSION_ID="session-1")
    async with host(tmp_path, settings, mode) as (agent, client, log):
        assert client.protocol_version == (MODERN if mode == "auto" else LEGACY)

        started = await agent.call("start_timer", notes="Read the code")
        assert started["status"] == "running"
        assert keito.sent == [("POST", ENTRIES)]

        keito.requests.clear()
        stopped = await agent.call("stop_timer")
        assert (stopped["id"], stopped["status"]) == (started["id"], "stopped")
        assert keito.sent == [("GET", f"{ENTRIES}/{started['id']}"), ("PATCH", f"{ENTRIES}/{started['id']}")]

        keito.requests.clear()
        logged = await agent.call("log_time", hours=1.5, notes="Refactored the login")
        assert (logged["status"], logged["hours"]) == ("logged", 1.5)
        assert keito.sent == [("POST", ENTRIES)]

        keito.requests.clear()
        listed = await agent.call("list_entries")
        assert [row["id"] for row in listed["entries"]] == [logged["id"], started["id"]]
        assert keito.sent == [("GET", ENTRIES)]

        keito.requests.clear()
        discarded = await agent.call("discard_session", reason="it failed")
        assert sorted(discarded["discarded"]) == sorted([started["id"], logged["id"]])
        assert keito.methods == ["GET", "DELETE", "DELETE"]
        assert keito.entries() == []
    assert log.read_text() == ""


async def test_nothing_is_sent_or_stored_before_the_first_tool_call(keito: Keito, tmp_path: Path, mode: str) -> None:
    async with host(tmp_path, environment(keito), mode) as (_, client, log):
        tools = await client.list_tools()
        assert {tool.name for tool in tools.tools} == TOOLS
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["track"]
        resources = (await client.list_resources()).resources
        assert [str(one.uri) for one in resources] == ["keito://session", "keito://projects", "keito://tasks"]
        assert client.server_info is not None
        assert (client.server_info.name, client.server_info.version) == ("keito-mcp", __version__)
        assert "billable" in (client.instructions or "")

        assert keito.requests == []
        assert not state(tmp_path).exists()
    assert log.read_text() == ""


async def test_keito_receives_the_documented_bodies_with_the_identity_filled_in(keito: Keito, tmp_path: Path) -> None:
    settings = environment(
        keito,
        KEITO_AGENT_ID="review-bot-01",
        KEITO_SESSION_ID="session-1",
        KEITO_MODEL="claude-opus-4-6",
        KEITO_TASK_ID="tsk_001",
    )
    identity = {
        "agent_id": "review-bot-01",
        "agent_type": "claude-code",
        "session_id": "session-1",
        "model": "claude-opus-4-6",
        "agent_version": "2.1.330",
        "client": f"keito-mcp/{__version__}",
    }
    async with host(tmp_path, settings, "auto") as (agent, _, _log):
        await agent.call(
            "log_time",
            hours=1.5,
            spent_date="2026-03-06",
            notes="Refactored authentication module",
            is_billable=False,
            metadata={"ticket": "KEI-1"},
        )
        body = keito.body()
        assert body["metadata"].pop("entry_key")
        assert body == {
            "project_id": PROJECT,
            "task_id": "tsk_001",
            "spent_date": "2026-03-06",
            "hours": 1.5,
            "notes": "Refactored authentication module",
            "is_billable": False,
            "source": "agent",
            "metadata": {**identity, "ticket": "KEI-1"},
        }

        today = datetime.now(UTC).date()
        await agent.call("start_timer", project_id="prj_other", task_id="tsk_2")
        body = keito.body()
        assert same_day(body.pop("spent_date"), today)
        assert body["metadata"].pop("entry_key")
        assert body["metadata"].pop("started_at").endswith("Z")
        assert body == {
            "project_id": "prj_other",
            "task_id": "tsk_2",
            "is_running": True,
            "source": "agent",
            "metadata": identity,
        }

        await agent.call("stop_timer", hours=0.25, notes="Done")
        assert keito.body() == {"hours": 0.25, "is_running": False, "notes": "Done"}

    posts = [request for request in keito.requests if request.method == "POST"]
    assert len({request.headers["idempotency-key"] for request in posts}) == 2


async def test_stdout_carries_nothing_but_json_rpc_at_any_log_level(keito: Keito, tmp_path: Path, mode: str) -> None:
    level = "DEBUG" if mode == "auto" else None
    settings = environment(keito, KEITO_SESSION_ID="session-1", KEITO_LOG_LEVEL=level)
    async with wire(env=settings, tmp_path=tmp_path, mode=mode) as server:
        await server.greet()
        await server.ask("tools/list")
        await server.done("log_time", hours=1, notes="one")
        keito.fails("POST", status=422)
        await server.refused("log_time", hours=1, notes="two")
        await server.done("discard_session")
        assert await server.end() == 0

    messages = [json.loads(line) for line in server.lines]
    assert len(messages) >= 5
    assert all(message["jsonrpc"] == "2.0" for message in messages)
    if level is None:
        assert server.errors == ""


async def test_the_log_level_debug_writes_to_stderr(keito: Keito, tmp_path: Path) -> None:
    async with wire(env=environment(keito, KEITO_LOG_LEVEL="DEBUG"), tmp_path=tmp_path) as server:
        await server.done("list_entries")
        assert await server.end() == 0

    assert server.errors != ""


async def test_without_a_key_the_server_starts_and_each_tool_names_the_setting(keito: Keito, tmp_path: Path) -> None:
    settings = environment(keito, KEITO_API_KEY=None)
    async with host(tmp_path, settings, "legacy") as (agent, client, log):
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
        calls: list[tuple[str, dict[str, Any]]] = [
            ("start_timer", {}),
            ("stop_timer", {}),
            ("log_time", {"hours": 1}),
            ("list_entries", {}),
            ("discard_session", {}),
        ]
        for tool, arguments in calls:
            answer = await agent.call(tool, **arguments)
            assert answer.is_error
            assert answer.text.startswith("KEITO_API_KEY is not set")
            assert "Nothing was sent to Keito" in answer.text
    assert keito.requests == []
    assert log.read_text() == ""


@pytest.mark.parametrize("settings", INVALID.values(), ids=INVALID.keys())
async def test_with_a_setting_that_cant_be_used_the_server_starts_and_the_tool_names_it(
    keito: Keito, tmp_path: Path, settings: dict[str, str]
) -> None:
    [name] = settings
    async with wire(env=environment(keito, **settings), tmp_path=tmp_path, mode="legacy") as server:
        await server.greet()
        assert len((await server.ask("tools/list"))["tools"]) == 5
        text = await server.refused("log_time", hours=1)
        assert text.startswith(name)
        assert "Nothing was sent to Keito" in text
        assert await server.end() == 0
    assert keito.requests == []
    assert KEY not in text + server.errors
    assert server.errors == ""


async def test_with_keito_down_the_server_starts_and_the_tool_says_that_the_write_is_queued(tmp_path: Path) -> None:
    with refusing_port() as port:
        settings = environment(KEITO_API_KEY=KEY, KEITO_PROJECT_ID=PROJECT, KEITO_API_URL=f"http://127.0.0.1:{port}")
        async with wire(env=settings, tmp_path=tmp_path, mode="legacy") as server:
            await server.greet()
            assert len((await server.ask("tools/list"))["tools"]) == 5
            answer = await server.done("log_time", hours=1)
            assert answer["status"] == "queued"
            assert "Keito can't be reached" in answer["message"]
            assert await server.end() == 0
    assert server.errors == ""


@pytest.mark.parametrize("embedded", [False, True], ids=["a Keito elsewhere", "the embedded Keito"])
async def test_with_a_state_folder_that_cant_be_written_the_tool_names_the_variable(
    keito: Keito, tmp_path: Path, *, embedded: bool
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "state"
    settings = environment(keito, KEITO_STATE_DIR=str(folder))
    arguments = ["--sandbox"] if embedded else []
    async with wire(*arguments, env=settings, tmp_path=tmp_path) as server:
        await server.greet()
        assert len((await server.ask("tools/list"))["tools"]) == 5
        text = await server.refused("log_time", hours=1)
        assert str(folder) in text
        assert "KEITO_STATE_DIR" in text
        assert "Nothing was sent to Keito" in text
        assert await server.end() == 0
    assert keito.requests == []
    assert server.errors == ""


MALFORMED = {
    "garbage": b"GET / HTTP/1.1",
    "an empty line": b"",
    "half a message": b'{"jsonrpc": "2.0", "id": 900, "method": "tools/li',
    "invalid UTF-8": b"\xff\xfe\x80\x00",
    "a batch": b'[{"jsonrpc": "2.0", "id": 901, "method": "tools/list"}]',
    "JSON that is no message": b'{"hours": 1}',
    "a number": b"7",
    "nesting without end": b"[" * 100_000,
}


async def test_the_server_goes_on_answering_after_lines_that_are_no_messages_and_an_unknown_method(
    keito: Keito, tmp_path: Path
) -> None:
    async with wire(env=environment(keito), tmp_path=tmp_path, mode="legacy") as server:
        await server.greet()
        for line in MALFORMED.values():
            await server.write(line)
            assert len((await server.ask("tools/list"))["tools"]) == 5
        unknown = await server.answer(await server.send("keito/destroy"))
        assert unknown["error"]["code"] == -32601
        await server.done("log_time", hours=1)
        assert await server.end() == 0
    assert keito.methods == ["POST"]
    assert "Traceback" not in server.errors
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in server.lines)


async def test_a_first_line_that_is_no_message_doesnt_keep_a_host_from_connecting(keito: Keito, tmp_path: Path) -> None:
    async with wire(env=environment(keito), tmp_path=tmp_path) as server:
        await server.write(MALFORMED["garbage"])
        await server.greet()
        assert len((await server.ask("tools/list"))["tools"]) == 5


async def test_notes_of_ten_megabytes_are_refused_as_an_argument_and_nothing_is_sent(
    keito: Keito, tmp_path: Path
) -> None:
    async with wire(env=environment(keito), tmp_path=tmp_path) as server:
        await server.greet()
        text = await server.refused("log_time", hours=1, notes="x" * 10_000_000)
        assert text.startswith("notes must have at most 10000 characters")
        assert len(text) < 500
        assert keito.requests == []

        assert (await server.done("log_time", hours=1, notes="ä" * 10_000))["status"] == "logged"
        assert await server.end() == 0
    assert keito.body()["notes"] == "ä" * 10_000
    assert server.errors == ""


async def test_the_key_is_on_neither_stream_and_not_on_disk_whatever_fails(keito: Keito, tmp_path: Path) -> None:
    others_key = "keito_sk_nobody_knows_this_one"
    settings = environment(keito, KEITO_LOG_LEVEL="DEBUG")
    keito.fails("POST", status=500, body="oops")
    keito.fails(
        "POST", status=403, body=json.dumps({"error": {"code": "authorization_error", "message": "the key is bad"}})
    )
    keito.fails("POST", status=302)
    keito.fails("POST", cut_before=True)
    async with (
        wire(env=settings, tmp_path=tmp_path) as server,
        wire(env={**settings, "KEITO_API_KEY": others_key}, tmp_path=tmp_path, mode="legacy") as stranger,
    ):
        assert (await server.done("log_time", hours=1, notes="failed"))["status"] == "queued"
        await server.refused("log_time", hours=1, notes="forbidden")
        for notes in ("moved", "cut"):
            assert (await server.done("log_time", hours=1, notes=notes))["status"] == "queued"
        await server.done("log_time", hours=1, notes="more")
        await server.ask("resources/read", {"uri": "keito://session"})
        await stranger.greet()
        assert "401" in await stranger.refused("log_time", hours=1)
        assert "401" in await stranger.refused("list_entries")
        assert await server.end() == 0
        assert await stranger.end() == 0
    stored = b"".join(file.read_bytes() for file in state(tmp_path).iterdir())
    for key in (KEY, others_key):
        assert key.encode() not in server.said + stranger.said + stored
        assert key not in server.errors + stranger.errors


@pytest.mark.parametrize("ends", ["its reading end", "both ends"])
async def test_a_host_that_closes_its_end_ends_the_server_quietly(keito: Keito, tmp_path: Path, ends: str) -> None:
    heard, written = os.pipe()
    with os.fdopen(heard, "rb") as stdout, (tmp_path / "stderr").open("wb") as stderr:
        process = await anyio.open_process(PROGRAM, stdout=written, stderr=stderr, env=environment(keito), cwd=tmp_path)
        os.close(written)
        async with spawned(process):
            assert process.stdin is not None
            await process.stdin.send(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
            with anyio.fail_after(PATIENCE):
                await anyio.wait_readable(stdout)
            stdout.close()
            await process.stdin.send(b'{"jsonrpc": "2.0", "id": 2, "method": "ping"}\n')
            if ends == "both ends":
                await process.stdin.aclose()
            code, took = await gone(process, within=2)
    assert code == 0
    assert took < 1
    assert (tmp_path / "stderr").read_text() == ""


async def test_a_child_of_the_server_eats_nothing_of_what_the_host_says_and_each_call_is_answered(
    keito: Keito, tmp_path: Path
) -> None:
    eaten = tmp_path / "eaten"
    eaten.touch()
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text(
        f"""#!/bin/sh
        [ -c /dev/stdin ] || echo "what it reads is not /dev/null" >> "{eaten}"
        cat >> "{eaten}"
        echo "{tmp_path}"
        echo noise >&2
        """
    )
    git.chmod(0o755)
    settings = environment(keito, PATH=f"{git.parent}{os.pathsep}{os.environ['PATH']}")
    async with wire(env=settings, tmp_path=tmp_path) as server:
        sent = {await server.start("log_time", hours=1, notes=f"work {number}"): number for number in range(5)}
        for message_id, number in sent.items():
            message = await server.answer(message_id)
            assert message["result"]["structuredContent"]["notes"] == f"work {number}"
        assert await server.end() == 0
    assert eaten.read_text() == ""
    assert len(keito.entries()) == 5
    assert server.errors == ""


async def test_a_timer_survives_the_end_of_its_process_and_is_stopped_by_the_next(keito: Keito, tmp_path: Path) -> None:
    settings = environment(keito, KEITO_SESSION_ID="session-1", KEITO_AGENT_ID="tester")
    async with (
        wire(env=settings, tmp_path=tmp_path, mode="auto") as first,
        wire(env=settings, tmp_path=tmp_path, mode="legacy") as second,
    ):
        started = await first.done("start_timer")
        assert await first.end() == 0
        await second.greet()
        stopped = await second.done("stop_timer")
    assert (stopped["id"], stopped["status"]) == (started["id"], "stopped")
    assert keito.methods == ["POST", "GET", "PATCH"]
