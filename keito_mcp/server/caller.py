"""Who calls: what the SDK's context says about one request, as identity reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context
    from starlette.requests import Request

    from keito_mcp.account import Account
    from keito_mcp.identity import Identity, Machine
    from keito_mcp.runtime import Runtime
    from keito_mcp.settings.principal import Principal
    from keito_mcp.timesheet import Worker

_SESSION_HEADER = "mcp-session-id"
_SSE_SESSION = "session_id"
_FORWARDED = ("forwarded", "x-forwarded-for", "via")
"""Headers by which a proxy says that the caller is somewhere else."""


PRINCIPAL = "keito_mcp.settings.principal"
"""Where in the ASGI scope of a request stands who was let in."""
HELD = "keito_mcp.held"
"""Where in it what counts how much memory a message takes, as long as anything holds it."""


def principal(ctx: Context[Runtime, Any]) -> Principal | None:
    """On whose behalf this request is made; None where the server has one caller only."""
    request = ctx.request_context.request
    let_in: Principal | None = request.scope.get(PRINCIPAL) if request else None
    return let_in


def holds(ctx: Context[Runtime, Any], size: int) -> None:
    """Count the bytes of an answer to this request until it is delivered."""
    request = ctx.request_context.request
    if request and (held := request.scope.get(HELD)):
        held.grow(size)


def account(ctx: Context[Runtime, Any]) -> Account:
    """The account that this request is made in; raises `SettingsError`."""
    return ctx.request_context.lifespan_context.account_of(principal(ctx))


async def identity(ctx: Context[Runtime, Any]) -> Identity:
    """The identity of the agent that makes this request; raises `SettingsError`."""
    from keito_mcp.identity import Call

    runtime = ctx.request_context.lifespan_context

    params = ctx.session.client_params
    client = params.client_info if params else None
    request = ctx.request_context.request
    return await runtime.identifier.identify(
        Call(
            meta=ctx.request_context.meta or {},
            client_name=client.name if client else None,
            client_version=client.version if client else None,
            headers=request.headers if request else {},
            machine=_machine(request, runtime),
            transport_session=_transport_session(ctx),
            process_session=runtime.session,
            operator=runtime.own.operator(),
        )
    )


async def worker(ctx: Context[Runtime, Any], account: Account) -> Worker:
    """The agent, under whom its timers are kept, and where it works; raises `SettingsError`."""
    from keito_mcp.timesheet import Worker

    runtime = ctx.request_context.lifespan_context
    who = await identity(ctx)
    repository = await runtime.repository.facts() if runtime.repository else {}
    has_its_own = runtime.serves_one_user or who.session_is_certain or _transport_session(ctx) is not None
    return Worker(
        identity=who,
        owner=account.owner(who),
        repository=repository,
        configured=runtime.settings.configuration.metadata,
        session_is_shared=not has_its_own,
        mark=account.mark,
    )


def notes(ctx: Context[Runtime, Any]) -> list[str]:
    """What each answer of a tool that writes says beside; raises `SettingsError`."""
    untrusted = ctx.request_context.lifespan_context.settings.untrusted
    return [untrusted] if untrusted else []


def _machine(request: Request | None, runtime: Runtime) -> Machine | None:
    """This machine, as far as it is the caller's own.

    An HTTP caller on this machine is not who started the server, but a tool use's id is found in its host's files all
    the same, and nowhere in those of another.
    """
    if request is None:
        return runtime.machine
    from keito_mcp.settings.address import is_loopback

    is_near = request.client is not None and is_loopback(request.client.host)
    if not is_near or any(header in request.headers for header in _FORWARDED):
        return None
    return runtime.machine.files_alone() if runtime.machine else None


def _transport_session(ctx: Context[Runtime, Any]) -> str | None:
    """The id of the HTTP session, or of the SSE connection; None on stdio and where there is no session."""
    request = ctx.request_context.request
    if request is None:
        return None
    session: str | None = request.headers.get(_SESSION_HEADER) or request.query_params.get(_SSE_SESSION)
    return session
