"""From sessions that are over to what their repositories want of them in Keito."""

import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio.to_thread

from keito_mcp import hours as decimal_hours
from keito_mcp.clock import Instant, elapsed
from keito_mcp.identity import Fact, Identity
from keito_mcp.identity.git import Repository
from keito_mcp.journal import LOOK_AGAIN, Entry, JournalError, Owner, Recorded, Told
from keito_mcp.sessions import events as host_events
from keito_mcp.sessions.active import Effect, Mark, active_time
from keito_mcp.sessions.events import Event, Kind
from keito_mcp.sessions.intake import Intake
from keito_mcp.sessions.notes import notes, summary
from keito_mcp.sessions.rules import Rules
from keito_mcp.sessions.timeline import in_order
from keito_mcp.sessions.transcript import LastWords, last_words
from keito_mcp.sessions.turns import Outcome, Turn, has_failed, last_sign, turns, was_only_interrupted
from keito_mcp.settings.repository import NAME
from keito_mcp.timesheet import Day, Ledger, Naming, Problem, Work, Worker
from keito_mcp.timesheet.logged import Logged
from keito_mcp.timesheet.record import RowRecords
from keito_mcp.timesheet.recording import Records
from keito_mcp.timesheet.work import utc_text
from keito_mcp.waits import SILENCE

RulesOf = Callable[[str], Awaitable[Rules | None]]
"""The rules of the repository at a folder; None where its configuration can't be used."""

Made = Entry | Logged
"""An entry as the journal knows it."""

_log = logging.getLogger(__name__)

FAILED, INTERRUPTED, LOGGED, NOTHING, LEFT = "failed", "interrupted", "logged", "nothing", "left"


@dataclass(frozen=True, slots=True)
class _Session:
    """A session as its events tell it."""

    told: Told
    events: Sequence[Event]
    turns: Sequence[Turn]
    words: LastWords

    @property
    def session_id(self) -> str:
        return self.told.session_id

    @property
    def end(self) -> Instant:
        """Its last sign of life."""
        return self.events[last_sign(self.events)].at

    @property
    def is_restored(self) -> bool:
        return self.told.recorded is not None and self.told.recorded.is_restored

    def said(self, name: str) -> str | None:
        """What the latest event that says it says of itself."""
        values = (event.row.get(name) for event in reversed(self.events))
        return next((value for value in values if isinstance(value, str)), None)


