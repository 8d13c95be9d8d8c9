"""The thin adapter to Keito's REST API: HTTP and Keito's models, and nothing of MCP."""

from keito_mcp.keito.client import Client, Connections, Timeouts
from keito_mcp.keito.errors import (
    AuthenticationFailed,
    Conflict,
    InvalidRequest,
    KeitoError,
    NotFound,
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
    TimeEntry,
    TimeEntryCreate,
    TimeEntryFilter,
    TimeEntryPage,
    TimeEntryUpdate,
    metadata_size,
)
from keito_mcp.keito.v1 import KeitoV1

__all__ = [
    "METADATA_LIMIT",
    "AuthenticationFailed",
    "Client",
    "Conflict",
    "Connections",
    "InvalidRequest",
    "KeitoError",
    "KeitoV1",
    "Marked",
    "NotFound",
    "PermissionDenied",
    "RateLimited",
    "ServerFailed",
    "StatusError",
    "TimeEntry",
    "TimeEntryCreate",
    "TimeEntryFilter",
    "TimeEntryPage",
    "TimeEntryUpdate",
    "Timeouts",
    "UnexpectedAnswer",
    "Unreachable",
    "metadata_size",
]
