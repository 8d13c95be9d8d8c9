import os
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from keito_mcp.keito import Timeouts
from keito_mcp.runtime import Runtime
from keito_mcp.sandbox import Catalogue
from keito_mcp.server.server import build_server
from keito_mcp.settings.config import Settings
from keito_mcp.timesheet import Beat
from tests.kit import (
    API_VERSION,
    CATALOGUE,
    PROJECT,
    QUICK,
    SPOKEN,
    Agent,
    Desk,
    FakeClock,
    Keito,
    MakeDesk,
    Neighbour,
    acquaint,
    embedded_keito,
)
from tests.openapi import check_request

_OF_HOSTS = ("KEITO_", "CLAUDE", "CODEX_", "CURSOR_", "GEMINI_", "OPENCODE", "AI_AGENT", "AGENT", "XDG_", "APPDATA")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine that runs the tests, nor of a host that runs them, reaches the code under test."""
    for name in list(os.environ):
        if (name.startswith(_OF_HOSTS) and not name.startswith("KEITO_MCP_TEST_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for home in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(home, str(tmp_path / "home"))
    monkeypatch.setenv("KEITO_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def catalogue() -> Catalogue:
    """The projects and tasks that there are in Keito."""
    return CATALOGUE


@pytest.fixture
def api_version() -> str:
    """The version of Keito's API that everything here is tested with: v1, or what `KEITO_MCP_TEST_API` says."""
    return API_VERSION


@pytest.fixture
async def keito(tmp_path: Path, clock: FakeClock, api_version: str, catalogue: Catalogue) -> AsyncIterator[Keito]:
    async with embedded_keito(tmp_path / "keito.sqlite3", clock, api_version, catalogue=catalogue) as serving:
        yield serving
        for request in serving.requests:
            if request.path.startswith("/api/v2/"):
                # Whatever else a test is about: nothing is ever sent that Keito's own description doesn't know.
                check_request(request.method, request.path, request.query, request.body)


@pytest.fixture
async def make_desk(
    keito: Keito, clock: FakeClock, tmp_path: Path, api_version: str, catalogue: Catalogue
) -> AsyncIterator[MakeDesk]:
    made: list[Runtime] = []

    def make(
        *,
        timeouts: Timeouts | None = None,
        serves_one_user: bool = True,
        tokens: Callable[[], Collection[str]] | None = None,
        process: str | None = None,
        beat: Beat | None = None,
        **settings: Any,
    ) -> Desk:
        commits: list[str] = []
        given = {
            **SPOKEN[api_version],
            "api_url": keito.url,
            "project_id": PROJECT,
            "agent_id": "tester",
            "session_id": "session-1",
            "timezone": "UTC",
            "state_dir": tmp_path / "state",
            **settings,
        }
        runtime = Runtime(
            load=lambda _: Settings(**{name: value for name, value in given.items() if value is not None}),
            clock=clock,
            timeouts=timeouts or QUICK,
            on_commit=commits.append,
            serves_one_user=serves_one_user,
            tokens=tokens,
            process=process,
            beat=beat,
        )
        runtime.__dict__["repository"] = None
        if catalogue is CATALOGUE:
            acquaint(runtime, catalogue)
        made.append(runtime)
        return Desk(runtime, build_server(runtime), commits)

    yield make
    for runtime in made:
        await runtime.aclose()


@pytest.fixture
async def desk(make_desk: MakeDesk) -> Desk:
    return make_desk()


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    """Another process, which lives until it is ended."""
    process = Neighbour()
    yield process
    process.end()


@pytest.fixture(params=["auto", "legacy"], ids=["2026", "2025"])
def mode(request: pytest.FixtureRequest) -> str:
    """Both protocol eras."""
    return str(request.param)


@pytest.fixture
async def agent(desk: Desk) -> AsyncIterator[Agent]:
    async with desk.client() as connected:
        yield connected


@pytest.fixture
def repository_root() -> Path:
    return Path(__file__).parent.parent
