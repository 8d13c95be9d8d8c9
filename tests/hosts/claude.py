"""A real Claude Code, run headless against the stand-in for its model."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from tests.kit import KEY, PROJECT, Keito

PATIENCE = 60.0


@dataclass
class ClaudeCode:
    """One user's Claude Code with this server, in one project.

    Attributes:
        program: The program itself.
        model_url: The address of the stand-in.
        folder: Everything of this user.
        environment: What the user's shell adds to it.
    """

    program: str
    model_url: str
    keito: Keito
    folder: Path
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    async def run(self, prompt: str, *arguments: str) -> dict[str, Any]:
        """Run one prompt to its end; what Claude Code prints of it (`--output-format json`)."""
        project = self.folder / "project"
        project.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(exist_ok=True)
        servers = self.folder / "servers.json"
        servers.write_text(json.dumps({"mcpServers": {"keito": self._server()}}))
        command = [self.program, "-p", prompt, "--output-format", "json", "--model", "sonnet"]
        command += ["--allowedTools", "mcp__keito Agent", "--mcp-config", str(servers), "--strict-mcp-config"]
        with anyio.fail_after(PATIENCE):
            done = await anyio.run_process(
                [*command, *arguments], stdin=subprocess.DEVNULL, cwd=project, env=self._environment(), check=False
            )
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        printed = json.loads(done.stdout)
        result: dict[str, Any] = printed[-1] if isinstance(printed, list) else printed
        assert not result["is_error"], result
        return result

    def _server(self) -> dict[str, Any]:
        settings = {
            "KEITO_API_KEY": KEY,
            "KEITO_API_URL": self.keito.url,
            "KEITO_PROJECT_ID": PROJECT,
            "KEITO_STATE_DIR": str(self.folder / "state"),
        }
        return {"command": sys.executable, "args": ["-m", "keito_mcp"], "env": settings}

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "TERM": "dumb",
            "ANTHROPIC_BASE_URL": self.model_url,
            "ANTHROPIC_API_KEY": "made-up",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            **self.environment,
        }
