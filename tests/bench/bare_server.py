"""The yardstick: a bare server of the SDK with five typed tools that do nothing, over stdio."""

# ruff: noqa: ARG001, FBT001, FBT002 -- the tools ignore their arguments, which are passed by name

from datetime import date
from typing import Annotated, Any, Literal

from mcp.server import MCPServer
from pydantic import BaseModel, Field

Hours = Annotated[float, Field(gt=0, le=24, description="Decimal hours")]
Notes = Annotated[str | None, Field(max_length=10_000, description="What the work is")]
Id = Annotated[str | None, Field(max_length=200)]

mcp = MCPServer("bare")


class Done(BaseModel):
    id: str
    status: str
    hours: float


@mcp.tool()
async def start_timer(
    project_id: Id = None,
    task_id: Id = None,
    notes: Notes = None,
    is_billable: bool | None = None,
    metadata: dict[str, Any] | None = None,
    replace_running: bool = False,
) -> Done:
    """Do nothing."""
    return Done(id="te_0123456789abcdef", status="running", hours=0)


@mcp.tool()
async def stop_timer(entry_id: Id = None, notes: Notes = None, hours: Hours | None = None) -> Done:
    """Do nothing."""
    return Done(id="te_0123456789abcdef", status="stopped", hours=hours or 1)


@mcp.tool()
async def log_time(
    hours: Hours,
    project_id: Id = None,
    task_id: Id = None,
    spent_date: date | None = None,
    notes: Notes = None,
    is_billable: bool | None = None,
    metadata: dict[str, Any] | None = None,
) -> Done:
    """Do nothing."""
    return Done(id="te_0123456789abcdef", status="logged", hours=hours)


@mcp.tool()
async def list_entries(
    session_id: Id = None,
    project_id: Id = None,
    user_id: Id = None,
    source: Literal["agent", "any"] = "agent",
    from_date: date | None = None,
    to_date: date | None = None,
    is_running: bool | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Field(ge=1, le=200)] = 50,
) -> Done:
    """Do nothing."""
    return Done(id="te_0123456789abcdef", status="listed", hours=limit)


@mcp.tool()
async def discard_session(session_id: str = "current", reason: Notes = None) -> Done:
    """Do nothing."""
    return Done(id=session_id, status="discarded", hours=0)


if __name__ == "__main__":
    mcp.run()
