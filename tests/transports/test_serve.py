"""`keito-mcp serve` for a team, as the program that it is."""

import json
import os
import signal
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.kit import TEAM_KEYS, Keito, until
from tests.processes import Listener, environment, gone, listening, run
from tests.serving import GREETING, connected, raw

pytestmark = pytest.mark.anyio

ONE, ANOTHER = "made-up-token-of-one", "made-up-token-of-another"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def named(**tokens: str) -> str:
    return "".join(f"{name}:{sha256(token.encode()).hexdigest()}\n" for name, token in tokens.items())


def log_of(server: Listener) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.errors.splitlines() if line.startswith("{")]


async def test_tokens_in_the_environment_are_asked_for_without_being_told(keito: Keito, tmp_path: Path) -> None:
    settings = environment(keito, KEITO_MCP_TOKENS=f"{ONE},{ANOTHER}")
    async with listening("serve", "--port", "0", env=settings, tmp_path=tmp_path) as server:
        async with raw(server.url) as client:
            assert (await client.post("/mcp", json=GREETING)).status_code == 401
        async with connected(server.url, "http", "auto", headers=bearer(ANOTHER)) as agent:
            assert (await agent.call("log_time", hours=1))["status"] == "logged"
        server.process.terminate()
        code, _ = await gone(server.process)
    assert code == 0
    assert len(keito.entries()) == 1


@pytest.mark.skipif(os.name != "posix", reason="the signals of POSIX")
async def test_sighup_lets_in_who_is_new_in_the_file_and_ends_the_streams_of_who_is_gone(
    keito: Keito, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text(named(one=ONE))
    settings = environment(keito, KEITO_MCP_TOKENS=str(file))
    async with (
        listening("serve", "--port", "0", "--auth", "token", env=settings, tmp_path=tmp_path) as server,
        raw(server.url) as client,
        client.stream("GET", "/sse", headers=bearer(ONE)) as stream,
    ):

        async def status(token: str) -> int:
            return (await client.post("/mcp", json=GREETING, headers=bearer(token))).status_code

        assert (stream.status_code, await status(ONE), await status(ANOTHER)) == (200, 200, 401)
        file.write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "line 1" in server.errors)
        assert await status(ONE) == 200

        file.write_text(named(another=ANOTHER))
        server.process.send_signal(signal.SIGHUP)
        with anyio.fail_after(10):
            async for _ in stream.aiter_lines():
                pass
        assert (await status(ONE), await status(ANOTHER)) == (401, 200)


async def test_the_access_log_says_who_called_what_and_holds_nothing_that_lets_anybody_in(
    keito: Keito, tmp_path: Path
) -> None:
    settings = environment(keito, KEITO_API_KEY=None)
    async with (
        listening("serve", "--port", "0", "--auth", "key", env=settings, tmp_path=tmp_path) as server,
        raw(server.url) as client,
    ):
        async with connected(server.url, "http", "auto", headers=bearer(TEAM_KEYS[0])) as agent:
            await agent.call("log_time", hours=1, notes="A secret of the client")
        async with connected(server.url, "sse", headers=bearer(TEAM_KEYS[0])) as agent:
            await agent.call("list_entries")
        await client.post("/mcp?token=query-secret", json=GREETING, headers=bearer("keito sk wrong"))
        await until(lambda: any(line.get("status") == 401 for line in log_of(server)))
        log = log_of(server)
    [called] = [line for line in log if line.get("name") == "log_time"]
    assert (called["method"], called["path"], called["rpc"], called["status"]) == ("POST", "/mcp", "tools/call", 200)
    assert called["client"] == "127.0.0.1"
    assert called["ms"] > 0
    assert called.keys() == {"time", "client", "caller", "method", "path", "rpc", "name", "status", "ms"}
    assert len({line.get("caller") for line in log if line["status"] == 200}) == 1
    assert {line["path"] for line in log} >= {"/mcp", "/sse", "/messages/"}
    for secret in (TEAM_KEYS[0], "session_id", "query-secret", "sk wrong", "A secret of the client"):
        assert secret not in server.errors


