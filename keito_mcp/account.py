"""One account: whose key goes to Keito, and under which name everything of theirs is kept on this machine."""

from __future__ import annotations

import logging
import os
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from keito_mcp.clock import Clock
    from keito_mcp.identity import Identity
    from keito_mcp.journal import Journal, Owner
    from keito_mcp.keito import Client, Connections, KeitoApi
    from keito_mcp.sessions.recorder import Recorder, RulesOf
    from keito_mcp.sessions.rules import Rules
    from keito_mcp.settings.config import Settings
    from keito_mcp.timesheet import Courier, Directories, Directory, Ledger, Locks, Naming, Timesheet
    from keito_mcp.timesheet.books import Books
    from keito_mcp.timesheet.courier import RowCourier
    from keito_mcp.timesheet.overview import RowOverview


_log = logging.getLogger(__name__)

_CORE_IS_OF_ROWS = os.environ.get("KEITO_MCP_TEST_CORE") == "rows"
"""Which of two cores works, while the new one is being proved."""

_AFTER_A_CALL = 5.0
"""Seconds that a call may take longer because it delivers what waited, if it isn't in the midst of a request then."""

_AN_ATTEMPT = 3.0
"""Seconds for each of those requests."""

_KEY_IS_AT = "in Keito under Settings → API & Developers"
_NO_KEY = (
    f"KEITO_API_KEY is not set; make a key {_KEY_IS_AT} and set it, or log in with Keito's own CLI (keito auth login)"
)
NO_ACCOUNT = (
    "KEITO_ACCOUNT_ID is not set, and Keito takes a key that begins with kto_ only together with the account's id; the "
    f"id stands {_KEY_IS_AT}, beside the key: set KEITO_ACCOUNT_ID to it where KEITO_API_KEY is set, or run keito-mcp "
    "init --workspace-id ID"
)
_NO_ACCOUNT_OF_CALLER = (
    "This client's key begins with kto_, which Keito takes only together with the account's id; the id stands "
    f"{_KEY_IS_AT}, beside the key: send it in the header Keito-Account-Id beside Authorization"
)

_WITH_THE_NEXT_CALL = "Your key isn't kept, so that happens with your next call."


class Shared(Protocol):
    """What all accounts of a server share; each part is made on first use."""

    serves_one_user: bool

    @property
    def journal(self) -> Journal:
        """This machine's journal."""
        ...

    @property
    def overview(self) -> Journal | RowOverview:
        """What the journal tells of whole accounts."""
        ...

    @property
    def clock(self) -> Clock:
        """The clock of everything here."""
        ...

    @property
    def connections(self) -> Connections:
        """The connections to Keito."""
        ...

    @property
    def locks(self) -> Locks:
        """What keeps calls about the same timer apart."""
        ...

    @property
    def directories(self) -> Directories:
        """What there is to book time on, by account."""
        ...

    async def rules_of(self, root: str) -> Rules | None:
        """The rules of a repository; None where it has none that can be used."""
        ...

    def wake(self, *, reached: bool) -> None:
        """Be told after each call, and whether Keito was `reached` by it."""
        ...


