"""Finding who made a tool call in Claude Code's transcripts."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keito_mcp.identity.claude_code.transcript import Row, Transcripts, read_row
from tests.identity.calls import SESSION, SUBAGENT, TOOL_USE, ClaudeFiles, tool_result_row, tool_use_row

MEBIBYTE = 1 << 20
MAIN = Row(session_id=SESSION, subagent_id=None, subagent=None, model="claude-sonnet-5-5")
OTHER_SESSION = "0f082daa-7b4b-43b2-a1e7-cdd915c2145f"


@pytest.fixture
def files(tmp_path: Path) -> ClaudeFiles:
    return ClaudeFiles(tmp_path)


def find(files: ClaudeFiles, *sessions: str, everywhere: bool = True, at_most: int = 4 * MEBIBYTE) -> Row | None:
    return Transcripts(files.folder / "projects").find(TOOL_USE, sessions, everywhere=everywhere, at_most=at_most)


def filler(size: int) -> str:
    """A row of about so many bytes that says nothing of a call."""
    return json.dumps({"type": "user", "message": {"content": "x" * size}}) + "\n"


def test_the_row_that_made_a_call_says_the_session_and_the_model(files: ClaudeFiles) -> None:
    files.write(tool_use_row("toolu_before", model="claude-opus-5"), tool_use_row(), tool_result_row())
    assert find(files, SESSION) == MAIN


def test_the_row_of_a_sub_agent_says_which_one_it_is_and_of_what_kind(files: ClaudeFiles) -> None:
    files.write(tool_use_row("toolu_of_the_agent_tool"))
    files.write(tool_use_row(subagent=SUBAGENT, model="claude-haiku-5-5", kind="reviewer"), subagent=SUBAGENT)
    assert find(files, SESSION) == Row(SESSION, SUBAGENT, "reviewer", "claude-haiku-5-5")


@pytest.mark.parametrize("sessions", [(), (OTHER_SESSION,), ("../..", "", "."), (SESSION,)], ids=str)
def test_it_is_found_wherever_it_is(files: ClaudeFiles, sessions: tuple[str, ...]) -> None:
    files.write(tool_use_row("toolu_another", session=OTHER_SESSION), session=OTHER_SESSION)
    files.write(tool_use_row())
    assert find(files, *sessions) == MAIN


def test_only_the_sessions_that_are_likely_are_looked_into_where_that_is_wanted(files: ClaudeFiles) -> None:
    files.write(tool_use_row("toolu_another", session=OTHER_SESSION), session=OTHER_SESSION)
    files.write(tool_use_row())
    assert find(files, OTHER_SESSION, everywhere=False) is None


@pytest.mark.parametrize(
    "row",
    [
        tool_result_row(),
        {**tool_use_row(), "type": "progress"},
        tool_use_row("toolu_another", blocks=[{"type": "text", "text": TOOL_USE}]),
        tool_use_row("toolu_another", blocks=[{"type": "tool_result", "id": TOOL_USE}]),
        {"type": "assistant", "message": {"content": TOOL_USE}},
        {"type": "assistant", "message": TOOL_USE},
        {"type": "assistant", "message": {"content": [TOOL_USE]}},
        {"type": "assistant", "message": {"content": None}, "id": TOOL_USE},
        [TOOL_USE],
        TOOL_USE,
    ],
    ids=lambda row: str(row)[:40],
)
def test_a_row_that_only_names_the_call_says_nothing(row: object, files: ClaudeFiles) -> None:
    files.write(json.dumps(row) + "\n")
    assert find(files, SESSION) is None
    files.write(tool_use_row(), json.dumps(row) + "\n")
    assert find(files, SESSION) == MAIN


@pytest.mark.parametrize(
    "row",
    [
        tool_use_row(model="<synthetic>"),
        tool_use_row(isApiErrorMessage=True),
        tool_use_row(model=""),
        tool_use_row(model="/models/local"),
        tool_use_row(model="m" * 201),
    ],
    ids=["synthetic", "api-error", "empty", "path", "long"],
)
def test_a_model_that_did_not_answer_or_cant_be_a_models_name_is_left_out(
    row: dict[str, Any], files: ClaudeFiles
) -> None:
    files.write(row)
    assert find(files, SESSION) == Row(SESSION, None, None, None)


def test_of_two_rows_of_one_call_the_later_one_counts(files: ClaudeFiles) -> None:
    files.write(tool_use_row(model="claude-opus-5"), filler(10), tool_use_row())
    assert find(files, SESSION) == MAIN


@pytest.mark.parametrize(
    "end",
    [json.dumps(tool_use_row())[:-30], '{"type": "assist', "\x00\x00\x00", "\n\n", "[" * 100_000, '"\\ud800'],
    ids=["half-the-row", "half-a-row", "zeros", "empty-lines", "deep", "half-a-character"],
)
def test_what_is_half_written_or_broken_hides_nothing_that_stands_before_it(end: str, files: ClaudeFiles) -> None:
    files.write(tool_use_row(), end)
    assert find(files, SESSION) == MAIN


def test_half_a_row_is_no_row(files: ClaudeFiles) -> None:
    files.write(json.dumps(tool_use_row())[:-1])
    assert find(files, SESSION) is None


@pytest.mark.parametrize("size", [1 << 17, (1 << 17) - 1, (1 << 17) + 1, 3 * MEBIBYTE])
@pytest.mark.parametrize("rows", [1, 2])
def test_it_is_found_over_the_edges_of_what_is_read_at_once(size: int, rows: int, files: ClaudeFiles) -> None:
    row = tool_use_row()
    files.write(filler(size // 3), row)
    files.write(*[filler(size // rows - len(json.dumps(row)) // 2) for _ in range(rows)])
    assert find(files, SESSION) == MAIN


def test_no_more_is_read_than_may_be(files: ClaudeFiles) -> None:
    row = tool_use_row()
    end = [filler(MEBIBYTE) for _ in range(3)]
    files.write(filler(MEBIBYTE), row, *end)
    needed = len(json.dumps(row)) + 1 + sum(map(len, end))
    assert find(files, SESSION, at_most=needed - 1) is None
    # Whole lines are read: the one before it must have begun, too.
    assert find(files, SESSION, at_most=needed + 1) == MAIN


def test_the_ends_of_all_transcripts_come_before_the_depth_of_any(files: ClaudeFiles) -> None:
    files.write(*[filler(MEBIBYTE) for _ in range(12)])
    hidden = files.write(tool_use_row(subagent=SUBAGENT), subagent=SUBAGENT)
    os.utime(hidden, (1, 1))
    found = find(files, SESSION)
    assert found is not None
    assert found.subagent_id == SUBAGENT


def test_a_long_session_that_is_looked_into_first_hides_no_other_one(files: ClaudeFiles) -> None:
    files.write(*[filler(MEBIBYTE) for _ in range(6)], session=OTHER_SESSION)
    for number in range(32):
        files.write(filler(MEBIBYTE // 4), subagent=f"a{number}", session=OTHER_SESSION)
    files.write(tool_use_row())
    assert find(files, OTHER_SESSION) == MAIN


@pytest.mark.parametrize("broken", ["nothing", "file", "folder", "dangling"])
def test_folders_and_files_that_cant_be_read_are_passed_over(broken: str, files: ClaudeFiles) -> None:
    projects = files.folder / "projects"
    if broken == "nothing":
        assert find(files, SESSION) is None
        return
    projects.mkdir(parents=True)
    if broken == "file":
        (projects / "a-file").write_text("x")
    elif broken == "folder":
        (projects / "p" / f"{SESSION}.jsonl").mkdir(parents=True)
    else:
        (projects / "p").mkdir()
        (projects / "p" / f"{OTHER_SESSION}.jsonl").symlink_to(files.home / "missing")
    files.write(tool_use_row())
    assert find(files, SESSION) == MAIN


@pytest.mark.parametrize(
    ("closed", "found"),
    [(".", None), ("projects", None), ("projects/-of-root", MAIN), (f"projects/-home-someone-shop/{SESSION}", MAIN)],
)
def test_folders_that_are_closed_to_this_user_are_passed_over(
    closed: str, found: Row | None, files: ClaudeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(tool_use_row())
    (files.folder / "projects" / "-of-root").mkdir()
    files.transcript(subagent=SUBAGENT).parent.mkdir(parents=True)
    inside = f"{files.folder / closed}{os.sep}"

    def refusing(real: Any) -> Any:
        def refused(path: Any, *arguments: Any, **more: Any) -> Any:
            if os.fspath(path).startswith(inside):
                raise PermissionError(13, "Permission denied")
            return real(path, *arguments, **more)

        return refused

    for name in ("stat", "scandir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    for sessions in ((OTHER_SESSION,), (SESSION,)):
        assert find(files, *sessions) == found


def test_a_session_whose_name_is_too_long_for_a_file_has_none(files: ClaudeFiles) -> None:
    files.write(tool_use_row())
    assert find(files, "\N{GRINNING FACE}" * 200) == MAIN


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=250),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ROW_KEYS = ["type", "message", "sessionId", "agentId", "isSidechain", "attributionAgent", "isApiErrorMessage"]
BLOCK = st.fixed_dictionaries({"type": st.sampled_from(["tool_use", "text"]) | json_values, "id": st.just(TOOL_USE)})
messages = (
    json_values
    | st.fixed_dictionaries({"content": json_values | st.lists(BLOCK | json_values, max_size=3)})
    | (st.builds(lambda model: {"model": model, "content": [{"type": "tool_use", "id": TOOL_USE}]}, json_values))
)
rows = st.dictionaries(st.sampled_from(ROW_KEYS), json_values, max_size=7).flatmap(
    lambda row: st.builds(lambda message: {**row, "type": "assistant", "message": message}, messages)
)


@settings(deadline=None)
@given(row=rows | json_values)
def test_whatever_a_row_holds_it_says_what_it_states_or_nothing(row: object) -> None:
    said = read_row(json.dumps(row).encode("utf-8", "surrogatepass"), TOOL_USE)
    if said is None:
        return
    assert isinstance(row, dict)
    stated = {"session_id": row.get("sessionId"), "subagent_id": row.get("agentId")}
    stated |= {"subagent": row.get("attributionAgent"), "model": row["message"].get("model")}
    for field, given_value in stated.items():
        value = getattr(said, field)
        assert value is None or (isinstance(given_value, str) and value == given_value.strip())
        assert value is None or (value.isprintable() and 0 < len(value) <= 200 and not value.startswith(("/", "~")))


@settings(deadline=None)
@given(line=st.binary(max_size=300))
def test_whatever_a_line_holds_reading_it_never_fails(line: bytes) -> None:
    read_row(line, TOOL_USE)
