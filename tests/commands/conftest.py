from datetime import UTC, datetime, timedelta

import pytest

from tests.kit import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """An hour before the machine's own clock: what rested for the agents then is due for the program now."""
    return FakeClock(datetime.now(UTC) - timedelta(hours=1))
