"""What is worked on, and by whom."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

from keito_mcp.identity import Identity
from keito_mcp.identity.facts import MARK, SERVERS
from keito_mcp.journal import Owner
from keito_mcp.keito import METADATA_LIMIT, metadata_size
from keito_mcp.timesheet.problem import NOTHING_SENT, Problem
from keito_mcp.version import __version__

CLIENT = f"keito-mcp/{__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an entry is about, as the agent says it."""

    project_id: str
    task_id: str | None = None
    notes: str | None = None
    is_billable: bool | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """What of it is sent as it is: what the agent gave."""
        given = {
            "project_id": self.project_id,
            "task_id": self.task_id,
            "notes": self.notes,
            "is_billable": self.is_billable,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """The agent of one call.

    Attributes:
        owner: The key under which its timers are kept.
        repository: What git says of where it works.
        configured: Metadata for every entry, as the repository's configuration has it.
        session_is_shared: Whether other agents may be of the same made-up session (HTTP without sessions).
        mark: What tells the entries of the principal on whose behalf it works from those of others.
    """

    identity: Identity
    owner: Owner
    repository: Mapping[str, str] = field(default_factory=dict)
    configured: Mapping[str, Any] = field(default_factory=dict)
    session_is_shared: bool = False
    mark: str | None = None

    def metadata(self, work: Work, entry_key: str, started_at: str | None = None) -> dict[str, Any]:
        """The whole metadata of an entry for this work.

        Raises:
            Problem: It takes more than Keito's 4096 bytes. Nothing is cut: identity is never truncated.
        """
        given = {name: value for name, value in {**self.configured, **work.metadata}.items() if name not in SERVERS}
        metadata = self.identity.metadata(given, self.repository)
        metadata["entry_key"] = entry_key
        if started_at is not None:
            metadata["started_at"] = started_at
        metadata["client"] = CLIENT
        if self.mark is not None:
            metadata[MARK] = self.mark
        try:
            size = metadata_size(metadata)
        except ValueError as error:
            raise Problem(
                "metadata holds a number that JSON can't carry (NaN or infinity).",
                NOTHING_SENT,
                "Leave it out, or write it as text.",
            ) from error
        if size > METADATA_LIMIT:
            own = metadata_size(work.metadata)
            raise Problem(
                f"metadata takes {size} bytes with the agent's identity ({own} of them yours); "
                f"Keito keeps at most {METADATA_LIMIT}.",
                NOTHING_SENT,
                f"Shorten metadata by {size - METADATA_LIMIT} bytes or more.",
            )
        return metadata


def fingerprint(worker: Worker, work: Work, hours: Decimal, spent_date: date | None) -> str:
    """The same for two calls of one agent that ask for the same entry."""
    asked = {
        "agent": [worker.owner.agent_id, worker.owner.subagent_id],
        "project_id": work.project_id,
        "task_id": work.task_id,
        "notes": work.notes,
        "is_billable": work.is_billable,
        "metadata": work.metadata,
        "hours": str(hours),
        "spent_date": str(spent_date),
    }
    return sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def utc_text(moment: datetime) -> str:
    """A moment in UTC, to the second, as Keito writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_utc(text: str | None) -> datetime | None:
    """A moment that `utc_text` wrote; None for anything else."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
