"""What the Keito CLI's `keito auth login` leaves in its `config.toml`: a person's key, and what belongs to it."""

import logging
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

_LONGEST = 65_536
_FOLDER = "keito"
_NAME = "config.toml"
_ITS_NAMES = {"api_key": ("api_key",), "api_url": ("api_url",), "account_id": ("account_id", "workspace_id")}
"""Fields of `Settings`, and what they are called in the file; `workspace_id` is what older ones say."""

_log = logging.getLogger(__name__)


class LoginError(Exception):
    """The file can't be used; the text names it and what is wrong, never what it holds."""


@dataclass(frozen=True, slots=True)
class Login:
    """A person's login with the Keito CLI.

    Attributes:
        file: Where it stands.
        values: The key and what belongs to it, by their names in `Settings`.
        others_can_read: Whether the key is open to other users of this machine.
    """

    file: Path
    values: Mapping[str, str] = field(repr=False)
    others_can_read: bool = False

    @property
    def place(self) -> str:
        """The file's path as a person writes it."""
        return _as_written(self.file)

    @property
    def warning(self) -> str | None:
        """What its owner should put right, as a sentence."""
        if not self.others_can_read:
            return None
        return f"Other users of this machine can read the key in {self.place}; run: chmod 600 '{self.file}'"


def find() -> Login | None:
    """The login of whoever runs this program; None where there is no file, or no key in it.

    Raises:
        LoginError: The file can't be read, is no TOML, or holds a value of another type.
    """
    for file in _places():
        opened = _read(file)
        if opened is None:
            continue
        content, mode = opened
        values = _values(file, content)
        if "api_key" not in values:
            return None
        login = Login(file, values, others_can_read=os.name == "posix" and bool(mode & (stat.S_IRWXG | stat.S_IRWXO)))
        if login.warning:
            _warn_once(login.warning)
        return login
    return None


def _places() -> Iterator[Path]:
    """Where the CLI keeps the file, the likeliest first.

    A variable that moves the folder is one that some hosts drop, so the place without it is looked at, too.
    """
    named = os.environ.get("APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME", "").strip()
    if sys.platform != "darwin" and named and Path(named).is_absolute():
        yield Path(named, _FOLDER, _NAME)
    try:
        home = Path.home()
    except RuntimeError:
        return
    if sys.platform == "win32":
        yield home / "AppData" / "Roaming" / _FOLDER / _NAME
        return
    if sys.platform == "darwin":
        yield home / "Library" / "Application Support" / _FOLDER / _NAME
    yield home / ".config" / _FOLDER / _NAME


def _read(file: Path) -> tuple[bytes, int] | None:
    """What a file holds, and its mode; None where there is none."""
    try:
        if not file.is_file():
            return None
        with file.open("rb") as opened:
            content = opened.read(_LONGEST + 1)
            mode = os.fstat(opened.fileno()).st_mode
    except OSError as error:
        raise LoginError(f"{_as_written(file)}: it can't be read ({error.strerror})") from None
    if len(content) > _LONGEST:
        raise LoginError(f"{_as_written(file)}: it is larger than {_LONGEST // 1024} KiB")
    return content, mode


def _values(file: Path, content: bytes) -> dict[str, str]:
    read = _parsed(file, content)
    values: dict[str, str] = {}
    for name, its_names in _ITS_NAMES.items():
        for its_name in its_names:
            value = read.get(its_name, "")
            if not isinstance(value, str):
                raise LoginError(f"{_as_written(file)}: {its_name} must be text in quotes")
            if value.strip():
                values.setdefault(name, value)
    return values


def _parsed(file: Path, content: bytes) -> dict[str, Any]:
    # Most calls find no such file, or need none.
    import tomllib

    try:
        # Windows' editors put a mark before the first line.
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        # The rest of what the parser says may be a piece of the key.
        line = re.search(r"\bline \d+", str(error))
        where = f" ({line[0]})" if isinstance(error, tomllib.TOMLDecodeError) and line else ""
        raise LoginError(f"{_as_written(file)}: it is no TOML{where}") from None


def _as_written(file: Path) -> str:
    try:
        return str(Path("~") / file.relative_to(Path.home()))
    except (RuntimeError, ValueError):
        return str(file)


@cache
def _warn_once(warning: str) -> None:
    _log.warning("%s", warning)
