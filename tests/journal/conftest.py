from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keito_mcp.journal import Journal
from tests.journal.builders import MINE, OTHERS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def commits() -> list[str]:
    return []


@pytest.fixture
def ended() -> set[str]:
    """The processes that have ended."""
    return set()


@pytest.fixture
async def journal(folder: Path, commits: list[str], ended: set[str]) -> AsyncIterator[Journal]:
    with closing(Journal(folder, process=MINE, is_gone=ended.__contains__, on_commit=commits.append)) as opened:
        yield opened


@pytest.fixture
async def others(folder: Path, ended: set[str]) -> AsyncIterator[Journal]:
    """The same journal in another process's hands."""
    with closing(Journal(folder, process=OTHERS, is_gone=ended.__contains__)) as opened:
        yield opened


@pytest.fixture(params=["wal", "truncate"])
def any_mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk of this machine, and on one that others may share."""
    monkeypatch.setattr("keito_mcp.journal.file.wal_is_safe", lambda _: request.param == "wal")


@pytest.fixture
def servers(folder: Path, any_mode: None) -> Iterator[list[Journal]]:  # noqa: ARG001
    journals = [Journal(folder, process=f"server-{number}", is_gone=lambda _: False) for number in range(4)]
    yield journals
    for journal in journals:
        journal.close()
