"""Which project and which task a word means: Keito's lists of them, and the rules by which one is chosen."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from keito_mcp.keito import KeitoApi, KeitoError
from keito_mcp.timesheet.candidates import Kind, Named, labels, matching, nearest_first, quoted, shown
from keito_mcp.timesheet.directory import Directory
from keito_mcp.timesheet.problem import Problem
from keito_mcp.timesheet.waiting import is_away, unreachable

FRESH = timedelta(minutes=10)
"""How long a list is used without asking Keito again."""

RECENT = timedelta(minutes=1)
"""A list older than this may lack what was just made: it is fetched again before a word counts as unknown."""

_ID = re.compile(r"c[a-z0-9]{24}")
"""How Keito makes ids (CUID, `keito-openapi-v2.yaml`)."""

MOST_CANDIDATES = 10
"""How many a failure names."""

MOST_CHOICES = 50
"""How many a user is asked to choose from."""

_NOTHING_WRITTEN = "Nothing was written to Keito."
_SETTINGS = {
    Kind.PROJECT: "KEITO_PROJECT_ID or project_id in .keito/config.yml",
    Kind.TASK: "KEITO_TASK_ID or task_id in .keito/config.yml",
}


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nobody but the user can say which one is meant.

    Attributes:
        problem: What the agent is told.
        question: What the user is asked.
        choices: What the user may choose from; none where nothing is known.
        is_unknown: Whether a word was given, and nothing matches it.
    """

    problem: Problem
    question: str
    choices: Sequence[Named] = ()
    is_unknown: bool = False

    @property
    def labels(self) -> Mapping[str, str]:
        """The choices' ids, by a text for each that tells it from the others."""
        return labels(self.choices)


@dataclass(frozen=True, slots=True)
class Meant:
    """What a word, or none, means.

    Attributes:
        id: The id; None where no word is given or configured, and none is needed or can be chosen.
        note: What the agent must know beside.
        unclear: Why it can't be told; `id` is then the word as it was given.
    """

    id: str | None
    note: str | None = None
    unclear: Unclear | None = None


class Naming:
    """What the words of one call mean. Each list is fetched at most once, and only when it is needed."""

    def __init__(
        self,
        api: KeitoApi,
        directory: Directory,
        *,
        project: str | None = None,
        task: str | None = None,
        keeps_lists: bool = False,
    ) -> None:
        """Nothing is fetched yet.

        Args:
            api: Where the lists come from.
            directory: Where they are kept.
            project: The configured project, by its id, code or name.
            task: The configured task, by its id or name.
            keeps_lists: Whether a list that is there already is used whatever its age: the call goes on, and its
                user has answered a question that was made from it.
        """
        self._api = api
        self._directory = directory
        self._configured = {Kind.PROJECT: project, Kind.TASK: task}
        self._ages = (timedelta.max,) if keeps_lists else (FRESH, RECENT)
        self._errors: dict[Kind, KeitoError] = {}

    @property
    def is_possible(self) -> bool:
        """Whether Keito tells what there is; where it doesn't, a word is an id."""
        return self._api.traits.lists_projects

    async def known(self, kind: Kind) -> Sequence[Named]:
        """All that there is of a kind, as it was at most ten minutes ago; raises `KeitoError`."""
        return await self._directory.list(kind, self._api, FRESH)

    async def project(self, word: str | None) -> Meant:
        """The project that a call is about: the one that is named, else the configured, else the only one."""
        return await self._meant(Kind.PROJECT, word)

    async def task(self, word: str | None) -> Meant:
        """The task: the one that is named, else the configured, else the account's default, else the only one."""
        return await self._meant(Kind.TASK, word)

    async def filter(self, word: str | None) -> Meant:
        """The project that a list is limited to; without a word, none."""
        if not word or not self.is_possible or _ID.fullmatch(word):
            return Meant(word)
        return await self._find(Kind.PROJECT, word)

    async def certain(self, project: str, task: str | None) -> tuple[str, str | None]:
        """The ids of a project and a task for time that nobody asked to be logged, and that can wait.

        Raises:
            Problem: They can't be told, or not now: what waits under a name that turns out to be wrong is lost.
        """
        meant = await self.project(project), await self.task(task)
        for one in meant:
            if one.unclear is not None:
                raise one.unclear.problem
            if one.note is not None:
                raise Problem(one.note, _NOTHING_WRITTEN, "It is looked up again before anything is logged.")
        return meant[0].id or project, meant[1].id

    async def _meant(self, kind: Kind, word: str | None) -> Meant:
        if not self.is_possible:
            return Meant(word)
        word, is_configured = (word, False) if word else (self._configured[kind], True)
        if word is None:
            return await self._unnamed(kind)
        if _ID.fullmatch(word):
            # Nothing else looks so, and Keito says so itself where there is none with it.
            return Meant(word)
        return await self._find(kind, word, is_configured=is_configured)

    async def _find(self, kind: Kind, word: str, *, is_configured: bool = False) -> Meant:
        known: Sequence[Named] = ()
        for age in self._ages:
            known = await self._list(kind, age)
            if found := matching(word, known):
                return Meant(found[0].id) if len(found) == 1 else _several(kind, word, found)
        if kind in self._errors:
            why = unreachable(self._errors[kind])
            return Meant(word, note=f"{why} So {quoted(word)} is taken as a {kind}'s id.")
        return _unknown(kind, word, known, is_configured=is_configured)

    async def _unnamed(self, kind: Kind) -> Meant:
        known = await self._list(kind, self._ages[0])
        defaults = [one for one in known if one.is_default]
        for only in (defaults, known):
            if len(only) == 1:
                return Meant(only[0].id)
        if not known and kind in self._errors:
            return _unlisted(kind, self._errors[kind])
        return _unnamed(kind, [*defaults, *(one for one in known if not one.is_default)])

    async def _list(self, kind: Kind, age: timedelta) -> Sequence[Named]:
        """A list, not older than that where it can be had; else what was known last."""
        away = next((error for error in self._errors.values() if is_away(error)), self._errors.get(kind))
        if away is None:
            try:
                return await self._directory.list(kind, self._api, age)
            except KeitoError as error:
                away = error
        self._errors[kind] = away
        return self._directory.last(kind)


