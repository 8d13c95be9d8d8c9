r"""Text that others wrote, as it may be shown to a model or on a terminal.

Notes, names, ids and errors come from Keito, from agents and from files. In them a character that nobody sees can move
the cursor, turn the reading direction round, or carry orders to a model. Such characters are shown as escapes, as JSON
writes them (`\u202e`), so that what is shown of JSON text is still the same JSON. What is sent to Keito and kept in the
journal stays as it was written: this is for the edges, where text leaves the program for its readers.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from logging import _SysExcInfoType

_EMOJI = "\u00a9\u00ae\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_JOINING = "\u0620-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u18aa"
"""Letters of Arabic, Syriac, Indic and the like, whose shape a joiner or non-joiner after them changes."""
_IDEOGRAPH = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_REGIONS = [
    "\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067",
    "\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074",
    "\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073",
]
"""Those whose flags are written with tags: England, Scotland, Wales."""

_KEPT = (
    f"(?<=[{_EMOJI}\ufe0f])\u200d(?=[{_EMOJI}])",
    f"(?<=[{_JOINING}])[\u200c\u200d](?![\u200c\u200d])",
    f"(?<=\U0001f3f4)(?:{'|'.join(_REGIONS)})\U000e007f",
    f"(?<=[{_EMOJI}0-9#*])[\ufe0e\ufe0f]",
    f"(?<=[{_IDEOGRAPH}])[\ufe00-\ufe02\U000e0100-\U000e01ef]",
    "(?<=[\u1820-\u18aa])[\u180b-\u180d\u180f]",
)
"""Invisible characters where writing needs them: in emoji, between letters that join, one variant of a character."""

_INVISIBLE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and newline
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # hyphens, joiners and fillers without width
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # without width, separators, directions
    "\ufe00-\ufe0f\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # variants, tags
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"  # halves of characters, and what is no character
)
_SHOWN = f"(?P<kept>{'|'.join(_KEPT)})|[{_INVISIBLE}]"


def shown(text: str) -> str:
    """Return a text with its control and invisible characters as escapes; newlines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return re.sub(_SHOWN, _escaped, text.replace("\r\n", "\n"))


def on_one_line(text: str) -> str:
    """Return the same with newlines and tabs as escapes, too."""
    return shown(text).replace("\n", "\\n").replace("\t", "\\t")


def all_shown(data: Mapping[str, object]) -> dict[str, object]:
    """Return data as JSON has them, each text in them as `shown` shows it."""
    return {shown(name): _shown(value) for name, value in data.items()}


def _shown(value: object) -> object:
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return all_shown(value) if isinstance(value, dict) else value


def _escaped(found: re.Match[str]) -> str:
    if found["kept"]:
        return found[0]
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


class LogFormatter(logging.Formatter):
    """A log line is one line, whatever it speaks of; only a traceback takes more."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the library's name
        """Return the line."""
        return on_one_line(super().formatMessage(record))

    def formatException(self, ei: _SysExcInfoType) -> str:  # noqa: N802 -- the library's name
        """Return the traceback."""
        return shown(super().formatException(ei))
