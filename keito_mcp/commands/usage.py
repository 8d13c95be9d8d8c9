"""What can be typed after `keito-mcp`: the commands and their options."""

from __future__ import annotations

import argparse
import ipaddress

from keito_mcp.version import __version__

Commands = argparse._SubParsersAction  # noqa: SLF001 -- argparse gives its type no other name

DEFAULT_PORT = 8787
SANDBOX_PORT = 8788
_LAST_PORT = 65_535


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; without a command, `command` is None."""
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument(
        "--sandbox",
        action="store_true",
        help="work against the embedded Keito in the state folder instead of the real one: no key, no network",
    )
    whole = argparse.ArgumentParser(
        prog="keito-mcp",
        parents=[shared],
        description="MCP server that lets AI agents track their own billable time in Keito. "
        "Without a command it serves one host over stdio, which is what hosts start.",
    )
    whole.add_argument("--version", action="version", version=f"keito-mcp {__version__}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND")

    serve = commands.add_parser("serve", parents=[shared], help="serve Streamable HTTP (/mcp) and SSE (/sse), or stdio")
    serve.add_argument(
        "--transport",
        choices=("http", "sse", "stdio"),
        default="http",
        help="http and sse are served together, this chooses which is announced first; default: %(default)s",
    )
    serve.add_argument(
        "--host", default="127.0.0.1", help="another than a loopback address needs --auth; default: %(default)s"
    )
    serve.add_argument("--port", type=_port, default=DEFAULT_PORT, help="0 takes a free one; default: %(default)s")
    serve.add_argument(
        "--auth",
        choices=("none", "token", "key"),
        help="who may connect: whoever reaches it; who has one of KEITO_MCP_TOKENS; or each with their own Keito key "
        "as bearer token, which goes to Keito with the call and is kept nowhere; default: token if KEITO_MCP_TOKENS "
        "is set, else none",
    )
    serve.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that requests may be addressed to, beside those of this machine; may be repeated",
    )
    serve.add_argument(
        "--allowed-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="an origin whose web pages may send requests, such as https://example.com; may be repeated",
    )
    serve.add_argument(
        "--trusted-proxy",
        action="append",
        default=[],
        type=_network,
        metavar="ADDRESS",
        help="a proxy, or a network of them, whose X-Forwarded-For is believed; may be repeated",
    )
    serve.add_argument(
        "--max-sessions",
        type=_positive,
        default=10_000,
        metavar="N",
        help="sessions that may be open at a time; default: %(default)s",
    )

    commands.add_parser("demo", parents=[shared], help="a tour of the five tools: no account, no network")

    sandbox = commands.add_parser("sandbox", parents=[shared], help="the embedded Keito on a port, to curl")
    sandbox.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    sandbox.add_argument("--port", type=_port, default=SANDBOX_PORT, help="0 takes a free one; default: %(default)s")
    sandbox.add_argument("--control", action="store_true", help="offer /_sandbox/ too: faults, requests, entries")

    doctor = commands.add_parser("doctor", parents=[shared], help="what would be sent, and is Keito reachable")
    doctor.add_argument("--json", action="store_true", help="for programs")
    _add_journal_commands(commands, shared)
    hook = commands.add_parser("hook", help="take note of an event: what a host's lifecycle hook calls")
    hook.add_argument("event", nargs="?", metavar="EVENT", help="default: the event's own name for itself")
    hook.add_argument("--host", help="which host calls, such as claude-code; default: as the event looks")
    return whole


def _add_journal_commands(commands: Commands[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    """The commands with which a person looks after the journal."""
    sessions = commands.add_parser(
        "sessions", parents=[shared], help="agents' sessions on this machine, what waits for them and what went wrong"
    )
    sync = commands.add_parser("sync", parents=[shared], help="bring what waits to Keito now")
    sync.add_argument("--adopt", action="store_true", help="first take over what waits for other accounts")
    sync.add_argument("--folder", help="whose .keito/config.yml counts; default: the current folder")
    sync.add_argument("--yes", action="store_true", help="with --adopt: don't ask")
    discard = commands.add_parser("discard", parents=[shared], help="delete the entries of a session")
    discard.add_argument("--reason", help="why, for the journal")
    restore = commands.add_parser("restore", parents=[shared], help="make the entries of a discarded session again")
    for command in (sessions, sync, discard, restore):
        whose = command.add_mutually_exclusive_group()
        whose.add_argument("--token", metavar="NAME", help="of those who call an HTTP server with this token")
        whose.add_argument("--key", action="store_true", help="of those who call one with the key in KEITO_API_KEY")
    for command in (discard, restore):
        command.add_argument("session", metavar="SESSION", help="its id, as `keito-mcp sessions` shows it")
    init = commands.add_parser("init", help="write this repository's .keito/config.yml: where its agents' time goes")
    init.add_argument("--project-id", help="Keito project; asked for on a terminal where it isn't given")
    init.add_argument("--project-name", help="its name, for people")
    init.add_argument("--task-id", help="task of that project")
    init.add_argument("--task-name", help="its name, for people")
    init.add_argument("--workspace-id", help="Keito account (company) id")
    init.add_argument("--redact-notes", action="store_true", help="say nothing in the notes of what the agent said")
    init.add_argument("--yes", action="store_true", help="change a file that is there without asking")
    init.add_argument("--json", action="store_true", help="for programs")
    trust = commands.add_parser("trust", help="use the .keito/config.yml that came with a clone, after showing it")
    trust.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="default: this one")
    trust.add_argument("--remove", action="store_true", help="take it back, whatever the file says")
    trust.add_argument("--yes", action="store_true", help="say yes without being asked")
    trust.add_argument("--json", action="store_true", help="for programs")
    pause = commands.add_parser("pause", parents=[shared], help="stop counting sessions in this repository from now on")
    resume = commands.add_parser("resume", parents=[shared], help="count sessions in this repository again from now on")
    for command in (sessions, sync, discard, restore, pause, resume):
        command.add_argument("--json", action="store_true", help="for programs")


def _port(text: str) -> int:
    if text.isdecimal() and int(text) <= _LAST_PORT:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port; a port is a number from 0 to {_LAST_PORT}")


def _positive(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no positive number")


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text)) if "/" in text else str(ipaddress.ip_address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no address and no network of addresses") from error
