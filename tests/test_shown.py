"""What others wrote is shown with its control and invisible characters as escapes, wherever it leaves the program."""

import io
import json
import logging
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from keito_mcp.commands import terminal
from keito_mcp.server.shown import LogFormatter, all_shown, on_one_line, shown
from tests.kit import Desk, Keito
from tests.processes import environment, run

ESCAPED = {
    "ESC": ("\x1b[31mred", r"\u001b[31mred"),
    "backspace": ("a\x08", r"a\u0008"),
    "carriage return": ("real\rfake", r"real\u000dfake"),
    "DEL": ("\x7f", r"\u007f"),
    "C1 introducer": ("\x9b31m", r"\u009b31m"),
    "C1 next line": ("\x85", r"\u0085"),
    "bidi override": ("\u202egnp.exe", r"\u202egnp.exe"),
    "bidi isolate": ("\u2066a\u2069", r"\u2066a\u2069"),
    "marks of direction": ("\u200e\u200f\u061c", r"\u200e\u200f\u061c"),
    "zero width": ("in\u200bvoice\u2060", r"in\u200bvoice\u2060"),
    "byte order mark": ("\ufeffone", r"\ufeffone"),
    "soft hyphen": ("in\u00advoice", r"in\u00advoice"),
    "separators": ("a\u2028b\u2029", r"a\u2028b\u2029"),
    "tags": ("\U000e0041\U000e007f", r"\udb40\udc41\udb40\udc7f"),
    "tags after a flag": ("\U0001f3f4\U000e0041", "\U0001f3f4" + r"\udb40\udc41"),
    "variants that carry bytes": ("\U0001f600\ufe0f\ufe01\U000e0100", "\U0001f600\ufe0f" + r"\ufe01\udb40\udd00"),
    "a variant of a letter": ("a\ufe0f", r"a\ufe0f"),
    "half a character": ("a\ud83d", r"a\ud83d"),
    "no character": ("\uffff\ufdd0", r"\uffff\ufdd0"),
    "fillers": ("\u3164\u115f\uffa0", r"\u3164\u115f\uffa0"),
    "joiner between Latin letters": ("a\u200db\u200cc", r"a\u200db\u200cc"),
    "joiners in a row": ("\u0645\u200c\u200c\u062e", "\u0645" + r"\u200c\u200c" + "\u062e"),
    "joiner after an emoji alone": ("\U0001f469\u200d!", "\U0001f469" + r"\u200d!"),
}
KEPT = {
    "ASCII": "Fix it: 100 % [x] {y} \\u202e",
    "newlines and tabs": "one\n\ttwo\n",
    "accents": "Zürich, cafe\u0301, Nguyễn",
    "a coder": "\U0001f469\u200d\U0001f4bb",
    "a couple": "\U0001f469\U0001f3fd\u200d\u2764\ufe0f\u200d\U0001f48b\u200d\U0001f468",
    "a keycap": "1\ufe0f\u20e3",
    "a flag of letters": "\U0001f1e9\U0001f1ea",
    "the flag of Scotland": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "Persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Hindi": "\u0915\u094d\u200d\u0937",
    "Malayalam": "\u0d28\u0d4d\u200d",
    "Hebrew": "\u05e9\u05dc\u05d5\u05dd",
    "a variant of an ideograph": "\u845b\U000e0100",
    "no-break space": "10\u00a0h",
}


@pytest.mark.parametrize(("text", "expected"), ESCAPED.values(), ids=ESCAPED.keys())
def test_what_nobody_sees_is_shown_as_json_escapes(text: str, expected: str) -> None:
    assert shown(text) == expected
    assert json.loads(f'"{shown(text)}"') == text


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT.keys())
def test_what_writing_needs_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == text


def test_no_control_or_format_character_of_unicode_is_left_but_those_that_are_seen() -> None:
    seen = {*"\n\t\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"}
    seen |= {chr(code) for code in range(0x13430, 0x13440)}
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and character not in seen:
            assert shown(f"a{character}b") != f"a{character}b", hex(code)


def test_line_ends_of_windows_are_line_ends_and_one_line_has_none() -> None:
    assert shown("a\r\nb") == "a\nb"
    assert on_one_line("a\r\nb\tc") == r"a\nb\tc"


def test_data_are_shown_all_the_way_down() -> None:
    assert all_shown({"a\x1b": ["\u202e", {"b": "\x9b"}, 1, None, True]}) == {
        r"a\u001b": [r"\u202e", {"b": r"\u009b"}, 1, None, True]
    }


def test_a_log_line_is_one_line_and_its_traceback_is_shown() -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(LogFormatter("keito-mcp %(levelname)s %(message)s"))
    log = logging.getLogger("made up")
    log.addHandler(handler)
    error = ValueError("\x1b]0;title\x07")
    log.error("Session %s can't be recorded", "s\nkeito-mcp INFO all is well\x9b", exc_info=error)
    first, *rest = written.getvalue().splitlines()
    assert first == r"keito-mcp ERROR Session s\nkeito-mcp INFO all is well\u009b can't be recorded"
    assert rest[-1] == r"ValueError: \u001b]0;title\u0007"


