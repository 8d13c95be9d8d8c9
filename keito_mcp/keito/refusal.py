"""Keito's own word in an answer that refuses a request, in the shape of either version of its API."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, TypeGuard

# Names that are ordinary words as well count only where a sentence begins with them, or quotes them.
_NAMES = "project_id|task_id|user_id|client_id|spent_date|is_running|is_billable|replace_running|per_page"
_WORDS = "hours|notes|billable|source|metadata|cursor|page|limit"
_FIELD = re.compile(rf"\b({_NAMES})\b|^({_WORDS})\b|[\"'`]({_WORDS})[\"'`]", re.IGNORECASE)
_OURS = {"billable": "is_billable", "page": "cursor", "per_page": "limit"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Keito's reason, as it came: data from outside, not yet fit to be shown.

    Attributes:
        message: Its words.
        code: Its code, such as `validation_error` (version 1) or `bad request` (version 2).
        field: The field that it blames, by the name that the models have for it.
    """

    message: str
    code: str
    field: object = None

    @classmethod
    def read(cls, content: object, *, is_marked: bool = False) -> Self | None:
        """Return the reason in the JSON of an answer, or None where that isn't Keito's.

        Version 1 says `{"error": {"code", "message", "field"}}`, version 2 `{"error", "error_description"}`; either is
        understood from both. Both texts must be there: `{"error": "blocked"}` is what a proxy says.

        Args:
            content: The JSON.
            is_marked: Whether the answer has the header that all of version 2's have; then one text is enough.
        """
        if not isinstance(content, Mapping):
            return None
        error, description = content.get("error"), content.get("error_description")
        if isinstance(error, Mapping):
            code, message = error.get("code"), error.get("message")
            return cls(message, code, error.get("field")) if _is_text(code) and _is_text(message) else None
        if not _is_text(error):
            return None
        if _is_text(description):
            return cls(description, error, _blamed(description))
        return cls(error, error) if is_marked else None


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())


def _blamed(description: str) -> str | None:
    match = _FIELD.search(description.strip())
    if match is None:
        return None
    name = next(group for group in match.groups() if group).lower()
    return _OURS.get(name, name)
