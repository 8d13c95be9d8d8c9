"""What lives as long as the server: settings, one HTTP client, one journal, one clock; each made on first use.

A host starts servers for health checks too, so nothing here is touched before the first tool call.
"""

from __future__ import annotations

import logging
import os
import uuid
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp

    from keito_mcp.clock import Clock
    from keito_mcp.config import Settings
    from keito_mcp.identity import Identifier, Identity, Machine
    from keito_mcp.identity.git import Repository
    from keito_mcp.journal import Journal, Owner
    from keito_mcp.keito import Client, Timeouts
    from keito_mcp.sandbox import Store
    from keito_mcp.sessions.recorder import Recorder, RulesOf
    from keito_mcp.sessions.rules import Rules
    from keito_mcp.timesheet import Background, Beat, Courier, Ledger, Timesheet

_log = logging.getLogger(__name__)


class Runtime:
    """The parts that the tools work with. Its imports are as lazy as its parts: start-up is a cost of every host."""

    def __init__(  # noqa: PLR0913 -- independent knobs, each by its name only
        self,
        *,
        load: Callable[[Path | None], Settings] | None = None,
        embedded: Callable[[Settings], Store] | None = None,
        serves_one_user: bool = True,
        clock: Clock | None = None,
        timeouts: Timeouts | None = None,
        on_commit: Callable[[str], None] | None = None,
        process: str | None = None,
        beat: Beat | None = None,
    ) -> None:
        """Nothing is read, opened or connected yet.

        Args:
            load: Gives the settings for a project's folder, if there is one; by default the environment's, completed
                by the project's file. Raises `SettingsError`.
            embedded: Opens the embedded Keito, which then answers in this process in place of the network.
            serves_one_user: Whether the server's settings and folder are the caller's own (stdio), or the
                callers are other people's agents (HTTP).
            clock: Other clocks than the machine's.
            timeouts: Other time limits than the usual ones.
            on_commit: Told of each commit of the journal.
            process: Another identity than this process's, as `keito_mcp.process` writes it.
            beat: How often the server looks after itself between calls.
        """
        self._load = load
        self._embedded = embedded
        self._store: Store | None = None
        self._clock = clock
        self._timeouts = timeouts
        self._on_commit = on_commit
        self.serves_one_user = serves_one_user
        self._process = process
        self._beat = beat
        self._called = anyio.Event()
        self._background: Background | None = None
        self.session = str(uuid.uuid4())

    @property
    def is_embedded(self) -> bool:
        """Whether its Keito is the embedded one."""
        return self._embedded is not None

    @cached_property
    def settings(self) -> Settings:
        """The settings; raises `SettingsError` each time they are asked for, as long as one can't be used."""
        return self._settings_for(self._folder)

    def _settings_for(self, folder: Path | None) -> Settings:
        if self._load is not None:
            return self._load(folder)
        from keito_mcp.config import Settings

        return Settings.load(folder)

    @property
    def _folder(self) -> Path | None:
        """The project that a host started this server in; a server for others can't see theirs."""
        return Path(os.environ.get("CLAUDE_PROJECT_DIR") or ".").absolute() if self.serves_one_user else None

    @cached_property
    def journal(self) -> Journal:
        """This machine's journal."""
        from keito_mcp.journal import Journal

        return Journal(self.settings.folder, process=self._process, on_commit=self._on_commit)

    @cached_property
    def identifier(self) -> Identifier:
        """Who tells who makes a call."""
        from keito_mcp.identity import Identifier

        return Identifier()

    @cached_property
    def machine(self) -> Machine | None:
        """What this machine says of its hosts; None where no home folder is known. Raises `SettingsError`."""
        from keito_mcp.identity import Machine

        try:
            return Machine.here(self.settings.folder)
        except RuntimeError:
            return None

    @cached_property
    def repository(self) -> Repository | None:
        """The repository that a host started this server in."""
        from keito_mcp.identity.git import Repository

        return Repository(self._folder) if self._folder else None

    @cached_property
    def client(self) -> Client:
        """The HTTP client; raises `SettingsError` where there is no key."""
        from keito_mcp.config import SettingsError
        from keito_mcp.keito import Client

        key = self.settings.api_key
        if key is None:
            raise SettingsError(
                "KEITO_API_KEY is not set; make a key in Keito under Settings → API and set it, "
                "or log in with Keito's own CLI (keito auth login)"
            )
        return Client(self.settings.api_url, key.get_secret_value(), timeouts=self._timeouts, app=self._embedded_app())

    def _embedded_app(self) -> ASGIApp | None:
        if self._embedded is None:
            return None
        from keito_mcp import sandbox

        self._store = self._embedded(self.settings)
        return sandbox.create_app(self._store)

    @cached_property
    def clock(self) -> Clock:
        """The clock of everything here."""
        from keito_mcp.clock import SystemClock

        return self._clock or SystemClock()

    @cached_property
    def timesheet(self) -> Timesheet:
        """The agents' timesheet; raises `SettingsError`."""
        from keito_mcp.timesheet import Timesheet

        settings = self.settings
        ledger = self._ledger(self.client)
        return Timesheet(ledger, project_id=settings.project_id, task_id=settings.task_id, wake=self._wake)

    def courier(self, requests_a_minute: int) -> Courier:
        """Who delivers what waits, at no more than so many requests a minute; raises `SettingsError`."""
        from keito_mcp.keito import Timeouts
        from keito_mcp.timesheet import Courier, wait_for_turn

        account, journal, clock = self.settings.account, self.journal, self.clock

        async def turn() -> None:
            await wait_for_turn(journal, clock, account, requests_a_minute)

        # Turns are waited for outside of these; what failed is tried again by the queue.
        usual = self.client.timeouts
        patient = Timeouts(attempt=usual.attempt, read=1.0 + usual.attempt, write=90.0, retry_after=0.0, backoff=60.0)
        return Courier(self._ledger(self.client.paced(turn, patient)), account)

    def recorder(self, rules_of: RulesOf | None = None) -> Recorder:
        """Who records sessions as their hosts' events tell them; raises `SettingsError`.

        Args:
            rules_of: The rules of a repository; by default those of its configuration.
        """
        from keito_mcp.sessions.intake import Intake
        from keito_mcp.sessions.recorder import Recorder

        settings = self.settings
        intake = Intake(self.journal, self.clock, settings.folder)
        return Recorder(self._ledger(self.client), settings.account, intake, rules_of or self._rules_of)

    async def _rules_of(self, root: str) -> Rules | None:
        """The rules of a repository, by its configuration; without one, the operator's. None where it can't be used."""
        from keito_mcp.config import SettingsError
        from keito_mcp.sessions.rules import Rules

        if self.is_embedded or (not root and not self.settings.autolog):
            # No configuration leads to the embedded Keito, and what is recorded there is recorded nowhere else.
            return None
        try:
            settings = await anyio.to_thread.run_sync(self._settings_for, Path(root) if root else None)
        except SettingsError as error:
            _log.info("The sessions in %s can't be recorded: %s", Path(root).name, error)
            return None
        # Its file may have been removed since.
        return Rules.of(settings) if settings.configuration or settings.autolog else None

    def _ledger(self, client: Client) -> Ledger:
        from keito_mcp.keito import KeitoV1
        from keito_mcp.timesheet import Ledger, Place

        settings = self.settings
        place = Place(day=settings.day, account_is=settings.account_is, serves_one_user=self.serves_one_user)
        return Ledger(KeitoV1(client), self.journal, self.clock, place, client.timeouts)

    async def work_in_background(self) -> None:
        """Give signs of life and deliver what waits, from the first call on, until cancelled."""
        from keito_mcp.timesheet import Background
        from keito_mcp.waits import BACKGROUND_RATE

        await self._called.wait()
        courier = self.courier(BACKGROUND_RATE)
        prepare = self.recorder().run if self.serves_one_user else None
        self._background = Background(self.journal, self.clock, courier, self._beat, self._left, prepare)
        await self._background.run()

    async def _left(self) -> frozenset[str]:
        """The sessions that this server's host was in, and is in no longer; a setting's session is never left."""
        if self.machine is None or not self.serves_one_user or self.settings.session_id:
            return frozenset()
        return await anyio.to_thread.run_sync(self.identifier.left, self.machine)

    def _wake(self, *, reached: bool) -> None:
        self._called.set()
        if self._background is not None:
            self._background.wake(reached=reached)

    def operator(self) -> Mapping[str, str]:
        """The identity that the operator's settings fix for every caller of this server."""
        if not self.serves_one_user:
            return {}
        fields = ("agent_id", "agent_type", "session_id", "model")
        return {field: value for field in fields if (value := getattr(self.settings, field))}

    def owner(self, identity: Identity) -> Owner:
        """Under whom an agent's timers are kept."""
        from keito_mcp.journal import Owner

        return Owner(
            account=self.settings.account,
            session_id=identity.session_id,
            agent_id=identity.agent_id,
            subagent_id=identity.subagent_id,
            session_is_certain=identity.session_is_certain,
            process=self.journal.process,
        )

    async def aclose(self) -> None:
        """Close what was opened. Nothing depends on it: what matters is in the journal already."""
        if "client" in self.__dict__:
            await self.client.aclose()
        if "journal" in self.__dict__:
            self.journal.close()
        if self._store is not None:
            self._store.close()


def open_store(folder: Path) -> Store:
    """The embedded Keito's entries in a state folder.

    Raises:
        SettingsError: The folder can't be written.
    """
    import sqlite3

    from keito_mcp import paths, sandbox
    from keito_mcp.config import SettingsError

    file = paths.sandbox_file(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return sandbox.Store(file)
    except (OSError, sqlite3.Error) as error:
        raise SettingsError(f"{paths.STATE_DIR_VARIABLE}: the folder {folder} can't be written ({error})") from error


EMBEDDED_PROJECT = "prj_sandbox"


def embedded_runtime(*, serves_one_user: bool = True) -> Runtime:
    """A runtime whose Keito is the embedded one, kept in the state folder."""

    def load(folder: Path | None) -> Settings:
        from pydantic import SecretStr

        from keito_mcp.config import Settings

        settings = Settings.load(folder, with_login=False)
        fixed = {
            "api_url": "http://embedded.keito",
            "api_key": SecretStr("keito_sk_embedded"),
            "account_id": "embedded",
            "project_id": settings.project_id or EMBEDDED_PROJECT,
        }
        return settings.model_copy(update=fixed)

    return Runtime(load=load, embedded=lambda settings: open_store(settings.folder), serves_one_user=serves_one_user)
