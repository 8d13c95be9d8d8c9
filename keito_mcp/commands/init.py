"""`keito-mcp init`: write this repository's `.keito/config.yml`, and say what will be logged."""

import errno
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from keito_mcp.account import NO_ACCOUNT
from keito_mcp.commands.terminal import agrees, answer, say, say_aside
from keito_mcp.commands.trust import summary
from keito_mcp.identity import git
from keito_mcp.settings import checkout, trust
from keito_mcp.settings.config import Settings, SettingsError
from keito_mcp.settings.repository import NAME, Configuration, ConfigurationError, content

_IGNORED = "/.keito/"
_QUESTIONS = {
    "project_id": "Keito project id: ",
    "project_name": "Its name, for people (may be empty): ",
    "task_id": "Task id of that project (may be empty): ",
}
_ACCOUNT = "workspace_id"
_QUESTION_OF_ACCOUNT = {
    _ACCOUNT: "Account id, beside the key in Keito under Settings → API & Developers (may be empty): "
}
_SKILL_FIRST = (
    "version",
    "workspace_id",
    "client_id",
    "client_name",
    "project_id",
    "project_name",
    "task_id",
    "task_name",
)
"""The order in which Keito's agent skill writes them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line gives.

    Attributes:
        fields: By the file's own names; None is what isn't given.
        redact_notes: Whether the notes say nothing of what the agent said.
        yes: Whether a file that is there is changed without asking.
    """

    fields: Mapping[str, str | None]
    redact_notes: bool
    yes: bool


def init(asked: Asked, state: Path, *, as_json: bool) -> bool:
    """Write the file at the root of the repository of this folder, or in this folder where there is none.

    Whoever writes it trusts it, should git track it.

    Returns:
        Whether it was written.

    Raises:
        ConfigurationError: A file that is there can't be read, what was given can't stand in one, or git can't be told
            to leave the file out.
        TrustError: That it is trusted can't be kept in the state folder.
    """
    root = Path(checkout.root(str(Path.cwd())))
    file = root / checkout.CONFIG
    earlier = content(root) if os.path.lexists(file) else {}
    given = {name: value for name, value in asked.fields.items() if value}
    if "project_id" not in given and "project_id" not in earlier:
        if not sys.stdin.isatty():
            say_aside("Which project? Nobody can be asked here: give --project-id.")
            return False
        given |= _ask(asked.fields, {**_QUESTIONS, **(_QUESTION_OF_ACCOUNT if _lacks_account(root) else {})})
    written = _merged(earlier, given, asked)
    configuration = Configuration.of_content(written)
    if configuration.project_id is None:
        say_aside("Without a project nothing can be logged: give --project-id.")
        return False
    if earlier and not asked.yes and not _may_change(root, state, configuration, is_same=earlier == written):
        return False
    if os.environ.get("KEITO_PROJECT_ID", "").strip() not in {"", configuration.project_id}:
        say_aside("KEITO_PROJECT_ID is set here, and goes before the file's project.")
    trust.give(state, trust.Yes.to(root, configuration))
    _write(file, written)
    _ignore(root)
    if configuration.workspace_id is None and _lacks_account(root):
        say_aside(f"{NO_ACCOUNT}.")
    say(json.dumps(written, indent=1, ensure_ascii=False) if as_json else _described(root, configuration))
    return True


def _lacks_account(root: Path) -> bool:
    try:
        return Settings.load(root).lacks_account
    except SettingsError:
        # Which setting is wrong is said by `doctor` and by each call.
        return False


def _ask(given: Mapping[str, str | None], questions: Mapping[str, str]) -> dict[str, str]:
    answers = {name: given.get(name) or answer(question) for name, question in questions.items()}
    return {name: answer for name, answer in answers.items() if answer}


def _may_change(root: Path, state: Path, configuration: Configuration, *, is_same: bool) -> bool:
    """Ask whether a file that is there may be changed, and whether what came with the clone may be used."""
    if trust.find(root, state).standing is trust.Standing.UNTRUSTED:
        return agrees(f"{NAME} came with the clone.\n{summary(configuration)}\nWrite and use it?")
    return is_same or agrees(f"{NAME} is there already. Change it? Comments in it are lost.")


