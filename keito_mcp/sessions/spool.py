"""What a host's hooks leave for the server: small files beside the journal, one for each event.

Standard library only, and little of it: the hook and the server must agree, and a hook must be quick. A file is one
JSON object. It appears whole or not at all, because it is renamed into its place. The files of tool calls are named by
the host's id of the call, so that a server finds its own at once; the others by the moment of their event.

A row has `version` 1, `host`, `event` (the host's own name of it), `at` (seconds since 1970, UTC), `monotonic` and
`boot_id` (null where the system tells none), and, where they are known, `session_id`, `subagent_id`, `subagent`,
`turn`, `folder`, `transcript`, `process`, `model`, `took` (seconds that a tool ran), `detail` (what the event says of
its kind) and `message`.
"""

from __future__ import annotations

import json
import os
import re
import time

from keito_mcp.settings import checkout, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
_FOLDER = "spool"
_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


def folder(state: str | os.PathLike[str]) -> str:
    """The spool in a state folder."""
    return os.path.join(state, _FOLDER)


def call_file(state: str | os.PathLike[str], call_id: str) -> str | None:
    """The file of one tool call, by the host's id of it; None for an id that can't be a file's name."""
    return os.path.join(folder(state), f"{call_id}.json") if is_call_id(call_id) else None


def is_call_id(text: str) -> bool:
    """Whether a text can be a host's id of a tool call."""
    return _CALL_ID.fullmatch(text) is not None


def event_file(state: str | os.PathLike[str]) -> str:
    """A file for an event of this moment. Its name holds a dot more than that of any call."""
    return os.path.join(folder(state), f"{time.time_ns():020}.{os.getpid()}.json")


def is_of_a_call(name: str) -> bool:
    """Whether a file of this name is a tool call's."""
    return is_call_id(name.removesuffix(".json"))


def write(file: str | os.PathLike[str], row: Mapping[str, object]) -> None:
    """Leave one row, readable by this user alone; raises OSError, and then nothing is left.

    Nothing is written into a state folder or a spool of another user, which the server refuses, too.
    """
    parent, name = os.path.split(file)
    for missing in (os.path.dirname(parent), parent):
        paths.make_private(missing)
    unfinished = os.path.join(parent, f".{name}.{os.getpid()}")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, json.dumps(row).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(unfinished, file)
    except OSError:
        _remove(unfinished)
        raise


def read(file: str | os.PathLike[str]) -> dict[str, object] | None:
    """What a hook left; None where there is nothing, or nothing that can be read.

    Half a character, as hosts leave where they cut a text, can neither be kept nor sent: a `?` stands for it.
    """
    try:
        said = json.loads(checkout.read(*os.path.split(file)))
        row = json.loads(json.dumps(said, ensure_ascii=False).encode(errors="replace"))
    except (OSError, ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _remove(file: str | os.PathLike[str]) -> None:
    try:
        os.remove(file)
    except OSError:
        pass
