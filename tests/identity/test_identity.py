import socket
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from keito_mcp.identity import Fact, Identity
from tests.identity.calls import call, identify

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""

MY_OWN = {
    "ai.keito/agent_id": "from meta",
    "ai.keito/agent_type": "type from meta",
    "ai.keito/session_id": "session from meta",
    "ai.keito/model": "model from meta",
}
OPERATOR = {"agent_id": "op", "agent_type": "op-type", "session_id": "op-session", "model": "op-model"}
FIELDS = ("agent_id", "agent_type", "session_id", "model")


# --- who says what, and who is believed ---


def test_the_operators_settings_win_over_everything() -> None:
    identity = identify(call(operator=OPERATOR, meta=MY_OWN, transport_session="http-session"))
    assert {field: identity.facts[field] for field in FIELDS} == {
        "agent_id": Fact("op", "KEITO_AGENT_ID"),
        "agent_type": Fact("op-type", "KEITO_AGENT_TYPE"),
        "session_id": Fact("op-session", "KEITO_SESSION_ID"),
        "model": Fact("op-model", "KEITO_MODEL"),
    }
    assert (identity.agent_id, identity.session_id, identity.session_is_certain) == ("op", "op-session", True)


def test_the_requests_own_meta_wins_over_the_client_and_the_fallbacks() -> None:
    identity = identify(call(meta=MY_OWN, transport_session="http-session"))
    assert {field: identity.facts[field] for field in FIELDS} == {
        "agent_id": Fact("from meta", "_meta ai.keito/agent_id"),
        "agent_type": Fact("type from meta", "_meta ai.keito/agent_type"),
        "session_id": Fact("session from meta", "_meta ai.keito/session_id"),
        "model": Fact("model from meta", "_meta ai.keito/model"),
    }
    assert identity.session_is_certain


def test_each_field_is_taken_from_the_first_source_that_knows_it() -> None:
    identity = identify(call(operator={"agent_id": "op"}, meta={"ai.keito/agent_id": "m", "ai.keito/model": "opus"}))
    sources = {field: fact.source for field, fact in identity.facts.items()}
    assert sources == {
        "agent_id": "KEITO_AGENT_ID",
        "model": "_meta ai.keito/model",
        "agent_type": "clientInfo.name",
        "agent_version": "clientInfo.version",
        "session_id": "made for this server process",
    }


def test_what_the_client_says_of_itself_is_the_kind_of_agent_and_its_version() -> None:
    identity = identify(call())
    assert identity.facts["agent_type"] == Fact("claude-code", "clientInfo.name")
    assert identity.facts["agent_version"] == Fact("2.1.330", "clientInfo.version")
    assert identity.value("model") is None
    assert identity.subagent_id == ""


def test_without_any_source_there_is_still_an_agent_and_a_session_of_this_process_neither_certain() -> None:
    identity = identify(call(client_name=None, client_version=None))
    assert identity.facts == {
        "agent_id": Fact(f"agent@{socket.gethostname()}", "default: agent_type@hostname", certain=False),
        "session_id": Fact("made-up-session", "made for this server process", certain=False),
    }
    assert not identity.session_is_certain


@pytest.mark.parametrize(
    ("known", "kind"),
    [
        ({}, "claude-code"),
        ({"meta": {"ai.keito/agent_type": "bot"}}, "bot"),
        ({"operator": {"agent_type": "nightly"}}, "nightly"),
        ({"client_name": None}, "agent"),
    ],
    ids=str,
)
def test_an_agent_without_a_name_is_named_for_its_kind_and_its_machine(known: dict[str, Any], kind: str) -> None:
    identity = identify(call(**known))
    assert identity.agent_id == f"{kind}@{socket.gethostname()}"[:200]
    assert not identity.facts["agent_id"].certain


def test_the_http_session_stands_in_for_a_session_that_nobody_names() -> None:
    identity = identify(call(transport_session="http-session"))
    assert identity.facts["session_id"] == Fact("http-session", "the HTTP session", certain=False)


# --- the client's name ---


