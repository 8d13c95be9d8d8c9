"""What identity is made of: a call, the facts about it, and what becomes of them in an entry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keito_mcp.identity.machine import Machine

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

MARK = "principal"
"""The key of the metadata that tells a principal's entries from those of others."""

HOURS_WRITTEN = "hours_written"
"""The key of the metadata that tells which hours an HTTP server wrote last."""

SERVERS = frozenset({MARK, HOURS_WRITTEN})
"""What only a server says, whatever its caller's metadata says."""

OURS = SERVERS.union(
    IDENTITY_FIELDS,
    ("repository", "git_branch", "git_rev"),
    ("entry_key", "started_at", "client"),
    # Of sessions that log themselves.
    ("turns", "outcome", "draft", "capped", "tokens"),
)
"""Every key of the metadata that this program gives a meaning: no configuration sets one."""

_ABSOLUTE_PATH = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|file:", re.IGNORECASE)


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
        headers: The request's HTTP headers, by their names in lower case; empty on stdio.
        machine: What this machine says of the caller; None where the caller may be elsewhere.
        is_from_a_shell: It is no request of a host, but a command that asks who a host would be here.
        transport_session: The HTTP or SSE session's id; None on stdio and where there is no session.
        process_session: The id made for this server process, the last resort for `session_id`.
        operator: Identity that the operator's settings fix; empty over HTTP, where the server's settings
            aren't the caller's.
    """

    meta: Mapping[str, Any]
    client_name: str | None
    client_version: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    machine: Machine | None = None
    is_from_a_shell: bool = False
    transport_session: str | None = None
    process_session: str
    operator: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes a call. What can't be known is absent.

    Attributes:
        facts: The known fields; `agent_id` and `session_id` always are.
        call_id: The host's own id of this call, where it sends one: the same id is the same call.
        advice: For fields that aren't known, or not for certain: what would have to be set.
        agent_is_certain: Whether it is known which agent of the session calls: the main one, or which sub-agent.
        left: The sessions that the host's process was in, and is in no longer.
        host_session: The host's own id of the session, where somebody else named it otherwise.
    """

    facts: Known
    call_id: str | None = None
    advice: Mapping[str, str] = field(default_factory=dict)
    agent_is_certain: bool = True
    left: frozenset[str] = frozenset()
    host_session: str | None = None

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
    """A client's value if it is usable: text, printable, not empty, within the limit, no absolute path; else None."""
    if not isinstance(value, str):
        return None
    text = value.strip()
    if not text or len(text) > VALUE_LIMIT or not text.isprintable() or _ABSOLUTE_PATH.match(text):
        return None
    return text


def stated(values: Mapping[str, object], source: str) -> dict[str, Fact]:
    """Those of the values that are usable, each with its source."""
    return {field: Fact(value, source) for field, given in values.items() if (value := bounded(given))}
