"""Walking a list of time entries page by page."""

from collections.abc import AsyncIterator, Awaitable, Callable

from keito_mcp.keito.models import TimeEntryFilter, TimeEntryPage


async def walk(
    read: Callable[[TimeEntryFilter], Awaitable[TimeEntryPage]], wanted: TimeEntryFilter, *, at_most: int
) -> AsyncIterator[TimeEntryPage]:
    """Page after page from the filter's cursor on: as many as there are, and never more than `at_most`.

    An entry that moves to a later page, because others came in before it meanwhile, is given once.
    """
    given: set[str] = set()
    for _ in range(at_most):
        page = await read(wanted)
        yield page.model_copy(update={"data": [entry for entry in page.data if entry.id not in given]})
        # A cursor that leads to itself would never end.
        if page.following is None or page.following == wanted.cursor:
            return
        given |= {entry.id for entry in page.data}
        wanted = wanted.model_copy(update={"cursor": page.following})
