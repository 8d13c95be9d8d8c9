import json
import re
from pathlib import Path
from typing import Any

import pytest

EVENTS = {
    "Codex": {"SessionStart", "UserPromptSubmit", "PermissionRequest", "PostToolUse", "Stop", "SessionEnd"},
    "Cursor": {
        "sessionStart",
        "beforeSubmitPrompt",
        "postToolUse",
        "postToolUseFailure",
        "subagentStart",
        "subagentStop",
        "stop",
        "sessionEnd",
    },
    "Gemini CLI": {
        "SessionStart",
        "BeforeAgent",
        "BeforeModel",
        "Notification",
        "AfterTool",
        "AfterAgent",
        "SessionEnd",
    },
}
NAMES = {"Codex": "codex", "Cursor": "cursor", "Gemini CLI": "gemini-cli"}
MOST = {"Codex": 3, "Cursor": 3, "Gemini CLI": 3000}


def configured(readme: str, host: str) -> dict[str, Any]:
    """The hooks that the README gives for a host."""
    block = re.search(rf"^### {host} hooks$.*?```json\n(.*?)```", readme, re.DOTALL | re.MULTILINE)
    assert block
    hooks: dict[str, Any] = json.loads(block[1])["hooks"]
    return hooks


@pytest.mark.parametrize("host", EVENTS)
def test_the_readmes_hooks_call_the_installed_program_for_their_host(repository_root: Path, host: str) -> None:
    hooks = configured((repository_root / "README.md").read_text("utf-8"), host)
    assert set(hooks) == EVENTS[host]
    for entries in hooks.values():
        [entry] = entries
        [handler] = entry.get("hooks", [entry])
        assert handler["command"] == f"keito-mcp hook --host {NAMES[host]}"
        assert handler["timeout"] == MOST[host]
