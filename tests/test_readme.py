import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from keito_mcp.server.server import build_server
from keito_mcp.settings import address
from keito_mcp.settings.config import Settings, variable
from keito_mcp.version import __version__
from tests.accepted import HOW_TO_ACCEPT, is_accepted
from tests.kit import KEY, Agent, Keito

pytestmark = pytest.mark.anyio


def _with_table(readme: str, name: str, table: str) -> str:
    return re.sub(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m: m[1] + table + m[2], readme, flags=re.DOTALL)


async def _tools_table() -> str:
    rows = ["| tool | what it does | arguments |", "| --- | --- | --- |"]
    async with Client(build_server()) as client:
        for tool in (await client.list_tools()).tools:
            required = tool.input_schema.get("required", [])
            names = [f"**`{name}`**" if name in required else f"`{name}`" for name in tool.input_schema["properties"]]
            rows.append(f"| `{tool.name}` | {tool.description} | {', '.join(names)} |")
    return "\n".join(rows) + "\n"


def _settings_table() -> str:
    rows = ["| variable | what it is | default |", "| --- | --- | --- |"]
    for field, info in Settings.model_fields.items():
        default = "" if info.default is None else f"`{info.default}`"
        if field == "api_url":
            default = ", ".join(f"`{url}` ({version})" for version, url in address.OF_VERSION.items())
        rows.append(f"| `{variable(field)}` | {info.description} | {default} |")
    return "\n".join(rows) + "\n"


async def test_the_readmes_tables_are_what_the_code_says(repository_root: Path) -> None:
    file = repository_root / "README.md"
    readme = file.read_text("utf-8")
    expected = _with_table(readme, "tools", await _tools_table())
    expected = _with_table(expected, "settings", _settings_table())
    assert is_accepted(file, expected), HOW_TO_ACCEPT


def test_the_readmes_json_blocks_are_json(repository_root: Path) -> None:
    blocks = re.findall(r"```json\n(.*?)```", (repository_root / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    assert all(json.loads(block) for block in blocks)


def test_the_changelog_names_the_version(repository_root: Path) -> None:
    assert f"## {__version__}" in (repository_root / "CHANGELOG.md").read_text("utf-8")


def test_the_example_holds_no_key(repository_root: Path) -> None:
    example = (repository_root / "mcp.json.example").read_text("utf-8")
    assert "${KEITO_API_KEY}" in example
    assert "keito_sk_" not in example
    assert "kto_" not in example


async def test_the_examples_stdio_entry_starts_a_server_that_works(
    repository_root: Path, keito: Keito, tmp_path: Path
) -> None:
    entry = json.loads((repository_root / "mcp.json.example").read_text("utf-8"))["mcpServers"]["keito"]
    given = {"${KEITO_API_KEY}": KEY, "${KEITO_ACCOUNT_ID:-}": "", "${KEITO_PROJECT_ID:-}": ""}
    env = {name: given[value] for name, value in entry["env"].items()}
    env |= {"KEITO_API_URL": keito.url, "KEITO_STATE_DIR": str(tmp_path / "state")}
    command = shutil.which(entry["command"], path=str(Path(sys.executable).parent))
    assert command, "keito-mcp is not installed beside this Python"
    parameters = StdioServerParameters(command=command, args=entry.get("args", []), env=env)
    async with Client(parameters) as client:
        logged = await Agent(client).call("log_time", hours=1, project_id="prj_abc")

    assert logged["status"] == "logged"
    assert len(keito.entries()) == 1