@pytest.mark.parametrize(
    ("name", "agent_type"),
    [
        ("claude-code", "claude-code"),
        ("codex-mcp-client", "codex"),
        ("gemini-cli-mcp-client", "gemini-cli"),
        ("opencode", "opencode"),
        ("Visual Studio Code", "vscode"),
        ("cursor-vscode", "cursor"),
        ("claude-ai", "claude-desktop"),
        ("windsurf-client", "windsurf"),
        ("Zed", "zed"),
        ("Cline", "cline"),
        ("github-copilot-developer", "copilot-cli"),
        ("antigravity-client", "antigravity"),
        ("amp-mcp-client", "amp"),
        ("goose", "goose"),
        ("Roo-Code", "roo-code"),
        ("Kilo-Code", "kilo-code"),
        ("Q-DEV-CLI", "q-dev-cli"),
        ("continue-cli-client", "continue"),
        ("factory-cli", "factory"),
        ("crush", "crush"),
        ("My Own  Agent (beta) v2", "my-own-agent-beta-v2"),
        ("  --weird__name--  ", "weird-name"),
    ],
)
def test_a_clients_name_becomes_the_slug_that_people_know_it_by(name: str, agent_type: str) -> None:
    assert identify(call(client_name=name)).value("agent_type") == agent_type


@pytest.mark.parametrize("name", [None, "", "   ", "---", "日本語", "a\nb", "\x1b[31m", "n" * 201])
def test_a_name_that_says_nothing_usable_is_left_out_with_its_version(name: str | None) -> None:
    identity = identify(call(client_name=name))
    assert identity.value("agent_type") is None
    assert identity.value("agent_version") is None


@pytest.mark.parametrize("version", [None, "", " ", "1\n2", "9" * 201])
def test_a_version_that_is_not_usable_is_left_out_alone(version: str | None) -> None:
    identity = identify(call(client_version=version))
    assert identity.value("agent_type") == "claude-code"
    assert identity.value("agent_version") is None


# --- values that can't be used ---


@pytest.mark.parametrize(
    "value", [None, "", "  ", 7, True, 1.5, [], ["s"], {"id": "s"}, "a\nb", "\x00", "s" * 201, "\u202e"]
)
def test_a_value_that_is_not_usable_is_as_if_it_were_not_there(value: object) -> None:
    meta = {f"ai.keito/{field}": value for field in FIELDS}
    assert identify(call(meta=meta)).facts == identify(call()).facts


def test_a_value_is_taken_without_the_space_around_it_and_up_to_its_limit() -> None:
    meta = {"ai.keito/session_id": "  s-1 \n", "ai.keito/model": "m" * 200}
    identity = identify(call(meta=meta))
    assert identity.session_id == "s-1"
    assert identity.value("model") == "m" * 200


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
paths = st.sampled_from(
    ["/home/someone", "~/work", "C:\\work", "c:/work", "\\\\server\\share", "file:///home", "FILE:x"]
)
values = anything | st.text(max_size=250) | paths
turns = st.dictionaries(st.sampled_from(["session_id", "thread_id", "model", "turn_id"]), values)
OF_HOSTS = ["claudecode/toolUseId", "callId", "sessionId", "threadId", "vscode.conversationId", "progressToken"]
metas = st.builds(
    lambda meta, turn: {**meta, **({"x-codex-turn-metadata": turn} if turn is not None else {})},
    st.dictionaries(st.sampled_from([*MY_OWN, *OF_HOSTS]) | st.text(), values),
    st.none() | turns | values,
)
HEADERS = ["x-keito-agent-id", "x-keito-agent-type", "x-keito-session-id", "x-keito-model", "mcp-session-id"]
names = st.none() | st.sampled_from(["claude-code", "codex-mcp-client", "Visual Studio Code"]) | st.text(max_size=250)


def texts(value: object) -> set[str]:
    """Every text in a value, however deep, without the space around it."""
    if isinstance(value, str):
        return {value.strip()}
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else []
    return {text for part in inner for text in texts(part)}


