"""What is one principal's is nobody else's: by no argument, header, cursor, id or session."""

import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from mcp.types import TextResourceContents

from keito_mcp.sandbox import user_of
from tests.kit import KEY, TEAM_KEYS, Keito, MakeDesk, until
from tests.serving import GREETING, TRANSPORTS, raw
from tests.transports.team import TOKENS, Team, team

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["token", "key"])
def a_team(make_desk: MakeDesk, request: pytest.FixtureRequest) -> Team:
    return team(make_desk, request.param)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_two_principals_that_say_the_same_of_themselves_have_a_timer_each(
    a_team: Team, keito: Keito, transport: str, mode: str
) -> None:
    async with (
        a_team.serving(),
        a_team.agent(a_team.alice, transport, mode) as alice,
        a_team.agent(a_team.bob, transport, mode) as bob,
    ):
        hers = await alice.call("start_timer", notes="The same work")
        his = await bob.call("start_timer", notes="The same work")
        assert (hers["status"], his["status"]) == ("running", "running")
        assert hers["id"] != his["id"]
        assert (await alice.call("start_timer", notes="The same work"))["id"] == hers["id"]

        assert (await bob.call("stop_timer"))["id"] == his["id"]
        assert keito.entry(hers["id"])["is_running"] is True
        assert (await bob.call("stop_timer"))["status"] == "already_stopped"
        assert (await bob.call("log_time", hours=1))["status"] == "logged"
        assert (await alice.call("log_time", hours=1))["status"] == "logged"
    assert len(keito.entries()) == 4


async def test_nothing_of_another_principal_is_listed_by_any_argument(a_team: Team, keito: Keito) -> None:
    async with a_team.serving(), a_team.agent(a_team.alice) as alice, a_team.agent(a_team.bob) as bob:
        hers = {(await alice.call("log_time", hours=1, notes=f"Her work {number}"))["id"] for number in range(3)}
        running = await alice.call("start_timer", notes="Her timer")
        mine = await bob.call("log_time", hours=2, notes="His work")
        filters: list[dict[str, Any]] = [
            {},
            {"source": "any"},
            {"session_id": "session-1"},
            {"session_id": "current", "source": "any"},
            {"project_id": running["project_id"], "source": "any"},
            {"user_id": keito.entry(running["id"])["user_id"]},
            {"is_running": True},
            {"limit": 1},
            {"from_date": "2026-03-01", "to_date": "2026-03-31", "source": "any"},
        ]
        for arguments in filters:
            listed = await bob.call("list_entries", **arguments)
            assert {row["id"] for row in listed["entries"]} <= {mine["id"]}, arguments

        page = await alice.call("list_entries", limit=2)
        assert page["has_more"] is True
        stolen = await bob.call("list_entries", cursor=page["next_cursor"])
        assert not {row["id"] for row in stolen["entries"]} & {*hers, running["id"]}
        rest = await alice.call("list_entries", cursor=page["next_cursor"])
        assert {row["id"] for row in [*page["entries"], *rest["entries"]]} == {*hers, running["id"]}


async def test_nothing_of_another_principal_is_stopped_changed_or_discarded_by_any_argument(
    a_team: Team, keito: Keito
) -> None:
    async with a_team.serving(), a_team.agent(a_team.alice) as alice, a_team.agent(a_team.bob) as bob:
        timer = await alice.call("start_timer", notes="Her timer")
        logged = await alice.call("log_time", hours=1)
        before = keito.entries()

        for entry in (timer, logged):
            refused = await bob.call("stop_timer", entry_id=entry["id"], hours=9, notes="Mine now")
            assert refused.is_error
            # Exactly what is said of an entry that doesn't exist.
            invented = await bob.call("stop_timer", entry_id="te_0000000000000000", hours=9, notes="Mine now")
            assert refused.text.replace(entry["id"], "te_0000000000000000") == invented.text
        assert (await bob.call("stop_timer")).is_error
        assert (await bob.call("start_timer", replace_running=True, notes="His timer"))["status"] == "running"
        for session in ("current", "session-1"):
            discarded = await bob.call("discard_session", session_id=session, meta={"ai.keito/agent_id": "agent"})
            assert not {timer["id"], logged["id"]} & set(discarded["discarded"])
            assert discarded["kept"] == []
        assert [entry for entry in keito.entries() if entry["id"] in {timer["id"], logged["id"]}] == before
        assert (await alice.call("stop_timer"))["id"] == timer["id"]


