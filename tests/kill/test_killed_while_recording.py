"""A sync that dies while it records a session, and is run again: each of its days is one entry."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from keito_mcp.sessions import spool
from tests.kill.commits import DUE, RECORD
from tests.kill.machine import Machine
from tests.kill.test_killed_commands import run_dry, sync
from tests.kit import PROJECT
from tests.processes import environment
from tests.sessions.story import row

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name != "posix", reason="the signals of POSIX"),
]

DAYS = {"2026-03-06": 0.5, "2026-03-07": 1.0}


def leave_a_session(machine: Machine) -> None:
    """One turn from half past eleven to one in the night, and the session's end."""
    shop = machine.folder / "shop"
    (shop / ".keito").mkdir(parents=True)
    (shop / ".keito" / "config.yml").write_text(f"version: 1\nproject_id: {PROJECT}\n")
    for number, (what, hours) in enumerate([("prompt", 11.5), ("stop", 13), ("end", 13.001)]):
        told = row(what, hours * 3600, session_id="its-own", folder=str(shop), message="Done.")
        spool.write(spooled() / f"{number}.1.json", told)


def spooled() -> Path:
    return Path(spool.folder(environment()["KEITO_STATE_DIR"]))


def left_in_the_spool() -> list[str]:
    return [file.name for file in spooled().iterdir()]


@pytest.mark.parametrize("step", RECORD)
async def test_a_sync_that_dies_while_it_records_a_session_makes_each_of_its_days_one_entry(
    machine: Machine, step: str
) -> None:
    leave_a_session(machine)
    died = await machine.command("sync", KILL_AT=step)
    assert died.returncode == -signal.SIGKILL
    machine.pass_time(DUE)
    await sync(machine)
    await run_dry(machine)
    standing = Counter((entry["spent_date"], entry["hours"]) for entry in machine.keito.entries())
    assert standing == Counter(DAYS.items())
    assert left_in_the_spool() == []