def _merged(earlier: Mapping[str, Any], given: Mapping[str, str], asked: Asked) -> dict[str, Any]:
    """What the file is to hold: what it held, what is given now, and how sessions are logged."""
    tracking = earlier.get("agent_tracking")
    kept = dict(tracking) if isinstance(tracking, dict) else {}
    usual = {"enabled": True, "source": "agent", "min_duration_seconds": 60, "max_duration_seconds": 28_800}
    kept = {**usual, "redact_notes": False, **kept, **({"redact_notes": True} if asked.redact_notes else {})}
    merged: dict[str, Any] = {"version": 1, **earlier, **given, "agent_tracking": kept}
    if given.get("project_id", merged.get("project_id")) != earlier.get("project_id") and earlier:
        # Names and a task of another project aren't this one's.
        for name in ("project_name", "task_id", "task_name"):
            if name not in given:
                merged.pop(name, None)
    order = [name for name in _SKILL_FIRST if name in merged]
    return {name: merged[name] for name in (*order, *(name for name in merged if name not in order))}


def _write(file: Path, written: Mapping[str, Any]) -> None:
    try:
        _replace(file, yaml.safe_dump(dict(written), sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise ConfigurationError(f"{NAME}: it can't be written ({error.strerror})") from error


def _ignore(root: Path) -> None:
    """Keep the file out of commits, without a change that is one itself; raises `ConfigurationError`."""
    if not os.path.lexists(root / ".git"):
        return
    common = git.run(root, "rev-parse", "--git-common-dir")
    if common is None:
        raise ConfigurationError(f"{NAME} is written, but git may see it: git doesn't tell where its own folder is")
    exclude = root / common / "info" / "exclude"
    try:
        read = checkout.read(str(root / common), "info/exclude") if os.path.lexists(exclude) else b""
        lines = read.decode().splitlines()
        if _IGNORED not in lines:
            _replace(exclude, "\n".join([*lines, _IGNORED, ""]))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(
            f"{NAME} is written, but git sees it: .git/info/exclude can't be changed ({reason})"
        ) from error


def _replace(file: Path, text: str) -> None:
    """Write a small file of a repository, which may be anybody's, through no link; raises OSError."""
    file.parent.mkdir(exist_ok=True)
    if file.parent.is_symlink():
        raise OSError(errno.ELOOP, f"{file.parent.name} is a link")
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.new")
    with unfinished.open("x", encoding="utf-8") as opened:
        opened.write(text)
    unfinished.replace(file)


def _seen_by_git(root: Path) -> str:
    if not os.path.lexists(root / ".git"):
        return "this is no git repository"
    return "git doesn't see it (.git/info/exclude)" if trust.is_own(str(root)) else "git tracks it, and sees the change"


def _described(root: Path, configuration: Configuration) -> str:
    """What will be logged, for people."""
    tracking = configuration.agent_tracking
    project = configuration.project_name or configuration.project_id
    task = configuration.task_name or configuration.task_id
    kept = {"discard": "are not logged", "keep": "are logged", "log": "are logged"}
    notes = "say nothing of what the agent said" if tracking.redact_notes else "end with what the agent said last"
    shortest, longest = (
        timedelta(seconds=seconds) for seconds in (tracking.min_duration_seconds, tracking.max_duration_seconds)
    )
    lines = [
        f"Wrote {NAME} of {root.name}; {_seen_by_git(root)}.",
        f"Agents' time goes to {project}{f', {task}' if task else ''}.",
    ]
    if tracking.enabled:
        lines += [
            "Where a host's hooks call `keito-mcp hook`, each session is one entry a day: its turns, without pauses.",
            f"Less than {shortest} is not logged, more than {longest} is capped; the notes {notes}.",
            f"Sessions that failed {kept[tracking.on_failure]}, interrupted ones {kept[tracking.on_interrupted]}.",
            "`keito-mcp pause` and `keito-mcp resume` stop and restart the counting.",
        ]
    else:
        lines.append("Sessions are not logged by themselves (agent_tracking.enabled is false).")
    return "\n".join(lines)
