"""A server for a team, and the credentials of two of its agents."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256

from keito_mcp.transports.access import Access, Auth
from keito_mcp.transports.edges import Edges
from tests.kit import TEAM_KEYS, Agent, Desk, MakeDesk
from tests.serving import connected, serving

TOKENS = ["made-up-token-of-alice", "made-up-token-of-bob"]
NAMED = ",".join(
    f"{name}:{sha256(token.encode()).hexdigest()}" for name, token in zip(("alice", "bob"), TOKENS, strict=True)
)


@dataclass
class Team:
    """A server whose callers are told apart, and two of them."""

    desk: Desk
    access: Access
    alice: str
    bob: str
    url: str = ""

    def headers(self, bearer: str, session: str | None = "session-1") -> dict[str, str]:
        named = {} if session is None else {"X-Keito-Session-Id": session, "X-Keito-Agent-Id": "agent"}
        return {"Authorization": f"Bearer {bearer}", **named}

    @asynccontextmanager
    async def agent(
        self, bearer: str, transport: str = "http", mode: str = "auto", session: str | None = "session-1"
    ) -> AsyncIterator[Agent]:
        """An agent that says of itself the same as every other: only its credential is its own."""
        async with connected(self.url, transport, mode, headers=self.headers(bearer, session)) as agent:
            yield agent

    @asynccontextmanager
    async def serving(self, edges: Edges | None = None) -> AsyncIterator[None]:
        async with serving(self.desk.server, access=self.access, edges=edges) as self.url:
            yield


def team(make_desk: MakeDesk, auth: str) -> Team:
    access = Access.of(Auth(auth), "127.0.0.1", NAMED)
    key = {} if auth == "token" else {"api_key": None}
    desk = make_desk(serves_one_user=False, tokens=access.names, agent_id=None, session_id=None, **key)
    alice, bob = TOKENS if auth == "token" else TEAM_KEYS[:2]
    return Team(desk, access, alice, bob)
