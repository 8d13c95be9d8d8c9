from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.kill.machine import Machine
from tests.kit import FakeClock, Keito


@pytest.fixture
def clock() -> FakeClock:
    """Keito's clock goes with the servers', which are the machine's, moved."""
    return FakeClock(datetime.now(UTC))


@pytest.fixture
def machine(keito: Keito, tmp_path: Path) -> Machine:
    return Machine(keito, tmp_path)
