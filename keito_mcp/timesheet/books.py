"""One account's entries as rows: what each should be, and the loop that brings it there."""

from functools import cached_property, partial

import anyio

from keito_mcp.journal.protocol import Rows
from keito_mcp.timesheet.converge import Convergence
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.step import seconds_left


class Books(Ledger):
    """What the verbs work with: Keito, the rows, the clock, and the loop between them."""

    @cached_property
    def rows(self) -> Rows:
        """The rows of the journal."""
        return self.journal.rows(partial(seconds_left, traits=self.api.traits))

    @cached_property
    def convergence(self) -> Convergence:
        """The loop, for an agent that is told of its outcome by its call."""
        return Convergence(self.rows, self.api, self.clock)

    def deadline(self) -> float:
        """Return when the time of a call that begins now is up, by anyio's clock."""
        return anyio.current_time() + self._timeouts.write
