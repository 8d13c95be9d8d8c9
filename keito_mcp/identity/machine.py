"""What this machine says of the host that started a server: its environment, its processes, its files."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from keito_mcp.process import Ancestor, ancestors


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where a host that runs on this machine can be read about.

    Attributes:
        environment: What the host gave the server. It holds secrets: never shown, never logged.
        state: The state folder, in which a host's hooks leave word for the server.
        home: The user's home folder.
        ancestors: The processes that the server descends from, the nearest first.
    """

    environment: Mapping[str, str] = field(repr=False)
    state: Path
    home: Path
    ancestors: Callable[[], Sequence[Ancestor]] = ancestors

    @classmethod
    def here(cls, state: Path) -> "Machine":
        """This machine, as the process sees it; raises RuntimeError where no home folder is known."""
        return cls(environment=os.environ, state=state, home=Path.home())

    def files_alone(self) -> "Machine":
        """The machine without what is the server's own: its environment, and who started it."""
        folder = {name: value for name, value in self.environment.items() if name == "CLAUDE_CONFIG_DIR"}
        return replace(self, environment=folder, ancestors=lambda: ())
