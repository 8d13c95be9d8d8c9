"""What identity is made of: a call, the facts about it, and what becomes of them in an entry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VALUE_LIMIT = 200
"""The longest value that is taken from a client, in characters."""

IDENTITY_FIELDS = (
    "agent_id",
    "agent_type",
    "session_id",
    "model",
    "subagent_id",
    "subagent",
    "agent_version",
)
"""Of these the first four are the specification's metadata keys."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One field's value and where it was read.

    Attributes:
        certain: The source is right for this very call, not perhaps for an earlier one or for any.
    """

    value: str
    source: str
    certain: bool = True


Known = Mapping[str, Fact]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What the transport knows about one call.

    Attributes:
        meta: The request's `_meta`.
        client_name: The client's name for itself, where it gave one.
        client_version: Its version.
        transport_session: The HTTP or SSE session's id; None on stdio and where there is no session.
        process_session: The id made for this server process, the last resort for `session_id`.
        operator: Identity that the operator's settings fix; empty over HTTP, where the server's settings
            aren't the caller's.
    """

    meta: Mapping[str, Any]
    client_name: str | None
    client_version: str | None
    transport_session: str | None
    process_session: str
    operator: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes a call. What can't be known is absent.

    Attributes:
        facts: The known fields; `agent_id` and `session_id` always are.
        call_id: The host's own id of this call, where it sends one: the same id is the same call.
    """

    facts: Known
    call_id: str | None = None

    def value(self, field: str) -> str | None:
        """A field's value, or None where it isn't known."""
        fact = self.facts.get(field)
        return fact.value if fact else None

    @property
    def agent_id(self) -> str:
        """Who the agent is."""
        return self.facts["agent_id"].value

    @property
    def session_id(self) -> str:
        """Which session it works in."""
        return self.facts["session_id"].value

    @property
    def session_is_certain(self) -> bool:
        """Whether the session id is right for this very call."""
        return self.facts["session_id"].certain

    @property
    def subagent_id(self) -> str:
        """Which sub-agent it is; empty for the main agent."""
        return self.value("subagent_id") or ""

    def metadata(self, claimed: Mapping[str, Any], repository: Mapping[str, str]) -> dict[str, Any]:
        """An entry's metadata: what is known, what git says, and the caller's own keys.

        The caller may supply an identity field only where nothing else knows it: a made-up default gives way.
        """
        facts = {field: self.facts[field] for field in IDENTITY_FIELDS if field in self.facts}
        defaults = {field: fact.value for field, fact in facts.items() if not fact.certain}
        known = {field: fact.value for field, fact in facts.items() if fact.certain}
        usable = {key: value for key, value in claimed.items() if key not in IDENTITY_FIELDS or bounded(value)}
        merged = {**defaults, **usable, **known, **repository}
        order = [field for field in IDENTITY_FIELDS if field in merged]
        return {key: merged[key] for key in (*order, *(key for key in merged if key not in IDENTITY_FIELDS))}


def bounded(value: object) -> str | None:
    """A client's value if it is usable: text, printable, not empty, within the limit; else None."""
    if not isinstance(value, str):
        return None
    text = value.strip()
    return text if text and len(text) <= VALUE_LIMIT and text.isprintable() else None
