"""The command line: from argv to one command, importing nothing heavy before it is known which."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from keito_mcp.keito import Timeouts
    from keito_mcp.runtime import Runtime


DONE, FAILED = 0, 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done, 1 it failed. Wrong usage exits with 2.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["hook"]:
        # Before anything else: a host waits for it, with each event.
        from keito_mcp.sessions import hook

        return hook.main(list(arguments[1:]))
    from keito_mcp.commands.usage import parser

    chosen = parser().parse_args(arguments)
    _log_to_stderr()
    command = _COMMANDS.get(chosen.command, _stdio)
    try:
        return command(chosen)
    except KeyboardInterrupt:
        return FAILED


def _log_to_stderr() -> None:
    """Send the log to stderr as `KEITO_LOG_LEVEL` says; a level that is none is said by each call, like any setting."""
    import logging
    import os

    from keito_mcp.server.shown import LogFormatter

    level = os.environ.get("KEITO_LOG_LEVEL", "").strip()
    known = level in {"DEBUG", "INFO", "WARNING", "ERROR"}
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter("keito-mcp %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=level if known else logging.WARNING)
    # They would log the head of each answer as it came; what it may say of a key isn't theirs to know.
    for name in ("httpcore", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _stdio(chosen: argparse.Namespace) -> int:
    # Nearly all that the imports make stays for good: collecting among it costs a seventh of the start-up, and
    # pauses of 50 ms later.
    import gc

    gc.disable()
    from keito_mcp.server.server import build_server
    from keito_mcp.transports.stdio import run_stdio

    server = build_server(_runtime(chosen, serves_one_user=True))
    gc.freeze()
    gc.enable()
    run_stdio(server)


def _serve(chosen: argparse.Namespace) -> int:
    if chosen.transport == "stdio":
        return _stdio(chosen)
    import os

    import anyio

    from keito_mcp.server.server import build_server
    from keito_mcp.settings.config import SettingsError, variable
    from keito_mcp.transports import access, access_log, gate, http
    from keito_mcp.transports.edges import Edges
    from keito_mcp.transports.ending import end_on_signals

    edges = Edges(
        allowed_hosts=chosen.allowed_host,
        allowed_origins=chosen.allowed_origin,
        trusted_proxies=chosen.trusted_proxy,
        most_sessions=chosen.max_sessions,
    )

    def announce(url: str) -> None:
        paths = (gate.HTTP_PATH, gate.SSE_PATH)
        first, second = paths if chosen.transport == "http" else paths[::-1]
        _say_aside(f"keito-mcp listens on {url}{first} (and {second}), for requests to {', '.join(edges.hosts)}")

    try:
        auth = access.Auth(chosen.auth) if chosen.auth else None
        allowed = access.Access.of(auth, chosen.host, os.environ.get(variable("mcp_tokens"), "").strip() or None)
    except (access.Refused, SettingsError) as error:
        _say_aside(str(error))
        return FAILED

    async def serve() -> None:
        server = build_server(_runtime(chosen, serves_one_user=False, tokens=allowed.names))
        await http.serve_http(
            server, host=chosen.host, port=chosen.port, on_ready=announce, access=allowed, edges=edges
        )

    end_on_signals()
    access_log.begin()
    try:
        anyio.run(serve)
    except OSError as error:
        return _cannot_listen(chosen, error)
    return DONE


def _demo(_: argparse.Namespace) -> int:
    import anyio

    from keito_mcp.commands.demo import demo

    return DONE if anyio.run(demo) else FAILED


def _sandbox(chosen: argparse.Namespace) -> int:
    import anyio

    from keito_mcp import sandbox
    from keito_mcp.commands.embedded import open_store
    from keito_mcp.settings import paths
    from keito_mcp.settings.config import SettingsError

    try:
        store = open_store(paths.state_dir())
    except (SettingsError, RuntimeError) as error:
        _say_aside(str(error))
        return FAILED

    def announce(url: str) -> None:
        _say(f"The embedded Keito listens on {url}. Any key will do:")
        _say(f'  curl "{url}/v1/time-entries" -H "Authorization: Bearer keito_sk_anything"')

    async def serve() -> None:
        await sandbox.serve(store, host=chosen.host, port=chosen.port, control=chosen.control, on_ready=announce)

    try:
        anyio.run(serve)
    except OSError as error:
        return _cannot_listen(chosen, error)
    except KeyboardInterrupt:
        pass  # the way to end it
    return DONE


def _doctor(chosen: argparse.Namespace) -> int:
    import anyio

    from keito_mcp.commands.doctor import PATIENCE, examine

    report = anyio.run(examine, _runtime(chosen, serves_one_user=True, timeouts=PATIENCE))
    _say(report.json() if chosen.json else report.text())
    return DONE if report.healthy else FAILED


def _sessions(chosen: argparse.Namespace) -> int:
    from keito_mcp.commands.sessions import sessions

    async def look(runtime: Runtime) -> bool:
        await sessions(runtime, as_json=chosen.json)
        return True

    return _with_journal(chosen, look)


def _sync(chosen: argparse.Namespace) -> int:
    from keito_mcp.commands.sync import sync

    return _with_journal(chosen, lambda runtime: sync(runtime, as_json=chosen.json, adopt=chosen.adopt, yes=chosen.yes))


def _discard(chosen: argparse.Namespace) -> int:
    from keito_mcp.commands.undo import discard

    return _with_journal(
        chosen, lambda runtime: discard(runtime, chosen.session, reason=chosen.reason, as_json=chosen.json)
    )


def _restore(chosen: argparse.Namespace) -> int:
    from keito_mcp.commands.undo import restore

    return _with_journal(chosen, lambda runtime: restore(runtime, chosen.session, as_json=chosen.json))


def _init(chosen: argparse.Namespace) -> int:
    from keito_mcp.commands.init import Asked, init
    from keito_mcp.settings import paths
    from keito_mcp.settings.repository import ConfigurationError
    from keito_mcp.settings.trust import TrustError

    given = {
        "project_id": chosen.project_id,
        "project_name": chosen.project_name,
        "task_id": chosen.task_id,
        "task_name": chosen.task_name,
        "workspace_id": chosen.workspace_id,
    }
    try:
        asked = Asked(given, redact_notes=chosen.redact_notes, yes=chosen.yes)
        done = init(asked, paths.state_dir(), as_json=chosen.json)
    except (ConfigurationError, TrustError, RuntimeError) as error:
        _say_aside(f"{str(error).rstrip('.')}.")
        return FAILED
    return DONE if done else FAILED


def _trust(chosen: argparse.Namespace) -> int:
    from pathlib import Path

    from keito_mcp.commands.trust import take_back, trust
    from keito_mcp.settings import paths
    from keito_mcp.settings.repository import ConfigurationError
    from keito_mcp.settings.trust import TrustError

    folder = Path(chosen.folder)
    try:
        if chosen.remove:
            take_back(folder, paths.state_dir(), as_json=chosen.json)
            return DONE
        return DONE if trust(folder, paths.state_dir(), yes=chosen.yes, as_json=chosen.json) else FAILED
    except (ConfigurationError, TrustError, RuntimeError) as error:
        _say_aside(f"{str(error).rstrip('.')}.")
        return FAILED


def _pause(chosen: argparse.Namespace) -> int:
    from keito_mcp.commands.pausing import pause

    is_paused = chosen.command == "pause"
    return _with_journal(chosen, lambda runtime: pause(runtime, is_paused=is_paused, as_json=chosen.json))


def _with_journal(chosen: argparse.Namespace, command: Callable[[Runtime], Awaitable[bool]]) -> int:
    """Run a command that says whether it did all that was asked; what keeps it from that is said on stderr."""
    import anyio

    from keito_mcp.commands.terminal import reason
    from keito_mcp.journal import JournalError
    from keito_mcp.keito import KeitoError
    from keito_mcp.settings.config import SettingsError
    from keito_mcp.timesheet import Problem

    async def run() -> int:
        runtime = _runtime(chosen, serves_one_user=True)
        try:
            return DONE if await command(runtime) else FAILED
        except (SettingsError, JournalError, KeitoError, Problem) as error:
            _say_aside(reason(error))
            return FAILED
        finally:
            await runtime.aclose()

    return anyio.run(run)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "serve": _serve,
    "demo": _demo,
    "sandbox": _sandbox,
    "doctor": _doctor,
    "sessions": _sessions,
    "sync": _sync,
    "discard": _discard,
    "restore": _restore,
    "init": _init,
    "trust": _trust,
    "pause": _pause,
    "resume": _pause,
}


def _runtime(
    chosen: argparse.Namespace,
    *,
    serves_one_user: bool,
    timeouts: Timeouts | None = None,
    tokens: Callable[[], Collection[str]] | None = None,
) -> Runtime:
    from keito_mcp.runtime import Runtime, loaded_for

    token = getattr(chosen, "token", None)
    if "sandbox" in chosen:
        from keito_mcp.commands.embedded import embedded_runtime

        return embedded_runtime(serves_one_user=serves_one_user, tokens=tokens, token=token)
    load = loaded_for(token) if token or getattr(chosen, "key", False) else None
    folder = getattr(chosen, "folder", None)
    return Runtime(load=load, serves_one_user=serves_one_user, timeouts=timeouts, tokens=tokens, folder=folder)


def _cannot_listen(chosen: argparse.Namespace, error: OSError) -> int:
    import errno
    import os

    way_out = "choose another --port" if error.errno == errno.EADDRINUSE else "choose another --host or --port"
    reason = os.strerror(error.errno) if error.errno else str(error)
    _say_aside(f"keito-mcp can't listen on {chosen.host}:{chosen.port} ({reason}); {way_out}.")
    return FAILED


def _say(text: str) -> None:
    from keito_mcp.server.shown import shown

    sys.stdout.write(f"{shown(text)}\n")
    sys.stdout.flush()


def _say_aside(text: str) -> None:
    from keito_mcp.server.shown import shown

    sys.stderr.write(f"{shown(text)}\n")
    sys.stderr.flush()
