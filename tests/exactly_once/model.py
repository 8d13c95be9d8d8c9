"""What must be true of the world, whatever went wrong in it."""

import logging
import re
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from keito_mcp import hours as decimal_hours
from keito_mcp.journal import JournalError
from keito_mcp.keito import KeitoError
from keito_mcp.server.answers import EntryAnswer, Status
from keito_mcp.timesheet import Problem
from keito_mcp.waits import LONGEST_TIMER, SAME_CALL
from tests.exactly_once.world import Killed, Server, World, world
from tests.support import cores

SERVERS = 3
TOLERANCE = Decimal("0.0001")

PASSING: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 503, "commit": True},
    {"status": 502, "body": "<html>", "content_type": "text/html", "commit": True},
    {"status": 200, "body": "{}", "commit": True},
    {"status": 302},
    {"status": 429, "retry_after": 30},
    {"status": 429},
    {"status": 409, "commit": True},
    {"hang": True},
    {"cut_before": True},
    {"cut_after": True},
    {"late_commit": True},
    {"delay": 0.001},
]
"""Faults after which a write may or may not be in Keito, and what was asked for still has to be there in the end."""

REFUSING: list[dict[str, Any]] = [{"status": status} for status in (400, 401, 403, 422)]
"""Faults by which Keito refuses what it is asked for."""


