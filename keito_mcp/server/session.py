"""What a session looks like from here: who it is and how that is known, its timer, and what isn't settled."""

from typing import Any

from keito_mcp.account import Account
from keito_mcp.identity import Identity
from keito_mcp.journal import Entry, JournalError, Write
from keito_mcp.runtime import Runtime
from keito_mcp.timesheet.logged import Logged
from keito_mcp.timesheet.pending import Pending

_SPECIFIED = ("agent_id", "agent_type", "session_id", "model")


def described(identity: Identity) -> dict[str, dict[str, Any]]:
    """Each field of an identity with its value and its source; the specification's four also when unknown.

    What isn't known, or not for certain, comes with what would have to be set, where that is known.
    """
    facts = identity.facts
    shown: dict[str, dict[str, Any]] = {
        field: {"value": fact.value, "source": fact.source, "certain": fact.certain} for field, fact in facts.items()
    }
    shown |= {field: {"value": None, "source": "not known"} for field in _SPECIFIED if field not in shown}
    for field, content in shown.items():
        if not content.get("certain") and field in identity.advice:
            content["to_set"] = identity.advice[field]
    return shown


async def session(identity: Identity, runtime: Runtime, account: Account) -> dict[str, Any]:
    """The content of `keito://session`; a journal that can't be read is said in `problem`; raises `SettingsError`."""
    content: dict[str, Any] = {"identity": described(identity)}
    owner = account.owner(identity)
    try:
        timer = await runtime.overview.open_timer(owner)
        unsettled = await runtime.overview.unsettled(owner.account)
    except JournalError as error:
        return {**content, "problem": str(error)}
    return {
        **content,
        "running_timer": _timer(timer) if timer else None,
        "unsettled_writes": [_write(write) for write in unsettled],
    }


def _timer(timer: Entry | Logged) -> dict[str, Any]:
    started = timer.started
    return {
        "id": timer.entry_id,
        "state": timer.state,
        "project_id": timer.project_id,
        "task_id": timer.task_id,
        "notes": timer.notes,
        "started_at": started.wall.isoformat(timespec="seconds") if started else None,
    }


def _write(write: Write | Pending) -> dict[str, Any]:
    since = write.sent.wall.isoformat(timespec="seconds")
    return {"kind": write.kind, "state": write.state, "entry_id": write.entry_id, "since": since, "why": write.reason}
