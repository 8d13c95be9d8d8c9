"""The plugin in a real Claude Code: installed from its marketplace, in a home folder of its own."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from tests.plugin.files import HOOK

PATIENCE = 60.0

_STUB = """\
#!{python} -S
import json, os, sys
seen = {{"argv": sys.argv[1:]}}
if sys.argv[1:2] == ["hook"]:
    told = json.load(sys.stdin)
    seen |= {{"event": told["hook_event_name"], "tool": told.get("tool_name")}}
    seen |= {{"variables": sorted(name for name in os.environ if name.startswith("CLAUDE_PLUGIN_OPTION_"))}}
with open({record!r}, "a") as record:
    record.write(json.dumps(seen) + "\\n")
if not sys.argv[1:]:
    os.execv({real!r}, [{real!r}])
"""
"""A `keito-mcp` that notes how it was called, and is the real one where it is to serve."""


@dataclass
class Ran:
    """One headless run, and how it called `keito-mcp`."""

    code: int
    printed: list[dict[str, Any]]
    calls: list[dict[str, Any]]

    @property
    def started(self) -> dict[str, Any]:
        """What Claude Code says of itself at the start."""
        return next(row for row in self.printed if row.get("subtype") == "init")

    @property
    def result(self) -> dict[str, Any]:
        return next(row for row in self.printed if row["type"] == "result")

    @property
    def events(self) -> list[str]:
        """The events that hooks told, in their order."""
        return [call["event"] for call in self.calls if "event" in call]

    def of_tools(self, event: str) -> list[str]:
        """The tools that an event's hooks were told of."""
        return [call["tool"] for call in self.calls if call.get("event") == event]

    @property
    def argvs(self) -> list[list[str]]:
        return [call["argv"] for call in self.calls]


@dataclass
class Installed:
    """One user's Claude Code with the plugin.

    Attributes:
        program: The program itself.
        marketplace: The folder that the plugin is installed from.
        model_url: The address of the stand-in for the model.
        folder: Everything of this user.
        environment: What the user's shell adds to it.
    """

    program: str
    marketplace: Path
    model_url: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    async def install(self, **options: str) -> str:
        """Install the plugin unattended; what Claude Code prints of it."""
        stub = self.folder / "bin" / HOOK[0]
        stub.parent.mkdir()
        real = Path(sys.executable).parent / HOOK[0]
        stub.write_text(_STUB.format(python=sys.executable, record=str(self._record), real=str(real)))
        stub.chmod(0o755)
        for folder in ("home", "project"):
            (self.folder / folder).mkdir()
        settings = [argument for name, value in options.items() for argument in ("--config", f"{name}={value}")]
        added = await self._claude("plugin", "marketplace", "add", str(self.marketplace))
        installed = await self._claude("plugin", "install", "keito@keito", *settings)
        for done in (added, installed):
            assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        return installed.stdout.decode()

    async def validate(self, *arguments: str) -> tuple[int, str]:
        (self.folder / "home").mkdir(exist_ok=True)
        (self.folder / "project").mkdir(exist_ok=True)
        done = await self._claude("plugin", "validate", *arguments)
        return done.returncode, done.stdout.decode() + done.stderr.decode()

    async def run(self, prompt: str, *arguments: str, **environment: str) -> Ran:
        """Run one prompt to its end."""
        self._record.unlink(missing_ok=True)
        command = ["-p", prompt, "--output-format", "json", "--verbose", "--model", "sonnet", *arguments]
        done = await self._claude(*command, **environment)
        calls = self._record.read_text("utf-8").splitlines() if self._record.exists() else []
        return Ran(done.returncode, json.loads(done.stdout), [json.loads(line) for line in calls])

    @property
    def kept(self) -> dict[str, str]:
        """What Claude Code keeps of the plugin's options, by file."""
        files = [self.folder / "home" / ".claude" / name for name in ("settings.json", ".credentials.json")]
        return {file.name: file.read_text("utf-8") for file in files}

    @property
    def _record(self) -> Path:
        return self.folder / "calls.jsonl"

    async def _claude(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
        with anyio.fail_after(PATIENCE):
            return await anyio.run_process(
                [self.program, *arguments],
                stdin=subprocess.DEVNULL,
                cwd=self.folder / "project",
                env={**self._environment(), **environment},
                check=False,
            )

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "TERM": "dumb",
            "ANTHROPIC_BASE_URL": self.model_url,
            "ANTHROPIC_API_KEY": "made-up",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "0",
            "DISABLE_AUTOUPDATER": "1",
            "KEITO_STATE_DIR": str(self.folder / "state"),
            **self.environment,
        }
