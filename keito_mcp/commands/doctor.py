"""What would be sent, where each value comes from, and whether Keito can be reached."""

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import Any

from keito_mcp.identity import Call
from keito_mcp.journal import JournalError
from keito_mcp.keito import KeitoError, TimeEntryFilter, Timeouts
from keito_mcp.runtime import Runtime
from keito_mcp.server.explain import explain
from keito_mcp.server.session import described
from keito_mcp.settings.config import Settings, SettingsError, variable
from keito_mcp.settings.repository import NAME
from keito_mcp.version import __version__

PATIENCE = Timeouts(attempt=5.0, read=5.0)
"""A person waits for the answer."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the doctor found."""

    version: str
    settings: dict[str, dict[str, Any]]
    api: dict[str, str]
    warnings: list[str]
    identity: dict[str, dict[str, Any]]
    repository: dict[str, str]
    journal: str
    keito: str
    healthy: bool

    def json(self) -> str:
        """The report for programs."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    def text(self) -> str:
        """The report for people."""
        lines = [f"keito-mcp {self.version}", "", "Settings"]
        lines += [_row(name, fact["value"], fact["source"]) for name, fact in self.settings.items()]
        if self.api:
            lines += ["", f"API  {self.api['version']}, because {self.api['because']}"]
        lines += [f"Warning: {warning}" for warning in self.warnings]
        lines += ["", "Identity (a host adds what it knows with each call)"]
        for name, fact in self.identity.items():
            lines.append(_row(name, fact["value"], fact["source"]))
            if "to_set" in fact:
                lines.append(f"  {'':<18} {fact['to_set']}")
        lines += [_row(name, value, "git") for name, value in self.repository.items()]
        lines += ["", f"Journal  {self.journal}", f"Keito    {self.keito}"]
        return "\n".join(lines)


def _row(name: str, value: object, source: str) -> str:
    return f"  {name:<18} {'-' if value is None else value!s:<40} {source}"


async def examine(runtime: Runtime) -> Report:
    """Look at everything a call would use; Keito is asked for one entry, and nothing is written."""
    try:
        settings = runtime.settings
    except SettingsError as error:
        return Report(__version__, {}, {}, [], {}, {}, "not looked at", str(error), healthy=False)
    try:
        await runtime.journal.check_integrity()
        journal, journal_works = f"works, in {settings.folder} (integrity_check: ok)", True
    except JournalError as error:
        journal, journal_works = str(error), False
    keito, keito_works = await _reach(runtime)
    call = Call(
        meta={},
        client_name=None,
        client_version=None,
        machine=runtime.machine,
        is_from_a_shell=True,
        process_session=runtime.session,
        operator=runtime.own.operator(),
    )
    report = Report(
        version=__version__,
        settings=_settings(settings, embedded=runtime.is_embedded),
        api={"version": settings.version, "because": settings.version_because},
        warnings=_warnings(settings),
        identity=described(await runtime.identifier.identify(call)),
        repository=await runtime.repository.facts() if runtime.repository else {},
        journal=journal,
        keito=keito,
        healthy=journal_works and keito_works,
    )
    await runtime.aclose()
    return report


def _warnings(settings: Settings) -> list[str]:
    """What the operator should put right, or decide, although everything works."""
    said = [settings.warning, settings.untrusted]
    if settings.untrusted:
        said.append(f"With your yes: {_changes(settings)}." if not settings.found.problem else settings.found.problem)
    if refused := settings.found.says.refused_metadata:
        said.append(f"{NAME} can't set {', '.join(refused)} in metadata: only keito-mcp itself does. It is left out.")
    return [sentence for sentence in said if sentence]


def _changes(settings: Settings) -> str:
    """What an untrusted configuration would change."""
    trusted, configuration = settings.if_trusted, settings.found.says
    fields = ("account_id", "project_id", "task_id")
    changed = [
        f"{variable(field)} {getattr(settings, field) or 'not set'} -> {getattr(trusted, field)!a}"
        for field in fields
        if getattr(trusted, field) != getattr(settings, field)
    ]
    if configuration.agent_tracking.enabled:
        changed.append("sessions log themselves")
    if configuration.metadata:
        changed.append(f"metadata {configuration.metadata!a}")
    return "; ".join(changed) or "nothing changes"


def _settings(settings: Settings, *, embedded: bool) -> dict[str, dict[str, Any]]:
    facts = {}
    for field in Settings.model_fields:
        value = getattr(settings, field)
        source = settings.source(field)
        if source.startswith("environment") and embedded and variable(field) not in os.environ:
            source = "--sandbox"
        if field in {"api_key", "mcp_tokens"}:
            value = "set, not shown" if value else None
        elif field == "state_dir":
            value = settings.folder
        facts[variable(field)] = {"value": None if value is None else str(value), "source": source}
    return facts


async def _reach(runtime: Runtime) -> tuple[str, bool]:
    begun = time.perf_counter()
    try:
        await runtime.own.api.list(TimeEntryFilter(limit=1))
    except SettingsError as error:
        return str(error), False
    except KeitoError as error:
        return explain(error, {}, runtime.settings.project_id) or str(error), False
    took = (time.perf_counter() - begun) * 1000
    return f"answers at {runtime.settings.api_url} (one read took {took:.0f} ms)", True
