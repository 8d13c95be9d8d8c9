"""Who may connect over HTTP, and on whose behalf a request is made."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Self

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from pydantic import SecretStr
from starlette.datastructures import Headers

from keito_mcp.settings.address import is_loopback
from keito_mcp.settings.principal import Principal
from keito_mcp.transports.tokens import Tokens

_BEARER = re.compile(r"(?i:bearer) +([\x21-\x7e]{1,512})")
_ACCOUNT_ID = re.compile(r"[\x21-\x7e]{1,128}")

ACCOUNT_HEADER = "keito-account-id"
"""The header by which Keito's own API takes an account's id; a caller with a key of its own may send it here, too."""


class Auth(StrEnum):
    """How callers are told apart."""

    NONE = "none"
    TOKEN = "token"  # noqa: S105 -- the name of a way, not a token
    KEY = "key"


class Refused(Exception):
    """A server may not be started like this; the text is one sentence."""


class Denied(Exception):
    """A request isn't let in.

    Attributes:
        challenge: The value of `WWW-Authenticate` (RFC 6750).
    """

    def __init__(self, why: str, error: str | None = None) -> None:
        super().__init__(why)
        self.challenge = 'Bearer realm="keito-mcp"' + (f', error="{error}"' if error else "")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may connect.

    Attributes:
        auth: How callers are told apart.
        tokens: Where it is by tokens, those.
    """

    auth: Auth = Auth.NONE
    tokens: Tokens | None = None

    @classmethod
    def of(cls, auth: Auth | None, host: str, tokens: str | None) -> Self:
        """The access that an operator asks for; by default by tokens where there are any, else to everybody here.

        Args:
            auth: How callers are told apart, where that was said.
            host: The address to serve on.
            tokens: `KEITO_MCP_TOKENS`, read apart from the other settings: a server starts whatever is wrong with
                those, but never with another access than was asked for.

        Raises:
            Refused: Others could reach an address at which callers aren't told apart, or there are no tokens.
            SettingsError: The tokens can't be used.
        """
        if auth is None:
            auth = Auth.TOKEN if tokens else Auth.NONE
        if auth is Auth.NONE and not is_loopback(host):
            raise Refused(
                f"keito-mcp doesn't serve on {host} without --auth token or --auth key: other machines can reach that "
                "address, and whoever did would write under your key (without them it serves on a loopback address: "
                "127.0.0.1, localhost or ::1)."
            )
        if auth is not Auth.TOKEN:
            return cls(auth)
        if not tokens:
            raise Refused("--auth token needs KEITO_MCP_TOKENS: tokens, separated by commas, or the path of a file.")
        return cls(auth, Tokens.read(tokens))

    @property
    def names(self) -> Callable[[], Collection[str]] | None:
        """Tells whose calls go to Keito with the server's key, now; None where callers aren't told apart."""
        if self.auth is Auth.NONE:
            return None
        return lambda: self.tokens.names if self.tokens else ()

    def principal(self, headers: Headers) -> Principal | None:
        """On whose behalf a request is made; None where callers aren't told apart.

        Raises:
            Denied: The request presents nobody's credential.
        """
        if self.auth is Auth.NONE:
            return None
        bearer = _bearer(headers.getlist("authorization"))
        if self.tokens is None:
            return _of_key(bearer, headers.get(ACCOUNT_HEADER))
        name = self.tokens.name_of(bearer)
        if name is None:
            raise Denied("the bearer token is nobody's", "invalid_token")
        return Principal(name)


def user(principal: Principal) -> AuthenticatedUser:
    """A principal as the SDK knows it, which lets only whoever opened a session use it."""
    whose = f"{principal.name} {principal.account_id or ''}"
    return AuthenticatedUser(AccessToken(token="", client_id=whose, scopes=[]))


def _bearer(given: Sequence[str]) -> str:
    if not given:
        raise Denied("this server takes a bearer token in the Authorization header")
    match = _BEARER.fullmatch(given[0].strip()) if len(given) == 1 else None
    if match is None:
        raise Denied("the Authorization header isn't one of `Bearer` and a token", "invalid_request")
    return match[1]


def _of_key(key: str, account_id: str | None) -> Principal:
    if account_id is not None and not _ACCOUNT_ID.fullmatch(account_id):
        raise Denied("Keito-Account-Id isn't the id of an account", "invalid_request")
    return Principal(sha256(key.encode()).hexdigest(), SecretStr(key), account_id)
