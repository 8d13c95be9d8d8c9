"""How each version of Keito's API is spoken, as far as tests look at what is sent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What one version of the API asks for.

    Attributes:
        version: Its name.
        entries: The path of time entries.
        paging: The query parameters of a first page, with room for the number of its rows.
        billable: The name of `is_billable` there.
        before_a_stop: The requests that come before the stop of a timer that this machine started.
        after_a_stop: Those that come after it for hours that Keito isn't to count itself, or for notes.
        looks_for_what_is_gone: Those that tell that an entry is no longer there.
        requires_task: Whether every entry has a task.
        beside: The status of a timer that is started while another one of the user runs.
    """

    version: str
    entries: str
    paging: str
    billable: str
    before_a_stop: tuple[str, ...]
    after_a_stop: tuple[str, ...]
    looks_for_what_is_gone: tuple[str, ...]
    requires_task: bool
    beside: str

    @property
    def counts(self) -> bool:
        """Whether Keito counts the hours of a timer itself."""
        return self.version == "v2"

    def entry(self, entry_id: str) -> str:
        return f"{self.entries}/{entry_id}"

    def page(self, limit: int) -> str:
        """The paging parameters of a first page of so many rows."""
        return self.paging.format(limit)

    def read(self, entry: Mapping[str, Any]) -> str:
        """What answers a GET of one entry."""
        return json.dumps({"time_entries": [entry]} if self.counts else entry)


WIRES = {
    "v1": Wire(
        version="v1",
        entries="/v1/time-entries",
        paging="limit={}",
        billable="is_billable",
        before_a_stop=("GET",),
        after_a_stop=(),
        looks_for_what_is_gone=("GET",) * 2,
        requires_task=False,
        beside="running",
    ),
    "v2": Wire(
        version="v2",
        entries="/api/v2/time_entries",
        paging="page=1&per_page={}",
        billable="billable",
        before_a_stop=(),
        after_a_stop=("PATCH",),
        looks_for_what_is_gone=("GET",) * 4,
        requires_task=True,
        beside="running_locally",
    ),
}
