"""Start a timer."""

from dataclasses import replace

from keito_mcp import hours as decimal_hours
from keito_mcp.journal import JournalError
from keito_mcp.journal.entry import Entry, Fields, OutcomeKind, Presence
from keito_mcp.journal.rules import is_open_timer
from keito_mcp.keito import AuthenticationFailed, KeitoError, TimeEntry
from keito_mcp.server.answers import EntryAnswer, Status
from keito_mcp.timesheet import asked, compare, reply, running, stop, taken_back
from keito_mcp.timesheet.asking import observed
from keito_mcp.timesheet.books import Books
from keito_mcp.timesheet.converge import Converged
from keito_mcp.timesheet.problem import NOTHING_CHANGED, Problem
from keito_mcp.timesheet.step import Wait
from keito_mcp.timesheet.work import Work, Worker


async def start(books: Books, worker: Worker, work: Work, *, replace_running: bool) -> EntryAnswer:
    """Start a timer for an agent that has none; the same one again is the same timer.

    Args:
        books: Where it is recorded and sent.
        worker: Whose timer it is.
        work: What the timer is for.
        replace_running: Whether a timer for other work may be stopped for this one.

    Raises:
        Problem: Another timer of this agent runs.
        JournalError: Nothing was sent.
        KeitoError: Keito refused it.
    """
    call = _Call(books, worker, work, replace_running=replace_running)
    async with books.one_at_a_time(*worker.owner.key):
        return await call.answer()


