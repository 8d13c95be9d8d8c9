"""The tokens of those who may call: kept as hashes, from the environment or a file that is read again on demand."""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Self

from keito_mcp.config import SettingsError, variable

_SETTING = variable("mcp_tokens")
_HASHED = re.compile(r"([^\s:,]{1,64}):([0-9a-fA-F]{64})")
_PATH = re.compile(r"~?[/\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\]")
_SHORTEST = 16
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
            file = Path(setting.strip()).expanduser()
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
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{_SETTING} names the file {file}, which can't be read ({error})") from error
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _HASHED.fullmatch(line.strip())
        if match is None:
            raise SettingsError(f"line {number} of {file} ({_SETTING}) isn't `name:` and 64 hexadecimal digits")
        entries.append((match[2].lower(), match[1]))
    return _checked(entries, str(file))


def _entry(text: str) -> tuple[str, str]:
    """The hash and the name of a token from the environment; one without a name is known by a piece of its hash."""
    token = text.strip()
    if match := _HASHED.fullmatch(token):
        return match[2].lower(), match[1]
    if not _PLAIN.fullmatch(token) or Path(token).exists():
        raise SettingsError(
            f"{_SETTING} holds a token that is no token: it needs {_SHORTEST} or more letters, digits and other ASCII "
            r"characters, without spaces and $ { } : / \, so that nobody guesses it and it is no path that was mistyped"
        )
    hashed = sha256(token.encode()).hexdigest()
    return hashed, hashed[:8]


def _checked(entries: Iterable[tuple[str, str]], place: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for hashed, name in entries:
        if names.setdefault(hashed, name) != name:
            raise SettingsError(f"{place} gives the same token to {names[hashed]} and {name}")
    if not names:
        raise SettingsError(f"{place} names no token, so nobody could connect")
    return names
