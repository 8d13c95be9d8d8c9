"""A server whose Keito is the embedded one, in the same process (`--sandbox`): no key, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keito_mcp.runtime import Runtime
from keito_mcp.settings.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from keito_mcp.sandbox import Store
    from keito_mcp.settings.config import Settings

EMBEDDED_PROJECT = "prj_sandbox"


def embedded_runtime(
    *,
    serves_one_user: bool = True,
    tokens: Callable[[], Collection[str]] | None = None,
    token: str | None = None,
) -> Runtime:
    """A runtime whose Keito is the embedded one, kept in the state folder."""

    def load(folder: Path | None) -> Settings:
        from pydantic import SecretStr

        from keito_mcp.settings.config import Settings

        settings = Settings.load(folder, with_login=False)
        fixed = {
            "api_url": "http://embedded.keito",
            "api_key": SecretStr("keito_sk_embedded"),
            "account_id": "embedded",
            "project_id": settings.project_id or EMBEDDED_PROJECT,
        }
        embedded = settings.model_copy(update=fixed)
        return embedded.of(Principal(token)) if token else embedded

    return Runtime(
        load=load,
        embedded=lambda settings: open_store(settings.folder),
        serves_one_user=serves_one_user,
        tokens=tokens,
    )


def open_store(folder: Path) -> Store:
    """The embedded Keito's entries in a state folder.

    Raises:
        SettingsError: The folder can't be written.
    """
    import sqlite3

    from keito_mcp import sandbox
    from keito_mcp.settings import paths
    from keito_mcp.settings.config import SettingsError

    file = paths.sandbox_file(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return sandbox.Store(file)
    except (OSError, sqlite3.Error) as error:
        raise SettingsError(f"{paths.STATE_DIR_VARIABLE}: the folder {folder} can't be written ({error})") from error
