"""The domain: start, stop, log, list and discard, for one agent in one session."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date
from decimal import Decimal
from typing import Any

from keito_mcp.clock import Instant
from keito_mcp.journal import Entry, Owner
from keito_mcp.keito import TimeEntryFilter
from keito_mcp.server.answers import DiscardAnswer, EntryAnswer, ListAnswer, Status
from keito_mcp.timesheet import discarding, finished, listing, recording, restoring, starting, stopping
from keito_mcp.timesheet.background import Background, Beat
from keito_mcp.timesheet.candidates import Kind, Named
from keito_mcp.timesheet.delivery import Courier, Delivered, Rest, deliver_all, wait_for_turn
from keito_mcp.timesheet.directory import Directories, Directory
from keito_mcp.timesheet.ledger import Ledger, Locks, Place
from keito_mcp.timesheet.listing import Progress
from keito_mcp.timesheet.naming import Naming
from keito_mcp.timesheet.news import attended
from keito_mcp.timesheet.problem import NOTHING_SENT, Problem
from keito_mcp.timesheet.record import Day
from keito_mcp.timesheet.work import Work, Worker

__all__ = [
    "Background",
    "Beat",
    "Courier",
    "Day",
    "Delivered",
    "Directories",
    "Directory",
    "Kind",
    "Ledger",
    "Locks",
    "Named",
    "Naming",
    "Place",
    "Problem",
    "Rest",
    "Timesheet",
    "Work",
    "Worker",
    "deliver_all",
    "wait_for_turn",
]

Attended = AbstractAsyncContextManager[list[str]]
Wake = Callable[..., None]
"""Told after each call whether Keito was `reached` by it."""

CURRENT = "current"
"""How a call names the session it is made in."""


class Timesheet:
    """The agents' timesheet in one account.

    Every method raises `Problem` for what may not or can't be done, `JournalError` when this machine can't
    record it (then nothing was sent), and `KeitoError` when Keito refuses or can't be reached.
    """

    def __init__(
        self, ledger: Ledger, *, project_id: str | None = None, task_id: str | None = None, wake: Wake | None = None
    ) -> None:
        """A timesheet over a ledger, with the project and task for work that names none."""
        self._ledger = ledger
        self._wake = wake
        self._project_id = project_id
        self._task_id = task_id

    async def start(self, worker: Worker, *, replace_running: bool = False, **work: Any) -> EntryAnswer:  # noqa: ANN401
        """Start a timer; `work` is as in `Work`, its project and task optional."""
        async with self._attended(worker.owner, worker.identity.left) as news:
            answer = await starting.start(self._ledger, worker, self._work(**work), replace_running=replace_running)
        return self._answered(answer, news)

    async def stop(
        self, worker: Worker, *, entry_id: str | None = None, notes: str | None = None, hours: Decimal | None = None
    ) -> EntryAnswer:
        """Stop a timer, or correct an entry of this session that is finished."""
        async with self._attended(worker.owner, worker.identity.left) as news:
            answer = await stopping.stop(self._ledger, worker, entry_id, notes, hours)
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
            work_ = self._work(**work)
            answer = await finished.log(self._ledger, worker, work_, hours=hours, spent_date=spent_date)
        return self._answered(answer, news)

    async def list(
        self,
        owner: Owner,
        *,
        progress: Progress,
        session_id: str | None = None,
        source: str,
        left: frozenset[str] = frozenset(),
        **wanted: Any,  # noqa: ANN401
    ) -> ListAnswer:
        """Time entries; `wanted` is as in `TimeEntryFilter`, `source` also `any`, and `left` as in `Identity`."""
        given = {name: value for name, value in wanted.items() if value is not None}
        if source != "any":
            given["source"] = source
        page = TimeEntryFilter.model_validate(given)
        async with self._attended(owner, left) as news:
            await self._live(owner)
            session = _session(session_id, owner) if session_id else None
            answer = await listing.list_entries(self._ledger, page, progress, session)
        self._wake_up(reached=not news)
        return answer.saying(*news)

    async def discard(
        self, worker: Worker, *, session_id: str = CURRENT, reason: str | None = None, progress: Progress
    ) -> DiscardAnswer:
        """Delete a session's entries, apart from what a person changed."""
        session = _session(session_id, worker.owner)
        if worker.session_is_shared and session == worker.owner.session_id:
            raise Problem(
                "Which session this call belongs to can't be known: the client has none over HTTP.",
                "Nothing was deleted.",
                "Have the client send ai.keito/session_id in the _meta of each call, or delete the entries in Keito.",
            )
        async with self._attended(worker.owner, worker.identity.left) as news:
            if session != worker.owner.session_id:
                await self._live(worker.owner)
            begun = self._ledger.clock.now()
            answer = await self._discard(worker.owner, session, reason, progress)
            if session == worker.owner.session_id and worker.identity.host_session:
                answer = await self._discard_recorded(worker, worker.identity.host_session, reason, begun, answer)
        self._wake_up(reached=not (answer.queued or news))
        return answer.saying(*news, *([self._ledger.later] if answer.queued else []))

    async def discard_as_person(
        self, account: str, session_id: str, *, reason: str | None, progress: Progress
    ) -> DiscardAnswer:
        """Delete the entries of any session, whichever agents it had; a person asks for it."""
        owner = Owner(account, session_id, "", "", session_is_certain=True, process=self._ledger.journal.process)
        return await self._discard(owner, session_id, reason, progress)

    async def _discard(self, owner: Owner, session: str, reason: str | None, progress: Progress) -> DiscardAnswer:
        """Discard a session, and what its host's events would have logged of it until now."""
        recordings, begun = self._ledger.journal.recordings, self._ledger.clock.now()
        answer = await discarding.discard(self._ledger, owner, session, reason, progress)
        if not any(at.wall >= begun.wall for at in await recordings.discards(owner.account, session)):
            # There was nothing to delete; what there is to be logged later isn't wanted all the same.
            await recordings.discard(owner.account, session, begun)
        return answer

    async def _discard_recorded(
        self, worker: Worker, host_session: str, reason: str | None, begun: Instant, answer: DiscardAnswer
    ) -> DiscardAnswer:
        """Discard also what is recorded under the host's own id of a session that the operator named otherwise."""
        account = worker.owner.account
        await self._ledger.journal.recordings.discard(account, host_session, begun)
        thrown = await recording.withdraw(self._ledger, account, host_session, reason)
        later = [*(answer.queued or []), *(entry.handle for entry in thrown if entry.entry_id)]
        dropped = [entry.handle for entry in thrown if not entry.entry_id]
        return answer.model_copy(update={"discarded": [*answer.discarded, *dropped], "queued": later or None})

    async def restore(self, account: str, session_id: str) -> tuple[Sequence[Entry], bool]:
        """Queue the entries of a session that were discarded, so that they are made again, once.

        Returns:
            The entries, and whether what its host's events tell of the session is counted again: it was discarded,
            or had failed.
        """
        is_counted = await self._ledger.journal.recordings.lift(account, session_id)
        return await restoring.restore(self._ledger, account, session_id), is_counted

    def _attended(self, owner: Owner, left: frozenset[str]) -> Attended:
        return attended(self._ledger, owner, left=left)

    async def _live(self, owner: Owner) -> None:
        """Record the sign of life of a session in which a timer runs; writes carry theirs with them."""
        if await self._ledger.journal.open_timer(owner) is not None:
            await self._ledger.journal.sign(self._ledger.sign(owner))

    def _answered(self, answer: EntryAnswer, news: Sequence[str]) -> EntryAnswer:
        # What there is news of may have left something to deliver: a timer that was stopped without its agent.
        is_queued = answer.status is Status.QUEUED
        self._wake_up(reached=not is_queued and not news)
        return answer.saying(*news, *([self._ledger.later] if is_queued else []))

    def _wake_up(self, *, reached: bool) -> None:
        if self._wake is not None:
            self._wake(reached=reached)

    def _work(
        self,
        project_id: str | None,
        task_id: str | None,
        metadata: Mapping[str, Any] | None,
        notes: str | None,
        is_billable: bool | None,  # noqa: FBT001 -- a field of an entry, passed by its name
    ) -> Work:
        project_id = project_id or self._project_id
        if project_id is None:
            raise Problem(
                "No project is named.",
                NOTHING_SENT,
                "Give project_id in the call (list_entries shows those used before), or have the user set "
                "KEITO_PROJECT_ID for this server or run `keito-mcp init` in the repository (.keito/config.yml).",
            )
        return Work(
            project_id=project_id,
            # The default task is a task of the default project.
            task_id=task_id or (self._task_id if project_id == self._project_id else None),
            notes=notes,
            is_billable=is_billable,
            metadata=metadata or {},
        )


def _session(session_id: str, owner: Owner) -> str:
    return owner.session_id if session_id == CURRENT else session_id
