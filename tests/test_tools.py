import json
from pathlib import Path
from typing import Any

import pytest
from mcp.types import Tool

from tests.accepted import HOW_TO_ACCEPT, is_accepted
from tests.kit import Desk

pytestmark = pytest.mark.anyio

TOKENS = 1500
GOLDEN = Path(__file__).parent / "golden"
NAMES = ["start_timer", "stop_timer", "log_time", "list_entries", "discard_session"]


@pytest.fixture
async def tools(desk: Desk, mode: str) -> list[Tool]:
    async with desk.client(mode) as agent:
        return (await agent.client.list_tools()).tools


def _as_sent(tool: Tool) -> dict[str, Any]:
    return tool.model_dump(mode="json", by_alias=True, exclude_none=True)


async def test_there_are_exactly_the_five_tools(tools: list[Tool]) -> None:
    assert [tool.name for tool in tools] == NAMES


async def test_the_list_of_tools_takes_less_than_1500_tokens(tools: list[Tool]) -> None:
    text = json.dumps([_as_sent(tool) for tool in tools], separators=(",", ":"), ensure_ascii=False)
    assert len(text) / 4 < TOKENS


@pytest.mark.parametrize("name", NAMES)
async def test_a_tools_schema_changes_only_on_purpose(tools: list[Tool], name: str) -> None:
    [tool] = [tool for tool in tools if tool.name == name]
    text = json.dumps(_as_sent(tool), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    assert is_accepted(GOLDEN / f"{name}.json", text), HOW_TO_ACCEPT


async def test_schemas_hold_no_titles_and_no_nulls(tools: list[Tool]) -> None:
    for tool in tools:
        for schema in (tool.input_schema, tool.output_schema):
            assert schema is not None
            text = json.dumps(schema)
            assert '"anyOf"' not in text
            assert '"null"' not in text
            assert '"title"' not in text
            assert "null" not in text


async def test_each_tool_says_what_it_does_and_what_it_may_break(tools: list[Tool]) -> None:
    hints = {
        tool.name: (
            tool.annotations.read_only_hint,
            bool(tool.annotations.destructive_hint),
            bool(tool.annotations.idempotent_hint),
        )
        for tool in tools
        if tool.annotations and tool.title and tool.description
    }
    assert hints == {
        "start_timer": (False, False, True),
        "stop_timer": (False, False, True),
        "log_time": (False, False, False),
        "list_entries": (True, False, False),
        "discard_session": (False, True, True),
    }


async def test_claude_code_is_told_not_to_defer_the_tools(tools: list[Tool]) -> None:
    assert all(tool.meta == {"anthropic/alwaysLoad": True} for tool in tools)