class Recorder:
    """Takes in what hosts told, and records each session that is over, in one account."""

    def __init__(
        self,
        ledger: Ledger,
        records: Records | RowRecords,
        account: str,
        intake: Intake,
        rules_of: RulesOf,
        naming: Callable[[], Naming],
    ) -> None:
        """Nothing is read yet."""
        self._ledger = ledger
        self._records = records
        self._account = account
        self._intake = intake
        self._rules_of = rules_of
        self._naming = naming

    async def run(self) -> None:
        """Take in what is new and queue what it asks for; the same again changes nothing.

        Raises:
            JournalError: The journal can't be used.
        """
        await self._intake.run()
        for told in await self._ledger.journal.recordings.told():
            if told.recorded is None or told.recorded.events != told.events:
                await self._try(told)

    async def _try(self, told: Told) -> None:
        try:
            await self._see_to(told)
        except JournalError:
            raise
        except Exception:  # noqa: BLE001 -- one session that can't be understood must not hold up what waits for all
            _log.exception("Session %s can't be recorded", told.session_id)

    async def _see_to(self, told: Told) -> None:
        rules = await self._rules_of(told.root)
        if rules is None or rules.account != self._account:
            return
        session = await self._session(told)
        if session is None:
            return
        if self._is_over(session):
            await self._settle(session, rules, *await self._record(session, rules))
        else:
            await self._end_subagents(session)

    async def _session(self, told: Told) -> _Session | None:
        rows = await self._ledger.journal.recordings.events(told.session_id)
        found = [event for name, row in rows if (event := host_events.event(name, row)) is not None]
        ordered = in_order(found, at=lambda event: event.at)
        if not ordered:
            return None
        session = _Session(told, ordered, turns(ordered), LastWords())
        file = session.said("transcript")
        words = await anyio.to_thread.run_sync(last_words, Path(file)) if file else LastWords()
        ordered = in_order(
            [*ordered, *_signs(ordered, words, await self._own(told.session_id), self._ledger.clock.now())],
            at=lambda event: event.at,
        )
        return replace(session, events=ordered, turns=turns(ordered), words=words)

    async def _own(self, session_id: str) -> Sequence[Made]:
        """What the session's agents did with this server's tools."""
        return await self._records.made_in(session_id)

    async def _running(self, session: _Session) -> list[Made]:
        """The timers of the session's agents that run."""
        return [entry for entry in await self._own(session.session_id) if entry.runs]

    def _is_over(self, session: _Session) -> bool:
        """Whether its host said so, is gone, or has been silent for long."""
        lives = [event.kind for event in session.events if event.kind is not Kind.SIGN]
        if lives and lives[-1] is Kind.ENDED:
            return True
        if self._ledger.journal.has_ended(session.said("process")):
            return True
        return elapsed(session.events[-1].at, self._ledger.clock.now()).duration >= SILENCE

    async def _record(self, session: _Session, rules: Rules) -> tuple[str, str]:
        """Queue what a session that is over asks for; its outcome, and a sentence about it."""
        if not rules.is_trusted:
            return LEFT, f"It waits for your yes to {NAME}, which came with the clone: keito-mcp trust."
        if not rules.is_enabled:
            return NOTHING, "Sessions in this repository are not logged (agent_tracking.enabled)."
        if rules.project_id is None:
            return LEFT, "No project is set for this repository: run `keito-mcp init` there."
        if not session.is_restored:
            if has_failed(session.turns) and not rules.keeps_failed:
                await self._throw_away(session, "The session failed.")
                return FAILED, "Its last turn failed, so nothing was logged (agent_tracking.on_failure)."
            if was_only_interrupted(session.turns) and not rules.keeps_interrupted:
                await self._throw_away(session, "The session was interrupted.")
                return INTERRUPTED, "Every turn was interrupted, so nothing was logged (agent_tracking.on_interrupted)."
        for entry in await self._running(session):
            await self._records.end(entry.entry_key, session.end)
        days = active_time(session.events, await self._marks(session), rules.zone)
        return await self._log(session, rules, days)

    async def _log(self, session: _Session, rules: Rules, days: dict[date, timedelta]) -> tuple[str, str]:
        worker = await self._worker(session, rules)
        recorded = await self._records.recorded(session.session_id)
        # A day whose time is all logged otherwise by now may still have an entry.
        for day in {entry.spent_date for entry in recorded if entry.is_wanted}:
            days.setdefault(day, timedelta())
        shortest = decimal_hours.of_duration(rules.shortest)
        message = session.said("message") or _said_before(recorded)
        logged = []
        if days:
            try:
                project_id, task_id = await self._naming().certain(rules.project_id or "", rules.task_id)
            except Problem as error:
                return LEFT, str(error)
            rules = replace(rules, project_id=project_id, task_id=task_id)
        for day, took in sorted(days.items()):
            counted = min(took, rules.longest)
            work = self._work(session, rules, worker, took, message)
            hours = decimal_hours.of_duration(counted) if counted else Decimal(0)
            try:
                stands = await self._records.record(worker, Day(day=day, hours=hours, work=work), shortest)
            except Problem as error:
                return LEFT, str(error)
            if stands and hours:
                logged.append(f"{decimal_hours.text(hours)} h on {day}")
        turned = f"{len(session.turns)} turn{'' if len(session.turns) == 1 else 's'}"
        if not logged:
            return NOTHING, f"Nothing of its {turned} was left to log."
        return LOGGED, f"{turned}: {', '.join(logged)}."

    def _work(self, session: _Session, rules: Rules, worker: Worker, took: timedelta, message: str | None) -> Work:
        begun = next((event.at for event in session.events if event.kind is Kind.PROMPT), session.events[0].at)
        facts: dict[str, Any] = {"started_at": utc_text(begun.wall), "turns": len(session.turns)}
        if rules.is_draft:
            facts["draft"] = True
        if has_failed(session.turns):
            facts["outcome"] = Outcome.FAILED.value
        elif was_only_interrupted(session.turns):
            facts["outcome"] = Outcome.INTERRUPTED.value
        if took > rules.longest:
            facts["capped"] = f"{decimal_hours.text(decimal_hours.of_duration(took))} h were counted"
        where = worker.repository.get("repository") or Path(session.told.root or session.said("folder") or "").name
        said = notes(where, len(session.turns), message, redact=rules.redact_notes)
        return Work(
            project_id=rules.project_id or "", task_id=rules.task_id, notes=said, metadata={**rules.metadata, **facts}
        )

    async def _worker(self, session: _Session, rules: Rules) -> Worker:
        host = session.said("host") or "agent"
        facts = {
            "agent_id": Fact(rules.agent_id or f"{host}@{socket.gethostname()}", "settings", bool(rules.agent_id)),
            "agent_type": Fact(host, "hook"),
            "session_id": Fact(session.session_id, "hook"),
        }
        if model := session.said("model") or session.words.model:
            facts["model"] = Fact(model, "hook")
        identity = Identity(facts)
        owner = Owner(
            account=self._account,
            session_id=session.session_id,
            agent_id=identity.agent_id,
            subagent_id="",
            session_is_certain=True,
            process=self._ledger.journal.process,
        )
        folder = session.told.root or session.said("folder")
        repository = await Repository(Path(folder)).facts() if folder else {}
        return Worker(identity=identity, owner=owner, repository=repository)

    async def _marks(self, session: _Session) -> list[Mark]:
        recordings = self._ledger.journal.recordings
        logged = await self._records.counted_otherwise(session.session_id)
        marks = [mark for entry in logged for mark in _of_entry(entry)]
        marks += [Mark(at, Effect.DISCARDED) for at in await recordings.discards(self._account, session.session_id)]
        pauses = await recordings.pauses(session.told.root)
        return [*marks, *(Mark(one.at, Effect.PAUSED if one.is_paused else Effect.RESUMED) for one in pauses)]

    async def _throw_away(self, session: _Session, reason: str) -> None:
        await self._records.withdraw(session.session_id, reason)
        running = await self._running(session)
        for entry in running:
            # Should a person restore it, it comes back with the hours until then.
            await self._records.end(entry.entry_key, session.end)
        if running:
            await self._records.throw_away([entry.entry_key for entry in running], reason)

    async def _end_subagents(self, session: _Session) -> None:
        """Stop the timers of sub-agents that are done, while their session goes on."""
        stopped = {event.subagent_id: event.at for event in session.events if event.kind is Kind.SUBAGENT_STOPPED}
        if not stopped:
            return
        for entry in await self._running(session):
            at = stopped.get(entry.owner.subagent_id)
            if at is not None and entry.started is not None and entry.started.wall < at.wall:
                await self._records.end(entry.entry_key, at)

    async def _settle(self, session: _Session, rules: Rules, outcome: str, said: str) -> None:
        before = session.told.recorded
        if before is not None and outcome == LEFT and (before.outcome, before.said) == (outcome, said):
            return
        recorded = Recorded(
            session_id=session.session_id,
            account=rules.account,
            events=LOOK_AGAIN if outcome == LEFT else session.told.events,
            outcome=outcome,
            said=said,
            is_restored=False,
            recorded_at=self._ledger.clock.now().wall,
        )
        await self._ledger.journal.recordings.settle(recorded, before)


