"""Requests to Keito: sent with a key, within time limits, and failures turned into `KeitoError`."""

import copy
import json
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Self

import anyio
import httpx

from keito_mcp.keito import errors
from keito_mcp.keito.connections import Connections, Timeouts
from keito_mcp.keito.refusal import Refusal
from keito_mcp.keito.secrets import Redactor
from keito_mcp.waits import LONGEST_REST

_log = logging.getLogger(__name__)

_MESSAGE_LIMIT = 300
_LONGEST_READ = 65_536
"""Characters of a text from outside that are looked at."""
_ESCAPED_SURROGATE = ("\\ud", "\\uD")
_CONNECTION_NEVER_MADE = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class Client:
    """Sends requests to Keito with a key, and answers with parsed JSON or a `KeitoError`."""

    def __init__(self, base_url: str, api_key: str, connections: Connections | None = None) -> None:
        """A client over connections that others may share.

        Args:
            base_url: Keito's address without the version, such as `https://api.keito.ai`.
            api_key: The bearer key.
            connections: What the requests go through; its own by default.
        """
        self._base_url = base_url
        self._api_key = api_key
        self._redactor = Redactor(api_key)
        self._connections = connections or Connections()
        self.timeouts = self._connections.timeouts
        self._turn: Callable[[], Awaitable[None]] | None = None

    def within(self, timeouts: Timeouts) -> Self:
        """The same client with other time limits."""
        other = copy.copy(self)
        other.timeouts = timeouts
        return other

    def paced(self, turn: Callable[[], Awaitable[None]], timeouts: Timeouts) -> Self:
        """The same client for work that nobody waits for: each request waits for its turn."""
        paced = self.within(timeouts)
        paced._turn = turn  # noqa: SLF001 -- its own class
        return paced

    async def aclose(self) -> None:
        """Close the connections, also for all who share them."""
        await self._connections.aclose()

    async def read(
        self, path: str, query: Mapping[str, str] | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Any:  # noqa: ANN401 -- JSON
        """GET, tried again after a failure that may pass, inside the deadline.

        Raises:
            KeitoError: Keito refused, or didn't answer in time.
        """
        await self._wait_for_turn()
        async with deadline(self.timeouts.read):
            pause = self.timeouts.backoff
            while True:
                try:
                    return await self._attempt("GET", path, query=query, headers=headers)
                except errors.RateLimited as error:
                    wait = self._pause_asked_for(error, at_least=pause)
                    pause *= 2
                except (errors.ServerFailed, errors.Unreachable) as error:
                    wait = pause * random.uniform(0.5, 1.5)  # noqa: S311 -- jitter, not a secret
                    pause *= 2
                    if anyio.current_time() + wait >= anyio.current_effective_deadline():
                        raise error from error.__cause__
                await anyio.sleep(wait)

    async def write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 -- JSON
        """POST, PATCH or DELETE, sent once; again only after a 429 of Keito's, which wrote nothing.

        Raises:
            KeitoError: Keito refused or didn't answer; `nothing_written` says what is certain.
        """
        headers = {**(headers or {}), **({"Idempotency-Key": idempotency_key} if idempotency_key else {})}
        await self._wait_for_turn()
        async with deadline(self.timeouts.write):
            try:
                return await self._attempt(method, path, body=body, headers=headers)
            except errors.RateLimited as error:
                if not error.nothing_written:
                    raise
                await anyio.sleep(self._pause_asked_for(error))
            return await self._attempt(method, path, body=body, headers=headers)

    async def _wait_for_turn(self) -> None:
        """Outside of any deadline: what waits for its turn hasn't left."""
        if self._turn is not None:
            await self._turn()

    def _pause_asked_for(self, error: errors.RateLimited, *, at_least: float = 0.0) -> float:
        """Seconds to wait before one more attempt; raises the error where a call may not take that long."""
        asked = error.retry_after
        if asked is None or asked > self.timeouts.retry_after:
            raise error from None
        wait = max(asked, at_least)
        if anyio.current_time() + wait >= anyio.current_effective_deadline():
            raise error from None
        return wait

    async def _attempt(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 -- JSON
        url = self._address_of(path)
        departure = self._connections.departure(url)
        http = self._connections.to(url)
        request = http.build_request(
            method,
            url,
            params=query,
            json=body,
            headers={"Authorization": f"Bearer {self._api_key}", **(headers or {})},
            extensions={"trace": departure},
        )
        try:
            # httpx limits each step of an exchange; this limits the exchange.
            with anyio.fail_after(self.timeouts.attempt):
                response = await http.send(request)
        except TimeoutError as error:
            raise errors.Unreachable(
                f"no answer within {self.timeouts.attempt:g} s", nothing_written=not departure.happened
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            never_made = isinstance(error, _CONNECTION_NEVER_MADE) or not departure.happened
            said = self._redactor.text(_what_happened(error)[:_LONGEST_READ])[:_MESSAGE_LIMIT]
            raise errors.Unreachable(said, nothing_written=never_made) from self._cause(error)
        _log.debug("%s %s: %d", method, path, response.status_code)
        return _parsed(response, self._redactor)

    def _address_of(self, path: str) -> httpx.URL:
        try:
            url = httpx.URL(f"{self._base_url}{path}")
            # A name of other letters than these is read only when it is asked for.
            _ = url.host
        except (httpx.InvalidURL, ValueError) as error:
            raise errors.Unreachable(f"{self._base_url} is no address ({error})", nothing_written=True) from error
        return url

    def _cause(self, error: Exception) -> Exception | None:
        """Return the error as the cause of another one, or None where a traceback with it would show the key."""
        texts = [str(one) for one in _chain(error)]
        return error if [self._redactor.text(text) for text in texts] == texts else None


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """Raise `Unreachable` where what is done takes longer."""
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError as error:
        raise errors.Unreachable(f"no answer within {seconds:g} s", nothing_written=False) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it, as a traceback shows them."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _what_happened(error: httpx.HTTPError | httpx.InvalidURL) -> str:
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return "no connection could be made in time"
    if isinstance(error, httpx.TimeoutException):
        return "no answer came in time"
    if isinstance(error, httpx.InvalidURL):
        # httpx reads the address of a redirect, though it isn't followed.
        return "something sent the request on to what is no address"
    # Some of httpx's exceptions have no text at all.
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _parsed(response: httpx.Response, redactor: Redactor) -> Any:  # noqa: ANN401 -- JSON
    if response.status_code == HTTPStatus.NO_CONTENT and response.request.method == "DELETE":
        return None
    try:
        # JSON between systems is UTF-8. Guessing others, the library would also let halves of characters through.
        text = response.content.decode("utf-8-sig", "replace")
        content = json.loads(text)
        if any(escape in text for escape in _ESCAPED_SURROGATE):
            # Half a character can be written in JSON, but not in the UTF-8 of an answer to a host.
            content = json.loads(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
        if redactor.may_stand_in(response.content):
            content = redactor.content(content)
    except (ValueError, RecursionError):
        content = None
    if response.is_success and content is not None:
        return content
    raise _error(response, content, redactor)


_ERROR_OF_STATUS: Mapping[int, Callable[..., errors.StatusError]] = {
    401: errors.AuthenticationFailed,
    403: errors.PermissionDenied,
    404: errors.NotFound,
    409: errors.Conflict,
    429: errors.RateLimited,
}


_OF_THE_WAY = frozenset({408, 421, 425})
"""Statuses that tell of the connection and not of the request, in whatever shape."""


def _error(response: httpx.Response, content: object, redactor: Redactor) -> errors.StatusError:
    status = response.status_code
    said = Refusal.read(content, is_marked="X-Keito-API-Version" in response.headers)

    def text(value: object) -> str | None:
        return _text(redactor.text(value[:_LONGEST_READ])) if isinstance(value, str) else None

    kind: Callable[..., errors.StatusError] = errors.UnexpectedAnswer
    if response.is_server_error:
        kind = errors.ServerFailed
    elif response.is_client_error and status not in _OF_THE_WAY and (said or status == HTTPStatus.TOO_MANY_REQUESTS):
        kind = _ERROR_OF_STATUS.get(status, errors.InvalidRequest)
    error = kind(
        status,
        text(said and said.message) or text(response.reason_phrase) or "no reason given",
        code=text(said and said.code),
        field=text(said and said.field),
        request_id=text(response.headers.get("X-Request-Id")),
        retry_after=_retry_after(response.headers),
    )
    if said is None:
        error.nothing_written = False
    return error


def _text(value: object) -> str | None:
    """Text from outside on one line, bounded: it goes into messages that people and models read."""
    if not isinstance(value, str) or not value.strip():
        return None
    return json.dumps(" ".join(value.split())[:_MESSAGE_LIMIT], ensure_ascii=False)[1:-1]


def _retry_after(headers: httpx.Headers) -> float | None:
    """The seconds of a `Retry-After`, which may name a moment instead; no more of them are believed than an hour."""
    value = headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        moment = _moment(value)
        if moment is None:
            return None
        # By the clock of the one who asks for it, where that can be seen.
        now = _moment(headers.get("Date", "")) or datetime.now(UTC)
        seconds = max((moment - now).total_seconds(), 0.0)
    return min(seconds, LONGEST_REST.total_seconds()) if seconds >= 0 else None


def _moment(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
