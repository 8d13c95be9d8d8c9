"""`keito-mcp hook`: what a host's lifecycle hook calls, with an event's JSON on standard input.

It leaves one small file in the spool and is gone. It never opens the journal, says nothing on standard output, and
ends with 0 whatever is wrong: a hook must not disturb the agent. What went wrong is a line in `hook.log`, beside the
journal. Standard library only, and little of it.
"""

import json
import os
import sys
import time

from keito_mcp.sessions import spool
from keito_mcp.settings import checkout, paths

EVENTS = (
    # Claude Code; Codex, VS Code and Gemini CLI have some of them, too
    "SessionStart SessionEnd UserPromptSubmit Stop StopFailure SubagentStart SubagentStop PreToolUse PostToolUse "
    "PostToolUseFailure PermissionRequest PermissionDenied Elicitation ElicitationResult PreCompact PostCompact "
    # Gemini CLI
    "BeforeAgent AfterAgent BeforeModel AfterModel BeforeTool AfterTool Notification "
    # Cursor
    "sessionStart sessionEnd beforeSubmitPrompt stop subagentStart subagentStop preToolUse postToolUse "
    "beforeMCPExecution afterMCPExecution beforeShellExecution afterShellExecution afterAgentResponse"
)
_ENDS = frozenset({"SessionEnd", "sessionEnd"})
_TRUE = ("1", "true", "yes", "on")
_OF_THIS_SERVER = "keito"
_LONGEST_INPUT = 64 << 20
_LONGEST_VALUE = 4096
_LONGEST_MESSAGE = 2000
_LONGEST_LOG = 1 << 18
_PLUGIN_OPTION = "CLAUDE_PLUGIN_OPTION_"
_SETTINGS = ("API_KEY", "API_URL", "ACCOUNT_ID", "PROJECT_ID", "TASK_ID")

_NAMES = {
    "event": ("hook_event_name", "hookEventName"),
    "session_id": ("session_id", "sessionId", "conversation_id"),
    "subagent_id": ("agent_id", "subagent_id"),
    "subagent": ("agent_type", "subagent_type"),
    "turn": ("prompt_id", "generation_id", "turn_id"),
    "transcript": ("transcript_path",),
    "model": ("model", "subagent_model"),
    "detail": ("source", "reason", "status", "error", "trigger"),
}
"""For what a row holds: the hosts' names for it, the first that is there."""


def main(arguments: list[str]) -> int:
    """Leave word of one event; always 0.

    Args:
        arguments: `[EVENT] [--host HOST]`. Without an event, the JSON's own name of it.
    """
    try:
        state = paths.state_folder()
    except RuntimeError:
        return 0
    try:
        _leave_word(state, *_chosen(arguments))
    except Exception as error:  # noqa: BLE001 -- the agent goes on, whatever is wrong here
        _log(state, f"{type(error).__name__}: {error}")
    return 0


def _chosen(arguments: list[str]) -> tuple[str | None, str | None]:
    """The event and the host that the command line names."""
    host = None
    if "--host" in arguments:
        at = arguments.index("--host")
        host = arguments[at + 1] if at + 1 < len(arguments) else None
        arguments = arguments[:at] + arguments[at + 2 :]
    return (arguments[0] if arguments else None), host


def _leave_word(state: str, event: str | None, host: str | None) -> None:
    said = json.loads(sys.stdin.buffer.read(_LONGEST_INPUT))
    if not isinstance(said, dict):
        raise TypeError("an event is a JSON object")
    row = _row(said, event, host)
    if row["event"] not in EVENTS.split():
        raise ValueError(f"no event of a host that is known: {str(row['event'])[:80]!r}")
    folder = os.path.abspath(_folder(said))
    root = checkout.find(folder)
    is_wanted = root is not None or os.environ.get("KEITO_AUTOLOG", "").lower() in _TRUE
    file = _file_of_a_call(state, said) or (spool.event_file(state) if is_wanted else None)
    if file is None:
        return
    row["folder"] = folder
    message = said.get("last_assistant_message")
    if is_wanted and isinstance(message, str) and not (root and _redacts(root)):
        row["message"] = message.strip().partition("\n\n")[0][:_LONGEST_MESSAGE] or None
    spool.write(file, {name: value for name, value in row.items() if value is not None})
    if is_wanted and row["event"] in _ENDS:
        _deliver(folder)


def _redacts(root: str) -> bool:
    """Whether a repository's configuration says that notes are redacted; to read its YAML would take too long."""
    try:
        text = checkout.read(root, checkout.CONFIG).decode(errors="replace").lower()
    except OSError:
        # What it says isn't known; the event is kept all the same.
        return True
    said = text.partition("redact_notes")[2].lstrip("'\"").lstrip().removeprefix(":").strip()
    return said.startswith(_TRUE)


