"""Which version of Keito's API is spoken, and where it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from keito_mcp.keito.api import KeitoApi
from keito_mcp.keito.client import Client
from keito_mcp.keito.v1 import KeitoV1
from keito_mcp.keito.v2 import KeitoV2

Version = Literal["v1", "v2"]

DEFAULT_URLS: Mapping[Version, str] = {"v1": "https://api.keito.ai", "v2": "https://app.keito.ai"}
"""Keito's address for each version, without the version's own path."""

_CONFIGURED: Mapping[str, Version] = {"v1": "v1", "1": "v1", "v2": "v2", "2": "v2"}
_BY_PREFIX: Mapping[str, Version] = {"kto_": "v2", "keito_sk_": "v1"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A version, and why it is that one.

    Attributes:
        reason: A phrase for people; of the key it holds the prefix alone.
    """

    version: Version
    reason: str


def version_of(api_key: str | None, configured: str | None = None) -> Chosen:
    """The version that a key is made for, unless one is configured.

    Args:
        api_key: The key; None where there is none yet.
        configured: The text of `KEITO_API_VERSION`, where it is set.

    Raises:
        ValueError: There is no such version.
    """
    if configured is not None:
        version = _CONFIGURED.get(configured.strip().lower())
        if version is None:
            raise ValueError(f"KEITO_API_VERSION must be v1 or v2, not {configured[:40]!r}")
        return Chosen(version, "KEITO_API_VERSION says so")
    for prefix, version in _BY_PREFIX.items():
        if (api_key or "").startswith(prefix):
            return Chosen(version, f"the key begins with {prefix}")
    return Chosen("v1", "nothing says otherwise")


def api_for(version: Version, client: Client, *, account_id: str | None = None) -> KeitoApi:
    """The API in a version.

    Args:
        version: Which one.
        client: Sends the requests; its base URL is Keito's address without a version, as in `DEFAULT_URLS`.
        account_id: The company's id, which version 2 wants beside an API key.
    """
    return KeitoV1(client) if version == "v1" else KeitoV2(client, account_id)