def _signs(events: Sequence[Event], words: LastWords, entries: Sequence[Made], now: Instant) -> list[Event]:
    """Signs of life that no hook told of: a row of the transcript, and the calls of this server's tools."""
    first, last = events[0].at.wall, events[-1].at.wall
    moments = [_awake(words.at, events, now)] if words.at and first <= words.at else []
    moments += [at for entry in entries if not entry.is_recorded for at in (entry.started, entry.ended) if at]
    return [
        Event(name=f"sign {number}", kind=Kind.SIGN, at=at, row={})
        for number, at in enumerate(moments)
        if first <= at.wall and (at.wall <= last or events[-1].kind is not Kind.ENDED)
    ]


def _awake(at: datetime, events: Sequence[Event], now: Instant) -> Instant:
    """A moment of which only the wall clock is known: no longer after what was before it than the machine was awake."""
    before = next(event.at for event in reversed(events) if event.at.wall <= at)
    after = next((event.at for event in events if event.at.wall > at), now)
    if not before.boot_id or before.boot_id != after.boot_id:
        return Instant(at, 0.0, "")
    counted = min(before.monotonic + (at - before.wall).total_seconds(), after.monotonic)
    return Instant(at, max(counted, before.monotonic), before.boot_id)


def _said_before(recorded: Sequence[Made]) -> str | None:
    """How the agent summed a session up before it went on: its message itself is forgotten once it is recorded."""
    ours = (entry for entry in reversed(recorded) if entry.is_wanted and entry.person is None)
    return next((said for entry in ours if (said := summary(entry.notes))), None)


def _of_entry(entry: Made) -> list[Mark]:
    """What an entry that an agent made takes from the time that is counted."""
    if entry.started is None:
        changed = Instant(entry.changed_at, 0.0, "")
        # A recorded one grows with its session.
        at = changed if entry.is_recorded else entry.ended or changed
        return [Mark(at, Effect.LOGGED, entry.spent_date, timedelta(hours=float(entry.hours)))]
    start = Mark(entry.started, Effect.TIMER_STARTED)
    if entry.runs:
        return [start]
    stopped = entry.ended or Instant(entry.started.wall + timedelta(hours=float(entry.hours)), 0.0, "")
    return [start, Mark(stopped, Effect.TIMER_STOPPED)]
