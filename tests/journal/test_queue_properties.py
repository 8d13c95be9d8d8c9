"""Whatever two processes do in whatever order, each write is in one's hands, in its turn, and goes drawn ways only."""

import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keito_mcp.journal import Amendment, Claimed, EntryState, Journal, Write, WriteState
from keito_mcp.journal.states import way
from keito_mcp.settings.paths import journal_file
from tests.journal.builders import ACCOUNT, UNHURRIED, after, created, entry, known, queued, rows, settlement, stranger

pytestmark = pytest.mark.anyio

KEYS = ("key-1", "key-2")
LEASE = 60
WATCH = """
CREATE TABLE ways (of TEXT, number, now TEXT, becomes TEXT);
CREATE TRIGGER of_writes AFTER UPDATE OF state ON writes
    BEGIN INSERT INTO ways VALUES ('write', new.write_id, old.state, new.state); END;
CREATE TRIGGER of_entries AFTER UPDATE OF state ON entries
    BEGIN INSERT INTO ways VALUES ('entry', new.entry_key, old.state, new.state); END;
"""


@dataclass
class World:
    """Two processes with one journal; a process that is killed comes back under another name."""

    folder: Path
    now: float = 0
    lives: int = 2
    ended: set[str] = field(default_factory=set)
    journals: list[Journal] = field(default_factory=list)
    hands: dict[int, tuple[str, float]] = field(default_factory=dict)
    """Who took each write, or sent it, and when last."""
    claims: list[list[Write]] = field(default_factory=lambda: [[], []])
    """What each process believes to hold."""
    left: dict[int, list[str]] = field(default_factory=dict)
    """Of each write, the answers that came to what was sent; "?" for those that never came."""

    def journal(self, number: int) -> Journal:
        return Journal(self.folder, process=f"process-{number}", is_gone=self.ended.__contains__)

    def kill(self, who: int) -> None:
        self.ended.add(self.journals[who].process)
        self.journals[who].close()
        self.lives += 1
        self.journals[who] = self.journal(self.lives)
        self.claims[who].clear()

    async def claim(self, who: int) -> None:
        journal = self.journals[who]
        claimed = await journal.claim(ACCOUNT, after(self.now))
        if not isinstance(claimed, Claimed):
            return
        write = claimed.write
        if (held := self.hands.get(write.write_id)) is not None:
            process, since = held
            assert process in self.ended - {journal.process} or self.now - since >= LEASE
        self.take(who, write)
        in_turn = [other for other in await journal.unsettled(ACCOUNT, write.entry_key) if other.state != "confirming"]
        if write.state is not WriteState.CONFIRMING and (await known(journal, write.entry_key or "")).is_wanted:
            assert in_turn[0].write_id == write.write_id

    def take(self, who: int, write: Write) -> None:
        self.hands[write.write_id] = (self.journals[who].process, self.now)
        self.claims[who] = [held for held in self.claims[who] if held.write_id != write.write_id] + [write]

    async def send(self, who: int) -> None:
        if not self.claims[who] or (write := self.claims[who][-1]).state is WriteState.CONFIRMING:
            return
        held = self.hands.get(write.write_id)
        if await self.journals[who].send(write, after(self.now)):
            assert held is not None
            assert held[0] == self.journals[who].process
            self.hands[write.write_id] = (held[0], self.now)
            self.left.setdefault(write.write_id, []).append("?")

    async def settle(self, who: int, outcome: WriteState, rest: float) -> None:
        if not self.claims[who]:
            return
        write = self.claims[who].pop()
        journal = self.journals[who]
        current = [w for w in await journal.unsettled(ACCOUNT) if w.write_id == write.write_id]
        if not current or (current[0].state is not WriteState.SENT and outcome is not WriteState.QUEUED):
            return
        if outcome is WriteState.QUEUED and current[0].state in {WriteState.UNKNOWN, WriteState.CONFIRMING}:
            return
        made = await known(journal, write.entry_key or "")
        answer: dict[str, Any] = {"changes": {"entry_id": f"te-{made.entry_key}"}}
        if write.kind == "create" and outcome is WriteState.DONE:
            answer["arrived"] = bool(current[0].body.get("is_running"))
        if outcome is not WriteState.DONE:
            answer = {"changes": {"state": EntryState.GONE}} if self._never_made(write, outcome) else {}
        settled = settlement(write.write_id, made, at=after(self.now), outcome=outcome, rest=rest, **answer)
        await journal.settle(settled)
        if self.hands.get(write.write_id, ("",))[0] == journal.process:
            del self.hands[write.write_id]

    @staticmethod
    def _never_made(write: Write, outcome: WriteState) -> bool:
        return write.kind == "create" and outcome is WriteState.REFUSED

    async def amend(self, who: int, key: str, *, leave_now: bool) -> None:
        body = {"hours": self.now, "is_running": False}
        amendment = Amendment(entry_key=key, body=body, leave_now=leave_now)
        write = await self.journals[who].amend(amendment, after(self.now))
        if write is not None and write.state is WriteState.SENT:
            assert self.hands.get(write.write_id) is None
            self.take(who, write)
            self.left.setdefault(write.write_id, []).append("?")

    async def discard(self, who: int, key: str) -> None:
        made = await known(self.journals[who], key)
        [thrown] = await self.journals[who].throw_away([made], None, after(self.now))
        if thrown.is_gone and made.state is not EntryState.GONE:
            writes = await self.journals[who].unsettled(ACCOUNT, key)
            assert not [write for write in writes if write.kind == "create"]


