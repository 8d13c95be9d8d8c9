"""MCP server that lets AI agents track their own billable time in Keito.

Importing the package imports nothing else: hooks and `--version` must stay quick.
"""

from keito_mcp.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from keito_mcp.server.server import build_server

__all__ = ["__version__", "build_server"]


def __getattr__(name: str) -> object:
    if name == "build_server":
        from keito_mcp.server.server import build_server  # lazily: it brings the whole SDK

        return build_server
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
