"""The plugin's own files, as Claude Code reads them."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOOK = ["keito-mcp", "hook", "--host", "claude-code"]


@dataclass
class Plugin:
    """The plugin in a folder."""

    root: Path

    def json(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.root / name).read_text("utf-8"))
        return content

    @property
    def manifest(self) -> dict[str, Any]:
        return self.json(".claude-plugin/plugin.json")

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        options: dict[str, dict[str, Any]] = self.manifest["userConfig"]
        return options

    @property
    def server(self) -> dict[str, Any]:
        """The one server, which is named as its tools' hooks expect."""
        [(name, server)] = self.json(".mcp.json")["mcpServers"].items()
        assert name == "keito"
        described: dict[str, Any] = server
        return described

    @property
    def hooks(self) -> dict[str, dict[str, Any]]:
        """The one handler of each event, with the matcher of its group if it has one."""
        found = {}
        for event, groups in self.json("hooks/hooks.json")["hooks"].items():
            [group] = groups
            [handler] = group["hooks"]
            found[event] = {"matcher": group.get("matcher"), **handler}
        return found

    def skill(self, name: str) -> tuple[dict[str, str], str]:
        """A skill's front matter and what it tells the model."""
        text = (self.root / "skills" / name / "SKILL.md").read_text("utf-8")
        parts = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL)
        assert parts
        return dict(line.split(": ", 1) for line in parts[1].splitlines()), parts[2]

    @property
    def texts(self) -> dict[str, str]:
        """Every file that is text."""
        files = [file for file in self.root.rglob("*") if file.is_file() and file.suffix != ".png"]
        return {str(file.relative_to(self.root)): file.read_text("utf-8") for file in files}
