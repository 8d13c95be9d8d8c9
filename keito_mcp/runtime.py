"""What lives as long as the server: settings, the connections, one journal, one clock; each made on first use.

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

from keito_mcp.settings.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from starlette.types import ASGIApp

    from keito_mcp.account import Account
    from keito_mcp.clock import Clock
    from keito_mcp.identity import Identifier, Machine
    from keito_mcp.identity.git import Repository
    from keito_mcp.journal import Journal
    from keito_mcp.keito import Connections, Timeouts
    from keito_mcp.sandbox import Store
    from keito_mcp.sessions.rules import Rules
    from keito_mcp.settings.config import Settings
    from keito_mcp.timesheet import Background, Beat, Directories, Locks, Rest
    from keito_mcp.timesheet.overview import RowOverview

_log = logging.getLogger(__name__)


class Runtime:
    """The parts that the tools work with. Its imports are as lazy as its parts: start-up is a cost of every host."""

    def __init__(  # noqa: PLR0913 -- independent knobs, each by its name only
        self,
        *,
        load: Callable[[Path | None], Settings] | None = None,
        embedded: Callable[[Settings], Store] | None = None,
        serves_one_user: bool = True,
        tokens: Callable[[], Collection[str]] | None = None,
        clock: Clock | None = None,
        timeouts: Timeouts | None = None,
        on_commit: Callable[[str], None] | None = None,
        process: str | None = None,
        beat: Beat | None = None,
        folder: str | None = None,
    ) -> None:
        """Nothing is read, opened or connected yet.

        Args:
            load: Gives the settings for a project's folder, if there is one; by default the environment's, completed
                by the project's file. Raises `SettingsError`.
            embedded: Opens the embedded Keito, which then answers in this process in place of the network.
            serves_one_user: Whether the server's settings and folder are the caller's own (stdio), or the
                callers are other people's agents (HTTP).
            tokens: Where callers are told apart, the names of those who call with the server's key; those who call
                with their own aren't among them.
            clock: Other clocks than the machine's.
            timeouts: Other time limits than the usual ones.
            on_commit: Told of each commit of the journal.
            process: Another identity than this process's, as `keito_mcp.process` writes it.
            beat: How often the server looks after itself between calls.
            folder: Another project than the one that a host, or a person, started the program in.
        """
        self._load = load
        self._embedded = embedded
        self._store: Store | None = None
        self._clock = clock
        self._timeouts = timeouts
        self._on_commit = on_commit
        self.serves_one_user = serves_one_user
        self._tokens = tokens
        self._process = process
        self._beat = beat
        self._chosen = folder
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

    async def prepare(self) -> None:
        """Read the settings beside the event loop, for git may be asked; anew while they wait for their user's yes.

        Raises:
            SettingsError: A setting can't be used.
        """
        known: Settings | None = self.__dict__.get("settings")
        if known is not None and known.untrusted is None:
            return
        fresh = await anyio.to_thread.run_sync(self._settings_for, self._folder)
        # Timers that run are of the account that this server began with.
        if known is None or fresh.account == known.account:
            self.__dict__["settings"] = fresh
            self.__dict__.pop("own", None)

    def _settings_for(self, folder: Path | None) -> Settings:
        if self._load is not None:
            return self._load(folder)
        from keito_mcp.settings.config import Settings

        return Settings.load(folder)

    @property
    def _folder(self) -> Path | None:
        """The project that was chosen, or that a host started this server in; a server for others can't see theirs."""
        chosen = self._chosen or os.environ.get("CLAUDE_PROJECT_DIR") or "."
        return Path(chosen).absolute() if self.serves_one_user else None

    @cached_property
    def journal(self) -> Journal:
        """This machine's journal."""
        from keito_mcp.journal import Journal

        return Journal(self.settings.folder, process=self._process, on_commit=self._on_commit)

    @cached_property
    def overview(self) -> Journal | RowOverview:
        """The journal, to be looked at."""
        if os.environ.get("KEITO_MCP_TEST_CORE") != "rows":
            return self.journal
        from keito_mcp.timesheet.overview import RowOverview

        return RowOverview(self.journal, self.clock)

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
    def connections(self) -> Connections:
        """The connections to Keito of all accounts."""
        from keito_mcp.keito import Connections

        return Connections(timeouts=self._timeouts, app=self._embedded_app())

    @cached_property
    def locks(self) -> Locks:
        """What keeps calls about the same timer apart, whichever account's calls they are."""
        from keito_mcp.timesheet import Locks

        return Locks()

    @cached_property
    def directories(self) -> Directories:
        """What there is to book time on, by account."""
        from keito_mcp.timesheet import Directories

        return Directories(self.clock)

    @cached_property
    def own(self) -> Account:
        """The server's own account; raises `SettingsError`."""
        from keito_mcp.account import Account

        return Account(self, self.settings)

    def account_of(self, principal: Principal | None) -> Account:
        """The account that a call is made in; raises `SettingsError`."""
        if principal is None:
            return self.own
        from keito_mcp.account import Account

        return Account(self, self.settings.of(principal))

    def standing_accounts(self) -> list[Account]:
        """The accounts whose key is always here; raises `SettingsError`."""
        if self._tokens is None:
            return [self.own]
        return [self.account_of(Principal(name)) for name in sorted(self._tokens())]

    async def delivered_for(self, principal: Principal | None) -> None:
        """After a call: what waits for a principal is delivered while their key is here; never fails a call."""
        if principal is not None and principal.has_own_key:
            await self.account_of(principal).deliver_what_waits()

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

    async def rules_of(self, root: str) -> Rules | None:
        """The rules of a repository, by its configuration; without one, the operator's. None where it can't be used."""
        from keito_mcp.sessions.rules import Rules
        from keito_mcp.settings.config import SettingsError
        from keito_mcp.settings.trust import Standing

        if self.is_embedded or (not root and not self.settings.autolog):
            # No configuration leads to the embedded Keito, and what is recorded there is recorded nowhere else.
            return None
        try:
            settings = await anyio.to_thread.run_sync(self._settings_for, Path(root) if root else None)
        except SettingsError as error:
            _log.info("The sessions in %s can't be recorded: %s", Path(root).name, error)
            return None
        # Its file may have been removed since.
        is_there = settings.found.standing is not Standing.NONE
        return Rules.of(settings) if is_there or settings.autolog else None

    async def work_in_background(self) -> None:
        """Give signs of life and deliver what waits, from the first call on, until cancelled."""
        await self._called.wait()
        from keito_mcp.timesheet import Background, deliver_all
        from keito_mcp.waits import BACKGROUND_RATE

        async def deliver() -> Rest:
            couriers = [account.courier(BACKGROUND_RATE) for account in self.standing_accounts()]
            return await deliver_all(couriers, lambda _: None)

        prepare = self.own.recorder().run if self.serves_one_user else None
        self._background = Background(self.journal, self.clock, deliver, self._beat, self._left, prepare)
        await self._background.run()

    async def _left(self) -> frozenset[str]:
        """The sessions that this server's host was in, and is in no longer; a setting's session is never left."""
        if self.machine is None or not self.serves_one_user or self.settings.session_id:
            return frozenset()
        return await anyio.to_thread.run_sync(self.identifier.left, self.machine)

    def wake(self, *, reached: bool) -> None:
        """Told after each call, and whether Keito was `reached` by it."""
        self._called.set()
        if self._background is not None:
            self._background.wake(reached=reached)

    async def aclose(self) -> None:
        """Close what was opened. Nothing depends on it: what matters is in the journal already."""
        if "connections" in self.__dict__:
            await self.connections.aclose()
        if "journal" in self.__dict__:
            self.journal.close()
        if self._store is not None:
            self._store.close()


def loaded_for(token: str | None) -> Callable[[Path | None], Settings]:
    """Loads the settings of those who call an HTTP server with a token, by its name; else with the server's own key."""

    def load(folder: Path | None) -> Settings:
        from keito_mcp.settings.config import Settings

        settings = Settings.load(folder)
        return settings.of(Principal(token) if token else Principal("of KEITO_API_KEY", settings.api_key))

    return load
