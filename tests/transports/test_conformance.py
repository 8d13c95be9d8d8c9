"""The protocol's own conformance suite: those of its scenarios that mean something for a server with tools of its own.

It needs Node 22 or later. Where that isn't the `node` of the PATH, `KEITO_MCP_TEST_NODE` names it.
"""

import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.kit import Keito
from tests.node import node, package
from tests.processes import LEGACY, MODERN, environment, listening

pytestmark = pytest.mark.anyio

SUITE, VERSION = "@modelcontextprotocol/conformance", "0.2.0-alpha.12"

SCENARIOS = [
    (LEGACY, "server-initialize"),
    (LEGACY, "ping"),
    (LEGACY, "server-session-lifecycle"),
    *[(era, name) for era in (LEGACY, MODERN) for name in ("tools-list", "resources-list", "prompts-list")],
    *[(era, name) for era in (LEGACY, MODERN) for name in ("dns-rebinding-protection", "server-sse-multiple-streams")],
    (MODERN, "server-stateless"),
    (MODERN, "caching"),
    (MODERN, "http-header-validation"),
    (MODERN, "sep-2164-resource-not-found"),
]

OF_A_FIXTURE = {"sep-2575-server-rejects-undeclared-capability", "sep-2575-missing-capability-http-400"}
"""Checks that ask for a tool which only a server that exists to be tested has (`test_missing_capability`)."""


@dataclass
class Suite:
    node: str
    program: Path
    url: str

    async def run(self, era: str, scenario: str, folder: Path) -> list[dict[str, Any]]:
        """What the suite found in one scenario: each check with its `id` and `status`."""
        asked = ["server", "--url", f"{self.url}/mcp", "--scenario", scenario, "--spec-version", era]
        with anyio.fail_after(60):
            await anyio.run_process(
                [self.node, str(self.program), *asked, "--output-dir", str(folder)],
                stdin=subprocess.DEVNULL,
                check=False,
            )
        [found] = [path async for path in anyio.Path(folder).rglob("checks.json")]
        checks: list[dict[str, Any]] = json.loads(await found.read_text())
        return checks


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    needed = node(at_least=22)
    return needed, package(SUITE, VERSION, tmp_path_factory.mktemp("conformance")) / "dist" / "index.js"


@pytest.fixture
async def suite(program: tuple[str, Path], keito: Keito, tmp_path: Path) -> AsyncIterator[Suite]:
    async with listening("serve", "--port", "0", env=environment(keito), tmp_path=tmp_path) as server:
        yield Suite(*program, server.url)


@pytest.mark.parametrize(("era", "scenario"), SCENARIOS, ids=[f"{era}-{name}" for era, name in SCENARIOS])
async def test_the_server_conforms(suite: Suite, tmp_path: Path, era: str, scenario: str) -> None:
    checks = await suite.run(era, scenario, tmp_path / "found")
    failed = {check["id"]: check.get("errorMessage") for check in checks if check["status"] == "FAILURE"}
    assert {name: why for name, why in failed.items() if name not in OF_A_FIXTURE} == {}
    assert any(check["status"] == "SUCCESS" for check in checks)