async def test_a_principal_can_not_be_named_in_metadata(a_team: Team, keito: Keito) -> None:
    async with a_team.serving(), a_team.agent(a_team.alice) as alice, a_team.agent(a_team.bob) as bob:
        hers = await alice.call("log_time", hours=1)
        mark = keito.entry(hers["id"])["metadata"]["principal"]
        forged = await bob.call("log_time", hours=2, metadata={"principal": mark})
        assert keito.entry(forged["id"])["metadata"]["principal"] != mark
        listed = await alice.call("list_entries", source="any")
        assert [row["id"] for row in listed["entries"]] == [hers["id"]]


async def test_the_session_resource_shows_a_principal_only_its_own(a_team: Team, keito: Keito) -> None:
    async with a_team.serving(), a_team.agent(a_team.alice) as alice, a_team.agent(a_team.bob) as bob:
        await alice.call("start_timer", notes="Her timer")
        async with keito.away():
            await alice.call("log_time", hours=1)
            [content] = (await bob.client.read_resource("keito://session")).contents
    assert isinstance(content, TextResourceContents)
    shown = json.loads(content.text)
    assert (shown["running_timer"], shown["unsettled_writes"]) == (None, [])


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_session_of_the_transport_serves_only_who_opened_it(a_team: Team, transport: str) -> None:
    async with a_team.serving(), raw(a_team.url) as client:
        hers, his = a_team.headers(a_team.alice), a_team.headers(a_team.bob)
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        if transport == "http":
            opened = await client.post("/mcp", json=GREETING, headers=hers)
            session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
            invented = {"Mcp-Session-Id": "0" * 32}
            stolen = await client.post("/mcp", json=call, headers={**his, **session})
            none = await client.post("/mcp", json=call, headers={**his, **invented})
            assert (stolen.status_code, stolen.content) == (none.status_code, none.content)
            assert stolen.status_code == 404
            assert (await client.delete("/mcp", headers={**his, **session})).status_code == 404
            async with client.stream("GET", "/mcp", headers={**his, **session}) as stream:
                assert stream.status_code == 404
            assert (await client.post("/mcp", json=call, headers={**hers, **session})).status_code == 200
            return
        async with client.stream("GET", "/sse", headers=hers) as stream:
            lines = stream.aiter_lines()
            address = ""
            while not address.startswith("data: "):
                address = await anext(lines)
            path = address.removeprefix("data: ")
            assert (await client.post(path, json=GREETING, headers=his)).status_code == 404
            assert (await client.post(path, json=GREETING, headers=hers)).status_code == 202


async def test_a_key_goes_to_keito_with_its_own_calls_alone_and_stays_nowhere(
    make_desk: MakeDesk, keito: Keito, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    a_team = team(make_desk, "key")
    async with a_team.serving(), a_team.agent(a_team.alice) as alice, a_team.agent(a_team.bob) as bob:
        await alice.call("log_time", hours=1)
        await bob.call("log_time", hours=2)
        await alice.call("start_timer")
        folder = a_team.desk.runtime.settings.folder
    users = [entry["user_id"] for entry in keito.entries()]
    assert users == [user_of(key) for key in (TEAM_KEYS[0], TEAM_KEYS[1], TEAM_KEYS[0])]
    journal = b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())
    logged = "\n".join(record.getMessage() for record in caplog.records)
    for key in TEAM_KEYS[:2]:
        assert key.encode() not in journal
        assert key not in logged


async def test_a_token_does_not_go_to_keito(make_desk: MakeDesk, keito: Keito) -> None:
    a_team = team(make_desk, "token")
    async with a_team.serving(), a_team.agent(a_team.alice) as alice:
        await alice.call("log_time", hours=1)
    assert [entry["user_id"] for entry in keito.entries()] == [user_of(KEY)]
    assert not any(token in str(request) for request in keito.requests for token in TOKENS)


async def test_what_a_key_left_waiting_is_delivered_with_its_next_call_and_with_nobody_elses(
    make_desk: MakeDesk, keito: Keito
) -> None:
    a_team = team(make_desk, "key")
    async with a_team.serving(), a_team.agent(a_team.alice) as alice, a_team.agent(a_team.bob) as bob:
        async with keito.away():
            waiting = await alice.call("log_time", hours=1, notes="While Keito was away")
            assert waiting["status"] == "queued"
            assert "with your next call" in waiting["message"]
        keito.clock.pass_time(timedelta(minutes=1))
        await bob.call("list_entries")
        assert keito.entries() == []
        await alice.call("list_entries")
        [entry] = keito.entries()
    assert entry["notes"] == "While Keito was away"


