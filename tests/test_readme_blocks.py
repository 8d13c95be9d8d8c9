"""The hosts' blocks of the README, started as each host would, with a key of today."""

import json
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.kit import PROJECT, SPOKEN, TASK, Agent, Answer, Keito

pytestmark = pytest.mark.anyio

USER = {
    "KEITO_API_KEY": SPOKEN["v2"]["api_key"],
    "KEITO_ACCOUNT_ID": SPOKEN["v2"]["account_id"],
    "KEITO_PROJECT_ID": PROJECT,
}
"""What the README tells a user to have in the environment."""
TYPED = {"keito-key": USER["KEITO_API_KEY"], "keito-account": USER["KEITO_ACCOUNT_ID"]}
WRITTEN = {
    "your key": USER["KEITO_API_KEY"],
    "your account id": USER["KEITO_ACCOUNT_ID"],
    "your project": USER["KEITO_PROJECT_ID"],
}

Environment = Mapping[str, str]
Host = Callable[[dict[str, Any], Environment], dict[str, str]]


def expanded(pattern: str, entry: dict[str, Any], user: Environment) -> dict[str, str]:
    """Put a user's values in place of a host's variables; one that isn't set stays as it stands."""

    def value(found: re.Match[str]) -> str:
        default = found.groupdict().get("default")
        return user.get(found["name"]) or (default if default is not None else found[0])

    return {name: re.sub(pattern, value, text) for name, text in entry["env"].items()}


def claude_code(entry: dict[str, Any], user: Environment) -> dict[str, str]:
    return {**user, **expanded(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}", entry, user)}


def codex(entry: dict[str, Any], user: Environment) -> dict[str, str]:
    return {name: user[name] for name in entry["env_vars"] if name in user}


def cursor(entry: dict[str, Any], user: Environment) -> dict[str, str]:
    return expanded(r"\$\{env:(?P<name>\w+)\}", entry, user)


def gemini_cli(entry: dict[str, Any], user: Environment) -> dict[str, str]:
    return expanded(r"\$(?P<name>\w+)", entry, user)


def vs_code(entry: dict[str, Any], _: Environment) -> dict[str, str]:
    return expanded(r"\$\{input:(?P<name>[\w-]+)\}", entry, TYPED)


def claude_desktop(entry: dict[str, Any], _: Environment) -> dict[str, str]:
    return {name: WRITTEN[text] for name, text in entry["env"].items()}


BLOCKS: dict[str, tuple[str, str, Host]] = {
    "Claude Code": ("json", "mcpServers", claude_code),
    "Codex": ("toml", "mcp_servers", codex),
    "Cursor": ("json", "mcpServers", cursor),
    "VS Code": ("json", "servers", vs_code),
    "Claude Desktop": ("json", "mcpServers", claude_desktop),
    "Gemini CLI hooks": ("json", "mcpServers", gemini_cli),
}


def entry_of(readme: str, heading: str) -> dict[str, Any]:
    """Return a host's entry for the server, out of the block under a heading."""
    language, servers, _ = BLOCKS[heading]
    section = re.split(r"^#+ ", readme.partition(f"\n### {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    [block] = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    read = tomllib.loads(block) if language == "toml" else json.loads(block)
    entry = read[servers]["keito"]
    assert isinstance(entry, dict)
    return entry


async def logged(entry: dict[str, Any], env: dict[str, str], keito: Keito, folder: Path) -> Answer:
    """Start a server as an entry says, with what no block holds: where the test's Keito and its journal are."""
    command = shutil.which(entry["command"], path=str(Path(sys.executable).parent))
    assert command, "keito-mcp is not installed beside this Python"
    env = {**env, "KEITO_API_URL": keito.url, "KEITO_STATE_DIR": str(folder / "state")}
    parameters = StdioServerParameters(command=command, args=entry.get("args", []), env=env, cwd=folder)
    async with Client(parameters) as client:
        return await Agent(client).call("log_time", hours=1, project_id=PROJECT, task_id=TASK)


@pytest.fixture
def api_version() -> str:
    return "v2"


@pytest.fixture
def readme(repository_root: Path) -> str:
    return (repository_root / "README.md").read_text("utf-8")


@pytest.mark.parametrize("heading", BLOCKS)
async def test_a_block_starts_a_server_that_logs_time_with_a_key_of_today(
    heading: str, readme: str, keito: Keito, tmp_path: Path
) -> None:
    entry = entry_of(readme, heading)
    answer = await logged(entry, BLOCKS[heading][2](entry, USER), keito, tmp_path)
    assert answer["status"] == "logged"
    assert len(keito.entries()) == 1


@pytest.mark.parametrize("heading", [heading for heading, block in BLOCKS.items() if block[2] is not vs_code])
async def test_a_block_without_the_account_in_the_environment_says_what_is_missing(
    heading: str, readme: str, keito: Keito, tmp_path: Path
) -> None:
    entry = entry_of(readme, heading)
    env = BLOCKS[heading][2](entry, {name: value for name, value in USER.items() if name != "KEITO_ACCOUNT_ID"})
    if heading == "Claude Desktop":
        del env["KEITO_ACCOUNT_ID"]
    answer = await logged(entry, env, keito, tmp_path)
    assert "KEITO_ACCOUNT_ID is not set" in answer.text
    assert keito.requests == []


async def test_the_example_works_with_a_key_of_today(repository_root: Path, keito: Keito, tmp_path: Path) -> None:
    entry = json.loads((repository_root / "mcp.json.example").read_text("utf-8"))["mcpServers"]["keito"]
    answer = await logged(entry, claude_code(entry, USER), keito, tmp_path)
    assert answer["status"] == "logged"


def test_every_block_that_names_the_key_names_the_account(readme: str) -> None:
    blocks = re.findall(r"```(?:json|toml)\n(.*?)```", readme, re.DOTALL)
    with_key = [block for block in blocks if "KEITO_API_KEY" in block]
    assert len(with_key) == len(BLOCKS)
    assert all("KEITO_ACCOUNT_ID" in block for block in with_key)
