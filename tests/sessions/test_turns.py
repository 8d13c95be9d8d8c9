"""From events to turns, and to the stretches in which an agent worked or waited."""

from typing import Any

import pytest

from keito_mcp.sessions.events import Kind, event
from keito_mcp.sessions.turns import Outcome, Stretch, Turn, has_failed, subagents, turns, waits, was_only_interrupted
from tests.sessions.story import row, tell

C, F, I = Outcome.COMPLETED, Outcome.FAILED, Outcome.INTERRUPTED  # noqa: E741 -- as in the tables below

TURNS: dict[str, tuple[list[tuple[Any, ...]], list[Turn]]] = {
    "one turn": ([("start", 0), ("prompt", 1), ("stop", 9)], [Turn(1, 2, C)]),
    "two turns with a pause": (
        [("prompt", 0), ("stop", 5), ("prompt", 60), ("stop", 90), ("end", 500)],
        [Turn(0, 1, C), Turn(2, 3, C)],
    ),
    "an error of the API": ([("prompt", 0), ("tool", 4), ("fail", 5), ("end", 6)], [Turn(0, 2, F)]),
    "a limit, a signal: the end soon after": ([("prompt", 0), ("tool", 4), ("end", 5)], [Turn(0, 2, I)]),
    "the end long after the last sign": ([("prompt", 0), ("tool", 4), ("end", 65)], [Turn(0, 1, I)]),
    "another prompt before the answer": (
        [("prompt", 0), ("tool", 4), ("prompt", 300), ("stop", 310)],
        [Turn(0, 1, I), Turn(2, 3, C)],
    ),
    "killed without a word": ([("prompt", 0), ("tool", 4), ("tool", 9)], [Turn(0, 2, I)]),
    "killed at once": ([("prompt", 0)], [Turn(0, 0, I)]),
    "killed, and resumed later": (
        [("prompt", 0), ("tool", 4), ("resume", 900), ("prompt", 901), ("stop", 910)],
        [Turn(0, 1, I), Turn(3, 4, C)],
    ),
    "compacting within a turn": ([("prompt", 0), ("compact", 4), ("stop", 9)], [Turn(0, 2, C)]),
    "sent back to work by a hook of the user's": ([("prompt", 0), ("stop", 5), ("again", 9)], [Turn(0, 2, C)]),
    "an answer to a prompt that was lost": ([("start", 0), ("stop", 5)], []),
    "nothing but a start": ([("start", 0), ("end", 100)], []),
    "a prompt told twice": ([("prompt", 0), ("prompt", 0.2), ("stop", 5), ("stop", 5.1)], [Turn(0, 2, C)]),
}


@pytest.mark.parametrize("story", TURNS)
def test_a_turn_goes_from_a_prompt_to_its_answer_or_as_far_as_it_got(story: str) -> None:
    told, expected = TURNS[story]
    assert turns(tell(*told)) == expected


def test_two_prompts_of_different_turns_are_two_however_near_and_one_turns_are_one_however_far() -> None:
    near = tell(row("prompt", 0, turn="a"), row("prompt", 0.5, turn="b"), row("stop", 5, turn="b"))
    assert turns(near) == [Turn(0, 0, I), Turn(1, 2, C)]
    far = tell(
        row("prompt", 0, turn="a"), row("prompt", 60, turn="a"), row("stop", 90, turn="a"), row("stop", 90.2, turn="a")
    )
    assert turns(far) == [Turn(0, 3, C)]


SUBAGENTS: dict[str, tuple[list[tuple[Any, ...]], list[Stretch]]] = {
    "within a turn": ([("prompt", 0), ("sub", 1, "a"), ("sub-stop", 5, "a"), ("stop", 6)], [Stretch(1, 2)]),
    "beyond its turn": ([("prompt", 0), ("sub", 1, "a"), ("stop", 2), ("sub-stop", 9, "a")], [Stretch(1, 3)]),
    "two at once": (
        [("sub", 1, "a"), ("sub", 2, "b"), ("sub-stop", 3, "a"), ("sub-stop", 9, "b")],
        [Stretch(0, 2), Stretch(1, 3)],
    ),
    "one whose end nobody told": ([("sub", 1, "a"), ("tool", 3, "a"), ("tool", 9), ("end", 10)], [Stretch(0, 1)]),
    "one that is asked again": (
        [("sub", 1, "a"), ("sub-stop", 2, "a"), ("sub", 8, "a"), ("sub-stop", 9, "a")],
        [Stretch(0, 1), Stretch(2, 3)],
    ),
    "an end without a start": ([("prompt", 0), ("sub-stop", 5, "a")], []),
    "told twice": ([("sub", 1, "a"), ("sub", 1.1, "a"), ("sub-stop", 5, "a"), ("sub-stop", 5.1, "a")], [Stretch(0, 2)]),
}


