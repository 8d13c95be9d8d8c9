"""Who is working, and how we know it.

Each source is a module of this folder that says what it knows of a call; the first that knows a field wins.
A new host is one new module and one line in `_SOURCES`.
"""

from collections.abc import Callable, Mapping

from keito_mcp.identity import client, fallback, operator, request
from keito_mcp.identity.facts import Call, Fact, Identity, Known

__all__ = ["Call", "Fact", "Identity", "identify"]

_SOURCES: tuple[Callable[[Call], Known], ...] = (operator.known, request.known, client.known)


def identify(call: Call) -> Identity:
    """Everything that is known about who makes this call, each field with its source."""
    facts: dict[str, Fact] = {}
    for source in _SOURCES:
        _add(facts, source(call))
    _add(facts, fallback.known(call, facts))
    return Identity(facts, request.call_id(call))


def _add(facts: dict[str, Fact], known: Mapping[str, Fact]) -> None:
    for field, fact in known.items():
        facts.setdefault(field, fact)
