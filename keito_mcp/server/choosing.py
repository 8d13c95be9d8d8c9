"""Which project and task a call is about: by name, and where that leaves several, the user is asked to choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import AcceptedElicitation, Context, Elicit, ElicitationResult, Resolve
from pydantic import BaseModel, Field, JsonValue, create_model

from keito_mcp.runtime import Runtime
from keito_mcp.server import caller
from keito_mcp.server.shown import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keito_mcp.timesheet import Problem
    from keito_mcp.timesheet.naming import Meant, Naming, Unclear

Ctx = Context[Runtime, Any]

UNUSABLE_ANSWER = (
    "The client asked its user which project or task is meant, and its answer can't be used. Nothing was written to "
    "Keito. Call again with project_id and task_id; the resources keito://projects and keito://tasks show them."
)


class Choice(BaseModel):
    """What a user chose; each question has a class of its own that names its choices."""

    choice: str


@dataclass(frozen=True, slots=True)
class Words:
    """What a call's words mean, before anybody is asked."""

    project: Meant
    task: Meant


@dataclass(frozen=True, slots=True)
class FilterWord:
    """What the word means that a list is limited by, before anybody is asked."""

    project: Meant


@dataclass(frozen=True, slots=True)
class Booked:
    """What a call is about.

    Attributes:
        notes: What its agent must know beside.
    """

    project_id: str | None
    task_id: str | None
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Filtered:
    """The project that a list is limited to.

    Attributes:
        doubt: What is wrong with its id, should nothing be found: no active project has it.
    """

    project_id: str | None
    doubt: Problem | None = None


async def _words(ctx: Ctx, project_id: str | None, task_id: str | None) -> Words:
    naming = _naming(ctx)
    return Words(await naming.project(project_id), await naming.task(task_id))


async def _filter_word(ctx: Ctx, project_id: str | None) -> FilterWord:
    return FilterWord(await _naming(ctx).filter(project_id))


async def _asked_project(ctx: Ctx, words: Annotated[Words, Resolve(_words)]) -> Elicit[Choice] | None:
    return _question(ctx, words.project.unclear)


async def _asked_task(ctx: Ctx, words: Annotated[Words, Resolve(_words)]) -> Elicit[Choice] | None:
    return _question(ctx, words.task.unclear)


async def _asked_filter(ctx: Ctx, word: Annotated[FilterWord, Resolve(_filter_word)]) -> Elicit[Choice] | None:
    unclear = word.project.unclear
    return None if unclear and unclear.is_unknown else _question(ctx, unclear)


async def booked(
    words: Annotated[Words, Resolve(_words)],
    project: Annotated[ElicitationResult[Choice], Resolve(_asked_project)],
    task: Annotated[ElicitationResult[Choice], Resolve(_asked_task)],
) -> Booked:
    """The project and the task to record time for; raises `Problem` where they can't be told."""
    notes = [meant.note for meant in (words.project, words.task) if meant.note]
    return Booked(_settled(words.project, project), _settled(words.task, task), notes)


async def filtered(
    word: Annotated[FilterWord, Resolve(_filter_word)],
    project: Annotated[ElicitationResult[Choice], Resolve(_asked_filter)],
) -> Filtered:
    """The project to look for; raises `Problem` where several may be meant.

    What no active project is called by may be the id of one that is closed.
    """
    unclear = word.project.unclear
    if unclear and unclear.is_unknown:
        return Filtered(word.project.id, unclear.problem)
    return Filtered(_settled(word.project, project))


def _naming(ctx: Ctx) -> Naming:
    # A later round of the same call: the question must be the same one for its answer to count.
    return caller.account(ctx).naming(keeps_lists=bool(ctx.input_responses))


def _question(ctx: Ctx, unclear: Unclear | None) -> Elicit[Choice] | None:
    if unclear is None or not unclear.choices or not _can_ask(ctx):
        return None
    labels: list[JsonValue] = list(_shown_labels(unclear))
    field = Field(title="Which one", json_schema_extra={"enum": labels})
    return Elicit(shown(unclear.question), create_model("Choice", __base__=Choice, choice=(str, field)))


def _shown_labels(unclear: Unclear) -> dict[str, str]:
    return {shown(label): id_ for label, id_ in unclear.labels.items()}


def _can_ask(ctx: Ctx) -> bool:
    """Whether the client asks its user by a form; a call with a question for one that doesn't would fail."""
    capabilities = ctx.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _settled(meant: Meant, answer: ElicitationResult[Choice]) -> str | None:
    if meant.unclear is None:
        return meant.id
    choice = answer.data if isinstance(answer, AcceptedElicitation) else None
    chosen = _shown_labels(meant.unclear).get(choice.choice) if choice else None
    if chosen is None:
        raise meant.unclear.problem
    return chosen
