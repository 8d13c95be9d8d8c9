"""Version 2's names for what the models hold, both ways (`keito-openapi-v2.yaml`)."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from keito_mcp.keito.entries import entry_of
from keito_mcp.keito.errors import InvalidRequest, UnexpectedAnswer
from keito_mcp.keito.models import TimeEntry, TimeEntryCreate, TimeEntryFilter, TimeEntryUpdate

_CURSOR = re.compile(r"([1-9][0-9]{0,8})\.([0-9a-f]{12})")


def create_body(entry: TimeEntryCreate) -> dict[str, Any]:
    """What creates an entry. What was given as nothing is left out: here `null` is no text and no number.

    Raises:
        InvalidRequest: It names no task.
    """
    if entry.task_id is None:
        raise InvalidRequest(400, "task_id is required", code="bad request", field="task_id")
    return {name: value for name, value in _renamed(entry.body()).items() if value is not None}


def update_body(changes: TimeEntryUpdate) -> dict[str, Any]:
    """What changes an entry.

    Raises:
        ValueError: The timer is to be stopped or started, for which there are other requests.
    """
    body = _renamed(changes.body())
    if "is_running" in body:
        raise ValueError("version 2 of Keito's API stops no timer by an update; call stop")
    return body


def _renamed(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"billable" if name == "is_billable" else name: value for name, value in body.items()}


def page_of(wanted: TimeEntryFilter) -> int:
    """The page that a filter's cursor leads to, from 1.

    Raises:
        InvalidRequest: The cursor was not given for this filter and limit: its page would be another one.
    """
    if wanted.cursor is None:
        return 1
    match = _CURSOR.fullmatch(wanted.cursor)
    if match is None:
        raise InvalidRequest(400, "cursor is not one that this API gave out", code="bad request", field="cursor")
    if match[2] != _fingerprint(wanted):
        said = "cursor belongs to a list with other filters or another limit"
        raise InvalidRequest(400, said, code="bad request", field="cursor")
    return int(match[1])


def cursor_of(wanted: TimeEntryFilter, page: int) -> str:
    """The cursor of a page of what a filter lets through."""
    return f"{page}.{_fingerprint(wanted)}"


def _fingerprint(wanted: TimeEntryFilter) -> str:
    text = json.dumps(_conditions(wanted) | {"per_page": str(wanted.limit)}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def query_of(wanted: TimeEntryFilter) -> dict[str, str]:
    """The query parameters of one page; raises `InvalidRequest` as `page_of` does."""
    return _conditions(wanted) | {"page": str(page_of(wanted)), "per_page": str(wanted.limit)}


def _conditions(wanted: TimeEntryFilter) -> dict[str, str]:
    return {name: value for name, value in wanted.query().items() if name not in {"cursor", "limit"}}


def rows_of(envelope: object, name: str) -> Sequence[Any]:
    """The rows of one page.

    Raises:
        UnexpectedAnswer: It is no page of those.
    """
    rows = envelope.get(name) if isinstance(envelope, Mapping) else None
    if not isinstance(rows, list):
        raise UnexpectedAnswer(200, f"the answer is not a list of {name.replace('_', ' ')}")
    return rows


def has_more(envelope: Mapping[str, Any], name: str, query: Mapping[str, str]) -> bool:
    """Whether another page follows the one that a query asked for, by what the envelope tells of itself."""
    rows = envelope[name]
    if not rows:
        return False
    total, links = envelope.get("total_pages"), envelope.get("links")
    if isinstance(total, int):
        return int(query["page"]) < total
    if isinstance(links, Mapping) and "next" in links:
        return bool(links["next"])
    return len(rows) >= int(query["per_page"])


def entry_from(answer: object) -> TimeEntry:
    """A time entry of an answer, by the models' names.

    Raises:
        UnexpectedAnswer: It has no id.
    """
    if not isinstance(answer, Mapping):
        return entry_of(answer)
    row = flat(answer, "user", "project", "task", "client")
    if "billable" in row:
        row["is_billable"] = row.pop("billable")
    entry = entry_of(row)
    if entry.is_closed or entry.is_billed or entry.approval_status == "approved":
        return entry.model_copy(update={"is_locked": True})
    return entry


def flat(row: Mapping[str, Any], *nested: str) -> dict[str, Any]:
    """A row with `{"project": {"id", "name"}}` written as `project_id` and `project_name`, and so on."""
    result = {name: value for name, value in row.items() if name not in nested}
    for name in nested:
        inner = row.get(name)
        if not isinstance(inner, Mapping):
            continue
        for part in ("id", "name"):
            if result.get(f"{name}_{part}") is None and inner.get(part) is not None:
                result[f"{name}_{part}"] = inner[part]
    return result
