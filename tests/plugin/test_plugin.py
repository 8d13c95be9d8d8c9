import json
import re
import shutil
import struct
import sys
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from keito_mcp.server.server import build_server
from keito_mcp.settings import address
from keito_mcp.settings.config import Settings, variable
from keito_mcp.version import __version__
from tests.kit import KEY, Agent, Keito
from tests.plugin.files import HOOK, Plugin

pytestmark = pytest.mark.anyio

EVENTS = {
    "SessionStart",
    "UserPromptSubmit",
    "Stop",
    "StopFailure",
    "SubagentStart",
    "SubagentStop",
    "PermissionRequest",
    "PermissionDenied",
    "Elicitation",
    "ElicitationResult",
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "SessionEnd",
}
COMMANDS = {"status": "keito-mcp sessions", "pause": "keito-mcp pause", "resume": "keito-mcp resume"}


def test_the_marketplace_offers_this_one_plugin(repository_root: Path, plugin: Plugin) -> None:
    marketplace = json.loads((repository_root / ".claude-plugin" / "marketplace.json").read_text("utf-8"))
    [offered] = marketplace["plugins"]
    assert marketplace["owner"]["name"]
    assert (repository_root / offered["source"]).resolve() == plugin.root.resolve()
    assert offered["name"] == plugin.manifest["name"] == "keito"
    assert "version" not in offered


def test_the_plugin_has_the_packages_version(plugin: Plugin) -> None:
    assert plugin.manifest["version"] == __version__


def test_every_event_runs_the_installed_program_without_a_shell_and_not_for_long(plugin: Plugin) -> None:
    assert set(plugin.hooks) == EVENTS
    for handler in plugin.hooks.values():
        assert handler["type"] == "command"
        assert [handler["command"], *handler["args"]] == HOOK
        assert 0 < handler["timeout"] <= 5


def test_claude_waits_for_every_hook_but_those_after_a_tool(plugin: Plugin) -> None:
    assert {event for event, handler in plugin.hooks.items() if handler.get("async")} == {
        "PostToolUse",
        "PostToolUseFailure",
    }


async def test_the_hook_before_a_tool_sees_this_servers_tools_under_both_names_and_no_others(plugin: Plugin) -> None:
    matchers = {event: handler["matcher"] for event, handler in plugin.hooks.items() if handler["matcher"]}
    [(event, matcher)] = matchers.items()
    assert event == "PreToolUse"
    async with Client(build_server()) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    assert names
    for name in names:
        assert re.fullmatch(matcher, f"mcp__plugin_keito_keito__{name}")
        assert re.fullmatch(matcher, f"mcp__keito__{name}")
    for other in ("Bash", "mcp__github__start_timer", "mcp__plugin_github_github__search", "keito__start_timer"):
        assert not re.fullmatch(matcher, other)


def test_the_server_is_the_installed_program(plugin: Plugin) -> None:
    assert plugin.server["command"] == HOOK[0]
    assert not plugin.server.get("args")
    assert set(plugin.server) <= {"command", "env"}


def test_each_option_is_a_setting_that_the_environment_overrides(plugin: Plugin) -> None:
    assert set(plugin.options) <= set(Settings.model_fields)
    assert plugin.server["env"] == {
        variable(option): f"${{{variable(option)}:-${{user_config.{option}}}}}" for option in plugin.options
    }


def test_the_key_is_kept_as_a_secret_and_the_only_one(plugin: Plugin) -> None:
    assert [name for name, option in plugin.options.items() if option.get("sensitive")] == ["api_key"]


def test_no_option_is_required_so_that_the_server_starts_and_explains(plugin: Plugin) -> None:
    assert not [name for name, option in plugin.options.items() if option.get("required")]


def test_an_option_that_nobody_set_is_the_settings_own_default(plugin: Plugin) -> None:
    assert {option["default"] for option in plugin.options.values()} == {""}


@pytest.mark.parametrize("key", ["", KEY], ids=["no key", "a key"])
async def test_the_server_starts_with_options_that_nobody_set(
    plugin: Plugin, keito: Keito, tmp_path: Path, key: str
) -> None:
    env = {variable(name): str(option["default"]) for name, option in plugin.options.items()}
    env |= {"KEITO_API_KEY": key, "KEITO_API_URL": keito.url, "KEITO_STATE_DIR": str(tmp_path / "state")}
    command = shutil.which(plugin.server["command"], path=str(Path(sys.executable).parent))
    assert command, "keito-mcp is not installed beside this Python"
    async with Client(StdioServerParameters(command=command, env=env)) as client:
        answer = await Agent(client).call("log_time", hours=1, project_id="prj_abc")
    if key:
        assert not answer.is_error
        assert len(keito.entries()) == 1
    else:
        assert answer.is_error
        assert "KEITO_API_KEY is not set" in answer.text


def test_each_skill_may_run_the_one_command_that_it_tells_to_run(plugin: Plugin) -> None:
    assert {folder.name for folder in (plugin.root / "skills").iterdir()} == set(COMMANDS)
    for name, command in COMMANDS.items():
        front, body = plugin.skill(name)
        assert front["name"] == name
        assert front["description"]
        assert front["allowed-tools"] == f"Bash({command})"
        assert re.findall(r"^ {4}(\S.*)$", body, re.MULTILINE) == [command]
        assert "Bash tool" in body


def test_only_a_person_pauses_and_resumes(plugin: Plugin) -> None:
    by_person = {name for name in COMMANDS if plugin.skill(name)[0].get("disable-model-invocation") == "true"}
    assert by_person == {"pause", "resume"}


def test_the_plugin_holds_no_key_no_machines_path_and_no_download(plugin: Plugin) -> None:
    unwanted = re.compile(r"keito_sk_|kto_\w|/(?:home|root|tmp|Users)/|[A-Z]:\\|\buvx\b|pipx run|\bnpx\b|curl ")
    assert {name: unwanted.findall(text) for name, text in plugin.texts.items() if unwanted.search(text)} == {}


def test_the_plugin_stands_alone_with_a_readme_a_licence_and_a_square_icon(
    plugin: Plugin, repository_root: Path
) -> None:
    readme = plugin.texts["README.md"]
    assert len(readme.split()) >= 40
    assert all(f"`{option}`" in readme for option in plugin.options)
    assert all(f"`/keito:{name}`" in readme for name in COMMANDS)
    assert plugin.texts["LICENSE"] == (repository_root / "LICENSE").read_text("utf-8")
    png = (plugin.root / ".claude-plugin" / "icon.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert width == height
    assert 512 <= width <= 2048
    assert len(png) < 2_000_000


def test_the_manifest_says_where_the_plugin_reaches(plugin: Plugin) -> None:
    assert plugin.manifest["network"]["hosts"] == [url.removeprefix("https://") for url in address.OF_VERSION.values()]
