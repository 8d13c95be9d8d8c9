import secrets
from itertools import count

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.exactly_once.model import TALLY, Model
from tests.profile import profile

_STEPS = 50
_EXAMPLES = 10
"""So many runs of the model share a seed: a failure is found again by its seed alone."""


def test_whatever_goes_wrong_each_accepted_entry_is_in_keito_exactly_once_and_nothing_of_a_persons_is_overwritten() -> (
    None
):
    as_hypothesis_does = settings(
        max_examples=_EXAMPLES,
        stateful_step_count=_STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    first = secrets.randbelow(10**9) if profile().is_random else 1
    for number in count(first):
        run_state_machine_as_test(seed(number)(Model), settings=as_hypothesis_does)
        if TALLY.operations >= profile().operations:
            break
    print(TALLY)  # noqa: T201 -- what a long run is made for
    assert (TALLY.lost, TALLY.doubled, TALLY.overwritten) == (0, 0, 0)
