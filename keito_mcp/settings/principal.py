"""On whose behalf a call is made, where a server has several callers (HTTP)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class Principal:
    """Someone who may call: by a token of the operator's, or with a key of Keito's.

    Attributes:
        name: The token's name; of a key, a hash that tells it from all others and doesn't reveal it.
        api_key: Their own key, which goes to Keito with this call and is kept nowhere; None where the server's goes.
        account_id: The account of Keito that they name, where their key needs one.
    """

    name: str
    api_key: SecretStr | None = None
    account_id: str | None = None

    @property
    def has_own_key(self) -> bool:
        """Whether their own key goes to Keito, and not the server's."""
        return self.api_key is not None
