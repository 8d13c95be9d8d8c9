"""A repository's `.keito/config.yml`."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from keito_mcp.sessions.rules import Rules
from keito_mcp.settings.config import Settings, SettingsError
from keito_mcp.settings.repository import Configuration, ConfigurationError
from keito_mcp.settings.trust import Found, Standing
from tests.kit import Desk, Keito, MakeDesk

SKILLS_OWN = """\
version: 1
workspace_id: co_example
client_id: cli_example
client_name: "Example Client"
project_id: prj_example
project_name: "Example Project"
task_id: tsk_development
task_name: "Development"
agent_tracking:
  enabled: true
  source: agent
  draft: true
  min_duration_seconds: 60
  max_duration_seconds: 28800
  redact_notes: false
metadata:
  integration: keito_skill
  cost_centre: engineering
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / ".keito").mkdir(parents=True)
    return folder


def write(root: Path, text: str | bytes) -> None:
    file = root / ".keito" / "config.yml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_the_file_of_keitos_agent_skill_is_understood(root: Path) -> None:
    write(root, SKILLS_OWN)
    read = Configuration.read(root)
    assert (read.workspace_id, read.project_id, read.task_id) == ("co_example", "prj_example", "tsk_development")
    assert read.agent_tracking.draft
    assert dict(read.metadata) == {"integration": "keito_skill", "cost_centre": "engineering"}


@pytest.mark.parametrize("text", ["", "version: 1\n", "# nothing\n", "a_key_of_somebody_else: {x: [1]}\n"])
def test_what_a_file_leaves_open_is_as_usual(root: Path, text: str) -> None:
    write(root, text)
    assert Configuration.read(root) == Configuration()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version: 2", "version"),
        ("project_id: ''", "project_id"),
        ("project_id: [1]", "project_id"),
        ("project_id: 0123", "project_id: a number is no id; put it in quotes"),
        ("agent_tracking: {min_duration_seconds: soon}", "agent_tracking.min_duration_seconds"),
        ("agent_tracking: {max_duration_seconds: 0}", "agent_tracking.max_duration_seconds"),
        ("agent_tracking: {on_failure: maybe}", "agent_tracking.on_failure"),
        ("metadata: {a: [1]}", "metadata.a"),
        ("[1, 2]", "name: value"),
        ("a: b: c", "no YAML (line 1)"),
        ("\x00", "no YAML"),
        (b"\xff\xfe\xff", "no YAML"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("x: " + "y" * 70_000, "64 KiB"),
        ("!!python/object/apply:os.system [ls]", "no YAML"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_is_one_sentence_that_names_the_file_and_the_field(
    root: Path, text: str | bytes, words: str
) -> None:
    write(root, text)
    with pytest.raises(ConfigurationError) as raised:
        Configuration.read(root)
    said = str(raised.value)
    assert said.startswith(".keito/config.yml: ")
    assert words in said
    assert "\n" not in said
    assert str(root) not in said


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([*Configuration.model_fields, "min_duration_seconds", "on_failure"]) | st.text(max_size=5)


@settings(deadline=None)
@given(content=st.dictionaries(names, values, max_size=6) | values, raw=st.none() | st.binary(max_size=200))
def test_whatever_a_file_holds_it_is_understood_or_refused_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: Any, raw: bytes | None
) -> None:
    root = tmp_path_factory.getbasetemp() / "fuzz"
    (root / ".keito").mkdir(parents=True, exist_ok=True)
    write(root, raw if raw is not None else yaml.safe_dump(content))
    try:
        Configuration.read(root)
    except ConfigurationError as error:
        assert "\n" not in str(error)  # noqa: PT017 -- most are understood


# --- in the settings ---


def test_the_environment_wins_over_the_file_and_the_file_over_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root, SKILLS_OWN)
    settings = Settings.load(root)
    assert (settings.account_id, settings.project_id, settings.task_id) == (
        "co_example",
        "prj_example",
        "tsk_development",
    )
    assert settings.source("project_id") == ".keito/config.yml"
    assert settings.source("timezone") == "default"

    monkeypatch.setenv("KEITO_ACCOUNT_ID", "co_mine")
    monkeypatch.setenv("KEITO_TASK_ID", "tsk_mine")
    settings = Settings.load(root)
    assert (settings.account_id, settings.task_id) == ("co_mine", "tsk_mine")
    assert settings.source("account_id") == "environment"
    assert Settings.load().project_id is None


def test_the_files_task_is_of_the_files_project(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, SKILLS_OWN)
    monkeypatch.setenv("KEITO_PROJECT_ID", "prj_another")
    settings = Settings.load(root)
    assert (settings.project_id, settings.task_id) == ("prj_another", None)
    assert settings.source("project_id") == "environment"


def test_a_file_that_cant_be_used_is_a_setting_that_cant_be_used(root: Path) -> None:
    write(root, "version: 7")
    with pytest.raises(SettingsError, match=r"\.keito/config\.yml: version"):
        Settings.load(root)


def test_the_rules_for_sessions_are_the_files(root: Path) -> None:
    write(
        root,
        SKILLS_OWN + "  extra: 1\n",
    )
    rules = Rules.of(Settings.load(root))
    assert (rules.project_id, rules.is_draft, rules.keeps_failed, rules.keeps_interrupted) == (
        "prj_example",
        True,
        False,
        True,
    )
    write(root, "agent_tracking: {enabled: false, on_failure: keep, on_interrupted: discard, redact_notes: true}")
    rules = Rules.of(Settings.load(root))
    assert (rules.is_enabled, rules.keeps_failed, rules.keeps_interrupted, rules.redact_notes) == (
        False,
        True,
        False,
        True,
    )


@pytest.mark.anyio
async def test_the_files_metadata_go_into_each_entry_and_the_callers_own_win(
    make_desk: MakeDesk, keito: Keito, root: Path
) -> None:
    write(root, SKILLS_OWN)
    desk: Desk = make_desk()
    found = Found(standing=Standing.OWN, says=Configuration.read(root))
    desk.runtime.__dict__["settings"] = desk.runtime.settings.completed_by(found)
    async with desk.client() as agent:
        await agent.call("log_time", hours=1, metadata={"cost_centre": "sales"})
        await agent.call("start_timer")
    logged, started = (entry["metadata"] for entry in keito.entries())
    assert (logged["integration"], logged["cost_centre"]) == ("keito_skill", "sales")
    assert (started["integration"], started["cost_centre"]) == ("keito_skill", "engineering")
