"""A repository's `.keito/config.yml`, in the format of Keito's agent skill: where its agents' time goes, and how."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from keito_mcp.identity.facts import OURS
from keito_mcp.settings import checkout

NAME = ".keito/config.yml"
_DEEPEST = 16
_MOST_TOKENS = 5_000
_LONGEST_PLAIN = 2_000
"""Characters of a value without quotes; what is longer may be a number that Python can't write down again."""

_FIELDS_OF_METADATA = 50

_HALF = re.compile("[\ud800-\udfff]")
"""Half a character, which an escape can stand for: no journal, header or request can hold it."""


def _no_number(value: object) -> object:
    # YAML reads 0123 as 83.
    if isinstance(value, int | float):
        raise ValueError("a number is no id; put it in quotes")  # noqa: TRY004 -- pydantic's way to refuse a value
    return value


Text = Annotated[str, BeforeValidator(_no_number), Field(min_length=1, max_length=1000)]
Scalar = str | int | float | bool


class ConfigurationError(Exception):
    """A `.keito/config.yml` can't be used; the text names it and what is wrong."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class AgentTracking(_Section):
    """How agents' sessions in the repository are logged.

    Attributes:
        min_duration_seconds: Less of a day than this is not logged.
        max_duration_seconds: A day of a session counts no more than this.
        on_failure: What becomes of a session that failed.
        on_interrupted: What becomes of one whose every turn was interrupted.
    """

    enabled: bool = True
    source: str = "agent"
    draft: bool = False
    min_duration_seconds: Annotated[int, Field(ge=0, le=86_400)] = 60
    max_duration_seconds: Annotated[int, Field(gt=0, le=86_400)] = 28_800
    redact_notes: bool = False
    on_failure: Literal["discard", "keep"] = "discard"
    on_interrupted: Literal["log", "discard"] = "log"


class Configuration(_Section):
    """What the file says; a key that isn't known here is somebody else's."""

    version: Literal[1, "1"] = 1
    workspace_id: Text | None = None
    client_id: Text | None = None
    client_name: Text | None = None
    project_id: Text | None = None
    project_name: Text | None = None
    task_id: Text | None = None
    task_name: Text | None = None
    agent_tracking: AgentTracking = AgentTracking()
    asked_metadata: Annotated[Mapping[str, Scalar], Field(max_length=_FIELDS_OF_METADATA)] = Field(
        alias="metadata", default_factory=dict
    )

    @property
    def metadata(self) -> dict[str, Scalar]:
        """The metadata for each entry. Who works, where and on whose behalf is never read from a file."""
        return {name: value for name, value in self.asked_metadata.items() if not _is_ours(name)}

    @property
    def refused_metadata(self) -> list[str]:
        """The names in it that only this program sets."""
        return [name for name in self.asked_metadata if _is_ours(name)]

    @classmethod
    def read(cls, root: Path) -> Self:
        """The configuration in a folder.

        Raises:
            ConfigurationError: It can't be read, or says something that can't be used.
        """
        return cls.of_content(content(root))

    @classmethod
    def of_content(cls, content: Mapping[str, Any]) -> Self:
        """The configuration that such a file would say; raises `ConfigurationError`."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ConfigurationError(f"{NAME}: {_sentence(error)}") from None


EMPTY = Configuration()
"""Says nothing."""


def _is_ours(name: str) -> bool:
    return name.strip().casefold() in OURS


def content(root: Path) -> dict[str, Any]:
    """What stands in a folder's file, as it stands there; an empty one says nothing; raises `ConfigurationError`."""
    # Its import would cost every start.
    import yaml

    try:
        text = checkout.read(str(root), checkout.CONFIG)
        if problem := _problem(yaml.scan(text, Loader=yaml.SafeLoader)):
            raise ConfigurationError(f"{NAME}: {problem}")
        read = yaml.safe_load(text)
    except OSError as error:
        raise ConfigurationError(f"{NAME}: it can't be read ({error.strerror})") from error
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise ConfigurationError(f"{NAME}: it is no YAML{where}") from error
    if read is None:
        return {}
    if not isinstance(read, dict) or not all(isinstance(key, str) for key in read):
        raise ConfigurationError(f"{NAME}: it must be a list of `name: value`")
    return read


def _problem(tokens: Iterable[Any]) -> str | None:
    """Why a file is too much to be built, or None. To read its tokens is cheap, and ends with the first that is."""
    depth = 0
    for count, token in enumerate(tokens):
        # By their names: the module is imported when a file is read, not before.
        kind = type(token).__name__
        if kind.startswith(("Block", "Flow")):
            depth += kind.endswith("StartToken") - kind.endswith("EndToken")
        if depth > _DEEPEST or count > _MOST_TOKENS:
            return "it is nested too deeply" if depth > _DEEPEST else "it holds too many values"
        if kind == "AliasToken":
            return "aliases (*name) are not supported"
        if kind == "TagToken":
            return "it is no YAML of plain values; tags (!name) are not supported"
        if kind == "ScalarToken" and _HALF.search(token.value):
            return "a text holds half a character (\\ud800 to \\udfff), which can't be sent"
        if kind == "ScalarToken" and token.plain and len(token.value) > _LONGEST_PLAIN:
            return f"a value is longer than {_LONGEST_PLAIN} characters; put it in quotes"
    return None


def _sentence(error: ValidationError) -> str:
    problems = []
    for detail in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in detail["loc"] if isinstance(part, str)) or "it"
        said = str(detail.get("ctx", {}).get("error", detail["msg"]))
        reason = f"{name}: {said[:1].lower()}{said[1:]}"
        if reason not in problems:
            problems.append(reason)
    return "; ".join(problems[:3])
