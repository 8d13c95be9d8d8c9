"""What every version does with a single entry: its address, its answer, and being certain that it is gone."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from keito_mcp.keito.client import deadline
from keito_mcp.keito.errors import KeitoError, NotFound, UnexpectedAnswer
from keito_mcp.keito.models import TimeEntry

Answer = TypeVar("Answer")
Read = Callable[[], Awaitable[TimeEntry]]


def address(entries: str, entry_id: str) -> str:
    """The path of an entry below that of all entries, whatever its id is made of: it must never lead anywhere else.

    Raises:
        NotFound: The id is empty or made of dots. Percent-encoding can't protect those: an encoded dot
            segment is still one to whatever normalises addresses on the way. Or it holds control characters.
    """
    if not entry_id.strip(".") or not entry_id.isprintable():
        raise NotFound(404, "no time entry has such an id")
    return f"{entries}/{quote(entry_id, safe='')}"


def entry_of(answer: object) -> TimeEntry:
    """The entry in an answer, of which nothing but the id is required; raises `UnexpectedAnswer` without one."""
    try:
        return TimeEntry.model_validate(answer)
    except ValidationError as error:
        raise UnexpectedAnswer(200, "the answer has no entry id") from error


def named(entry: TimeEntry, entry_id: str) -> TimeEntry:
    """Return the entry of an answer about one that is known; raises `UnexpectedAnswer` where it is another's.

    Ids that differ in case alone may be two spellings of one.
    """
    if entry.id.casefold() != entry_id.casefold():
        raise UnexpectedAnswer(200, "the answer has another id than the entry that was asked for")
    return entry


async def read_twice(read: Read) -> TimeEntry:
    """Read an entry, and once more before it counts as gone: one that is gone is never touched again."""
    try:
        return await read()
    except NotFound:
        return await read()


async def confirmed(written: Awaitable[Answer], read: Read, within: float) -> Answer:
    """Wait for the answer to a write, and believe a 404 only where reading the entry says the same.

    Args:
        written: The write.
        read: Reads its entry; called after a 404 only.
        within: The seconds that reading may take.

    Raises:
        NotFound: The entry is gone.
        UnexpectedAnswer: The write was answered 404, but the entry is there or can't be read; it may have happened.
    """
    try:
        return await written
    except NotFound as error:
        why = "Keito shows the entry all the same"
        try:
            async with deadline(within):
                await read()
        except NotFound:
            raise
        except KeitoError as unread:
            why = f"whether the entry is gone couldn't be verified ({unread})"
        raise UnexpectedAnswer(error.status, why) from error


def check_deleted(answer: object) -> None:
    """Raise `UnexpectedAnswer` where the answer to a delete isn't 204, which is all that Keito says to one."""
    if answer is not None:
        raise UnexpectedAnswer(200, "the answer to the delete is not 204")
