"""The connections to Keito: how long they take, which proxies they use, and where plain http may lead."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
import truststore
from starlette.types import ASGIApp

from keito_mcp.keito.errors import Unreachable
from keito_mcp.settings.address import is_loopback
from keito_mcp.version import __version__

_MOST_CONNECTIONS = 1000
"""More than callers are let in at a time: a call that waits for a connection of another's would look lost."""
_KEPT_CONNECTIONS = 50


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a call may take, in seconds."""

    attempt: float = 10.0
    read: float = 30.0
    """The deadline of a read with its retries."""
    write: float = 15.0
    """The deadline of a write with its look-up."""
    retry_after: float = 10.0
    """The longest `Retry-After` that is waited for within a call."""
    backoff: float = 0.5
    """The first pause between two attempts of a read; it doubles."""


class Connections:
    """The connections to Keito, shared by all whose requests go there; nothing of any of them stays here."""

    def __init__(self, *, timeouts: Timeouts | None = None, app: ASGIApp | None = None) -> None:
        """Nothing is connected, and no TLS set up, before the first request.

        Args:
            timeouts: Other limits than the usual ones.
            app: What answers in this process, in place of the network (the embedded Keito).
        """
        self.timeouts = timeouts or Timeouts()
        self._app = app

    def to(self, url: httpx.URL) -> httpx.AsyncClient:
        """Return the HTTP client for an address, without a key.

        Proxies are for https to other machines alone: to a proxy, an address of this machine is one of its own, and
        plain http would show it the key.

        Raises:
            Unreachable: The proxy that the environment names can't be used.
        """
        if url.scheme != "https" or is_loopback(url.host):
            return self._direct
        try:
            return self._by_proxy
        except (ImportError, ValueError, httpx.InvalidURL):
            # Their texts may hold the proxy's password.
            raise Unreachable(
                "the proxy that HTTPS_PROXY or ALL_PROXY names can't be used, or NO_PROXY can't be read; correct them",
                nothing_written=True,
            ) from None

    def departure(self, url: httpx.URL) -> "Departure":
        """Return what follows a request to an address on its way."""
        return Departure(traced=self._app is None, stays_here=url.scheme != "https")

    @cached_property
    def _direct(self) -> httpx.AsyncClient:
        return self._client(trust_env=False)

    @cached_property
    def _by_proxy(self) -> httpx.AsyncClient:
        return self._client(trust_env=True)

    def _client(self, *, trust_env: bool) -> httpx.AsyncClient:
        connecting = 0.8 * self.timeouts.attempt
        return httpx.AsyncClient(
            headers={"Accept": "application/json", "User-Agent": f"keito-mcp/{__version__}"},
            # Sooner than the whole attempt: a connection that is cancelled while it is made would stay open.
            timeout=httpx.Timeout(self.timeouts.attempt, connect=connecting, pool=connecting),
            limits=httpx.Limits(max_connections=_MOST_CONNECTIONS, max_keepalive_connections=_KEPT_CONNECTIONS),
            follow_redirects=False,
            transport=httpx.ASGITransport(self._app) if self._app else None,
            verify=truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            # A cookie that Keito sets for one caller must not travel with the next one's request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            trust_env=trust_env,
        )

    async def aclose(self) -> None:
        """Close the connections, if any were made."""
        for name in ("_direct", "_by_proxy"):
            if name in self.__dict__:
                await self.__dict__[name].aclose()


class NotHere(httpx.ConnectError):
    """Plain http would leave this machine."""


class Departure:
    """Follow a request on its way: before it begins to leave, nothing can have been written."""

    def __init__(self, *, traced: bool, stays_here: bool) -> None:
        """Nothing has left yet.

        Args:
            traced: Whether the transport tells of its steps.
            stays_here: Whether the request may go to this machine alone.
        """
        self.happened = not traced
        self._stays_here = stays_here

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Told by the transport of each step of an exchange.

        Raises:
            NotHere: The connection leads to another machine; nothing was sent over it.
        """
        if event.endswith("send_request_headers.started"):
            self.happened = True
        if self._stays_here and event == "connection.connect_tcp.complete":
            # What `localhost` means is the resolver's word.
            connection = info["return_value"]
            peer = str(connection.get_extra_info("server_addr")[0])
            if not is_loopback(peer):
                await connection.aclose()
                raise NotHere(f"the address leads to {peer}, and the key leaves this machine over https only")
