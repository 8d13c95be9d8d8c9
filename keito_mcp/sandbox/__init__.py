"""An embedded Keito: the documented REST API over SQLite, for demos, tests and offline work.

It stands on its own and imports nothing else of the package, so that it can disagree with the client.
"""

from keito_mcp.sandbox.access import user_of
from keito_mcp.sandbox.app import create_app
from keito_mcp.sandbox.catalogue import SANDBOX, Catalogue, Client, Project, Task, User
from keito_mcp.sandbox.faults import ConnectionCut, Fault, Faults
from keito_mcp.sandbox.gate import RecordedRequest
from keito_mcp.sandbox.serving import serve
from keito_mcp.sandbox.store import Store

__all__ = [
    "SANDBOX",
    "Catalogue",
    "Client",
    "ConnectionCut",
    "Fault",
    "Faults",
    "Project",
    "RecordedRequest",
    "Store",
    "Task",
    "User",
    "create_app",
    "serve",
    "user_of",
]