def _several(kind: Kind, word: str, found: Sequence[Named]) -> Meant:
    happened = f"{len(found)} {kind}s match {quoted(word)}."
    problem = Problem(happened, _NOTHING_WRITTEN, f"Call again with the id of the right one: {_list(found)}.")
    return Meant(word, unclear=Unclear(problem, f"{happened} Which one is meant?", found[:MOST_CHOICES]))


def _unknown(kind: Kind, word: str, known: Sequence[Named], *, is_configured: bool) -> Meant:
    by = "id, code or name" if kind is Kind.PROJECT else "id or name"
    whose = f" (from {_SETTINGS[kind]})" if is_configured else ""
    happened = f"No active {kind} has the {by} {quoted(word)}{whose}."
    close, rest = nearest_first(word, known)
    advice = _advice(kind, close or rest, "The closest: " if close else f"The {kind}s: ")
    problem = Problem(happened, _NOTHING_WRITTEN, advice)
    choices = [*close, *rest][:MOST_CHOICES]
    return Meant(word, unclear=Unclear(problem, f"{happened} Which one is meant?", choices, is_unknown=True))


def _unnamed(kind: Kind, known: Sequence[Named]) -> Meant:
    happened = _happened(kind)
    problem = Problem(happened, _NOTHING_WRITTEN, _advice(kind, known, f"The {kind}s: "))
    return Meant(None, unclear=Unclear(problem, f"Which {kind} is this time for?", known[:MOST_CHOICES]))


def _unlisted(kind: Kind, error: KeitoError) -> Meant:
    """None is named, and what there is can't be known."""
    happened = f"{_happened(kind)} What there is can't be known now: {unreachable(error)}"
    advice = f"Call again with {kind}_id, or have the user set {_SETTINGS[kind]}."
    return Meant(None, unclear=Unclear(Problem(happened, _NOTHING_WRITTEN, advice), ""))


def _happened(kind: Kind) -> str:
    return "No project is named." if kind is Kind.PROJECT else "A task is required, and none is named."


def _advice(kind: Kind, known: Sequence[Named], lead: str) -> str:
    if not known:
        return f"Keito shows no active {kind} to this key's user: ask the user to make one, or for the assignment."
    return f"Call again with {kind}_id, or have the user set {_SETTINGS[kind]}. {lead}{_list(known)}."


def _list(known: Sequence[Named]) -> str:
    more = f"; and {len(known) - MOST_CANDIDATES} more" if len(known) > MOST_CANDIDATES else ""
    return "; ".join(shown(one) for one in known[:MOST_CANDIDATES]) + more
