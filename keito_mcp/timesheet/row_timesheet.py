"""The domain over rows: start, stop, log, list and discard, for one agent in one session."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from keito_mcp.journal import Owner
from keito_mcp.server.answers import DiscardAnswer, EntryAnswer
from keito_mcp.timesheet import Attended, Timesheet, Wake, attending
from keito_mcp.timesheet.books import Books
from keito_mcp.timesheet.discard import CURRENT, discard, discard_as_person
from keito_mcp.timesheet.listing import Progress
from keito_mcp.timesheet.log import log
from keito_mcp.timesheet.logged import Logged
from keito_mcp.timesheet.restore import restore
from keito_mcp.timesheet.start import start
from keito_mcp.timesheet.stop import stop
from keito_mcp.timesheet.work import Worker


class RowTimesheet(Timesheet):
    """The agents' timesheet in one account, where each entry is one row; raises as `Timesheet` does."""

    def __init__(
        self, books: Books, *, project_id: str | None = None, task_id: str | None = None, wake: Wake | None = None
    ) -> None:
        """A timesheet over books, with the project and task for work that names none."""
        super().__init__(books, project_id=project_id, task_id=task_id, wake=wake)
        self._books = books

    async def start(self, worker: Worker, *, replace_running: bool = False, **work: Any) -> EntryAnswer:  # noqa: ANN401
        """Start a timer; `work` is as in `Work`, its project and task optional."""
        async with self._attended(worker.owner, worker.identity.left) as news:
            answer = await start(self._books, worker, self._work(**work), replace_running=replace_running)
        return self._answered(answer, news)

    async def stop(
        self, worker: Worker, *, entry_id: str | None = None, notes: str | None = None, hours: Decimal | None = None
    ) -> EntryAnswer:
        """Stop a timer, or correct an entry of this session that is finished."""
        async with self._attended(worker.owner, worker.identity.left) as news:
            answer = await stop(self._books, worker, entry_id, notes, hours)
        return self._answered(answer, news)

    async def log(
        self,
        worker: Worker,
        *,
        hours: Decimal,
        spent_date: date | None = None,
        **work: Any,  # noqa: ANN401
    ) -> EntryAnswer:
        """Log finished work; `work` is as in `Work`, its project and task optional."""
        async with self._attended(worker.owner, worker.identity.left) as news:
            answer = await log(self._books, worker, self._work(**work), hours=hours, spent_date=spent_date)
        return self._answered(answer, news)

    async def discard(
        self, worker: Worker, *, session_id: str = CURRENT, reason: str | None = None, progress: Progress
    ) -> DiscardAnswer:
        """Delete a session's entries, apart from what a person changed."""
        async with self._attended(worker.owner, worker.identity.left) as news:
            answer = await discard(self._books, worker, session_id, reason, progress)
        self._wake_up(reached=not (answer.queued or news))
        return answer.saying(*news, *([self._books.later] if answer.queued else []))

    async def discard_as_person(
        self, account: str, session_id: str, *, reason: str | None, progress: Progress
    ) -> DiscardAnswer:
        """Delete the entries of any session, whichever agents it had; a person asks for it."""
        return await discard_as_person(self._books, account, session_id, reason, progress)

    async def restore(self, account: str, session_id: str) -> tuple[Sequence[Any], bool]:
        """Want the entries of a session that were discarded again, once; returns as `restore` does."""
        restored, is_counted = await restore(self._books, account, session_id)
        return [Logged.of(entry) for entry in restored], is_counted

    def _attended(self, owner: Owner, left: frozenset[str]) -> Attended:
        return attending.attended(self._books, owner, left=left)

    async def _live(self, owner: Owner) -> None:
        if await self._books.rows.open_timer(owner) is not None:
            await self._books.journal.sign(self._books.sign(owner))
