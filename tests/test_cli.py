import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from keito_mcp import cli
from keito_mcp.version import __version__
from tests.kit import until
from tests.processes import PROGRAM, environment, gone, listening, run, wire

pytestmark = pytest.mark.anyio

COMMANDS = ("serve", "demo", "sandbox", "doctor", "sessions", "sync", "discard", "restore")
DOCUMENT = Path(__file__).parent / "sandbox" / "keito-api-v1.md"
HEAVY = {"mcp", "mcp_types", "httpx", "httpx2", "pydantic", "sqlite3", "yaml", "anyio", "starlette", "uvicorn"}

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")


def modules_after(program: str) -> set[str]:
    """The packages that a program brings into a fresh interpreter."""
    listed = f"import json, sys\nbefore = set(sys.modules)\n{program}\nprint(json.dumps([*set(sys.modules) - before]))"
    result = subprocess.run([sys.executable, "-c", listed], check=True, capture_output=True, text=True, timeout=20)
    return {name.partition(".")[0] for name in json.loads(result.stdout.splitlines()[-1])}


async def curl(command: str) -> str:
    """What a curl command of the documentation answers; fails where the answer is an error."""
    quiet = command.replace("curl ", "curl --silent --show-error --fail --noproxy '*' ", 1)
    with anyio.fail_after(20):
        done = await anyio.run_process(["sh", "-c", quiet], check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize("program", [PROGRAM, ("keito-mcp",)], ids=["python -m keito_mcp", "keito-mcp"])
async def test_version_is_printed_on_one_line(program: tuple[str, ...]) -> None:
    if program == ("keito-mcp",):
        program = (str(Path(sys.executable).with_name("keito-mcp")),)
        if shutil.which(program[0]) is None:
            pytest.skip("the package is not installed")
    result = await run("--version", program=program)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"keito-mcp {__version__}\n", "")


def test_help_says_what_each_command_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main(["--help"])
    assert exited.value.code == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"^ +{command} +\S", shown, re.MULTILINE), command
    assert "--sandbox" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main([command, "--help"])
    assert exited.value.code == 0
    assert f"keito-mcp {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["start"], ["--key", "x"], ["serve", "--transport", "pigeon"], ["serve", "--port"], ["doctor", "all"]],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_shows_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main(arguments)
    assert exited.value.code == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("usage: keito-mcp")


