"""The file of tokens decides who may connect: it is read only where nobody but the operator could have written it."""

import os
import signal
import socket
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from keito_mcp.settings.config import SettingsError
from keito_mcp.transports.tokens import Tokens
from tests.kit import Keito, until
from tests.processes import environment, listening, run
from tests.serving import GREETING, raw

TOKEN = "made-up-token-of-one"
LINE = f"one:{sha256(TOKEN.encode()).hexdigest()}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    file = folder / "tokens"
    file.write_text(f"{LINE}\n")
    file.chmod(0o600)
    return file


def refusal(file: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        Tokens.read(str(file))
    return str(refused.value)


@pytest.mark.parametrize("mode", [0o666, 0o660, 0o606, 0o620, 0o602, 0o777])
def test_a_file_that_others_can_write_is_refused_with_the_way_to_mend_it(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert f"other users can write to {file}, and so decide who may connect; run: chmod go-w '{file}'" in refusal(file)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o644, 0o444])
def test_a_file_that_others_can_only_read_is_used_for_it_holds_hashes(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert Tokens.read(str(file)).name_of(TOKEN) == "one"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_in_which_others_could_replace_the_file_is_refused(file: Path, mode: int) -> None:
    file.parent.chmod(mode)
    assert f"other users can write to {file.parent}" in refusal(file)
    file.parent.chmod(0o700)
    file.parent.parent.chmod(mode)
    assert f"other users can write to {file.parent.parent}" in refusal(file)


def test_a_folder_for_all_in_which_nobody_replaces_what_is_anothers_is_fine(file: Path) -> None:
    file.parent.chmod(0o1777)
    assert Tokens.read(str(file)).name_of(TOKEN) == "one"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_or_a_folder_of_another_user_is_refused(file: Path) -> None:
    os.chown(file, 12345, -1)
    assert f"{file} belongs to another user (uid 12345)" in refusal(file)
    os.chown(file, 0, -1)
    os.chown(file.parent, 12345, -1)
    assert f"{file.parent} belongs to another user (uid 12345)" in refusal(file)


def test_a_link_that_others_could_replace_is_refused_wherever_it_stands_between_the_name_and_the_file(
    file: Path,
) -> None:
    open_to_all = file.parent.parent / "open"
    open_to_all.mkdir()
    for number, target in enumerate((file, file.parent)):
        (open_to_all / f"{number}").symlink_to(target)
        (file.parent / f"first{number}").symlink_to(Path("..", "open", f"{number}"))
    names = (file.parent / "first0", file.parent / "first1" / "tokens")
    for name in names:
        assert Tokens.read(str(name)).name_of(TOKEN) == "one"
    open_to_all.chmod(0o777)
    for name in names:
        assert "other users can write to" in refusal(name)


@pytest.mark.parametrize("unseen", ["\ufe0f", "\u3164", "\u034f", "\u17b5", "\U000e0100"])
def test_a_name_of_which_something_is_not_seen_is_refused(file: Path, unseen: str) -> None:
    file.write_text(f"o{unseen}{LINE[1:]}\n")
    assert f"line 1 of {file}" in refusal(file)
    with pytest.raises(SettingsError):
        Tokens.read(f"o{unseen}{LINE[1:]}")


def test_a_link_is_followed_as_an_orchestrators_secrets_are_and_its_end_obeys_the_same_rules(file: Path) -> None:
    data = file.parent / "..data"
    data.symlink_to(file.parent)
    link = file.parent / "link"
    link.symlink_to(data / "tokens")
    assert Tokens.read(str(link)).name_of(TOKEN) == "one"
    file.chmod(0o666)
    assert "other users can write" in refusal(link)


def test_a_link_into_a_folder_that_others_can_write_is_refused(file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "tokens").write_text(LINE)
    elsewhere.chmod(0o777)
    link = file.parent / "link"
    link.symlink_to(elsewhere / "tokens")
    assert f"other users can write to {elsewhere}" in refusal(link)


def let_others_write(file: Path) -> None:
    file.chmod(0o666)


def pipe(file: Path) -> None:
    os.mkfifo(file, 0o600)


def folder(file: Path) -> None:
    file.mkdir(mode=0o700)


def unix_socket(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        # Its name may not be long, so it is bound from where it is to be.
        here = Path.cwd()
        os.chdir(file.parent)
        try:
            listener.bind(file.name)
        finally:
            os.chdir(here)


def device(file: Path) -> None:
    file.symlink_to("/dev/zero")


def loop(file: Path) -> None:
    file.symlink_to(file)


def huge(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(5 * 1024**3)
    file.chmod(0o600)


STRANGE = [pipe, folder, unix_socket, device, loop, huge]


@pytest.mark.parametrize("make", STRANGE)
def test_what_is_no_small_file_is_refused_at_once(file: Path, make: Callable[[Path], None]) -> None:
    file.unlink()
    make(file)
    said = refusal(file)
    assert any(why in said for why in ("is no file", "can't be read", "is larger than 1024 KiB", "isn't UTF-8"))


ENCODED = {
    "with the mark that Windows puts first": (f"{LINE}\n".encode("utf-8-sig"), True),
    "with Windows' line ends": (f"# all\r\n{LINE}\r\n\r\n".encode(), True),
    "without an end of line": (LINE.encode(), True),
    "UTF-16 with its mark": (f"{LINE}\n".encode("utf-16"), False),
    "UTF-16 without one": (f"{LINE}\n".encode("utf-16-le"), False),
    "Latin 1": (f"# für alle\n{LINE}\n".encode("latin-1"), False),
    "zeros": (b"\0" * 100, False),
}


@pytest.mark.parametrize(("content", "is_read"), ENCODED.values(), ids=ENCODED.keys())
def test_a_file_is_read_as_editors_write_it_or_it_is_said_what_is_wrong(
    file: Path, content: bytes, *, is_read: bool
) -> None:
    file.write_bytes(content)
    if is_read:
        assert Tokens.read(str(file)).names == {"one"}
    else:
        assert "isn't UTF-8 text; save it as UTF-8" in refusal(file)


@pytest.mark.parametrize("name", ["\ufeffone", "o\u200bne", "\u202eeno", "o\x1bne", "\u2060", "on\u00ade"])
def test_a_name_that_looks_like_another_ones_is_refused(file: Path, name: str) -> None:
    file.write_text(f"# names\n{name}:{LINE.split(':')[1]}\n", "utf-8")
    assert "line 2 of" in refusal(file)
    with pytest.raises(SettingsError):
        Tokens.read(f"{name}:{LINE.split(':')[1]}")


def test_a_very_long_token_is_no_path() -> None:
    assert Tokens.read("x" * 5000).name_of("x" * 5000)


def test_a_file_that_others_can_write_by_now_changes_nothing(file: Path) -> None:
    tokens = Tokens.read(str(file))
    file.write_text(f"mallory:{'0' * 64}\n")
    file.chmod(0o666)
    with pytest.raises(SettingsError, match="other users can write"):
        tokens.read_again()
    assert tokens.names == {"one"}


@pytest.mark.anyio
async def test_a_server_told_to_read_again_keeps_its_tokens_where_the_file_is_not_to_be_trusted(
    file: Path, keito: Keito, tmp_path: Path
) -> None:
    env = environment(keito, KEITO_MCP_TOKENS=str(file))
    async with listening("serve", "--port", "0", env=env, tmp_path=tmp_path) as server, raw(server.url) as client:
        assert (await client.get("/readyz")).status_code == 200
        let_others_write(file)
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "chmod go-w" in server.errors)
        assert "The tokens stay what they were" in server.errors
        answer = await client.post("/mcp", headers={"Authorization": f"Bearer {TOKEN}"}, json=GREETING)
        assert answer.status_code == 200


@pytest.mark.anyio
async def test_a_server_does_not_start_with_a_file_that_others_can_write(file: Path, keito: Keito) -> None:
    let_others_write(file)
    done = await run("serve", "--port", "0", env=environment(keito, KEITO_MCP_TOKENS=str(file)))
    assert done.returncode == 1
    assert "chmod go-w" in done.stderr
