"""What Keito says in an answer that refuses a request, in the shape of either version of its API."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

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

    message: object = None
    code: object = None
    field: object = None

    @classmethod
    def read(cls, content: object) -> Self:
        """The reason in the JSON of an answer; blank where it gives none.

        Version 1 says `{"error": {"code", "message", "field"}}`, version 2 `{"error", "error_description"}`. Either
        is understood from both: what stands between may answer for them.
        """
        if not isinstance(content, Mapping):
            return cls()
        error, description = content.get("error"), content.get("error_description")
        if isinstance(error, Mapping):
            return cls(error.get("message"), error.get("code"), error.get("field"))
        if not isinstance(description, str) or not description.strip():
            return cls(error)
        return cls(description, error, _blamed(description))


def _blamed(description: str) -> str | None:
    match = _FIELD.search(description.strip())
    if match is None:
        return None
    name = next(group for group in match.groups() if group).lower()
    return _OURS.get(name, name)
