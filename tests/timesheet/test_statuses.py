"""Each status, in each shape, as the answer to each request: what becomes of the write, and what its agent is told."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.kit import Agent, Answer, Desk, FakeClock, Keito, MakeDesk

pytestmark = pytest.mark.anyio

STATUSES = [
    *(200, 204, 301, 302, 400, 401, 403, 404, 405, 407, 408, 409, 410, 413, 421, 422, 425, 429, 451, 499),
    *(500, 502, 503, 504, 511),
]
SHAPES: dict[str, dict[str, Any]] = {
    "keito": {},
    "html": {"body": "<!doctype html><title>Blocked</title>", "content_type": "text/html"},
    "empty": {"body": ""},
    "other": {"body": '{"message": "blocked", "error": "blocked"}'},
}
REFUSED = {400, 401, 403, 404, 405, 407, 409, 410, 413, 422, 451, 499}
"""What Keito refuses with, where it is Keito that says so."""

REST = timedelta(seconds=10)
"""Longer than a write rests after a rate limit without a time."""


@dataclass(frozen=True)
class Cell:
    """One answer in place of the one that Keito would have given."""

    status: int
    shape: str

    def __str__(self) -> str:
        return f"{self.status} {self.shape}"

    @property
    def fault(self) -> dict[str, Any]:
        body = self.shape == "keito" and self.status < 400 and self.status != 204
        error = {"error": {"code": "some_code", "message": "Some reason"}}
        return {"status": self.status, **SHAPES[self.shape], **({"body": json.dumps(error)} if body else {})}

    @property
    def refuses(self) -> bool:
        return self.shape == "keito" and self.status in REFUSED

    def refuses_a(self, what: str, *, promised: bool) -> bool:
        """Whether a write that Keito didn't make is never to be made: an entry that stands was not found by mistake."""
        if self.status == 404:
            return self.refuses and what == "create"
        # A key that isn't accepted says nothing of the write, and a discard is a promise at once.
        return self.refuses and not (self.status == 401 and (promised or what == "delete"))


CELLS = [Cell(status, shape) for status in STATUSES for shape in SHAPES if status != 204 or shape == "keito"]
IN_TURN = [
    Cell(status, "keito" if status == 204 else list(SHAPES)[number % len(SHAPES)])
    for number, status in enumerate(STATUSES)
]
"""Each status in one shape: for a write that was made before, one is like the other."""


def cells_of(what: str, *, made: bool) -> list[Cell]:
    """The cells of a kind of write: Keito doesn't say 204 of a delete that it didn't make, nor refuse what it made."""
    if not made:
        return [cell for cell in CELLS if what != "delete" or cell.status != 204]
    truly = {(409, "create"), *((404, what) for what in ("stop", "update", "delete"))}
    more = {Cell(status, "keito") for status, of in truly if of == what}
    refusing = {cell for cell in IN_TURN if cell.shape == "keito" and cell.status in {*REFUSED, 429}}
    return [*(set(IN_TURN) - refusing), *more]


@pytest.fixture(params=["v1", "v2"])
def api_version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def desk(make_desk: MakeDesk) -> Desk:
    """A server that takes each call's session from its `_meta`: here each cell is a session."""
    return make_desk(session_id=None)


MADE: dict[str, list[object]] = {"create": [1], "stop": [0.1], "update": [2], "delete": []}
NOT_MADE: dict[str, list[object]] = {"create": [], "stop": ["runs"], "update": [1], "delete": [1]}


