"""What a host's module is: by what a call is known to come from it, and what it then knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keito_mcp.identity.facts import Call, Known, bounded
from keito_mcp.identity.machine import Machine


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host's module knows of a call.

    Attributes:
        agent_is_certain: Whether it is known which agent of the session calls: the main one, or which sub-agent.
        left: The sessions that the host's process was in, and is in no longer.
    """

    known: Known = field(default_factory=dict)
    agent_is_certain: bool = True
    left: frozenset[str] = frozenset()


class Host:
    """One kind of host. A subclass says by what it is recognised, and reads what it sends (`hosts.md`)."""

    agent_type: str
    """The slug that people know it by."""
    client_name: str
    """Its name for itself in `clientInfo`, as a slug."""
    meta_keys: tuple[str, ...] = ()
    """Keys of a request's `_meta` that no other host sends."""
    variables: tuple[str, ...] = ()
    """Environment variables that what it starts finds, and what other hosts start doesn't."""
    call_id_key: str | None = None
    """The key of `_meta` under which it sends the id of one tool call."""
    advice: Mapping[str, str] = {}
    """For fields that may be unknown: what would have to be set."""

    def marked(self, call: Call) -> str | None:
        """How a request of a client that no module knows by name bears this host's own mark; None where it doesn't."""
        return next((f"_meta {key}" for key in self.meta_keys if key in call.meta), None)

    def runs_here(self, environment: Mapping[str, str]) -> str | None:
        """How a command is known to have been started by this host; None where it wasn't."""
        return next((name for name in self.variables if environment.get(name)), None)

    def call_id(self, call: Call) -> str | None:
        """The host's id of this call, the same when it is delivered again."""
        value = bounded(call.meta.get(self.call_id_key)) if self.call_id_key else None
        return f"{self.call_id_key}:{value}" if value else None

    def left(self, machine: Machine) -> frozenset[str]:  # noqa: ARG002 -- most are in several, or say nothing of it
        """The sessions that the host's process was in, and is in no longer; it may block."""
        return frozenset()

    async def known(self, call: Call) -> Answer:  # noqa: ARG002 -- a host that tells no more than its name
        """What the host's requests, and this machine, say of a call; never raises."""
        return Answer()
