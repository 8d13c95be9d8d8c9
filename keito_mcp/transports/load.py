"""How much of its callers' messages a server holds: nobody may fill its memory, and nobody keep others out.

A message weighs what it takes in memory until nothing holds it any more: its body is read, its handler is done, its
answer is delivered. That is seen by the object that goes along with it in its ASGI scope, which counts until it is
freed. So it makes no difference how a message ends: answered, cancelled, notified, or its client gone.
"""

from collections import Counter

from keito_mcp.transports.edges import Edges, Unfit

_LEAST = 64 * 1024
"""What the smallest message takes, with the task that works on it and an answer such as that of `tools/list`."""
_AT_REST = 2 * _LEAST
"""What a session takes that does nothing: the SDK keeps its first and last message. Sessions are limited in number."""
_BYTE = 4
"""A body as it came, and its texts, which may be wide."""
_MARKS = {b",": 40, b"[": 64, b"{": 64, b":": 130}
"""What a value, an array, an object and a name take when they are read."""


class Load:
    """What is held, for each session, each caller and in all."""

    def __init__(self, edges: Edges) -> None:
        """Nothing is held yet."""
        self._most = edges.most_held
        self.most_of_session = edges.most_held_of_session
        self._of: Counter[tuple[str, ...]] = Counter()
        self.total = 0

    def add(self, caller: str, session: str | None, size: int) -> None:
        """Count something more.

        A caller may hold as much as is still free. However many greedy ones there are, each gets the same, and as
        much again is left for the next.

        Raises:
            Unfit: It is more than may be held; it isn't counted.
        """
        if session is not None and self._of[caller, session] + size > self.most_of_session:
            raise Unfit(
                429,
                "too many messages of this session aren't answered yet, or their answers aren't read; "
                "this one was not taken: read them, then send it again",
                {"Retry-After": "1"},
            )
        if self._of[caller,] + size > self._most - self.total:
            raise Unfit(
                503,
                "the server works on as many messages as it can; this one was not taken: send it again later",
                {"Retry-After": "5"},
            )
        self.count(caller, session, size)

    def count(self, caller: str, session: str | None, size: int) -> None:
        """Count something more, or less, whatever it comes to."""
        if session is not None:
            before = self._of[caller, session]
            self._grow((caller, session), size)
            size = max(before + size, _AT_REST) - max(before, _AT_REST)
        self._grow((caller,), size)
        self.total += size

    def _grow(self, holder: tuple[str, ...], size: int) -> None:
        self._of[holder] += size
        if not self._of[holder]:
            del self._of[holder]


class Held:
    """One message, for as long as anything holds it."""

    def __init__(self, load: Load, caller: str, session: str | None) -> None:
        """A message comes.

        Raises:
            Unfit: As much is held as may be.
        """
        self._load, self._caller, self._session = load, caller, session
        self._size = 0
        self.add(_LEAST)

    def add(self, size: int) -> None:
        """Take so many bytes more; raises `Unfit` where they are too many."""
        if self._size + size > self._load.most_of_session:
            raise Unfit(413, f"a message may take {self._load.most_of_session} bytes at most once it is read")
        self._load.add(self._caller, self._session, size)
        self._size += size

    def grow(self, size: int) -> None:
        """Count bytes that can't be refused any more, such as those of an answer."""
        self._load.count(self._caller, self._session, size)
        self._size += size

    def __del__(self) -> None:
        """Nothing holds it any more."""
        self._load.count(self._caller, self._session, -self._size)


def unpacked(part: bytes) -> int:
    """Return how many bytes of memory a part of a JSON text takes at most, as it is and read."""
    return _BYTE * len(part) + sum(size * part.count(mark) for mark, size in _MARKS.items())