@pytest.mark.parametrize("port", ["70000", "-1", "http"])
def test_a_port_that_is_none_is_wrong_usage_in_words_of_the_user(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main(["serve", f"--port={port}"])
    assert exited.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "--port" in said
    assert port in said
    assert "_port" not in said


def test_importing_the_package_imports_nothing_else() -> None:
    brought = modules_after("import keito_mcp; keito_mcp.__version__")
    assert not brought & HEAVY
    assert brought <= {"keito_mcp", "typing", *sys.stdlib_module_names}


def test_the_server_is_offered_by_the_package_lazily() -> None:
    assert "mcp" in modules_after("import keito_mcp; keito_mcp.build_server")


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_command_line_imports_nothing_heavy_before_it_knows_the_command(option: str) -> None:
    program = f"from keito_mcp.cli import main\ntry:\n    main(['{option}'])\nexcept SystemExit: pass"
    assert not modules_after(program) & HEAVY


@needs_curl
async def test_the_documented_curl_commands_work_against_the_sandbox_command(tmp_path: Path) -> None:
    document = DOCUMENT.read_text()
    commands = re.findall(
        r"^curl .*?(?=\nExample Response|\nUpdatable Fields|\nReturns HTTP)", document, re.MULTILINE | re.DOTALL
    )
    example = re.search(r'^\{\n"id".*?^\}$', document, re.MULTILINE | re.DOTALL)
    assert len(commands) == 4
    assert example is not None
    documented: dict[str, Any] = json.loads(example[0])

    async with listening(
        "sandbox", "--port", "0", env=environment(), tmp_path=tmp_path, announced_on="stdout"
    ) as sandbox:
        create, listing, update, delete = (command.replace("https://api.keito.ai", sandbox.url) for command in commands)
        created: dict[str, Any] = json.loads(await curl(create))
        assert list(created) == list(documented)
        made_up = ("id", "user_id", "created_at", "updated_at")
        assert {**created, **{name: documented[name] for name in made_up}} == documented

        page = json.loads(await curl(listing))
        assert page == {"data": [created], "next_cursor": None, "has_more": False}

        updated = json.loads(await curl(update.replace(documented["id"], created["id"])))
        assert (updated["id"], updated["hours"], updated["is_running"]) == (created["id"], 1.5, False)
        assert updated["notes"] == "Completed OAuth implementation"

        assert await curl(delete.replace(documented["id"], created["id"])) == ""
        assert json.loads(await curl(listing))["data"] == []
        assert sandbox.errors == ""


@needs_curl
async def test_the_sandbox_command_announces_a_curl_command_that_works(tmp_path: Path) -> None:
    async with listening(
        "sandbox", "--port", "0", env=environment(), tmp_path=tmp_path, announced_on="stdout"
    ) as sandbox:
        await until(lambda: "curl" in sandbox.said)
        [command] = [line for line in sandbox.said.splitlines() if line.strip().startswith("curl")]
        assert json.loads(await curl(command.strip()))["data"] == []
        sandbox.process.send_signal(signal.SIGINT)
        await gone(sandbox.process, within=5)
        assert sandbox.errors == ""


@pytest.mark.parametrize("control", [False, True])
async def test_the_sandbox_command_lets_itself_be_steered_only_when_asked_to(tmp_path: Path, *, control: bool) -> None:
    arguments = ["sandbox", "--port", "0", *(["--control"] if control else [])]
    async with (
        listening(*arguments, env=environment(), tmp_path=tmp_path, announced_on="stdout") as sandbox,
        httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as client,
    ):
        assert (await client.get("/_sandbox/entries")).status_code == (200 if control else 404)


async def test_a_port_that_the_sandbox_finds_taken_is_said_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = await run("sandbox", "--port", str(port))
    assert (result.returncode, result.stdout) == (1, "")
    [sentence] = result.stderr.splitlines()
    assert f"127.0.0.1:{port}" in sentence
    assert "--port" in sentence


async def test_a_state_folder_that_the_sandbox_cant_write_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "state"
    result = await run("sandbox", "--port", "0", env=environment(KEITO_STATE_DIR=str(folder)))
    assert (result.returncode, result.stdout) == (1, "")
    [sentence] = result.stderr.splitlines()
    assert str(folder) in sentence
    assert "KEITO_STATE_DIR" in sentence


@pytest.mark.parametrize(
    "command",
    [("sandbox", "--port=0"), ("init", "--project-id=p", "--yes"), ("trust", "--yes"), ("doctor",), ("sync",)],
    ids=lambda command: command[0],
)
async def test_a_state_folder_that_is_no_absolute_path_is_said_in_one_sentence(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    result = await run(*command, env=environment(KEITO_STATE_DIR="${HOME}/state"), cwd=tmp_path)
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert "KEITO_STATE_DIR must be an absolute path" in result.stdout + result.stderr
    assert [made async for made in anyio.Path(tmp_path).iterdir()] == []


async def test_with_sandbox_the_tools_work_without_a_key_and_entries_outlive_the_process(tmp_path: Path) -> None:
    settings = environment(KEITO_SESSION_ID="session-1")
    async with (
        wire("--sandbox", env=settings, tmp_path=tmp_path, mode="legacy") as first,
        wire("serve", "--transport", "stdio", "--sandbox", env=settings, tmp_path=tmp_path) as second,
    ):
        await first.greet()
        started = await first.done("start_timer", notes="Read the code")
        logged = await first.done("log_time", hours=1.5)
        assert await first.end() == 0

        stopped = await second.done("stop_timer")
        listed = await second.done("list_entries")
        discarded = await second.done("discard_session")
        assert await second.end() == 0
    assert first.errors + second.errors == ""
    assert (stopped["id"], stopped["status"]) == (started["id"], "stopped")
    assert [row["id"] for row in listed["entries"]] == [logged["id"], started["id"]]
    assert sorted(discarded["discarded"]) == sorted([started["id"], logged["id"]])


async def test_the_sandbox_command_shows_what_a_server_with_sandbox_wrote(tmp_path: Path) -> None:
    async with (
        listening("sandbox", "--port", "0", env=environment(), tmp_path=tmp_path, announced_on="stdout") as sandbox,
        wire("--sandbox", env=environment(), tmp_path=tmp_path) as server,
        httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as client,
    ):
        logged = await server.done("log_time", hours=1.5)
        page = (await client.get("/v1/time-entries", headers={"Authorization": "Bearer keito_sk_any"})).json()
    assert [entry["id"] for entry in page["data"]] == [logged["id"]]
