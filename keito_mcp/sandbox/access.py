"""Who makes a request: the key it comes with, and the user behind that key."""

import hashlib
import re
from collections.abc import Collection, Mapping


class UnauthenticatedError(Exception):
    """The request comes with no valid key; the message says what is missing, for a person."""


def key_of(headers: Mapping[str, str], api_keys: Collection[str] | None) -> str:
    """Return the key that a request comes with.

    Args:
        headers: The request's headers.
        api_keys: The keys that are valid; `None` accepts any.

    Raises:
        UnauthenticatedError: There is none, or one that is not valid.
    """
    bearer = re.fullmatch(r"(?i:bearer) +(\S+)", headers.get("authorization", ""))
    if bearer is None:
        raise UnauthenticatedError("send the API key as 'Authorization: Bearer <key>'")
    if api_keys is not None and bearer[1] not in api_keys:
        raise UnauthenticatedError("the API key is not valid")
    return bearer[1]


def user_of(api_key: str) -> str:
    """Return the id of the user whom a key stands for: stable, and the key cannot be read from it."""
    return f"usr_{hashlib.sha256(api_key.encode()).hexdigest()[:10]}"
