"""The thin adapter to Keito's REST API: HTTP and Keito's models, and nothing of MCP."""

from keito_mcp.keito.api import KeitoApi, Traits
from keito_mcp.keito.client import Client
from keito_mcp.keito.connections import Connections, Timeouts
from keito_mcp.keito.errors import (
    AuthenticationFailed,
    Conflict,
    InvalidRequest,
    KeitoError,
    NotFound,
    OutOfSight,
    PermissionDenied,
    RateLimited,
    ServerFailed,
    StatusError,
    UnexpectedAnswer,
    Unreachable,
)
from keito_mcp.keito.marked import Marked
from keito_mcp.keito.models import (
    METADATA_LIMIT,
    Project,
    Task,
    TimeEntry,
    TimeEntryCreate,
    TimeEntryFilter,
    TimeEntryPage,
    TimeEntryUpdate,
    User,
    metadata_size,
)
from keito_mcp.keito.v1 import KeitoV1
from keito_mcp.keito.v2 import KeitoV2
from keito_mcp.keito.versions import api_for

__all__ = [
    "METADATA_LIMIT",
    "AuthenticationFailed",
    "Client",
    "Conflict",
    "Connections",
    "InvalidRequest",
    "KeitoApi",
    "KeitoError",
    "KeitoV1",
    "KeitoV2",
    "Marked",
    "NotFound",
    "OutOfSight",
    "PermissionDenied",
    "Project",
    "RateLimited",
    "ServerFailed",
    "StatusError",
    "Task",
    "TimeEntry",
    "TimeEntryCreate",
    "TimeEntryFilter",
    "TimeEntryPage",
    "TimeEntryUpdate",
    "Timeouts",
    "Traits",
    "UnexpectedAnswer",
    "Unreachable",
    "User",
    "api_for",
    "metadata_size",
]
