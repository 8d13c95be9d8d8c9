"""Who may come in to API v2, and in whose name."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from keito_mcp.sandbox.access import UnauthenticatedError, key_of, user_of
from keito_mcp.sandbox.catalogue import Catalogue, User
from keito_mcp.sandbox.v2_errors import RefusedError

ACCOUNT_HEADER = "Keito-Account-Id"
_KEY_PREFIX = "kto_"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who makes a request, and for which company."""

    user: User
    company_id: str


Handler = Callable[[Request, Visitor], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Door:
    """Lets in who has a key: `kto_…` beside the header `Keito-Account-Id`, or a token that needs no account.

    Any account is accepted, and all accounts have the same entries.

    Args:
        api_keys: The keys and tokens that are valid; `None` accepts any.
        catalogue: Who the users are.
    """

    def __init__(self, api_keys: Collection[str] | None, catalogue: Catalogue) -> None:
        self._api_keys = api_keys
        self._catalogue = catalogue

    def behind(self, handler: Handler) -> Endpoint:
        """Return an endpoint that hands those who are let in to the handler, and answers 401 to others."""

        async def endpoint(request: Request) -> Response:
            return await handler(request, self._let_in(request))

        return endpoint

    def _let_in(self, request: Request) -> Visitor:
        try:
            key = key_of(request.headers, self._api_keys)
        except UnauthenticatedError as error:
            raise _unauthenticated(str(error)) from error
        account = request.headers.get(ACCOUNT_HEADER, "").strip()
        if key.startswith(_KEY_PREFIX) and not account:
            raise _unauthenticated(f"send the company's id as '{ACCOUNT_HEADER}: <id>'")
        return Visitor(self._catalogue.user(user_of(key)), account or self._catalogue.company_id)


def _unauthenticated(description: str) -> RefusedError:
    return RefusedError(401, description, {"WWW-Authenticate": "Bearer"})
