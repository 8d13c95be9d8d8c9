"""What can go wrong between a client and Keito, as a program that a test or a demo writes."""

import threading
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_SECONDS = 60.0
"""No fault lasts longer, in seconds."""


class ConnectionCut(ConnectionError):
    """The connection was cut without an answer; what an in-process client sees of it."""


class Fault(BaseModel):
    """One thing that goes wrong, with the requests it happens to.

    It matches by `method` and by the beginning of the decoded `path` (by default any), lets `after` matching
    requests pass, then happens to the next `times`. It is exactly one of:

    - `status`: this status is answered, with the documented error body or the raw `body` given here, and a
      `Retry-After` of `retry_after` (seconds, or a text). Nothing is done, unless `commit` asks to do the work first.
    - `hang`: nothing is answered until the client disconnects, or for 60 seconds. Nothing is done.
    - `cut_before`: the connection is cut without an answer. Nothing is done.
    - `cut_after`: the work is done, then the connection is cut without an answer.
    - `late_commit`: like `hang`, and `delay` seconds after the client gave up, the work is done after all.
    - `delay` alone: the request waits for that many seconds, or until the client has gone, and is then
      answered as ever. Beside another fault, that one waits so long.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str | None = None
    path: str = ""
    times: int = Field(default=1, ge=1)
    after: int = Field(default=0, ge=0)

    status: int | None = Field(default=None, ge=200, le=599)
    retry_after: Annotated[float, Field(ge=0)] | str | None = None
    body: str | bytes | None = None
    content_type: str = "application/json"
    commit: bool = False

    delay: float = Field(default=0.0, ge=0.0, le=MAX_SECONDS)
    hang: bool = False
    cut_before: bool = False
    cut_after: bool = False
    late_commit: bool = False

    @model_validator(mode="after")
    def _chooses_one(self) -> Self:
        chosen = [self.status is not None, self.hang, self.cut_before, self.cut_after, self.late_commit]
        if sum(chosen) > 1 or not (any(chosen) or self.delay):
            raise ValueError("a fault is exactly one of status, hang, cut_before, cut_after, late_commit, delay")
        if self.status is None and (self.commit or self.body is not None or self.retry_after is not None):
            raise ValueError("commit, body and retry_after go with a status")
        return self

    def matches(self, method: str, path: str) -> bool:
        """Return whether the fault is meant for such a request."""
        return self.method in (None, method) and path.startswith(self.path)


class Faults:
    """The faults still to come; usable from any thread while the app serves.

    One request meets at most one of them, the first that is due. All that match count it for their `after`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []

    def add(self, *faults: Fault) -> None:
        """Plan faults, behind those already planned."""
        with self._lock:
            self._planned += [_Planned(fault) for fault in faults]

    def clear(self) -> None:
        """Forget all planned faults."""
        with self._lock:
            self._planned.clear()

    @property
    def planned(self) -> list[Fault]:
        """The faults that have not yet happened as often as they should."""
        with self._lock:
            return [planned.fault for planned in self._planned]

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that happens to this request, and count it as happened."""
        with self._lock:
            due = [planned for planned in self._planned if planned.is_due(method, path)]
            if not due:
                return None
            due[0].times -= 1
            self._planned = [planned for planned in self._planned if planned.times]
            return due[0].fault


class _Planned:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.times = fault.times
        self._to_pass = fault.after

    def is_due(self, method: str, path: str) -> bool:
        """Count a request that matches, and return whether the fault is due for it."""
        if not self.fault.matches(method, path):
            return False
        if self._to_pass:
            self._to_pass -= 1
            return False
        return True
