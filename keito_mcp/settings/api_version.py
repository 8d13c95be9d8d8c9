"""Which version of Keito's API is spoken."""

from dataclasses import dataclass
from typing import Literal

Version = Literal["v1", "v2"]

_BESIDE_AN_ACCOUNT = "kto_"
_PREFIXES: dict[str, Version] = {_BESIDE_AN_ACCOUNT: "v2", "keito_sk_": "v1"}


@dataclass(frozen=True, slots=True)
class Choice:
    """A version, and the reason for it as half a sentence."""

    version: Version
    because: str


def choose(key: str | None, given: Version | None) -> Choice:
    """The version that was given, else the one that the key is for, else v1."""
    if given is not None:
        return Choice(given, "KEITO_API_VERSION says so")
    if not key:
        return Choice("v1", "there is no key to tell it by")
    for prefix, version in _PREFIXES.items():
        if key.startswith(prefix):
            return Choice(version, f"the key starts with {prefix}")
    return Choice("v1", f"the key starts with none of {', '.join(_PREFIXES)}")


def needs_account(key: str, version: Version) -> bool:
    """Return whether Keito takes a key only together with the account's id."""
    return version == "v2" and key.startswith(_BESIDE_AN_ACCOUNT)


def written_out(value: object) -> object:
    """A version as it is called here: `2` is `v2`."""
    return f"v{value}" if value in {"1", "2"} else value
