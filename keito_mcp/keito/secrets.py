"""Texts without the key: Keito, a proxy or a library may repeat what was sent to them."""

import html
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote

HIDDEN = "[removed]"
_SHORTEST = 8
"""Characters of a key; what is shorter is no secret, and would be found in ordinary words."""
_PIECE = 8
"""Characters of a key's secret part by which a part of it is known."""
_SHORTEST_IN_PIECES = 16
_PUBLIC_PREFIX = re.compile(r"kto_|keito_sk_")
_LOOKS_SECRET = re.compile(
    r"""
      (?<![A-Za-z0-9])(?:kto|keito_sk)_[\w-]{4,}
    | \beyJ[\w-]{8,}(?:\.[\w-]*){0,2}
    | (\b(?:bearer|basic)\s+)(?=[^\s"'<>\[\]]*[\d_])[^\s"'<>\[\]]{8,}
    | (?<=://)[^\s/?\#]+(?=@)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_UNICODE_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})")


class Redactor:
    """Takes a key out of what others say."""

    def __init__(self, key: str) -> None:
        """Nothing is prepared before the first text.

        Args:
            key: The key that is sent with each request.
        """
        self._key = key

    def text(self, text: str) -> str:
        """Return a text without the key, parts of it, and whatever else looks like a credential."""
        decoders: tuple[Callable[[str], str], ...] = (str, unquote, html.unescape, _without_escapes)
        for decode in decoders:
            decoded = decode(text)
            hidden = self._hidden(decoded)
            if hidden != decoded:
                text = hidden
        return text

    def content(self, content: Any) -> Any:  # noqa: ANN401 -- JSON
        """Return JSON without the key. Nothing else is changed: it holds the words of agents and people."""
        if isinstance(content, str):
            return self._whole_key.sub(HIDDEN, content)
        if isinstance(content, list):
            return [self.content(one) for one in content]
        if isinstance(content, dict):
            return {self.content(name): self.content(value) for name, value in content.items()}
        return content

    def may_stand_in(self, raw: bytes) -> bool:
        """Return whether the key can stand in the bytes of an answer: it is cheaper to ask than to parse twice."""
        # JSON writes no character of a key as an escape, unless somebody wants to hide it.
        return b"\\u00" in raw or any(form.encode() in raw for form in self._forms)

    def _hidden(self, text: str) -> str:
        return self._without_pieces(_LOOKS_SECRET.sub(rf"\g<1>{HIDDEN}", self._whole_key.sub(HIDDEN, text)))

    def _without_pieces(self, text: str) -> str:
        kept, at = [], 0
        while at < len(text):
            end = at
            while text[end : end + _PIECE] in self._pieces:
                end += 1
            if end == at:
                kept.append(text[at])
                at += 1
            else:
                kept.append(HIDDEN)
                at = end + _PIECE - 1
        return "".join(kept)

    @cached_property
    def _forms(self) -> tuple[str, ...]:
        return tuple(_forms(self._key)) if len(self._key) >= _SHORTEST else ()

    @cached_property
    def _whole_key(self) -> re.Pattern[str]:
        # Without any form, what is found nowhere.
        return re.compile("|".join(map(re.escape, self._forms)) or r"(?!)", re.IGNORECASE)

    @cached_property
    def _pieces(self) -> frozenset[str]:
        secret = _PUBLIC_PREFIX.sub("", self._key, count=1)
        if len(secret) < _SHORTEST_IN_PIECES:
            return frozenset()
        return frozenset(secret[at : at + _PIECE] for at in range(len(secret) - _PIECE + 1))


def _forms(key: str) -> Iterator[str]:
    """Yield a key as it is, percent-encoded, in JSON, in hexadecimal, and in base64 wherever it begins there."""
    yield key
    yield quote(key, safe="")
    yield json.dumps(key)[1:-1]
    yield key.encode().hex()
    for before in range(3):
        encoded = b64encode(b"\0" * before + key.encode()).decode().rstrip("=")
        # The first and the last character hold bits of what stands beside the key.
        whole = encoded[(before * 8 + 5) // 6 : (before + len(key.encode())) * 8 // 6]
        yield whole
        yield whole.replace("+", "-").replace("/", "_")


def _without_escapes(text: str) -> str:
    return _UNICODE_ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