@pytest.mark.parametrize("story", SUBAGENTS)
def test_a_sub_agent_works_from_its_start_to_its_end(story: str) -> None:
    told, expected = SUBAGENTS[story]
    assert subagents(tell(*told)) == expected


def test_what_compacting_tells_of_a_sub_agent_that_never_was_is_ignored() -> None:
    said = event("x", {**row("sub-stop", 5, subagent="a"), "subagent": ""})
    assert said is not None
    assert said.kind is Kind.SIGN


@pytest.mark.parametrize("request_", ["permission", "elicitation"])
def test_waiting_for_a_person_ends_with_whatever_happens_next(request_: str) -> None:
    assert waits(tell(("prompt", 0), (request_, 3), ("tool", 60), ("stop", 70))) == [Stretch(1, 2)]
    assert waits(tell(("prompt", 0), (request_, 3))) == []


@pytest.mark.parametrize(
    ("outcomes", "failed", "interrupted"),
    [
        ([], False, False),
        ([C], False, False),
        ([F], True, False),
        ([C, F], True, False),
        ([F, C], False, False),
        ([F, I], True, False),
        ([F, C, I], False, False),
        ([I, I], False, True),
        ([I, C], False, False),
    ],
    ids=str,
)
def test_a_session_failed_if_a_turn_did_and_none_was_completed_after_it(
    outcomes: list[Outcome],
    failed: bool,  # noqa: FBT001 -- a table
    interrupted: bool,  # noqa: FBT001 -- a table
) -> None:
    found = [Turn(0, 1, outcome) for outcome in outcomes]
    assert (has_failed(found), was_only_interrupted(found)) == (failed, interrupted)


@pytest.mark.parametrize(
    ("host", "said", "detail", "kind"),
    [
        ("codex", "UserPromptSubmit", None, Kind.PROMPT),
        ("codex", "Stop", None, Kind.COMPLETED),
        ("gemini-cli", "BeforeAgent", None, Kind.PROMPT),
        ("gemini-cli", "AfterAgent", None, Kind.COMPLETED),
        ("gemini-cli", "BeforeTool", None, Kind.SIGN),
        ("gemini-cli", "SessionEnd", "exit", Kind.ENDED),
        ("cursor", "beforeSubmitPrompt", None, Kind.PROMPT),
        ("cursor", "stop", "completed", Kind.COMPLETED),
        ("cursor", "stop", "error", Kind.FAILED),
        ("cursor", "stop", "aborted", Kind.INTERRUPTED),
        ("cursor", "Stop", None, Kind.COMPLETED),
        ("cursor", "sessionEnd", "completed", Kind.ENDED),
        ("claude-code", "SomethingNew", None, Kind.SIGN),
        ("a new host", "UserPromptSubmit", None, Kind.PROMPT),
    ],
)
def test_each_hosts_own_names_mean_the_same_things(host: str, said: str, detail: str | None, kind: Kind) -> None:
    made = event("x", {**row("tool", 0, host=host), "event": said, **({"detail": detail} if detail else {})})
    assert made is not None
    assert made.kind is kind


@pytest.mark.parametrize(
    "broken",
    [{"at": None}, {"at": "1"}, {"at": True}, {"at": -1}, {"at": 1e300}, {"session_id": ""}, {"session_id": 7}],
    ids=str,
)
def test_a_row_without_a_moment_or_a_session_is_no_event(broken: dict[str, object]) -> None:
    assert event("x", {**row("stop", 0), **broken}) is None


@pytest.mark.parametrize("unknown", [{"boot_id": None}, {"monotonic": None}, {"monotonic": True}], ids=str)
def test_without_a_boot_or_its_clock_only_the_wall_clock_is_known(unknown: dict[str, object]) -> None:
    made = event("x", {**row("stop", 0), **unknown})
    assert made is not None
    assert made.at.boot_id == ""
