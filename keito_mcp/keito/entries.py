"""What every version does with a single entry: its address, and its answer."""

from urllib.parse import quote

from pydantic import ValidationError

from keito_mcp.keito.errors import NotFound, UnexpectedAnswer
from keito_mcp.keito.models import TimeEntry


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
