"""keito-mcp's own stdio server, which also writes down where the time of each tool call went.

For `calls.py`. One JSON line per call goes to the file that `BENCH_CALLS` names: nanoseconds inside of the tool
boundary, httpx, the journal's commits and its reads, and how many commits and requests there were.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import httpx

from keito_mcp.cli import main
from keito_mcp.journal import Journal
from keito_mcp.server.server import KeitoServer

P = ParamSpec("P")
T = TypeVar("T")

_spent: Counter[str] = Counter()


def measured(name: str, function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The same function, whose time is added up under a name."""

    async def measuring(*args: P.args, **kwargs: P.kwargs) -> T:
        begun = time.perf_counter_ns()
        try:
            return await function(*args, **kwargs)
        finally:
            _spent[name] += time.perf_counter_ns() - begun
            _spent[f"{name}s"] += 1

    return measuring


def measured_at_once(name: str, function: Callable[P, T]) -> Callable[P, T]:
    """The same for a function that waits for nothing; it isn't counted."""

    def measuring(*args: P.args, **kwargs: P.kwargs) -> T:
        begun = time.perf_counter_ns()
        try:
            return function(*args, **kwargs)
        finally:
            _spent[name] += time.perf_counter_ns() - begun

    return measuring


def written_down(function: Callable[P, Awaitable[T]], file: int) -> Callable[P, Awaitable[T]]:
    """The same function, each call of which ends with a line of what was added up."""

    async def writing(*args: P.args, **kwargs: P.kwargs) -> T:
        _spent.clear()
        try:
            return await function(*args, **kwargs)
        finally:
            os.write(file, json.dumps(_spent).encode() + b"\n")

    return writing


def instrument() -> None:
    file = os.open(os.environ["BENCH_CALLS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    patches = {
        (httpx.AsyncClient, "build_request"): measured_at_once("request", httpx.AsyncClient.build_request),
        (httpx.AsyncClient, "send"): measured("request", httpx.AsyncClient.send),
        (Journal, "_commit"): measured("commit", Journal._commit),  # noqa: SLF001 -- where each transaction passes
        (Journal, "_read"): measured("read", Journal._read),  # noqa: SLF001 -- where each look passes
        (KeitoServer, "call_tool"): written_down(measured("tool", KeitoServer.call_tool), file),
    }
    for (owner, name), function in patches.items():
        setattr(owner, name, function)


if __name__ == "__main__":
    instrument()
    sys.exit(main([]))