class Account:
    """The parts that work in one account. Its imports are lazy: start-up is a cost of every host.

    The server's own lives as long as the server. That of a principal is made for a call and gone after it, so that
    nothing of theirs stays but their rows in the journal.
    """

    def __init__(self, shared: Shared, settings: Settings) -> None:
        """Nothing is connected or opened yet.

        Args:
            shared: What all accounts share.
            settings: The settings of this one; they say whose it is.
        """
        self._shared = shared
        self.settings = settings

    @property
    def name(self) -> str:
        """What the journal knows it by."""
        return self.settings.account

    @property
    def mark(self) -> str | None:
        """What tells the entries of a principal from those of others, in Keito, whichever replica made them."""
        principal = self.settings.principal
        if principal is None:
            return None
        return f"key {self.name[:12]}" if principal.has_own_key else f"token {principal.name}"

    @cached_property
    def client(self) -> Client:
        """The HTTP client.

        Raises:
            SettingsError: There is no key, or Keito wants an account's id beside it and there is none.
        """
        from keito_mcp.keito import Client
        from keito_mcp.settings.config import SettingsError

        key, principal = self.settings.api_key, self.settings.principal
        if key is None:
            raise SettingsError(_NO_KEY)
        if self.settings.lacks_account:
            is_callers = not self._shared.serves_one_user and principal is not None and principal.has_own_key
            raise SettingsError(_NO_ACCOUNT_OF_CALLER if is_callers else NO_ACCOUNT)
        return Client(self.settings.api_url, key.get_secret_value(), self._shared.connections)

    @cached_property
    def api(self) -> KeitoApi:
        """Keito's API in the version of the key; raises `SettingsError` where there is no key."""
        return self._api(self.client)

    @cached_property
    def timesheet(self) -> Timesheet:
        """The agents' timesheet; raises `SettingsError`."""
        from keito_mcp.timesheet import Timesheet

        settings = self.settings
        ledger = self._ledger(self.client)
        given = {"project_id": settings.project_id, "task_id": settings.task_id}
        if _CORE_IS_OF_ROWS:
            from keito_mcp.timesheet.row_timesheet import RowTimesheet

            return RowTimesheet(cast("Books", ledger), **given, wake=self._shared.wake)
        return Timesheet(ledger, **given, wake=self._shared.wake)

    def naming(self, *, keeps_lists: bool = False) -> Naming:
        """What the words of one call mean, with `keeps_lists` as in `Naming`; raises `SettingsError`."""
        from keito_mcp.timesheet import Naming

        settings = self.settings
        return Naming(
            self.api, self._directory, project=settings.project_id, task=settings.task_id, keeps_lists=keeps_lists
        )

    def courier(self, requests_a_minute: int) -> Courier | RowCourier:
        """Who delivers what waits, at no more than so many requests a minute; raises `SettingsError`."""
        from keito_mcp.keito import Timeouts
        from keito_mcp.timesheet import wait_for_turn

        journal, clock, rated = self._shared.journal, self._shared.clock, self.settings.rated_account

        async def turn() -> None:
            await wait_for_turn(journal, clock, rated, requests_a_minute)

        # Turns are waited for outside of these; what failed is tried again by the queue.
        usual = self.client.timeouts
        patient = Timeouts(attempt=usual.attempt, read=1.0 + usual.attempt, write=90.0, retry_after=0.0, backoff=60.0)
        return self._courier(self.client.paced(turn, patient))

    async def deliver_what_waits(self) -> None:
        """Deliver what waits, in a few seconds; what can't be delivered now goes on waiting, and nothing fails.

        A call waits for this, so no turn is waited for: a rate limit that is reached ends it.
        """
        import anyio

        from keito_mcp.keito import Timeouts

        brief = Timeouts(attempt=_AN_ATTEMPT, read=_AN_ATTEMPT, write=_AN_ATTEMPT, retry_after=0.0, backoff=60.0)
        try:
            if await self._shared.overview.unsettled(self.name):
                with anyio.move_on_after(_AFTER_A_CALL):
                    await self._courier(self.client.within(brief)).run(lambda _: None)
        except Exception:  # noqa: BLE001 -- the call itself is done, whatever becomes of this
            _log.warning("What waits for %s couldn't be delivered", self.settings.account_is, exc_info=True)

    def recorder(self, rules_of: RulesOf | None = None) -> Recorder:
        """Who records sessions as their hosts' events tell them; raises `SettingsError`.

        Args:
            rules_of: The rules of a repository; by default those of its configuration.
        """
        from keito_mcp.sessions.intake import Intake
        from keito_mcp.sessions.recorder import Recorder
        from keito_mcp.timesheet import Naming
        from keito_mcp.timesheet.books import Books
        from keito_mcp.timesheet.record import RowRecords
        from keito_mcp.timesheet.recording import Records

        shared = self._shared
        intake = Intake(shared.journal, shared.clock, self.settings.folder)
        # Its rules are those of each session's repository, which need not be this server's.
        naming = partial(Naming, self.api, self._directory)
        ledger = self._ledger(self.client)
        records = RowRecords(ledger, self.name) if isinstance(ledger, Books) else Records(ledger, self.name)
        return Recorder(ledger, records, self.name, intake, rules_of or shared.rules_of, naming)

    def operator(self) -> Mapping[str, str]:
        """The identity that the operator's settings fix for every caller of this server."""
        if not self._shared.serves_one_user:
            return {}
        fields = ("agent_id", "agent_type", "session_id", "model")
        return {field: value for field in fields if (value := getattr(self.settings, field))}

    def owner(self, identity: Identity) -> Owner:
        """Under whom an agent's timers are kept."""
        from keito_mcp.journal import Owner

        return Owner(
            account=self.name,
            session_id=identity.session_id,
            agent_id=identity.agent_id,
            subagent_id=identity.subagent_id,
            session_is_certain=identity.session_is_certain,
            process=self._shared.journal.process,
        )

    @property
    def _directory(self) -> Directory:
        return self._shared.directories.of(self.name)

    def _api(self, client: Client) -> KeitoApi:
        from keito_mcp.keito import api_for

        def now() -> datetime:
            return self._shared.clock.now().wall

        return api_for(self.settings.version, client, account_id=self.settings.account_id, now=now)

    def _courier(self, client: Client) -> Courier | RowCourier:
        from keito_mcp.timesheet import Courier

        if _CORE_IS_OF_ROWS:
            from keito_mcp.timesheet.courier import RowCourier

            return RowCourier(cast("Books", self._ledger(client)), self.name)
        return Courier(self._ledger(client), self.name)

    def _ledger(self, client: Client) -> Ledger:
        from keito_mcp.identity.facts import MARK
        from keito_mcp.keito import Marked
        from keito_mcp.timesheet import Ledger, Place
        from keito_mcp.timesheet.books import Books

        shared, settings = self._shared, self.settings
        has_own_key = settings.principal is not None and settings.principal.has_own_key
        place = Place(
            day=settings.day,
            locks=shared.locks,
            later=_WITH_THE_NEXT_CALL if has_own_key else "",
            account_is=settings.account_is,
            serves_one_user=shared.serves_one_user,
        )
        kind = Books if _CORE_IS_OF_ROWS else Ledger
        api = self._api(client)
        if self.mark is None:
            return kind(api, shared.journal, shared.clock, place, client.timeouts)
        own = Marked(api, MARK, self.mark, unmarked_too=False)
        # What no principal wrote is for Keito to show, to a key of its own user's; a token is for its own entries.
        view = Marked(api, MARK, self.mark, unmarked_too=has_own_key)
        return kind(own, shared.journal, shared.clock, place, client.timeouts, view=view)
