"""The plugin in the real Claude Code. Skipped unless `KEITO_MCP_TEST_CLAUDE` names its program."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.anthropic import call, say, script, scripted_model
from tests.kit import KEY, PROJECT, Keito
from tests.plugin.files import HOOK, Plugin
from tests.plugin.installed import Installed

_PROGRAM = os.environ.get("KEITO_MCP_TEST_CLAUDE", "")
_ASKING = Path(__file__).with_name("asking.py")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not _PROGRAM, reason="KEITO_MCP_TEST_CLAUDE doesn't name a Claude Code"),
]

OUR_TOOLS = "mcp__plugin_keito_keito"
LOG = script(call(f"{OUR_TOOLS}__log_time", hours=0.5, notes="Read the code"), say("done"))


@pytest.fixture
def claude(repository_root: Path, tmp_path: Path) -> Iterator[Installed]:
    with scripted_model() as url:
        yield Installed(_PROGRAM, repository_root, url, tmp_path)


@pytest.mark.parametrize("arguments", [["."], [".claude-plugin/keito", "--profile", "directory"]])
async def test_claude_code_finds_nothing_wrong_with_it(
    claude: Installed, repository_root: Path, arguments: list[str]
) -> None:
    folder, *options = arguments
    code, printed = await claude.validate(str(repository_root / folder), "--strict", *options)
    assert code == 0, printed
    assert "Validation passed" in printed


async def test_its_server_connects_and_books_with_the_options_that_were_given(claude: Installed, keito: Keito) -> None:
    await claude.install(api_key=KEY, project_id=PROJECT, api_url=keito.url)
    ran = await claude.run(LOG, "--allowedTools", OUR_TOOLS)
    assert {server["name"]: server["status"] for server in ran.started["mcp_servers"]} == {
        "plugin:keito:keito": "connected"
    }
    [entry] = keito.entries()
    assert entry["project_id"] == PROJECT
    assert entry["metadata"]["session_id"] == ran.result["session_id"]


async def test_the_environment_overrides_an_option(claude: Installed, keito: Keito) -> None:
    await claude.install(api_key="made-up", project_id=PROJECT, api_url="https://keito.invalid")
    await claude.run(LOG, "--allowedTools", OUR_TOOLS, KEITO_API_KEY=KEY, KEITO_API_URL=keito.url)
    [entry] = keito.entries()
    assert entry["project_id"] == PROJECT


async def test_its_server_connects_without_any_option(claude: Installed) -> None:
    await claude.install()
    ran = await claude.run(script(say("done")))
    assert [server["status"] for server in ran.started["mcp_servers"]] == ["connected"]


async def test_the_key_is_kept_apart_from_the_settings_and_hooks_get_it_by_name(claude: Installed) -> None:
    await claude.install(api_key="made-up", project_id=PROJECT)
    assert "made-up" not in claude.kept["settings.json"]
    assert "made-up" in claude.kept[".credentials.json"]
    ran = await claude.run(script(say("done")))
    assert {name for hook in ran.calls for name in hook.get("variables", [])} == {
        "CLAUDE_PLUGIN_OPTION_API_KEY",
        "CLAUDE_PLUGIN_OPTION_PROJECT_ID",
    }


async def test_each_event_of_a_session_reaches_the_hook(claude: Installed, plugin: Plugin, tmp_path: Path) -> None:
    await claude.install(api_key="made-up")
    servers = tmp_path / "servers.json"
    servers.write_text(json.dumps({"mcpServers": {"keito": {"command": sys.executable, "args": [str(_ASKING)]}}}))
    part: dict[str, Any] = {
        "subagent_type": "general-purpose",
        "description": "A part of it",
        "run_in_background": False,
        "prompt": script(say("ok")),
    }
    steps = script(
        call(f"{OUR_TOOLS}__start_timer"),
        call("mcp__keito__ask"),
        call("Bash", command="touch a-file"),
        call("Agent", **part),
        say("done"),
    )
    usual = await claude.run(
        steps,
        *("--mcp-config", str(servers), "--allowedTools", f"{OUR_TOOLS} mcp__keito Agent"),
        MCP_PROTOCOL_NEGOTIATION="legacy",
    )
    assert usual.code == 0
    awaited = [event for event in usual.events if not plugin.hooks[event].get("async")]
    assert awaited[:3] == ["SessionStart", "UserPromptSubmit", "PreToolUse"]
    assert awaited[-4:] == ["SubagentStart", "SubagentStop", "Stop", "SessionEnd"]
    assert usual.of_tools("PreToolUse") == [f"{OUR_TOOLS}__start_timer", "mcp__keito__ask"]
    assert set(usual.of_tools("PostToolUse")) == {"mcp__keito__ask", "Agent"}
    assert usual.of_tools("PostToolUseFailure") == [f"{OUR_TOOLS}__start_timer"]
    assert usual.of_tools("PermissionRequest") == ["Bash"]

    fetch = script(call("Bash", command="curl https://keito.invalid"), say("done"))
    denied = await claude.run(fetch, "--permission-mode", "auto")
    assert denied.of_tools("PermissionDenied") == ["Bash"]

    failed = await claude.run(script(say("done")), ANTHROPIC_BASE_URL="http://127.0.0.1:9")
    assert failed.events == ["SessionStart", "UserPromptSubmit", "StopFailure", "SessionEnd"]

    assert {*usual.events, *denied.events, *failed.events} == set(plugin.hooks)
    assert [argv for argv in usual.argvs if argv and argv != HOOK[1:]] == []


@pytest.mark.parametrize(("skill", "argument"), [("status", "sessions"), ("pause", "pause"), ("resume", "resume")])
async def test_a_command_runs_its_program_unasked_and_no_other(claude: Installed, skill: str, argument: str) -> None:
    await claude.install(api_key="made-up")
    steps = script(
        call("Bash", command=f"keito-mcp {argument}"), call("Bash", command="keito-mcp discard everything"), say("done")
    )
    ran = await claude.run(f"/keito:{skill} {steps}")
    assert [argv for argv in ran.argvs if argv and argv != HOOK[1:]] == [[argument]]
    assert [denial["tool_input"]["command"] for denial in ran.result["permission_denials"]] == [
        "keito-mcp discard everything"
    ]