def _row(said: dict[str, object], event: str | None, host: str | None) -> dict[str, object]:
    row: dict[str, object] = {"version": spool.VERSION, "host": _host(said, host), "at": time.time()}
    row |= {"monotonic": time.monotonic(), "boot_id": _boot_id()}
    for name, names in _NAMES.items():
        values = (said.get(one) for one in names)
        row[name] = next(
            (value for value in values if isinstance(value, str) and value[:_LONGEST_VALUE] == value), None
        )
    row["event"] = event or row["event"]
    if said.get("stop_hook_active") is True:
        row["detail"] = "again"
    if isinstance(took := said.get("duration_ms"), int) and took >= 0:
        row["took"] = took / 1000
    row["process"] = _host_process(row["boot_id"])
    return row


def _host(said: dict[str, object], host: str | None) -> str:
    # Cursor runs the hooks that were made for Claude Code, too.
    if "cursor_version" in said:
        return "cursor"
    if host:
        return host
    return "gemini-cli" if os.environ.get("GEMINI_SESSION_ID") else "claude-code"


def _folder(said: dict[str, object]) -> str:
    """The project that the host works in."""
    roots = said.get("workspace_roots")
    first = roots[0] if isinstance(roots, list) and roots else None
    chosen = (first, os.environ.get("CLAUDE_PROJECT_DIR"), os.environ.get("GEMINI_PROJECT_DIR"), said.get("cwd"))
    return next((folder for folder in chosen if isinstance(folder, str) and folder), os.getcwd())


def _file_of_a_call(state: str, said: dict[str, object]) -> str | None:
    """The file of a call of this server's tools, which it looks for; None for any other event."""
    tool, call = said.get("tool_name"), said.get("tool_use_id")
    if said.get("hook_event_name") != "PreToolUse" or not isinstance(tool, str) or not isinstance(call, str):
        return None
    return spool.call_file(state, call) if _OF_THIS_SERVER in tool.lower() else None


def _boot_id() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as opened:
            return opened.read().strip()
    except OSError:
        return None


def _host_process(boot_id: object) -> str | None:
    """The host's process, as `keito_mcp.process` writes one; None where the host doesn't say which it is."""
    pid = os.environ.get("CLAUDE_PID", "")
    if not pid.isdecimal():
        return None
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as opened:
            started = opened.read().rpartition(")")[2].split()[19]
        machine = "".join(os.uname().nodename.split()) or "-"
        return f"{machine} {boot_id or '-'} {os.readlink('/proc/self/ns/pid')} {pid} {started}"
    except (OSError, IndexError):
        return None


def _deliver(folder: str) -> None:
    """Start delivering in a process of its own, which outlives the host; a plugin's hook knows the plugin's key."""
    import subprocess

    given = {f"KEITO_{name}": os.environ.get(_PLUGIN_OPTION + name, "") for name in _SETTINGS}
    # A variable that is empty is none, as for the plugin's server.
    given = {name: value for name, value in given.items() if not os.environ.get(name) and value}
    state = os.path.abspath(paths.state_folder())
    apart = {"creationflags": 0x00000208} if sys.platform == "win32" else {"start_new_session": True}
    subprocess.Popen(  # noqa: S603 -- this program itself
        [sys.executable, _python_flags(), "-m", "keito_mcp", "sync", "--json", f"--folder={folder}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=state,
        env={**_environment(folder), **given, paths.STATE_DIR_VARIABLE: state},
        **apart,
    )


def _python_flags() -> str:
    """This interpreter's own ways to import less, and no import from the folder that it is started in."""
    return f"-P{'E' * sys.flags.ignore_environment}{'s' * sys.flags.no_user_site}"


def _environment(folder: str) -> dict[str, str]:
    """The environment, without what leads Python to modules of the project: relative paths, and paths in it."""
    ways = {name: checkout.outside(folder, value) for name, value in os.environ.items() if name.startswith("PYTHON")}
    kept = {name: os.pathsep.join(entries) for name, entries in ways.items() if entries}
    return {name: value for name, value in os.environ.items() if name not in ways} | kept


def _log(state: str, what: str) -> None:
    """A line about what went wrong; where even that can't be written, nothing."""
    file = os.path.join(state, "hook.log")
    try:
        paths.make_private(state)
        if os.path.exists(file) and os.path.getsize(file) > _LONGEST_LOG:
            os.replace(file, f"{file}.1")
        descriptor = os.open(
            file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | checkout.NO_LINK | checkout.NO_WAITING, 0o600
        )
        try:
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            os.write(descriptor, f"{moment} {' '.join(what.split())[:500]}\n".encode())
        finally:
            os.close(descriptor)
    except OSError:
        pass
