"""`keito-mcp pause` and `keito-mcp resume`: stop counting sessions in this repository, and go on."""

import json
from pathlib import Path

from keito_mcp.commands.terminal import say, say_aside
from keito_mcp.runtime import Runtime
from keito_mcp.settings import checkout


async def pause(runtime: Runtime, *, is_paused: bool, as_json: bool) -> bool:
    """Stop counting agents' sessions in the repository of this folder from this moment on, or go on with it.

    Returns:
        Whether there is a repository whose sessions are counted.

    Raises:
        SettingsError: The state folder isn't known.
        JournalError: The journal can't be used.
    """
    root = checkout.find(str(Path.cwd()))
    if root is None:
        say_aside("Sessions in this folder aren't counted: it has no .keito/config.yml. `keito-mcp init` makes one.")
        return False
    recordings = runtime.journal.recordings
    earlier = await recordings.pauses(root)
    was_paused = bool(earlier) and earlier[-1].is_paused
    if was_paused is not is_paused:
        await recordings.pause(root, runtime.clock.now(), is_paused=is_paused)
    if as_json:
        say(json.dumps({"repository": Path(root).name, "is_paused": is_paused}))
    else:
        again = "already " if was_paused is is_paused else ""
        what = "paused: from now on nothing is logged" if is_paused else "on: from now on sessions are logged"
        say(f"Counting in {Path(root).name} is {again}{what}.")
    return True