@pytest.mark.parametrize(
    ("options", "client"),
    [
        ([], "127.0.0.1"),
        (["--trusted-proxy", "127.0.0.1"], "203.0.113.7"),
        (["--trusted-proxy", "127.0.0.0/8"], "203.0.113.7"),
        (["--trusted-proxy", "192.0.2.1"], "127.0.0.1"),
    ],
    ids=["nobody", "an address", "a network", "another address"],
)
async def test_only_a_proxy_that_is_trusted_may_say_where_a_request_comes_from(
    keito: Keito, tmp_path: Path, options: list[str], client: str
) -> None:
    forwarded = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7", "X-Forwarded-Proto": "https"}
    async with (
        listening("serve", "--port", "0", *options, env=environment(keito), tmp_path=tmp_path) as server,
        raw(server.url) as http,
    ):
        await http.get("/healthz", headers=forwarded)
        await until(lambda: log_of(server))
        [line] = log_of(server)
    assert line["client"] == client


async def test_an_address_that_others_reach_is_served_to_those_with_a_token(keito: Keito, tmp_path: Path) -> None:
    settings = environment(keito, KEITO_MCP_TOKENS=ONE)
    options = ["--host", "0.0.0.0", "--allowed-host", "keito.example.com"]  # noqa: S104 -- what is tested
    async with listening("serve", "--port", "0", *options, env=settings, tmp_path=tmp_path) as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 -- the same
        async with raw(url) as client:
            headers = {**bearer(ONE), "Host": "keito.example.com"}
            assert (await client.post("/mcp", json=GREETING, headers=headers)).status_code == 200
        assert "keito.example.com" in server.errors.splitlines()[0]


REFUSED: dict[str, tuple[list[str], dict[str, str], str]] = {
    "an address for everybody": (["--host", "0.0.0.0"], {}, "--auth token"),  # noqa: S104 -- refused
    "tokens that aren't there": (["--auth", "token"], {}, "KEITO_MCP_TOKENS"),
    "a token to guess": ([], {"KEITO_MCP_TOKENS": "short"}, "16 or more"),
    "a file that isn't there": ([], {"KEITO_MCP_TOKENS": "/nowhere/tokens"}, "can't be read"),
}


@pytest.mark.parametrize(("options", "settings", "why"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_server_that_would_let_in_the_wrong_ones_does_not_start_and_says_why_in_one_sentence(
    options: list[str], settings: dict[str, str], why: str
) -> None:
    result = await run("serve", "--port", "0", *options, env=environment(None, **settings))
    assert result.returncode == 1
    assert result.stdout == ""
    [sentence] = result.stderr.splitlines()
    assert why in sentence


@pytest.mark.parametrize(
    "options", [["--trusted-proxy", "everybody"], ["--max-sessions", "0"], ["--auth", "oauth"]], ids=" ".join
)
async def test_an_option_that_is_none_is_wrong_usage(options: list[str]) -> None:
    result = await run("serve", *options)
    assert result.returncode == 2
    assert options[0] in result.stderr


async def test_the_embedded_keito_serves_a_team_too(tmp_path: Path) -> None:
    settings = environment(KEITO_MCP_TOKENS=ONE)
    async with (
        listening("serve", "--sandbox", "--port", "0", env=settings, tmp_path=tmp_path) as server,
        connected(server.url, "http", "auto", headers=bearer(ONE)) as agent,
    ):
        assert (await agent.call("log_time", hours=1))["status"] == "logged"
        assert len((await agent.call("list_entries"))["entries"]) == 1


async def test_an_operator_undoes_what_a_token_discarded_and_nothing_of_anothers(keito: Keito, tmp_path: Path) -> None:
    settings = environment(keito, KEITO_MCP_TOKENS=named(one=ONE, another=ANOTHER).strip().replace("\n", ","))
    about = {"meta": {"ai.keito/session_id": "session-1"}}
    async with listening("serve", "--port", "0", env=settings, tmp_path=tmp_path) as server:
        for token in (ONE, ANOTHER):
            async with connected(server.url, "http", "auto", headers=bearer(token)) as agent:
                await agent.call("log_time", hours=1, notes=f"Work of {token}", **about)
                await agent.call("discard_session", **about)
    assert keito.entries() == []
    restored = await run("restore", "session-1", "--token", "one", env=settings, cwd=tmp_path)
    assert restored.returncode == 0, restored.stderr
    assert [entry["notes"] for entry in keito.entries()] == [f"Work of {ONE}"]
    shown = await run("sessions", "--token", "another", "--json", env=settings, cwd=tmp_path)
    [session] = json.loads(shown.stdout)
    assert (session["session_id"], len(session["discarded"])) == ("session-1", 1)
    discarded = await run("discard", "session-1", "--token", "another", env=settings, cwd=tmp_path)
    assert discarded.returncode == 0, discarded.stdout
    assert len(keito.entries()) == 1