def faults_of(kinds: list[dict[str, Any]], *methods: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Nothing wrong, more often than not; else one fault, or two, at some request of the operation."""

    def made(kind: dict[str, Any], method: str, after: int) -> dict[str, Any]:
        # Only of a create does a conflict say that it was made.
        committed = {"commit": kind["commit"] and method == "POST"} if kind.get("status") == HTTPStatus.CONFLICT else {}
        return {**kind, **committed, "method": method, "after": after}

    fault = st.builds(
        made,
        st.sampled_from(kinds),
        st.sampled_from(methods),
        st.sampled_from([0, 0, 0, 1, 2]),
    )
    return st.one_of(st.just([]), st.lists(fault, min_size=1, max_size=2))


STOPS_ALIKE = timedelta(seconds=160)
"""Within this a person's stop before one of ours can't be told from it, where Keito counts and ours got no answer."""

ANY_WRITE = ("POST", "PATCH", "DELETE", "GET")
CRASHES = st.sampled_from([None] * 12 + [1, 2, 3, 4])
"""Most operations don't end with the death of the server."""


@dataclass
class Item:
    """One entry that an agent asked for.

    Attributes:
        wanted: Whether it must be there in the end; None where the agent got no answer.
        hours: The decimal hours that it must have; None where they aren't known.
        started: The monotonic time of a timer's start.
        counted: Whether no agent ever said which hours it has.
        person: What a person made of it, as Keito shows it; an empty one was deleted.
        notes_of_a_person: A running timer's notes that a person wrote.
        stopped_by_a_person: The entry's id, and the monotonic time of that.
        may_be_ours: Whether nobody can tell that it was a person's stop, as one of ours was on its way just then.
    """

    op: int
    session: str
    handle: str = ""
    wanted: bool | None = True
    hours: Decimal | None = None
    started: float | None = None
    counted: bool = True
    person: dict[str, Any] | None = None
    notes_of_a_person: str | None = None
    stopped_by_a_person: tuple[str, float] | None = None
    may_be_ours: bool = False


@dataclass
class Tally:
    """What a run amounts to."""

    operations: int = 0
    accepted: int = 0
    refused: int = 0
    killed: int = 0
    lost: int = 0
    doubled: int = 0
    overwritten: int = 0

    def __str__(self) -> str:
        counted = (
            f"{self.operations} operations ({self.accepted} accepted, {self.refused} refused, {self.killed} killed)"
        )
        return f"{counted}: lost {self.lost} / doubled {self.doubled} / overwritten {self.overwritten}"


TALLY = Tally()


@dataclass
class _Answered:
    answer: Any = None
    error: Exception | None = None
    killed: bool = False


class _Warnings(logging.Handler):
    """Nothing may go wrong inside that is only logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


class Model(RuleBasedStateMachine):
    """Operations, faults, deaths, a person and the clock in any order; at the end each entry is as it must be."""

    def __init__(self) -> None:
        super().__init__()
        self.items: dict[int, Item] = {}
        self.open: dict[str, Item | None] = {}
        self.unsure: set[str] = set()
        """The sessions in which a timer may run since a server died: nobody was told."""
        self.ops = 0
        self.last_log: tuple[Server, Decimal, Item, datetime] | None = None
        self.patch = pytest.MonkeyPatch()
        self.warnings = _Warnings()
        logging.getLogger("keito_mcp").addHandler(self.warnings)
        self.folder = tempfile.TemporaryDirectory()
        self.portal_context = start_blocking_portal()
        self.portal = self.portal_context.__enter__()
        self.world_context = self.portal.wrap_async_context_manager(world(Path(self.folder.name), self.patch))
        self.world: World = self.world_context.__enter__()
        self.world.servers = [self.world.new_server() for _ in range(SERVERS)]

    def teardown(self) -> None:
        try:
            self.portal.call(self.world.run_dry, self.world.servers[0])
            self.portal.call(self.world.stop_what_runs_here, self.world.servers[0])
            self.portal.call(self.world.run_dry, self.world.servers[0])
            self.check()
        finally:
            self.world_context.__exit__(None, None, None)
            self.portal_context.__exit__(None, None, None)
            self.patch.undo()
            self.folder.cleanup()
            logging.getLogger("keito_mcp").removeHandler(self.warnings)

    # --- what agents do ---

    @rule(
        number=st.integers(0, SERVERS - 1),
        hours=st.integers(1, 240_000).map(lambda units: Decimal(units) / 10_000),
        faults=faults_of(PASSING + REFUSING, "POST", "GET"),
        crash=CRASHES,
    )
    def log(self, number: int, hours: Decimal, faults: list[dict[str, Any]], crash: int | None) -> None:
        server, op = self.world.servers[number], self.next_op()
        item = self.items[op] = Item(op, server.session, hours=hours)
        done = self.attempt(server, lambda: self.world.log(server, hours, op), faults, crash)
        self.settle(item, done)
        if done.answer is not None:
            assert done.answer.status in {Status.LOGGED, Status.QUEUED}
            self.last_log = (server, hours, item, self.world.clock.wall)

    @precondition(lambda self: self.last_log is not None)
    @rule(faults=faults_of(PASSING, "POST", "GET"))
    def log_the_same_again(self, faults: list[dict[str, Any]]) -> None:
        assert self.last_log is not None
        server, hours, item, made_at = self.last_log
        self.last_log = None
        as_it_was = item.wanted is True and item.person is None and item.hours == hours
        if not as_it_was or server not in self.world.servers or self.world.clock.wall - made_at > SAME_CALL:
            return
        done = self.attempt(server, lambda: self.world.log(server, hours, item.op), faults, None)
        assert done.error is None, done.error
        assert done.answer.status in {Status.DUPLICATE, Status.QUEUED}

    @rule(
        number=st.integers(0, SERVERS - 1),
        replace=st.booleans(),
        faults=faults_of(PASSING, "POST", "PATCH", "GET"),
        crash=CRASHES,
    )
    def start(self, number: int, replace: bool, faults: list[dict[str, Any]], crash: int | None) -> None:  # noqa: FBT001
        server, op = self.world.servers[number], self.next_op()
        item = self.items[op] = Item(op, server.session, started=self.world.clock.monotonic)
        before = self.open.get(server.session)
        done = self.attempt(server, lambda: self.world.start(server, op, replace_running=replace), faults, crash)
        if isinstance(done.error, Problem) and done.answer is None:
            assert before is not None or server.session in self.unsure, done.error
            item.wanted = False
            return
        self.settle(item, done)
        if before is not None and (done.answer is not None or done.killed):
            before.hours = None
        if done.answer is not None:
            assert done.answer.status in {Status.RUNNING, Status.RUNNING_LOCALLY, Status.QUEUED}
            self.open[server.session] = item
        elif done.killed:
            self.open[server.session] = None
            self.unsure.add(server.session)

    @rule(
        number=st.integers(0, SERVERS - 1),
        hours=st.none() | st.integers(1, 80_000).map(lambda units: Decimal(units) / 10_000),
        faults=faults_of(PASSING, "POST", "PATCH", "GET"),
        crash=CRASHES,
    )
    def stop(self, number: int, hours: Decimal | None, faults: list[dict[str, Any]], crash: int | None) -> None:
        server = self.world.servers[number]
        item = self.open.get(server.session)
        done = self.attempt(
            server, lambda: server.runtime.own.timesheet.stop(server.worker, hours=hours), faults, crash
        )
        if hours is not None:
            for timer in self.items.values():
                timer.counted = timer.counted and not (timer.session == server.session and timer.hours is None)
        if done.killed:
            if item is not None:
                item.hours = None
                self.open[server.session] = None
                self.unsure.add(server.session)
            return
        if done.answer is None:
            return
        answer: EntryAnswer = done.answer
        if item is None:
            # A stop before this one is told again, or a timer whose server died before it could answer is stopped.
            return
        self.open[server.session] = None
        if answer.status in {Status.STOPPED, Status.QUEUED} and item.person is None:
            item.hours = answer.hours if answer.notes in {None, f"timer {item.op}"} else None
            if hours is None:
                assert answer.hours <= self.truth(item) + TOLERANCE
            elif item.hours is not None and answer.status is Status.STOPPED:
                assert answer.hours == hours

    @rule(
        number=st.integers(0, SERVERS - 1),
        which=st.integers(0, 1000),
        hours=st.integers(1, 80_000).map(lambda units: Decimal(units) / 10_000),
        faults=faults_of(PASSING, "PATCH", "GET", "POST"),
        crash=CRASHES,
    )
    def correct(self, number: int, which: int, hours: Decimal, faults: list[dict[str, Any]], crash: int | None) -> None:
        server = self.world.servers[number]
        known = [
            item
            for item in self.items.values()
            if item.session == server.session and item.wanted and item.hours is not None and item.handle
        ]
        if not known:
            return
        item = known[which % len(known)]
        item.counted = False
        done = self.attempt(
            server,
            lambda: server.runtime.own.timesheet.stop(server.worker, entry_id=item.handle, hours=hours),
            faults,
            crash,
        )
        if done.killed:
            item.hours = None
        elif done.answer is not None and item.person is None:
            assert done.answer.status in {Status.UPDATED, Status.QUEUED, Status.STOPPED, Status.ALREADY_STOPPED}
            item.hours = hours

    @rule(number=st.integers(0, SERVERS - 1), faults=faults_of(PASSING, "DELETE", "GET"), crash=CRASHES)
    def discard(self, number: int, faults: list[dict[str, Any]], crash: int | None) -> None:
        server = self.world.servers[number]
        done = self.attempt(server, lambda: self.world.discard(server), faults, crash)
        mine = [item for item in self.items.values() if item.session == server.session and item.wanted is not False]
        if done.killed:
            for item in mine:
                item.wanted, item.hours = None, None
        elif done.answer is not None:
            kept = {kept.id for kept in done.answer.kept}
            kept_ops = {entry["metadata"].get("op") for entry in self.world.keito.entries() if entry["id"] in kept}
            for item in mine:
                if str(item.op) not in kept_ops:
                    item.wanted = False
        timer = self.open.get(server.session)
        if timer is not None and timer.wanted is not True:
            # One that a person edited is kept, and runs on.
            self.open[server.session] = None
        if done.killed:
            self.unsure.add(server.session)

    @rule(number=st.integers(0, SERVERS - 1))
    def restore(self, number: int) -> None:
        server = self.world.servers[number]
        self.portal.call(self.world.arrive, "POST", "PATCH", "DELETE")
        account = server.runtime.settings.account
        restored, _ = self.portal.call(server.runtime.own.timesheet.restore, account, server.session)
        for entry in restored:
            item = self.items[int(re.sub(r"\D", "", entry.notes or ""))]
            item.wanted = True
            if item.started is not None:
                item.hours = None

    # --- what happens to them ---

    @rule(number=st.integers(0, SERVERS - 1), faults=faults_of(PASSING, *ANY_WRITE), crash=CRASHES)
    def deliver(self, number: int, faults: list[dict[str, Any]], crash: int | None) -> None:
        server = self.world.servers[number]
        self.attempt(server, lambda: self.world.deliver(server), faults, crash)

    @rule(number=st.integers(0, SERVERS - 1), same_session=st.booleans())
    def kill(self, number: int, same_session: bool) -> None:  # noqa: FBT001
        self.replace(self.world.servers[number], same_session=same_session)

    @rule(seconds=st.sampled_from([1, 7, 40, 90, 130, 310, 3_600, 30_000]))
    def pass_time(self, seconds: int) -> None:
        self.portal.call(self.world.pass_time, seconds)

    @rule(minutes=st.sampled_from([-1_500, -60, -1, 1, 60, 1_500]))
    def set_the_clock(self, minutes: int) -> None:
        self.world.clock.wall += timedelta(minutes=minutes)

    @rule(methods=st.sampled_from([("POST",), ("PATCH",), ("DELETE",)]))
    def something_late_arrives(self, methods: tuple[str, ...]) -> None:
        self.portal.call(self.world.arrive, *methods)

    @rule(which=st.integers(0, 1000), does=st.sampled_from(["hours", "notes", "stop", "delete", "approve"]))
    def person(self, which: int, does: str) -> None:
        self.portal.call(self.world.arrive, "PATCH", "DELETE")
        entries = [entry for entry in self.world.keito.entries() if self.is_known(entry)]
        if not entries:
            return
        entry = entries[which % len(entries)]
        item = self.items[int(entry["metadata"]["op"])]
        if item.person is not None or item.notes_of_a_person is not None:
            return
        if does == "stop" and self.is_being_stopped(entry):
            # Of two stops with nearly the same hours nobody can tell which one arrived.
            return
        if self.does(does, entry):
            left = [after for after in self.world.keito.entries() if after["id"] == entry["id"]]
            if does == "notes" and entry["is_running"]:
                item.notes_of_a_person = left[0]["notes"]
            else:
                item.person = left[0] if left else {}
            if does == "stop":
                item.stopped_by_a_person = (entry["id"], self.world.clock.monotonic)

    def does(self, does: str, entry: dict[str, Any]) -> bool:
        """Whether there was anything for a person to do."""
        if does == "approve":
            self.world.keito.store.approve(entry["id"])
            return True
        if (does == "stop") is not entry["is_running"] and does in {"stop", "hours"}:
            return False
        body: dict[str, Any] = {
            "hours": {"hours": round(entry["hours"] + 1.25, 4)},
            "notes": {"notes": f"a person's: {entry['notes']}"},
            "stop": {"is_running": False},
            "delete": {},
        }[does]
        method = "DELETE" if does == "delete" else "PATCH"
        status: int = self.portal.call(self.call_person, method, entry["id"], body)
        return status < HTTPStatus.MULTIPLE_CHOICES

    async def call_person(self, method: str, entry_id: str, body: dict[str, Any]) -> int:
        return await self.world.person(method, entry_id, **body)

    def is_being_stopped(self, entry: dict[str, Any]) -> bool:
        """Whether a stop of an entry was sent, and nobody answered it."""
        runtime = self.world.servers[0].runtime
        stopping: bool = self.portal.call(cores.is_being_stopped, runtime, entry["metadata"]["entry_key"])
        return stopping

    def is_known(self, entry: dict[str, Any]) -> bool:
        """Whether this machine knows that an entry is there: what a person does to others can't be told from faults."""
        known: bool = self.portal.call(cores.is_known, self.world.servers[0].runtime, entry["id"])
        return known

    # --- how it is compared ---

    def next_op(self) -> int:
        self.ops += 1
        return self.ops

    def attempt(
        self,
        server: Server,
        call: Callable[[], Awaitable[Any]],
        faults: list[dict[str, Any]],
        crash: int | None,
    ) -> _Answered:
        """Make a call while things go wrong; the server may die after one of its commits."""
        TALLY.operations += 1
        server.journal.commits_left = crash
        done = _Answered()

        async def made() -> None:
            with self.world.disturbed(*faults):
                try:
                    done.answer = await call()
                except Killed:
                    done.killed = True
                except (KeitoError, Problem, JournalError) as error:
                    done.error = error

        seen = len(self.world.keito.requests)
        self.portal.call(made)
        server.journal.commits_left = None
        if done.killed:
            TALLY.killed += 1
            self.replace(server, same_session=True)
        elif done.error is not None:
            TALLY.refused += 1
        else:
            TALLY.accepted += 1
        self.stopped_just_after_a_person(seen)
        return done

    def stopped_just_after_a_person(self, seen: int) -> None:
        """Find the timers that a person stopped, and a moment later we did, without an answer of Keito's."""
        if not (self.world.keito.wire.counts and cores.IS_OF_ROWS):
            return
        # Keito refuses to stop what a person stopped: any other answer is a fault's in place of it.
        answered = {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}
        sent = [made.path for made in self.world.keito.requests[seen:] if made.status not in answered]
        for item in self.items.values():
            if item.stopped_by_a_person is None:
                continue
            entry_id, at = item.stopped_by_a_person
            if self.world.clock.monotonic - at > STOPS_ALIKE.total_seconds():
                continue
            is_on_its_way = self.portal.call(cores.is_being_stopped, self.world.servers[0].runtime, entry_id)
            item.may_be_ours |= is_on_its_way or any(path.endswith(f"/{entry_id}/stop") for path in sent)

    def settle(self, item: Item, done: _Answered) -> None:
        """What an answer promises."""
        if done.killed:
            item.wanted = None
        elif done.error is not None:
            item.wanted = False
        else:
            item.handle = done.answer.id

    def replace(self, server: Server, *, same_session: bool) -> None:
        """A server is gone, and another one is there, of the same session or of a new one."""
        self.world.bury(server)
        self.portal.call(server.runtime.aclose)
        place = self.world.servers.index(server)
        self.world.servers[place] = self.world.new_server(server.session if same_session else None)

    def truth(self, item: Item) -> Decimal:
        """The most that a timer may count by now."""
        ran = timedelta(seconds=self.world.clock.monotonic - (item.started or 0.0))
        return decimal_hours.of_duration(min(ran, LONGEST_TIMER))

    def check(self) -> None:
        """What is in Keito, when all is delivered, is what must be there."""
        standing = self.world.standing()
        problems: list[str] = []
        for item in self.items.values():
            problems += self.compare(item, standing.get(str(item.op), []))
        strangers = standing.keys() - {str(op) for op in self.items}
        problems += [f"invented: {standing[op]}" for op in strangers]
        problems += [f"logged: {text}" for text in self.warnings.texts]
        assert not problems, "\n".join(problems)

    def keito_kept(self, entry: dict[str, Any]) -> bool:
        """Whether Keito refused to delete an entry: that may come long after the agent was told that it waits."""
        conflict = ("DELETE", entry["id"], HTTPStatus.CONFLICT)
        requests = self.world.keito.requests
        return any((made.method, made.path.rpartition("/")[2], made.status) == conflict for made in requests)

    def compare(self, item: Item, found: list[dict[str, Any]]) -> list[str]:
        if len(found) > 1:
            TALLY.doubled += 1
            return [f"doubled: {item} is {found}"]
        if item.person is not None and not item.may_be_ours:
            return self.compare_with_a_persons(item, found)
        if not found:
            TALLY.lost += bool(item.wanted)
            return [f"lost: {item}"] if item.wanted else []
        return [] if item.may_be_ours else self.compare_with_ours(item, found[0])

    def compare_with_ours(self, item: Item, entry: dict[str, Any]) -> list[str]:
        if item.wanted is False and item.notes_of_a_person is None and not self.keito_kept(entry):
            TALLY.doubled += 1
            return [f"not wanted, but there: {item} is {entry}"]
        return self.compare_hours(item, entry)

    def compare_hours(self, item: Item, entry: dict[str, Any]) -> list[str]:
        hours = Decimal(str(entry["hours"]))
        if item.notes_of_a_person is not None and entry["notes"] != item.notes_of_a_person:
            TALLY.overwritten += 1
            return [f"overwritten: {item} is {entry}"]
        if item.hours is not None and hours != item.hours:
            return [f"wrong hours: {item} is {entry}"]
        if item.started is not None and item.counted and not entry["is_running"] and item.hours is None:
            return [f"too many hours: {item} is {entry}"] if hours > self.truth(item) + TOLERANCE else []
        return []

    def compare_with_a_persons(self, item: Item, found: list[dict[str, Any]]) -> list[str]:
        assert item.person is not None
        left = [self.of_a_person(entry) for entry in found]
        expected = [self.of_a_person(item.person)] if item.person else []
        if left == expected:
            return []
        TALLY.overwritten += 1
        return [f"overwritten: {item} is {found}"]

    @staticmethod
    def of_a_person(entry: dict[str, Any]) -> dict[str, Any]:
        """What of an entry is compared; a running one's hours grow by themselves."""
        names = ("id", "notes", "is_running", "project_id") + (() if entry["is_running"] else ("hours",))
        return {name: entry[name] for name in names}
