"""`keito-mcp discard SESSION` and `keito-mcp restore SESSION`: throw a session away, and take that back."""

import json

from keito_mcp.commands.sync import deliver
from keito_mcp.commands.terminal import Progress, say
from keito_mcp.runtime import Runtime
from keito_mcp.server import results


async def discard(runtime: Runtime, session_id: str, *, reason: str | None, as_json: bool) -> bool:
    """Delete the entries of a session, apart from what a person changed.

    Returns:
        Whether all of it is gone.

    Raises:
        SettingsError: A setting can't be used.
        JournalError: The journal can't be used.
        KeitoError: Keito can't be asked which entries there are.
    """
    shown = Progress()

    async def progress(_done: int, _of: int, text: str) -> None:
        shown.show(text)

    account = runtime.settings.account
    answer = await runtime.own.timesheet.discard_as_person(account, session_id, reason=reason, progress=progress)
    shown.end()
    say(answer.model_dump_json(indent=1, exclude_none=True) if as_json else results.text_of(answer))
    return not answer.kept and not answer.queued


async def restore(runtime: Runtime, session_id: str, *, as_json: bool) -> bool:
    """Make the entries of a discarded session again, once.

    Returns:
        Whether all of them are in Keito again.

    Raises:
        SettingsError: A setting can't be used.
        JournalError: The journal can't be used.
    """
    account = runtime.settings.account
    restored, is_counted = await runtime.own.timesheet.restore(account, session_id)
    report = await deliver(runtime) if restored or is_counted else None
    recorded = await _recorded(runtime, session_id) if is_counted else None
    keys = {entry.entry_key for entry in restored}
    waiting = [write for write in report.waiting if write.entry_key in keys] if report else []
    refused = [one for one in report.refused if one.write.entry_key in keys] if report else []
    made = len(restored) - len(waiting) - len(refused)
    if as_json:
        counted = {"restored": made, "waiting": len(waiting), "refused": len(refused)}
        say(json.dumps({"session_id": session_id, **counted}, indent=1))
    elif not restored and recorded:
        say(f"Session {session_id} is counted again. {recorded}")
    elif not restored and await _is_still_to_be_deleted(runtime, session_id):
        say(f"Session {session_id} is still to be deleted in Keito: run `keito-mcp sync`, then this command again.")
    elif not restored:
        say(f"Nothing of session {session_id} is to be restored: it wasn't discarded here, or was restored before.")
    else:
        say(f"Restored {made} of {len(restored)} entries of session {session_id}.")
        if report is not None and (report.refused or not report.all_is_done):
            say(report.text())
    return bool(restored or recorded) and made == len(restored)


async def _recorded(runtime: Runtime, session_id: str) -> str | None:
    """What became of the time that a session's host told of, now that it is counted again."""
    found = [one for one in await runtime.overview.sessions(runtime.settings.account) if one.session_id == session_id]
    return found[0].recorded.said if found and found[0].recorded else None


async def _is_still_to_be_deleted(runtime: Runtime, session_id: str) -> bool:
    waiting = await runtime.overview.unsettled(runtime.settings.account)
    return any(write.discards == session_id for write in waiting)