def test_what_a_command_says_and_asks_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    terminal.say("a\x1b[2J\nb")
    terminal.say_aside("c\u202e")
    assert terminal.answer("d\x9b? ") == "y"
    said = capsys.readouterr()
    assert said.out == "a\\u001b[2J\nb\n"
    assert said.err == "c\\u202e\nd\\u009b? "
    assert terminal.table([["A", "B"], ["x\ny", "\x1b"]]).splitlines() == ["A     B", r"x\ny  \u001b"]


HOSTILE = "".join(text for text, _ in ESCAPED.values() if not any("\ud800" <= one <= "\udfff" for one in text))
KEPT_NOTES = "Fix \U0001f469\u200d\U0001f4bb\nand \u0645\u06cc\u200c\u062e"


def invisible(text: str) -> set[str]:
    return {one for one in text if not one.isprintable() and one not in "\n\t\u200c\u200d\ufe0f"}


@pytest.mark.anyio
async def test_notes_are_kept_in_keito_as_they_were_written_and_shown_as_escapes(desk: Desk, keito: Keito) -> None:
    async with desk.client() as agent:
        for notes in (HOSTILE, KEPT_NOTES):
            answer = await agent.call("log_time", hours=1, notes=notes)
            assert not invisible(answer.text)
            assert answer["notes"] == shown(notes)
        assert {entry["notes"] for entry in keito.entries()} == {HOSTILE, KEPT_NOTES}
        listed = await agent.call("list_entries", session_id="current")
        assert not invisible(listed.text)
        assert not invisible(json.dumps(listed.result.structured_content, ensure_ascii=False))
        timer = await agent.call("start_timer", notes=HOSTILE)
        assert timer["notes"] == shown(HOSTILE)
        resource = await agent.client.read_resource("keito://session")
        assert not invisible(resource.contents[0].text)  # type: ignore[union-attr]
        assert json.loads(resource.contents[0].text)["running_timer"]["notes"] == shown(HOSTILE)  # type: ignore[union-attr]


IDS = [
    ("stop_timer", {"entry_id": "x\x1b[31m"}),
    ("stop_timer", {"entry_id": "x\x9b"}),
    ("start_timer", {"project_id": "p\u202e"}),
    ("log_time", {"hours": 1, "task_id": "t\n"}),
    ("list_entries", {"session_id": "s\u200b"}),
    ("list_entries", {"user_id": "\ufeffu"}),
    ("discard_session", {"session_id": "s\x1b"}),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("tool", "arguments"), IDS)
async def test_an_id_with_a_character_that_nobody_sees_is_refused_before_anything_is_sent(
    desk: Desk, keito: Keito, tool: str, arguments: dict[str, Any]
) -> None:
    async with desk.client() as agent:
        said = (await agent.call(tool, **arguments)).text
    assert "must not hold control or invisible characters" in said
    assert not invisible(said)
    assert keito.requests == []


def refusing(keito: Keito) -> str:
    """The body by which Keito refuses something, in the version that is spoken."""
    said = f"no {HOSTILE}"
    if keito.wire.version == "v1":
        return json.dumps({"error": {"code": "VALIDATION_ERROR", "message": said}})
    return json.dumps({"error": "invalid_request", "error_description": said})


@pytest.mark.anyio
async def test_what_keito_says_in_an_error_is_shown(desk: Desk, keito: Keito) -> None:
    keito.fails("POST", status=422, body=refusing(keito))
    async with desk.client() as agent:
        said = (await agent.call("log_time", hours=1)).text
    assert r"\u001b[31mred" in said
    assert r"\u202egnp.exe" in said
    assert not invisible(said)


@pytest.mark.anyio
async def test_an_answer_of_keitos_with_half_a_character_is_shown(desk: Desk, keito: Keito) -> None:
    keito.fails("POST", status=201, body=json.dumps({"id": "e\x1b[31m", "notes": "half \ud83d"}))
    async with desk.client() as agent:
        answer = await agent.call("log_time", hours=1)
        assert not invisible(answer["notes"])
        assert answer["id"] == r"e\u001b[31m"
        assert "\x1b" not in answer.text


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["KEITO_AGENT_ID", "KEITO_SESSION_ID", "KEITO_PROJECT_ID", "KEITO_TASK_ID"])
async def test_a_setting_with_a_control_character_is_refused_and_not_repeated(name: str, tmp_path: Path) -> None:
    done = await run("sessions", env=environment(KEITO_API_KEY="keito_sk_made_up", **{name: "a\x1b[31m"}), cwd=tmp_path)
    assert done.returncode == 1
    assert f"{name} must be printable text" in done.stderr
    assert not invisible(done.stderr)


@pytest.mark.anyio
async def test_sync_and_sessions_show_what_keito_said_of_a_write_that_waited(
    desk: Desk, keito: Keito, tmp_path: Path
) -> None:
    async with desk.client() as agent, keito.away():
        assert (await agent.call("log_time", hours=1, notes=HOSTILE))["status"] == "queued"
    keito.fails("POST", status=422, body=refusing(keito))
    env = environment(keito, KEITO_STATE_DIR=str(desk.runtime.settings.folder))
    for arguments in (["sync"], ["sessions"], ["sync", "--json"], ["sessions", "--json"]):
        done = await run(*arguments, env=env, cwd=tmp_path)
        assert not invisible(done.stdout + done.stderr)
        if arguments in (["sync"], ["sessions"]):
            assert r"\u001b[31mred" in done.stdout
