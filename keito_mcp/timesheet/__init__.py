"""The domain: start, stop, log, list and discard, for one agent in one session."""

from keito_mcp.timesheet.answers import DiscardAnswer, EntryAnswer, ListAnswer, Status
from keito_mcp.timesheet.discarding import CURRENT, discard
from keito_mcp.timesheet.finished import log
from keito_mcp.timesheet.ledger import Ledger
from keito_mcp.timesheet.listing import Progress, list_entries, list_session
from keito_mcp.timesheet.problem import NOTHING_SENT, Problem
from keito_mcp.timesheet.starting import start
from keito_mcp.timesheet.stopping import stop
from keito_mcp.timesheet.work import Work, Worker

__all__ = [
    "CURRENT",
    "NOTHING_SENT",
    "DiscardAnswer",
    "EntryAnswer",
    "Ledger",
    "ListAnswer",
    "Problem",
    "Progress",
    "Status",
    "Work",
    "Worker",
    "discard",
    "list_entries",
    "list_session",
    "log",
    "start",
    "stop",
]
