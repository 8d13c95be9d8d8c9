"""A real Claude Code, run headless against the stand-in for its model."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.hosts.terminal import Terminal, terminal
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
        hooks: The user's hooks.
    """

    program: str
    model_url: str
    keito: Keito
    folder: Path
    environment: dict[str, str]
    hooks: dict[str, Any] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    async def run(self, prompt: str, *arguments: str) -> dict[str, Any]:
        """Run one prompt to its end; what Claude Code prints of it (`--output-format json`)."""
        with anyio.fail_after(PATIENCE):
            done = await anyio.run_process(
                [*self._command(prompt, "--output-format", "json"), *arguments],
                stdin=subprocess.DEVNULL,
                cwd=self.project,
                env=self._environment(),
                check=False,
            )
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        printed = json.loads(done.stdout)
        result: dict[str, Any] = printed[-1] if isinstance(printed, list) else printed
        assert not result["is_error"], result
        return result

    async def end(self, prompt: str, *arguments: str, signal: Signals | None = None, after: float = 0) -> int:
        """Run one prompt to whatever end it comes, by a signal after so many seconds; its exit code."""
        command = [*self._command(prompt, "--output-format", "json"), *arguments]
        nothing = subprocess.DEVNULL
        async with await anyio.open_process(
            command, stdin=nothing, stdout=nothing, stderr=nothing, cwd=self.project, env=self._environment()
        ) as process:
            with anyio.fail_after(PATIENCE):
                if signal is not None:
                    await anyio.sleep(after)
                    process.send_signal(signal)
                return await process.wait()

    async def converse(self, *prompts: str, pause: float) -> list[dict[str, Any]]:
        """Have one session of several prompts, with a pause before each but the first; the result of each."""
        formats = ("--input-format", "stream-json", "--output-format", "stream-json", "--verbose")
        results: list[dict[str, Any]] = []
        async with await anyio.open_process(
            self._command(None, *formats), cwd=self.project, env=self._environment(), stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            lines = BufferedByteReceiveStream(process.stdout)
            with anyio.fail_after(PATIENCE):
                for number, prompt in enumerate(prompts):
                    await anyio.sleep(pause if number else 0)
                    said = {"type": "user", "message": {"role": "user", "content": prompt}}
                    await process.stdin.send(json.dumps(said).encode() + b"\n")
                    results.append(await _result(lines))
                await process.stdin.aclose()
                assert await process.wait() == 0
        return results

    @contextmanager
    def in_a_terminal(self) -> Iterator[Terminal]:
        """An interactive one, for a person at a terminal; it blocks."""
        command = [word for word in self._command(None) if word != "-p"]
        with terminal(command, self.project, self._environment()) as opened:
            yield opened

    @property
    def project(self) -> Path:
        return self.folder / "project"

    def _command(self, prompt: str | None, *formats: str) -> list[str]:
        self.project.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(exist_ok=True)
        servers, settings = self.folder / "servers.json", self.folder / "settings.json"
        servers.write_text(json.dumps({"mcpServers": {"keito": self._server()}}))
        settings.write_text(json.dumps({"hooks": self.hooks}))
        command = [self.program, "-p", *([prompt] if prompt else []), *formats, "--model", "sonnet"]
        command += ["--allowedTools", "mcp__keito Agent", "--mcp-config", str(servers), "--strict-mcp-config"]
        return [*command, "--settings", str(settings)]

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


async def _result(lines: BufferedByteReceiveStream) -> dict[str, Any]:
    while True:
        line: dict[str, Any] = json.loads(await lines.receive_until(b"\n", 10_000_000))
        if line.get("type") == "result":
            return line
