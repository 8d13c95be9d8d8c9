"""What a repository's configuration asks for: whether sessions are logged, where, and which."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from typing import Any, Self

from keito_mcp.settings.config import Settings
from keito_mcp.settings.trust import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How sessions in one repository are logged.

    Attributes:
        account: Under which account, as `Settings` tells it.
        is_enabled: Whether they are at all.
        is_trusted: Whether the user has agreed to it; until then they wait.
        project_id: The project; without one nothing can be logged.
        shortest: A day's time under this is not logged.
        longest: A day's time counts no longer than this.
        redact_notes: Whether the notes say nothing of what the agent said.
        keeps_failed: Whether a failed session is logged all the same.
        keeps_interrupted: Whether one is whose every turn was interrupted.
        is_draft: Whether the entry is marked as a draft.
        metadata: What else goes into the entry's metadata.
        agent_id: Who the agent is, where the operator says so.
        zone: The user's time zone; None is the machine's own.
    """

    account: str
    is_enabled: bool
    is_trusted: bool = True
    project_id: str | None
    task_id: str | None = None
    shortest: timedelta = timedelta(seconds=60)
    longest: timedelta = timedelta(hours=8)
    redact_notes: bool = False
    keeps_failed: bool = False
    keeps_interrupted: bool = True
    is_draft: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    agent_id: str | None = None
    zone: tzinfo | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The rules that settings make with the repository's configuration in them, or without one."""
        configuration = settings.configuration
        tracking = configuration.agent_tracking
        return cls(
            account=settings.account,
            is_enabled=tracking.enabled,
            # Who wants all sessions logged wants those of a clone logged by their own settings.
            is_trusted=settings.autolog or settings.found.standing is not Standing.UNTRUSTED,
            project_id=settings.project_id,
            task_id=settings.task_id,
            shortest=timedelta(seconds=tracking.min_duration_seconds),
            longest=timedelta(seconds=tracking.max_duration_seconds),
            redact_notes=tracking.redact_notes,
            keeps_failed=tracking.on_failure == "keep",
            keeps_interrupted=tracking.on_interrupted == "log",
            is_draft=tracking.draft,
            metadata=configuration.metadata,
            agent_id=settings.agent_id,
            zone=settings.zone,
        )
