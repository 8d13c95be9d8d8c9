"""Who is working, and how we know it.

Each source is a module of this folder that says what it knows of a call; field by field, the first that knows it
wins. A new host is one row in `hosts`, or a module of its own where it needs code.
"""

from collections.abc import Mapping

from keito_mcp.identity import client, fallback, stated
from keito_mcp.identity.claude_code import ClaudeCode
from keito_mcp.identity.facts import Call, Fact, Identity
from keito_mcp.identity.host import Answer, Host
from keito_mcp.identity.hosts import hosts
from keito_mcp.identity.machine import Machine

__all__ = ["Call", "Fact", "Identifier", "Identity", "Machine"]


class Identifier:
    """Tells who makes a call. It lives as long as the server: a host's module may remember where it found something."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._hosts: tuple[Host, ...] = (ClaudeCode(), *hosts())
        self._last: Host | None = None
        self._by_name = {host.client_name: host for host in self._hosts}

    async def identify(self, call: Call) -> Identity:
        """Everything that is known about who makes this call, each field with its source."""
        host, mark = self._host(call)
        answer = await host.known(call) if host else Answer()
        facts: dict[str, Fact] = {}
        for source in (stated.by_operator, stated.by_request, stated.by_headers):
            _add(facts, source(call))
        if host and mark:
            _add(facts, {**answer.known, "agent_type": Fact(host.agent_type, mark)})
        if not mark or mark == client.NAME:
            # Else the client that has a name is what stands between the host and this server.
            _add(facts, client.known(call))
        _add(facts, fallback.known(call, facts))
        self._last = host or self._last
        told = answer.known.get("session_id")
        return Identity(
            facts,
            call_id=host.call_id(call) if host else None,
            advice={**fallback.ADVICE, **(host.advice if host else {})},
            agent_is_certain=answer.agent_is_certain,
            left=answer.left,
            host_session=told.value if told and told.value != facts["session_id"].value else None,
        )

    def left(self, machine: Machine) -> frozenset[str]:
        """The sessions that the last caller's host was in, and is in no longer; it may block."""
        return self._last.left(machine) if self._last else frozenset()

    def _host(self, call: Call) -> tuple[Host, str] | tuple[None, None]:
        """The host that a call comes from, and by what it is known: its name, its mark, or who started the command."""
        if call.client_name and (named := self._by_name.get(client.plain_slug(call.client_name))):
            return named, client.NAME
        for host in self._hosts:
            if mark := host.marked(call):
                return host, mark
        if call.is_from_a_shell and call.machine:
            for host in self._hosts:
                if mark := host.runs_here(call.machine.environment):
                    return host, mark
        return None, None


def _add(facts: dict[str, Fact], known: Mapping[str, Fact]) -> None:
    for field, fact in known.items():
        facts.setdefault(field, fact)
