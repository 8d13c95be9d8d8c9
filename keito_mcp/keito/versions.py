"""Keito's API in the version that is spoken."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from keito_mcp.keito.api import KeitoApi
from keito_mcp.keito.client import Client
from keito_mcp.keito.v1 import KeitoV1
from keito_mcp.keito.v2 import KeitoV2


def api_for(
    version: Literal["v1", "v2"],
    client: Client,
    *,
    account_id: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> KeitoApi:
    """The API in a version.

    Args:
        version: Which one.
        client: Sends the requests; its base URL is Keito's address without the path of a version.
        account_id: The company's id, which version 2 wants beside an API key.
        now: Tells the time.
    """
    return KeitoV1(client) if version == "v1" else KeitoV2(client, account_id, now)