@dataclass
class Writer:
    """An agent that makes one kind of write, in a session of its own for each cell."""

    agent: Agent
    desk: Desk
    keito: Keito
    clock: FakeClock
    what: str

    async def call(self, cell: Cell, tool: str, **arguments: Any) -> Answer:
        return await self.agent.call(tool, meta={"ai.keito/session_id": f"of {cell}"}, **arguments)

    async def prepare(self, cell: Cell) -> str:
        """Make what is to be stopped, changed or deleted."""
        match self.what:
            case "create":
                return ""
            case "stop":
                entry_id = (await self.call(cell, "start_timer", notes=str(cell)))["id"]
                self.clock.pass_time(timedelta(minutes=6))
            case _:
                entry_id = (await self.call(cell, "log_time", hours=1, notes=str(cell)))["id"]
        return str(entry_id)

    async def write(self, cell: Cell, entry_id: str) -> Answer:
        match self.what:
            case "create":
                return await self.call(cell, "log_time", hours=1, notes=str(cell))
            case "stop":
                return await self.call(cell, "stop_timer")
            case "update":
                return await self.call(cell, "stop_timer", entry_id=entry_id, hours=2)
            case _:
                return await self.call(cell, "discard_session")

    async def promise(self, cell: Cell, entry_id: str) -> None:
        """Have the write wait, which certainly isn't made."""
        self.meets(status=429)
        answer = await self.write(cell, entry_id)
        assert answer["queued"] if self.what == "delete" else answer["status"] == "queued"
        self.clock.pass_time(REST)

    def meets(self, **fault: Any) -> None:
        """Let the write meet a fault."""
        self.keito.fails({"create": "POST", "delete": "DELETE"}.get(self.what, "PATCH"), **fault)

    async def ends(self, cell: Cell) -> list[object]:
        """Return the hours of what stands of a cell, or that it runs, once the fault is gone and time has passed."""
        self.keito.faults.clear()
        await self.desk.deliver_all()
        assert await self.desk.runtime.overview.unsettled(self.desk.runtime.own.name) == []
        mine = [entry for entry in self.keito.entries() if entry["notes"] == str(cell)]
        if self.what == "stop":
            # One user runs one timer at a time (v2).
            await self.call(cell, "discard_session")
        return ["runs" if entry["is_running"] else round(entry["hours"], 2) for entry in mine]


def is_told(answer: Answer, what: str, *, refused: bool) -> bool:
    """Whether an agent was told what is certain, and nothing that isn't."""
    if "no longer in Keito" in answer.text:
        return False
    if what == "delete":
        return not answer.is_error and bool(answer["kept"]) is refused
    return answer.is_error is refused and ("Nothing was written" in answer.text) is refused


@pytest.mark.parametrize("commit", [{}, {"commit": True}], ids=["not made", "made"])
@pytest.mark.parametrize("promised", [{}, {"promised": True}], ids=["in the call", "promised"])
@pytest.mark.parametrize("what", ["create", "stop", "update", "delete"])
async def test_a_write_is_made_exactly_once_whatever_answers_it_unless_keito_itself_refuses_it(
    desk: Desk, keito: Keito, clock: FakeClock, what: str, promised: dict[str, bool], commit: dict[str, bool]
) -> None:
    wrong: dict[str, object] = {}
    async with desk.client() as agent:
        writer = Writer(agent, desk, keito, clock, what)
        for cell in cells_of(what, made=bool(commit)):
            refused = not commit and cell.refuses_a(what, promised=bool(promised))
            entry_id = await writer.prepare(cell)
            # Version 2 reads a timer that it wouldn't stop, and tries again.
            times = 2 if refused else 1
            if promised:
                await writer.promise(cell, entry_id)
                writer.meets(**commit, **cell.fault, times=times)
                delivered = await desk.deliver()
                right = [one.refused is not None for one in delivered] == [refused]
            else:
                writer.meets(**commit, **cell.fault, times=times)
                answer = await writer.write(cell, entry_id)
                right = is_told(answer, what, refused=refused)
            stands = await writer.ends(cell)
            if not right or stands != (NOT_MADE if refused else MADE)[what]:
                wrong[str(cell)] = (stands, delivered if promised else answer.text)
    assert wrong == {}


async def test_a_list_says_who_answered(desk: Desk, keito: Keito) -> None:
    wrongly: dict[str, str] = {}
    async with desk.client() as agent:
        for cell in CELLS:
            keito.fails("GET", **cell.fault)
            answer = await agent.call("list_entries")
            if cell.status >= 500:
                right = not answer.is_error
            elif cell.status == 429:
                right = "rate limit is reached" in answer.text
            elif cell.refuses:
                right = f"({cell.status})" in answer.text and "in its place" not in answer.text
            else:
                right = f"Keito can't be reached: something else answered {cell.status} in its place" in answer.text
            if not right or answer.is_error is (cell.status >= 500):
                wrongly[str(cell)] = answer.text
    assert wrongly == {}