class _Call:
    """One call of `start`."""

    def __init__(self, books: Books, worker: Worker, work: Work, *, replace_running: bool) -> None:
        self._books = books
        self._worker = worker
        self._work = work
        self._replace_running = replace_running

    async def answer(self) -> EntryAnswer:
        """Start the timer, or answer with what is in its way."""
        elsewhere = await running.started_elsewhere(self._books, self._worker)
        if elsewhere is not None:
            return await self._beside(elsewhere)
        begun = await self._begin()
        if isinstance(begun, Entry):
            return await self._again(begun)
        own = await self._own_timer(begun)
        return await self._running(begun) if own is None else await self._in_place_of(begun.entry, own)

    async def _begin(self) -> Converged | Entry:
        now = self._books.clock.now()
        entry = asked.timer(self._worker, self._work, now, spent_date=self._books.day(now.wall))
        sign = self._books.sign(self._worker.owner)
        return await self._books.convergence.begin(entry, self._books.deadline(), sign=sign)

    async def _begin_now(self) -> EntryAnswer:
        """Start a timer from now on: what came before is another entry's time."""
        begun = await self._begin()
        if isinstance(begun, Entry):
            raise _another_runs(begun.handle, begun.desired)
        return await self._running(begun)

    async def _running(self, begun: Converged) -> EntryAnswer:
        """Answer with the timer that was started."""
        entry = begun.entry
        await taken_back.unless_taken(self._books, entry, begun)
        if entry.blocked is not None and entry.observed is None:
            return reply.of(Status.RUNNING_LOCALLY, entry, entry.blocked)
        if entry.observed is None:
            said = "The timer runs on this machine; stop_timer stops it as usual."
            return reply.queued(entry, begun.step.why).saying(said)
        if entry.observed.is_running is False:
            await self._books.rows.edit(entry.key, _as_it_stands, self._books.clock.now())
            raise Problem(
                f"Keito made entry {entry.handle}, but doesn't run it.",
                f"It stands in Keito with {decimal_hours.text(reply.of(Status.STOPPED, entry).hours)} h.",
                f"When the work is done, call stop_timer with entry_id {entry.handle} and the hours.",
            )
        return reply.of(Status.RUNNING, entry)

    async def _again(self, open_timer: Entry) -> EntryAnswer:
        """Answer with the timer that this agent has already, after a look whether it still runs."""
        is_same = self._is_same(open_timer.desired)
        if self._replace_running and not is_same:
            return await self._replace(open_timer)
        change = taken_back.without_rest if open_timer.rest else None
        ended = await self._books.convergence.converge(open_timer, self._books.deadline(), change=change, look=True)
        if isinstance(ended.error, AuthenticationFailed):
            raise ended.error
        entry = ended.entry
        if not is_open_timer(entry) or (entry.observed is not None and entry.observed.is_running is False):
            return await self._start_next()
        if not is_same:
            raise _another_runs(entry.handle, entry.desired)
        return reply.of(Status.ALREADY_RUNNING, entry, _unverified(ended))

    async def _replace(self, open_timer: Entry) -> EntryAnswer:
        """Stop a timer for other work first, where a person hasn't."""
        await reply.refuse_an_unknown_agent(self._books, self._worker)
        ended = await stop.end(self._books, self._worker, open_timer, {})
        outcome = ended.converged.entry.outcome
        if ended.was_over or (outcome is not None and outcome.kind is OutcomeKind.PERSON):
            return await self._start_next()
        return await self._started_after(await stop.answer(self._books, ended, {}))

    async def _start_next(self) -> EntryAnswer:
        """Start a timer after one that turned out to be stopped, by another replica perhaps, which has a next one."""
        elsewhere = await running.started_elsewhere(self._books, self._worker)
        return await self._begin_now() if elsewhere is None else await self._beside(elsewhere)

    async def _own_timer(self, begun: Converged) -> TimeEntry | None:
        """Return this agent's own timer, started from elsewhere, where it is that which is in the way of a new one.

        One that this machine knows to be over here isn't: Keito refused to stop it, or a person started it again.
        """
        beside = begun.beside
        if beside is None or begun.entry.observed is not None:
            return None
        if await self._books.rows.find(self._worker.owner.account, beside.id) is not None:
            return None
        return beside if await running.is_own(self._books, self._worker, beside) else None

    async def _in_place_of(self, started: Entry, own: TimeEntry) -> EntryAnswer:
        """Forget a start whose agent has a timer in Keito."""
        await self._books.rows.edit(started.key, _unwanted, self._books.clock.now())
        return await self._beside(own)

    async def _beside(self, shown: TimeEntry) -> EntryAnswer:
        """Start a timer for an agent whose timer runs already, though not by this server."""
        seen = observed(shown)
        if self._is_same(seen):
            return reply.of(Status.ALREADY_RUNNING, asked.adopted(self._worker, shown, self._books.clock.now()))
        if not self._replace_running:
            raise _another_runs(shown.id, seen)
        await reply.refuse_an_unknown_agent(self._books, self._worker)
        return await self._started_after(await stop.stop_elsewhere(self._books, self._worker, shown, {}))

    async def _started_after(self, stopped: EntryAnswer) -> EntryAnswer:
        message = f"Timer {stopped.id} was stopped first, with {decimal_hours.text(stopped.hours)} h."
        try:
            started = await self._start_next()
        except (Problem, KeitoError, JournalError) as error:
            error.add_note(f"All that is about the new timer. {message}")
            raise
        return started.saying(message)

    def _is_same(self, fields: Fields) -> bool:
        names = ("project_id", "task_id", "notes")
        return all(compare.same(name, getattr(fields, name), getattr(self._work, name)) for name in names)


def _unverified(ended: Converged) -> str | None:
    """Return why it isn't certain that a timer runs in Keito; None where Keito has just shown it."""
    if not isinstance(ended.step, Wait) and ended.error is None:
        return None
    entry = ended.entry
    if entry.observed is not None:
        why = entry.rest.why if entry.rest else ended.step.why
        return f"{why} As far as this machine knows, it runs."
    return entry.blocked or reply.queued(entry, ended.step.why).message


def _as_it_stands(entry: Entry) -> Entry:
    if entry.observed is None:
        return entry
    return replace(entry, desired=asked.as_observed(entry.observed, Presence.FINISHED))


def _unwanted(entry: Entry) -> Entry:
    return replace(entry, desired=replace(entry.desired, presence=Presence.ABSENT))


def _another_runs(handle: str, entry: Fields) -> Problem:
    about = f": {entry.notes[:80]!r}" if entry.notes else ""
    return Problem(
        f"Timer {handle} already runs for this agent, for other work (project {entry.project_id}{about}).",
        NOTHING_CHANGED,
        "Call stop_timer first, or start_timer with replace_running=true to stop that one and start this.",
    )