async def test_what_a_token_left_waiting_is_delivered_by_itself(make_desk: MakeDesk, keito: Keito) -> None:
    a_team = team(make_desk, "token")
    async with a_team.serving(), a_team.agent(a_team.alice) as alice, a_team.agent(a_team.bob) as bob:
        async with keito.away():
            waiting = await alice.call("log_time", hours=1, notes="While Keito was away")
            assert waiting["status"] == "queued"
            assert "with your next call" not in waiting["message"]
        keito.clock.pass_time(timedelta(minutes=1))
        await bob.call("list_entries")
        await until(keito.entries)
    assert len(keito.entries()) == 1


async def test_a_key_that_keito_does_not_accept_is_the_callers_to_replace(make_desk: MakeDesk, keito: Keito) -> None:
    a_team = team(make_desk, "key")
    async with a_team.serving(), a_team.agent("keito_sk_unknown") as stranger:
        refused = await stranger.call("log_time", hours=1)
    assert refused.is_error
    assert "bearer token (401)" in refused.text
    assert "KEITO_API_KEY" not in refused.text
    assert keito.entries() == []


async def test_a_key_sees_what_no_principal_wrote_and_changes_nothing_of_it(make_desk: MakeDesk, keito: Keito) -> None:
    a_team = team(make_desk, "key")
    about: dict[str, Any] = {"project_id": "prj_abc", "spent_date": "2026-03-06", "hours": 1, "source": "agent"}
    own = await keito.person("POST", **about, metadata={"session_id": "session-1", "agent_id": "agent"})
    async with a_team.serving(), a_team.agent(a_team.alice) as alice:
        assert [row["id"] for row in (await alice.call("list_entries"))["entries"]] == [own["id"]]
        assert (await alice.call("stop_timer", entry_id=own["id"], hours=2)).is_error
        assert (await alice.call("discard_session"))["discarded"] == []
    assert keito.entry(own["id"])["hours"] == 1


async def test_a_token_sees_only_what_was_written_with_it(make_desk: MakeDesk, keito: Keito) -> None:
    a_team = team(make_desk, "token")
    await keito.person("POST", project_id="prj_abc", spent_date="2026-03-06", hours=1)
    async with a_team.serving(), a_team.agent(a_team.alice) as alice:
        assert (await alice.call("list_entries", source="any"))["entries"] == []


async def test_one_caller_too_many_at_a_time_is_told_so_and_nothing_is_sent(
    a_team: Team, keito: Keito, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keito_mcp.server.server.MOST_CALLS", 0)
    async with a_team.serving(), a_team.agent(a_team.alice) as alice:
        refused = await alice.call("log_time", hours=1)
        assert refused.is_error
        assert "wasn't begun" in refused.text
        monkeypatch.setattr("keito_mcp.server.server.MOST_CALLS", 1)
        assert (await alice.call("log_time", hours=1))["status"] == "logged"
    assert len(keito.entries()) == 1


async def test_a_caller_and_the_same_key_without_a_server_leave_each_others_entries_alone(
    make_desk: MakeDesk, keito: Keito
) -> None:
    a_team = team(make_desk, "key")
    alone = make_desk(api_key=a_team.alice, agent_id="agent", session_id="session-1")
    async with alone.client() as agent, a_team.serving(), a_team.agent(a_team.alice) as alice:
        keito.fails("POST", cut_after=True)
        keito.fails("GET", status=503, times=10)
        assert (await agent.call("log_time", hours=1, notes="Alone"))["status"] == "queued"
        keito.faults.clear()
        running = await agent.call("start_timer", notes="Alone, too")
        keito.clock.pass_time(timedelta(minutes=5))
        assert (await alice.call("stop_timer")).is_error
        await alice.call("list_entries")
        await alone.deliver_all()
        assert keito.entry(running["id"])["is_running"] is True
        assert (await agent.call("stop_timer"))["id"] == running["id"]
    assert sorted(entry["notes"] for entry in keito.entries()) == ["Alone", "Alone, too"]


async def test_a_principal_can_not_be_named_in_metadata_without_a_server_either(
    make_desk: MakeDesk, keito: Keito
) -> None:
    async with make_desk().client() as agent:
        logged = await agent.call("log_time", hours=1, metadata={"principal": "token bob", "hours_written": "1"})
    assert not {"principal", "hours_written"} & keito.entry(logged["id"])["metadata"].keys()
