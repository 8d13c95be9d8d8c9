"""`keito-mcp trust`: say yes to the `.keito/config.yml` that came with a clone, or take that back."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from keito_mcp.commands.terminal import agrees, say, say_aside
from keito_mcp.server.shown import on_one_line
from keito_mcp.settings.repository import NAME, AgentTracking, Configuration, ConfigurationError
from keito_mcp.settings.trust import Found, Standing, Yes, find, give
from keito_mcp.settings.trust import take_back as forget

_LONGEST_VALUE = 80


def trust(folder: Path, state: Path, *, yes: bool, as_json: bool) -> bool:
    """Show a project's configuration, and use it from now on if its user says yes.

    Args:
        folder: The project's folder.
        state: The state folder, where the yes is kept.
        yes: Whether nobody is asked.
        as_json: Whether a program reads it.

    Returns:
        Whether there is a configuration that is used.

    Raises:
        ConfigurationError: It can't be read, or says something that can't be used.
        TrustError: The yes can't be kept.
    """
    found = find(folder, state)
    if found.problem:
        raise ConfigurationError(found.problem)
    if found.root is None:
        say_aside(f"There is no {NAME} for this folder, so there is nothing to trust. `keito-mcp init` makes one.")
        return False
    before = found.standing
    if before is Standing.UNTRUSTED:
        if not yes and not agrees(f"{NAME} of {found.root} came with the clone.\n{summary(found.says)}\nUse it?"):
            return False
        give(state, Yes.to(found.root, found.says))
        found = replace(found, standing=Standing.TRUSTED)
    say(_json(found) if as_json else _text(found, before))
    return True


def take_back(folder: Path, state: Path, *, as_json: bool) -> None:
    """Trust a repository no longer, whatever its configuration says; raises `TrustError`."""
    was_trusted = forget(state, folder)
    if as_json:
        say(json.dumps({"was_trusted": was_trusted}))
    elif was_trusted:
        say(f"{NAME} of this repository is no longer trusted: where git tracks it, it is not used.")
    else:
        say(f"{NAME} of this repository was not trusted.")


def summary(configuration: Configuration) -> str:
    """What a configuration asks for, in lines for a person; where money goes stands last, next to the question."""
    named = {
        "Metadata": "; ".join(f"{_shown(name)}: {_shown(value)}" for name, value in configuration.metadata.items()),
        "Left out": ", ".join(configuration.refused_metadata),
        "Sessions": _sessions(configuration.agent_tracking),
        "Task": _named(configuration.task_id, configuration.task_name),
        "Project": _named(configuration.project_id, configuration.project_name) or "none",
        "Account": _shown(configuration.workspace_id) if configuration.workspace_id else "as your settings say",
    }
    return "\n".join(f"  {name:<9} {text}" for name, text in named.items() if text)


def _named(identifier: str | None, name: str | None) -> str:
    if identifier is None:
        return ""
    return f"{_shown(identifier)} (it says: {_shown(name)})" if name else _shown(identifier)


def _sessions(tracking: AgentTracking) -> str:
    if not tracking.enabled:
        return "are not logged by themselves"
    shortest, longest = (
        timedelta(seconds=seconds) for seconds in (tracking.min_duration_seconds, tracking.max_duration_seconds)
    )
    said = [f"log themselves, from {shortest} to {longest} a day", f"failed ones: {tracking.on_failure}"]
    said += [f"interrupted ones: {tracking.on_interrupted}"]
    said += ["as drafts"] if tracking.draft else []
    said += ["notes redacted"] if tracking.redact_notes else []
    return ", ".join(said)


def _shown(value: object) -> str:
    """A value of somebody else's file: short, and on one line."""
    text = str(value)
    return on_one_line(text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…")


def _text(found: Found, before: Standing) -> str:
    if before is Standing.OWN:
        return f"Git doesn't track {NAME} here: it is your own, and used without more."
    if before is Standing.TRUSTED:
        return f"{NAME} is trusted already:\n{summary(found.says)}"
    return (
        f"{NAME} is used from now on:\n{summary(found.says)}\n"
        "Sessions that waited are logged with the next `keito-mcp sync`. Should the file ever name another account or "
        "project, you are asked again; `keito-mcp trust --remove` takes it back."
    )


def _json(found: Found) -> str:
    said = found.says.model_dump(mode="json", include={"workspace_id", "project_id", "task_id", "agent_tracking"})
    said |= {"metadata": found.says.metadata, "left_out": found.says.refused_metadata}
    # Nothing of it reaches a terminal but ASCII.
    return json.dumps({"repository": str(found.root), "standing": found.standing, **said}, indent=1)
