import uuid
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keito_mcp.journal import Journal, Owner
from keito_mcp.journal.entry import OutcomeKind, Presence
from keito_mcp.journal.protocol import Edit
from keito_mcp.journal.rules import is_open_timer
from tests.journal.builders import ACCOUNT, ME, UNHURRIED, after
from tests.support.rows import LEFT, add, asked, delivered, edit, resting, rows, settled, to_be

AGENTS = (ME, replace(ME, subagent_id="sub-1"), replace(ME, subagent_id="sub-2"))
CHANGES = (*map(to_be, Presence), *map(settled, OutcomeKind), lambda entry: replace(entry, outcome=None), delivered)


class Agents(RuleBasedStateMachine):
    """Three agents' timers, added and changed in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.journal = Journal(Path(self.folder.name))
        self.table = rows(self.journal)
        self.number = 0

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()

    @rule(agent=st.sampled_from(AGENTS), is_timer=st.booleans())
    def added(self, agent: Owner, is_timer: bool) -> None:  # noqa: FBT001
        self.number += 1
        running = anyio.run(self.table.open_timer, agent)
        made = asked(self.number, timer=is_timer, owner=agent)
        assert anyio.run(add, self.table, made) == (running if is_timer else None)

    @rule(data=st.data(), change=st.sampled_from(CHANGES))
    def changed(self, data: st.DataObject, change: Edit) -> None:
        if self.number:
            anyio.run(edit, self.table, data.draw(st.integers(1, self.number)), change)

    @invariant()
    def each_agent_has_one_open_timer_at_most_and_one_where_only_one_should_run(self) -> None:
        timers = anyio.run(self.table.open_timers, ACCOUNT)
        assert len({timer.owner for timer in timers}) == len(timers)
        every = anyio.run(self.table.of_session, ACCOUNT, ME.session_id)
        assert all(timer in every and is_open_timer(timer) for timer in timers)
        running = {entry.owner for entry in every if is_open_timer(entry)}
        assert {timer.owner for timer in timers} <= running


TestAgents = Agents.TestCase
TestAgents.settings = settings(UNHURRIED, max_examples=15, stateful_step_count=20)


@pytest.mark.anyio
@settings(UNHURRIED, max_examples=25)
@given(
    rests=st.lists(st.tuples(st.integers(0, 90), st.integers(0, 300)), max_size=6),
    moments=st.lists(st.integers(90, 400), min_size=1, max_size=8),
)
async def test_what_is_due_is_what_a_look_at_every_row_would_find(
    tmp_path: Path, rests: list[tuple[int, int]], moments: list[int]
) -> None:
    journal = Journal(tmp_path / uuid.uuid4().hex)
    table = rows(journal)
    for number, (since, seconds) in enumerate(rests, start=1):
        await add(table, asked(number))
        await edit(table, number, resting(seconds, since=after(since)), since)
    taken: dict[str, int] = {}
    for moment in sorted(moments):
        due = await table.due(ACCOUNT, after(moment))
        every = await table.pending(ACCOUNT)
        held = {key: at + 60 - moment for key, at in taken.items() if at + 60 > moment}
        waits = {entry.key: held.get(entry.key) or LEFT(entry, after(moment)) or 0.0 for entry in every}
        first = next((entry for entry in every if not waits[entry.key]), None)
        assert due.entry == first
        if first is not None:
            taken[first.key] = moment
        else:
            assert due.seconds == min(waits.values(), default=None)
    journal.close()
