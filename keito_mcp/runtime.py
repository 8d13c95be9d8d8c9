"""What lives as long as the server: settings, one HTTP client, one journal, one clock; each made on first use.

A host starts servers for health checks too, so nothing here is touched before the first tool call.
"""

from __future__ import annotations

import os
import uuid
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp

    from keito_mcp.clock import Clock
    from keito_mcp.config import Settings
    from keito_mcp.identity import Identity
    from keito_mcp.identity.git import Repository
    from keito_mcp.journal import Journal, Owner
    from keito_mcp.keito import Client, Timeouts
    from keito_mcp.sandbox import Store
    from keito_mcp.timesheet import Timesheet


class Runtime:
    """The parts that the tools work with. Its imports are as lazy as its parts: start-up is a cost of every host."""

    def __init__(
        self,
        *,
        load: Callable[[], Settings] | None = None,
        embedded: Callable[[Settings], Store] | None = None,
        serves_one_user: bool = True,
        clock: Clock | None = None,
        timeouts: Timeouts | None = None,
        on_commit: Callable[[str], None] | None = None,
    ) -> None:
        """Nothing is read, opened or connected yet.

        Args:
            load: Gives the settings; by default the environment's. Raises `SettingsError`.
            embedded: Opens the embedded Keito, which then answers in this process in place of the network.
            serves_one_user: Whether the server's settings and folder are the caller's own (stdio), or the
                callers are other people's agents (HTTP).
            clock: Other clocks than the machine's.
            timeouts: Other time limits than the usual ones.
            on_commit: Told of each commit of the journal.
        """
        self._load = load
        self._embedded = embedded
        self._store: Store | None = None
        self._clock = clock
        self._timeouts = timeouts
        self._on_commit = on_commit
        self.serves_one_user = serves_one_user
        self.process = uuid.uuid4().hex
        self.session = str(uuid.uuid4())

    @property
    def is_embedded(self) -> bool:
        """Whether its Keito is the embedded one."""
        return self._embedded is not None

    @cached_property
    def settings(self) -> Settings:
        """The settings; raises `SettingsError` each time they are asked for, as long as one can't be used."""
        if self._load is not None:
            return self._load()
        from keito_mcp.config import Settings

        return Settings.load()

    @cached_property
    def journal(self) -> Journal:
        """This machine's journal."""
        from keito_mcp.journal import Journal

        return Journal(self.settings.folder, on_commit=self._on_commit)

    @cached_property
    def repository(self) -> Repository | None:
        """The repository that a host started this server in; a server for others can't see theirs."""
        from keito_mcp.identity.git import Repository

        if not self.serves_one_user:
            return None
        return Repository(Path(os.environ.get("CLAUDE_PROJECT_DIR") or "."))

    @cached_property
    def client(self) -> Client:
        """The HTTP client; raises `SettingsError` where there is no key."""
        from keito_mcp.config import SettingsError
        from keito_mcp.keito import Client

        key = self.settings.api_key
        if key is None:
            raise SettingsError("KEITO_API_KEY is not set; make a key in Keito under Settings → API and set it")
        return Client(self.settings.api_url, key.get_secret_value(), timeouts=self._timeouts, app=self._embedded_app())

    def _embedded_app(self) -> ASGIApp | None:
        if self._embedded is None:
            return None
        from keito_mcp import sandbox

        self._store = self._embedded(self.settings)
        return sandbox.create_app(self._store)

    @cached_property
    def timesheet(self) -> Timesheet:
        """The agents' timesheet; raises `SettingsError`."""
        from keito_mcp.clock import SystemClock
        from keito_mcp.keito import KeitoV1
        from keito_mcp.timesheet import Ledger, Timesheet

        settings, client = self.settings, self.client
        clock = self._clock or SystemClock()
        ledger = Ledger(KeitoV1(client), self.journal, clock, settings.day, client.timeouts)
        return Timesheet(ledger, project_id=settings.project_id, task_id=settings.task_id)

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
            process=self.process,
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

    def load() -> Settings:
        from pydantic import SecretStr

        from keito_mcp.config import Settings

        settings = Settings.load()
        fixed = {
            "api_url": "http://embedded.keito",
            "api_key": SecretStr("keito_sk_embedded"),
            "account_id": "embedded",
            "project_id": settings.project_id or EMBEDDED_PROJECT,
        }
        return settings.model_copy(update=fixed)

    return Runtime(load=load, embedded=lambda settings: open_store(settings.folder), serves_one_user=serves_one_user)
