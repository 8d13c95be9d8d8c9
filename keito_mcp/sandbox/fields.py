"""Reading a JSON body and single values: what both API versions accept alike, whatever they answer to the rest."""

import json
from collections.abc import Callable, Collection
from datetime import date
from decimal import Decimal
from typing import Any, cast

from keito_mcp.sandbox.entry import units_of

MAX_METADATA_BYTES = 4096

Reader = Callable[[str, object], object]
"""Returns the value of a field, given the field's name and what came; raises `FieldError`."""


class BodyError(ValueError):
    """The request body is no JSON object."""


class FieldError(ValueError):
    """A field or query parameter has a value that no API version accepts.

    Args:
        field: Its name.
        message: What is wrong, for a person.
        code: API v1's code for it, where that is not the ordinary one.
    """

    def __init__(self, field: str, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.code = code


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that is the body.

    Raises:
        BodyError: It is not JSON, or no object, or holds what JSON in UTF-8 cannot express.
    """
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
        # Refuses what json.loads lets through but no answer could repeat: lone surrogates, 1e999.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise BodyError("the request body must be valid JSON") from error
    if not isinstance(value, dict):
        raise BodyError("the request body must be a JSON object")
    return value


def text(field: str, value: object) -> str:
    """Return a string.

    Raises:
        FieldError: It is none.
    """
    if not isinstance(value, str):
        raise FieldError(field, f"{field} must be a string")
    return value


def identifier(field: str, value: object) -> str:
    """Return a string that is not empty.

    Raises:
        FieldError: It is none.
    """
    if not text(field, value):
        raise FieldError(field, f"{field} must not be empty")
    return cast("str", value)


def or_null(reader: Reader) -> Reader:
    """Return a reader that takes null, too."""
    return lambda field, value: None if value is None else reader(field, value)


def one_of(choices: Collection[str]) -> Reader:
    """Return a reader of these strings."""

    def read(field: str, value: object) -> str:
        if text(field, value) not in choices:
            raise FieldError(field, f"{field} must be one of {', '.join(choices)}")
        return cast("str", value)

    return read


def boolean(field: str, value: object) -> bool:
    """Return a JSON boolean.

    Raises:
        FieldError: It is none.
    """
    if not isinstance(value, bool):
        raise FieldError(field, f"{field} must be true or false")
    return value


def boolean_word(field: str, value: object) -> bool:
    """Return what a query parameter says, `true` or `false`.

    Raises:
        FieldError: It says something else.
    """
    return boolean(field, {"true": True, "false": False}.get(str(value)))


def day(field: str, value: object) -> str:
    """Return a date as it came, `YYYY-MM-DD`.

    Raises:
        FieldError: It is none, or one in another form.
    """
    given = text(field, value)
    try:
        canonical = date.fromisoformat(given).isoformat()
    except ValueError:
        canonical = None
    # Not only what is no date at all: fromisoformat also takes 20260306 and 2026-W10-5.
    if given != canonical:
        raise FieldError(field, f"{field} must be a date, YYYY-MM-DD")
    return given


def hours(field: str, value: object) -> int:
    """Return decimal hours as units of 1/10,000 hour.

    Raises:
        FieldError: It is no number, a negative or a too large one.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FieldError(field, f"{field} must be a number")
    if value < 0:
        raise FieldError(field, f"{field} must not be negative")
    try:
        # By way of the text: 1.00005 is meant as written, not as the nearest binary fraction.
        return units_of(Decimal(str(value)))
    except OverflowError as error:
        raise FieldError(field, f"{field} is too large") from error


def metadata(field: str, value: object) -> dict[str, Any]:
    """Return a JSON object of no more than `MAX_METADATA_BYTES`.

    Raises:
        FieldError: It is none, or larger.
    """
    if not isinstance(value, dict):
        raise FieldError(field, f"{field} must be an object")
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_METADATA_BYTES:
        message = f"{field} is {size} bytes of JSON; at most {MAX_METADATA_BYTES} are allowed"
        raise FieldError(field, message, "metadata_too_large")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
