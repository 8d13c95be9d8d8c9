import os

from hypothesis import HealthCheck, Verbosity, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.exactly_once.model import TALLY, Model
from tests.profile import profile

_STEPS = 50
_OPERATIONS_OF_AN_EXAMPLE = 12
"""On average: the other steps are the clock, a person, and deaths between the calls."""


def test_whatever_goes_wrong_each_accepted_entry_is_in_keito_exactly_once_and_nothing_of_a_persons_is_overwritten() -> (
    None
):
    examples = max(profile().operations // _OPERATIONS_OF_AN_EXAMPLE, 1)
    soak = os.environ.get("KEITO_MCP_TEST_PROFILE") == "soak"
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=examples,
            stateful_step_count=_STEPS,
            deadline=None,
            derandomize=not soak,
            database=None,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.normal,
        ),
    )
    print(f"lost {TALLY.lost} / doubled {TALLY.doubled} / overwritten {TALLY.overwritten} in {TALLY}")  # noqa: T201
