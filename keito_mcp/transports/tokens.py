"""The tokens of those who may call: kept as hashes, from the environment or a file that is read again on demand."""

import os
import re
import stat
from collections.abc import Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Self

from keito_mcp.server.shown import shown
from keito_mcp.settings.config import SettingsError, variable

_SETTING = variable("mcp_tokens")
_HASHED = re.compile(r"([^\s:,]{1,64}):([0-9a-fA-F]{64})")
_PATH = re.compile(r"~?[/\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\]")
_SHORTEST = 16
_LARGEST = 1024 * 1024
_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_PLAIN = re.compile(rf"[^$(){{}}:/\\\x00-\x20\x7f-\U0010ffff]{{{_SHORTEST},}}")
"""No blank, and nothing that stands in a path, in a variable that nobody expanded, or in a hash with its name."""


class Tokens:
    """Who is known by which token. A name may have several, so that one can be replaced without a gap."""

    def __init__(self, names: Mapping[str, str], file: Path | None = None) -> None:
        """Tokens by the hexadecimal SHA-256 of each, and the file that they were read from."""
        self._names = dict(names)
        self.file = file

    @classmethod
    def read(cls, setting: str) -> Self:
        """The tokens that `KEITO_MCP_TOKENS` names, separated by commas, or those of the file whose path it is.

        Raises:
            SettingsError: There is none, or one can't be used; no token is repeated in the text.
        """
        if _PATH.match(setting.strip()):
            file = Path(os.path.expanduser(setting.strip()))  # noqa: PTH111 -- it fails for no home
            return cls(_of_file(file), file)
        return cls(_checked((_entry(text) for text in setting.split(",") if text.strip()), _SETTING))

    def read_again(self) -> None:
        """Read the file again; raises `SettingsError` and keeps the tokens that were known where it can't be used."""
        if self.file is not None:
            self._names = _of_file(self.file)

    @property
    def names(self) -> frozenset[str]:
        """Everybody who has a token."""
        return frozenset(self._names.values())

    def name_of(self, token: str) -> str | None:
        """Whose token it is; None where it is nobody's. It takes as long for a wrong one as for a right one."""
        given = sha256(token.encode()).hexdigest()
        found = None
        for known, name in self._names.items():
            if compare_digest(known, given):
                found = name
        return found


def _of_file(file: Path) -> dict[str, str]:
    entries = []
    for number, line in enumerate(_trusted(file).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _HASHED.fullmatch(line.strip())
        if match is None or not _is_name(match[1]):
            raise SettingsError(f"line {number} of {file} ({_SETTING}) isn't `name:` and 64 hexadecimal digits")
        entries.append((match[2].lower(), match[1]))
    return _checked(entries, str(file))


def _trusted(file: Path) -> str:
    """Return the text of the file, where nobody but its owner decides who may connect.

    Others may read it: it holds hashes. Links are followed, for an orchestrator's secrets are links; whoever could
    change one could write to the folder that it is in, and each such folder is looked at.

    Raises:
        SettingsError: It can't be read, isn't a small text file, or others can write to it or put another in its place.
    """
    place = f"{_SETTING} names {file}"
    try:
        # Opening a pipe without this waits for whoever writes to it.
        with open(os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as opened:  # noqa: PTH123 -- by number
            about = os.fstat(opened.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise SettingsError(f"{place}, which is no file")
            seen = [(at, look(at)) for at in sorted(_way(file)) for look in (os.lstat, os.stat)]
            _refuse_if_others_write(place, [(file, about), *seen])
            content = opened.read(_LARGEST + 1)
    except (OSError, ValueError, RuntimeError) as error:
        raise SettingsError(f"{place}, which can't be read ({getattr(error, 'strerror', None) or error})") from error
    if len(content) > _LARGEST:
        raise SettingsError(f"{place}, which is larger than {_LARGEST // 1024} KiB")
    try:
        # Windows' editors put a mark before the first line.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise SettingsError(f"{place}, which isn't UTF-8 text; save it as UTF-8")
    return text


def _way(file: Path) -> set[Path]:
    """Return each folder and link on the way to a file, and the file: also those on the way of a link's own target."""
    way: set[Path] = set()
    names = [file.absolute()]
    while names:
        name = names.pop()
        for at in {name, *name.parents} - way:
            way.add(at)
            if at.is_symlink():
                names.append(at.parent / at.readlink())
    return way


def _refuse_if_others_write(place: str, found: Iterable[tuple[Path, os.stat_result]]) -> None:
    if os.name != "posix":
        return
    for path, about in found:
        if about.st_uid not in {0, os.geteuid()}:
            raise SettingsError(
                f"{place}, but {path} belongs to another user (uid {about.st_uid}), who could decide who may connect; "
                f"it must be yours or root's: chown {os.geteuid()} '{path}'"
            )
        # In a folder with the sticky bit, such as /tmp, nobody replaces what is another's. A link has no mode.
        is_guarded = (stat.S_ISDIR(about.st_mode) and about.st_mode & stat.S_ISVTX) or stat.S_ISLNK(about.st_mode)
        if about.st_mode & _BY_OTHERS and not is_guarded:
            raise SettingsError(
                f"{place}, but other users can write to {path}, and so decide who may connect; run: chmod go-w '{path}'"
            )


def _entry(text: str) -> tuple[str, str]:
    """The hash and the name of a token from the environment; one without a name is known by a piece of its hash."""
    token = text.strip()
    if (match := _HASHED.fullmatch(token)) and _is_name(match[1]):
        return match[2].lower(), match[1]
    if not _PLAIN.fullmatch(token) or os.path.exists(token):  # noqa: PTH110 -- it fails for long ones
        raise SettingsError(
            f"{_SETTING} holds a token that is no token: it needs {_SHORTEST} or more letters, digits and other ASCII "
            r"characters, without spaces and $ { } : / \, so that nobody guesses it and it is no path that was mistyped"
        )
    hashed = sha256(token.encode()).hexdigest()
    return hashed, hashed[:8]


def _is_name(text: str) -> bool:
    """Return whether all of a text is seen: else two names could look like one."""
    return text.isprintable() and shown(text) == text


def _checked(entries: Iterable[tuple[str, str]], place: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for hashed, name in entries:
        if names.setdefault(hashed, name) != name:
            raise SettingsError(f"{place} gives the same token to {names[hashed]} and {name}")
    if not names:
        raise SettingsError(f"{place} names no token, so nobody could connect")
    return names
