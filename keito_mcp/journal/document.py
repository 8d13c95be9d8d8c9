"""Write an entry as one JSON document, and read it back: exact decimals and ISO dates as text, enums by value.

A missing field takes its default, so that a new one needs no step of the schema. An unknown one is refused: a program
that dropped it would lose what a newer one wrote.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from keito_mcp.journal.entry import Entry, Fields
from keito_mcp.journal.file import JournalError

_TRANSIENT = frozenset({"is_fresh", "shown", "persons_change"})
"""Fields of an entry that hold within one convergence."""

_OBJECT = "metadata"
"""The field whose value is JSON already."""

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class UnreadableDocument(JournalError):
    """A row says something that this version doesn't understand."""


class _UnknownField(Exception):
    """A field that a newer version wrote."""


@dataclass(frozen=True, slots=True)
class _Codec:
    """Both ways of one type: `write` to what JSON knows, `read` back."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def stored(entry: Entry) -> Entry:
    """Return an entry as it comes back from the journal, without what holds within one convergence."""
    return replace(entry, is_fresh=False, shown=None, persons_change=None)


def to_document(entry: Entry) -> str:
    """Return an entry as a JSON document."""
    return _JSON.encode(_codec(Entry).write(entry))


def from_document(text: str) -> Entry:
    """Return the entry of a JSON document.

    Raises:
        UnreadableDocument: It isn't one that this version writes.
    """
    try:
        entry: Entry = _codec(Entry).read(json.loads(text))
    except _UnknownField as error:
        raise UnreadableDocument(
            f"an entry in the journal has a {error}, which a newer keito-mcp wrote; update this one"
        ) from error
    except (AttributeError, InvalidOperation, TypeError, ValueError) as error:
        raise UnreadableDocument(f"an entry in the journal can't be read ({error})") from error
    return entry


@cache
def _codec(hint: object) -> _Codec:
    """Return the codec of an annotated type; None is written and read by whatever holds the value."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        [alone] = [argument for argument in arguments if argument is not NoneType]
        return _codec(alone)
    if origin in {tuple, frozenset}:
        item = _codec(arguments[0])
        # A set has no order of its own; the same entry is to give the same document.
        order: Callable[[Any], Any] = sorted if origin is frozenset else list
        return _Codec(lambda value: [item.write(one) for one in order(value)], lambda raw: origin(map(item.read, raw)))
    if origin is Mapping:
        return _Codec(
            lambda body: {name: _of(name, value).write(value) for name, value in body.items()},
            lambda raw: {name: _of(name, value).read(value) for name, value in raw.items()},
        )
    return _of_class(hint) if isinstance(hint, type) else _AS_IS


def _of_class(kind: type) -> _Codec:
    if is_dataclass(kind):
        return _of_dataclass(kind)
    if issubclass(kind, date):
        return _Codec(kind.isoformat, kind.fromisoformat)
    if issubclass(kind, Decimal):
        return _Codec(str, kind)
    return _Codec(str, kind) if issubclass(kind, StrEnum) else _AS_IS


def _of_dataclass(kind: type) -> _Codec:
    hints = get_type_hints(kind)
    parts = {
        one.name: _AS_IS if one.name == _OBJECT else _codec(hints[one.name])
        for one in fields(kind)
        if one.name not in _TRANSIENT
    }

    def write(value: object) -> dict[str, Any]:
        given = {name: getattr(value, name) for name in parts}
        return {name: parts[name].write(one) for name, one in given.items() if one is not None}

    def read(raw: Mapping[str, Any]) -> object:
        for name in raw:
            if name not in parts:
                raise _UnknownField(f"field {name!r} of its {kind.__name__}")
        return kind(**{name: parts[name].read(one) for name, one in raw.items()})

    return _Codec(write, read)


def _of(name: str, value: object) -> _Codec:
    """Return the codec of a field in the body of a request, by Keito's name."""
    return _AS_IS if value is None or name == _OBJECT else _codec(_FIELDS.get(name, object))


def _itself(value: Any) -> Any:  # noqa: ANN401 -- whatever JSON knows
    return value


_AS_IS = _Codec(_itself, _itself)
_FIELDS = get_type_hints(Fields)
