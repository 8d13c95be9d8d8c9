"""From the spool into the journal."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keito_mcp.journal import Journal, JournalError
from keito_mcp.sessions import spool
from keito_mcp.sessions.intake import Intake
from tests.kit import FakeClock
from tests.sessions.story import row

pytestmark = pytest.mark.anyio


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime.now(UTC))


@pytest.fixture
def commits() -> list[str]:
    return []


@pytest.fixture
def journal(state: Path, commits: list[str]) -> Journal:
    return Journal(state, on_commit=commits.append)


@pytest.fixture
def intake(journal: Journal, clock: FakeClock, state: Path) -> Intake:
    return Intake(journal, clock, state)


def leave(state: Path, name: str, **more: object) -> Path:
    file = Path(spool.folder(state)) / name
    spool.write(file, {**row("stop", 0), **more})
    return file


def left_in(state: Path) -> list[str]:
    return [file.name for file in Path(spool.folder(state)).iterdir()]


async def names(journal: Journal) -> list[str]:
    return sorted(name for name, _ in await journal.recordings.events("session-1"))


async def test_what_lies_there_is_taken_in_once_and_removed(intake: Intake, journal: Journal, state: Path) -> None:
    file = leave(state, "1.1.json")
    await intake.run()
    assert await names(journal) == ["1.1.json"]
    assert not file.exists()


async def test_where_nothing_is_new_nothing_is_written(intake: Intake, state: Path, commits: list[str]) -> None:
    await intake.run()
    assert commits == []
    leave(state, "toolu_1.json")
    for _ in range(3):
        await intake.run()
    assert commits == ["take_in"]


async def test_a_file_that_is_taken_in_again_after_a_crash_is_one_event(
    intake: Intake, journal: Journal, state: Path
) -> None:
    leave(state, "1.1.json")
    await intake.run()
    leave(state, "1.1.json")
    await intake.run()
    assert await names(journal) == ["1.1.json"]


async def test_more_than_are_taken_in_at_once_are_taken_in_all(intake: Intake, journal: Journal, state: Path) -> None:
    for number in range(1203):
        leave(state, f"{number:05}.1.json")
    await intake.run()
    assert len(await names(journal)) == 1203
    await intake.run()
    assert left_in(state) == []


async def test_a_calls_file_stays_for_the_server_that_serves_the_call(
    intake: Intake, journal: Journal, state: Path, clock: FakeClock
) -> None:
    file = leave(state, "toolu_1.json")
    await intake.run()
    assert await names(journal) == ["toolu_1.json"]
    assert file.exists()
    clock.pass_time(timedelta(minutes=11))
    await intake.run()
    assert not file.exists()


@pytest.mark.parametrize(
    ("content", "kept"),
    [(b"{", timedelta(days=1)), (b"[]", timedelta(days=1)), (b'{"version": 2}', timedelta(days=90))],
)
async def test_what_cant_be_understood_stays_for_a_while_and_hinders_nothing(
    intake: Intake, journal: Journal, state: Path, clock: FakeClock, content: bytes, kept: timedelta
) -> None:
    broken = leave(state, "0.1.json")
    broken.write_bytes(content)
    leave(state, "1.1.json")
    await intake.run()
    assert await names(journal) == ["1.1.json"]
    clock.pass_time(kept - timedelta(minutes=1))
    await intake.run()
    assert broken.exists()
    clock.pass_time(timedelta(minutes=2))
    await intake.run()
    assert not broken.exists()


async def test_a_file_that_cant_be_removed_is_taken_in_once_and_removed_once_it_can_be(
    intake: Intake, journal: Journal, state: Path, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = leave(state, "1.1.json")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        await intake.run()
        await intake.run()
    assert await names(journal) == ["1.1.json"]
    assert commits == ["take_in"]
    await intake.run()
    assert not file.exists()


async def test_what_a_hook_is_still_writing_is_left_alone(intake: Intake, journal: Journal, state: Path) -> None:
    unfinished = leave(state, "1.1.json")
    unfinished.rename(unfinished.with_name(".1.1.json.77"))
    await intake.run()
    assert await names(journal) == []
    assert unfinished.with_name(".1.1.json.77").exists()


async def test_a_journal_that_cant_be_written_leaves_everything_where_it_was(
    state: Path, clock: FakeClock, tmp_path: Path
) -> None:
    file = leave(state, "1.1.json")
    (tmp_path / "a-file").write_text("")
    broken = Journal(tmp_path / "a-file" / "state")
    with pytest.raises(JournalError):
        await Intake(broken, clock, state).run()
    assert file.exists()


@pytest.mark.skipif(os.name == "nt", reason="names are Windows' own there")
async def test_the_root_of_the_repository_is_found_when_it_is_taken_in(
    intake: Intake, journal: Journal, state: Path, tmp_path: Path
) -> None:
    shop = tmp_path / "shop"
    (shop / ".keito").mkdir(parents=True)
    (shop / ".keito" / "config.yml").touch()
    (shop / "src").mkdir()
    (shop / ".git").mkdir()
    leave(state, "1.1.json", folder=str(shop / "src"))
    await intake.run()
    [told] = await journal.recordings.told()
    assert (told.session_id, told.root, told.events) == ("session-1", str(shop), 1)
