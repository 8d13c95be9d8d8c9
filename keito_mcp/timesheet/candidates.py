"""Projects and tasks as they can be named: what matches a word, and what is close to it."""

import difflib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from keito_mcp.keito import Project, Task

_TEXT_LIMIT = 80
_CLOSE = 10
_CUTOFF = 0.5


class Kind(StrEnum):
    """What can be named."""

    PROJECT = "project"
    TASK = "task"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A project or a task. Its text is Keito's: data, shown bounded and on one line.

    Attributes:
        is_billable: Of a project, where Keito says so.
        is_default: Of a task, whether new projects get it.
    """

    id: str
    name: str
    code: str | None = None
    client: str | None = None
    is_billable: bool | None = None
    is_default: bool | None = None

    @classmethod
    def of(cls, one: Project | Task) -> Self:
        """What Keito listed."""
        if isinstance(one, Task):
            return cls(id=one.id, name=one.name or "", is_default=one.is_default)
        return cls(id=one.id, name=one.name or "", code=one.code, client=one.client_name, is_billable=one.is_billable)

    @property
    def label(self) -> str:
        """What a user recognizes it by."""
        return " · ".join(line(part) for part in (self.name or self.id, self.client, self.code) if part)


def matching(word: str, known: Sequence[Named]) -> Sequence[Named]:
    """What a word means: those with this id, else those with this code, else those with this name."""
    if found := [one for one in known if one.id in {word, word.strip()}]:
        return found
    plain = _plain(word)
    by_code = [one for one in known if one.code and _plain(one.code) == plain]
    return by_code or [one for one in known if one.name and _plain(one.name) == plain]


def nearest_first(word: str, known: Sequence[Named]) -> tuple[Sequence[Named], Sequence[Named]]:
    """Those whose names are close to a word, the closest first, and all others."""
    plain = _plain(word)
    by_name: dict[str, list[Named]] = {}
    for one in known:
        by_name.setdefault(_plain(one.name), []).append(one)
    names = difflib.get_close_matches(plain, by_name, n=_CLOSE, cutoff=_CUTOFF)
    close = [one for name in names for one in by_name[name]]
    return close, [one for one in known if one not in close]


def shown(one: Named) -> str:
    """One of several, for an agent to choose: its id, its name, its code and its client's name."""
    more = ", ".join(line(part) for part in (one.code, one.client) if part)
    return f"{line(one.id)} {quoted(one.name)}{f' ({more})' if more else ''}"


def labels(known: Sequence[Named]) -> Mapping[str, str]:
    """The ids of several, by a text for each that tells it from the others."""
    ids: dict[str, str] = {}
    for one in known:
        label = one.label
        ids[f"{label} · {line(one.id)}" if label in ids else label] = one.id
    return ids


def quoted(text: str) -> str:
    """Text from outside as a part of a sentence."""
    return json.dumps(line(text), ensure_ascii=False)


def line(text: str) -> str:
    """Text from outside, on one line and bounded."""
    plain = " ".join(text.split())
    return plain if len(plain) <= _TEXT_LIMIT else f"{plain[: _TEXT_LIMIT - 1]}…"


def _plain(text: str) -> str:
    """Text as it is compared: without regard to case, to white space, and to how its letters are composed."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