# Lower-case, one of these letters is two characters.
@UNHURRIED
@example(meta={}, headers={}, name="İ" * 150, version=None)
@given(
    meta=metas,
    headers=st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=250) | paths),
    name=names | st.text("İßa-1 ", max_size=250) | paths,
    version=st.none() | st.text(max_size=250) | paths,
)
def test_whatever_a_request_says_each_value_is_a_printable_line_within_its_limit_no_path_and_no_model_unstated(
    meta: dict[str, Any], headers: dict[str, str], name: str | None, version: str | None
) -> None:
    identity = identify(call(meta=meta, headers=headers, client_name=name, client_version=version))
    assert {"agent_id", "session_id"} <= identity.facts.keys()
    for fact in identity.facts.values():
        assert fact.value.strip() == fact.value != ""
        assert fact.value.isprintable()
        assert len(fact.value) <= 200
        assert not fact.value.startswith(("/", "\\", "~"))
        assert fact.value[1:3] not in {":/", ":\\"}
        assert not fact.value.lower().startswith("file:")
    assert identity.value("model") in {None, *texts(meta), *texts(headers)}
    assert identity.call_id is None or (identity.call_id.isprintable() and len(identity.call_id) <= 250)


# --- the call's own id ---


@pytest.mark.parametrize(
    ("name", "meta", "call_id"),
    [
        ("claude-code", {}, None),
        ("claude-code", {"claudecode/toolUseId": "toolu_1"}, "claudecode/toolUseId:toolu_1"),
        ("codex-mcp-client", {"callId": "call_1"}, "callId:call_1"),
        (None, {"claudecode/toolUseId": "toolu_1"}, "claudecode/toolUseId:toolu_1"),
        ("claude-code", {"callId": "call_1"}, None),
        ("another", {"callId": "call_1"}, None),
        ("claude-code", {"claudecode/toolUseId": 7}, None),
        ("codex-mcp-client", {"callId": ""}, None),
        ("codex-mcp-client", {"callId": ["call_1"]}, None),
        ("claude-code", {"progressToken": 4}, None),
    ],
    ids=str,
)
def test_the_hosts_id_of_a_call_is_told_with_whose_it_is(
    name: str | None, meta: dict[str, Any], call_id: str | None
) -> None:
    assert identify(call(client_name=name, meta=meta)).call_id == call_id


# --- what becomes of it in an entry ---


def known(**facts: Fact) -> Identity:
    return Identity({"agent_id": Fact("me@host", "made up", certain=False), "session_id": Fact("s", "it"), **facts})


def test_metadata_begins_with_who_it_was_in_the_specifications_order_and_ends_with_the_callers_own() -> None:
    identity = known(
        agent_version=Fact("2.1", "v"),
        subagent=Fact("reviewer", "v"),
        subagent_id=Fact("sub-1", "v"),
        model=Fact("opus", "v"),
        agent_type=Fact("claude-code", "v"),
    )
    metadata = identity.metadata({"ticket": "T-1"}, {"repository": "o/n", "git_branch": "main"})
    assert list(metadata.items()) == [
        ("agent_id", "me@host"),
        ("agent_type", "claude-code"),
        ("session_id", "s"),
        ("model", "opus"),
        ("subagent_id", "sub-1"),
        ("subagent", "reviewer"),
        ("agent_version", "2.1"),
        ("ticket", "T-1"),
        ("repository", "o/n"),
        ("git_branch", "main"),
    ]
    assert identity.subagent_id == "sub-1"


def test_what_is_certain_is_never_overwritten_by_a_claim() -> None:
    claimed = {"session_id": "another", "model": "gpt", "agent_id": "impostor"}
    identity = known(model=Fact("opus", "_meta"), agent_id=Fact("tester", "KEITO_AGENT_ID"))
    assert identity.metadata(claimed, {}) == {"agent_id": "tester", "session_id": "s", "model": "opus"}


def test_a_claim_fills_in_what_nobody_knows_and_what_was_only_made_up() -> None:
    claimed = {"agent_id": "review-bot-01", "model": "opus", "session_id": "another"}
    assert known().metadata(claimed, {}) == {"agent_id": "review-bot-01", "session_id": "s", "model": "opus"}
    assert list(known().metadata(claimed, {})) == ["agent_id", "session_id", "model"]


def test_what_git_says_is_never_overwritten_by_a_claim() -> None:
    metadata = known().metadata({"git_branch": "claimed", "git_rev": "claimed"}, {"git_branch": "main"})
    assert metadata["git_branch"] == "main"
    assert metadata["git_rev"] == "claimed"


def test_the_claims_themselves_are_left_as_they_were() -> None:
    claimed: dict[str, Any] = {"agent_id": "impostor", "list": [1]}
    known(agent_id=Fact("tester", "KEITO_AGENT_ID")).metadata(claimed, {})
    assert claimed == {"agent_id": "impostor", "list": [1]}
