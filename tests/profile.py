"""How long the long tests run: `KEITO_MCP_TEST_PROFILE` is `ordinary`, `ci` or `soak`."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """How many operations the model is compared over, and how many servers are killed."""

    operations: int
    kills: int
    is_random: bool = False
    """Whether each run is another one."""
    is_long: bool = True
    """Whether every combination is tried where the ordinary suite tries one of each kind."""


_PROFILES = {
    "ordinary": Profile(operations=500, kills=5, is_long=False),
    "ci": Profile(operations=2_000, kills=20),
    "soak": Profile(operations=50_000, kills=300, is_random=True),
}


_CHOSEN = _PROFILES[os.environ.get("KEITO_MCP_TEST_PROFILE") or "ordinary"]
"""Read at once: each test takes such settings out of its environment."""


def profile() -> Profile:
    """The profile that the environment named when the tests were started."""
    return _CHOSEN