WHO = st.integers(0, 1)
KEY = st.sampled_from(KEYS)
ENDS = st.sampled_from([WriteState.DONE, WriteState.DONE, WriteState.REFUSED, WriteState.UNKNOWN, WriteState.QUEUED])
STEPS = st.one_of(
    st.tuples(st.just("claim"), WHO),
    st.tuples(st.just("claim"), WHO),
    st.tuples(st.just("send"), WHO),
    st.tuples(st.just("send"), WHO),
    st.tuples(st.just("settle"), WHO, ENDS, st.sampled_from([0.0, 30.0])),
    st.tuples(st.just("amend"), WHO, KEY, st.booleans()),
    st.tuples(st.just("discard"), WHO, KEY),
    st.tuples(st.just("pass"), st.sampled_from([1, 60, 60, 300])),
    st.tuples(st.just("kill"), WHO),
    st.tuples(st.just("late"), WHO),
    st.tuples(st.just("crash"), WHO, KEY),
)


async def take_step(world: World, step: tuple[Any, ...]) -> None:
    match step:
        case ("claim", who):
            await world.claim(who)
        case ("send", who):
            await world.send(who)
        case ("settle", who, outcome, rest):
            await world.settle(who, outcome, rest)
        case ("amend", who, key, leave_now):
            await world.amend(who, key, leave_now=leave_now)
        case ("discard", who, key):
            await world.discard(who, key)
        case ("pass", seconds):
            world.now += seconds
        case ("kill", who):
            world.kill(who)
        case ("late", who):
            await world.claim(who)
            world.now += LEASE
            await world.claim(1 - who)
            await world.send(who)
        case ("crash", who, key):
            await world.amend(who, key, leave_now=True)
            world.kill(who)


async def deliver_the_rest(world: World) -> None:
    """Everything is delivered at last: Keito takes what comes, one process is left."""
    world.kill(1)
    for _ in range(100):
        world.now += 300
        await world.claim(0)
        if not world.claims[0]:
            return
        if world.claims[0][-1].state is WriteState.CONFIRMING:
            write = world.claims[0].pop()
            await world.journals[0].settle(settlement(write.write_id, entry("-"), entry_key=None, at=after(world.now)))
            world.hands.pop(write.write_id, None)
        else:
            await world.send(0)
            await world.settle(0, WriteState.DONE, 0.0)
    pytest.fail("what waits never ends")


@settings(UNHURRIED, max_examples=80)
@given(steps=st.lists(STEPS, min_size=5, max_size=40))
async def test_each_write_is_in_one_process_hands_in_its_turn_and_all_of_them_end(
    tmp_path: Path, steps: list[tuple[Any, ...]]
) -> None:
    world = World(tmp_path / uuid.uuid4().hex)
    world.journals = [world.journal(1), world.journal(2)]
    try:
        await queued(world.journals[0], entry("key-1"))
        await created(world.journals[0], entry("key-2", owner=stranger()), "te-key-2", lease="process-1")
        with closing(sqlite3.connect(journal_file(world.folder))) as connection:
            connection.executescript(WATCH)
        for step in steps:
            await take_step(world, step)
            count = {write.write_id: write.sends for write in await world.journals[0].unsettled(ACCOUNT)}
            assert all(sends <= len(world.left.get(number, [])) for number, sends in count.items())
        await deliver_the_rest(world)
        assert await world.journals[0].unsettled(ACCOUNT) == []
        for of, _, now, then in rows(world.folder, "SELECT * FROM ways"):
            if of == "write":
                way(WriteState(now), WriteState(then))
            else:
                way(EntryState(now), EntryState(then))
    finally:
        for journal in world.journals:
            journal.close()
