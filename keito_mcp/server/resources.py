"""The resources: what a reader is shown of themselves, and of what there is to book time on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver.resources import Resource, TextResource

from keito_mcp.server import caller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcp.server.mcpserver import Context

    from keito_mcp.runtime import Runtime
    from keito_mcp.timesheet import Kind, Named

    Content = Callable[[Context[Runtime, Any]], Awaitable[dict[str, Any]]]

_NOT_LISTED = "This version of Keito's API doesn't list {}: they are named by their ids alone."


async def _session(ctx: Context[Runtime, Any]) -> dict[str, Any]:
    from keito_mcp.server.session import session

    return await session(await caller.identity(ctx), ctx.request_context.lifespan_context, caller.account(ctx))


async def _projects(ctx: Context[Runtime, Any]) -> dict[str, Any]:
    from keito_mcp.timesheet import Kind

    return await _listed(ctx, Kind.PROJECT, _project)


async def _tasks(ctx: Context[Runtime, Any]) -> dict[str, Any]:
    from keito_mcp.timesheet import Kind

    return await _listed(ctx, Kind.TASK, _task)


async def _listed(ctx: Context[Runtime, Any], kind: Kind, row: Callable[[Named], dict[str, Any]]) -> dict[str, Any]:
    from keito_mcp.keito import KeitoError
    from keito_mcp.server.explain import explain

    naming = caller.account(ctx).naming()
    if not naming.is_possible:
        return {"problem": _NOT_LISTED.format(f"{kind}s")}
    try:
        known = await naming.known(kind)
    except KeitoError as error:
        principal = caller.principal(ctx)
        own_key = principal is not None and principal.has_own_key
        return {"problem": explain(error, {}, None, own_key=own_key)}
    rows = [row(one) for one in known]
    return {f"{kind}s": [{name: value for name, value in one.items() if value is not None} for one in rows]}


def _project(one: Named) -> dict[str, Any]:
    names = {"id": one.id, "code": one.code, "name": one.name, "client": one.client}
    return {**names, "is_billable": one.is_billable}


def _task(one: Named) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "is_default": one.is_default}


CONTENTS: Mapping[str, Content] = {
    "keito://session": _session,
    "keito://projects": _projects,
    "keito://tasks": _tasks,
}
"""What each resource shows, by its address. All raise `SettingsError`."""


def build_resources() -> list[Resource]:
    """The resources as they are listed; their content is in `CONTENTS`."""
    return [
        _resource(
            "session",
            "This session",
            "Who you are to Keito and where each field was read, your running timer, and unsettled writes",
        ),
        _resource("projects", "Projects", "The active projects: id, code, name, client"),
        _resource("tasks", "Tasks", "The active tasks: id, name, the account's default"),
    ]


def _resource(name: str, title: str, description: str) -> Resource:
    return TextResource(
        uri=f"keito://{name}",
        name=name,
        title=title,
        description=description,
        mime_type="application/json",
        text="",
    )
