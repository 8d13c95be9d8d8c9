"""What must survive a crash: the timers that run and the writes that wait, on this machine's disk."""

from keito_mcp.journal.accounts import Queue
from keito_mcp.journal.amending import Amendment
from keito_mcp.journal.file import JournalError
from keito_mcp.journal.journal import Journal
from keito_mcp.journal.overview import SessionOverview
from keito_mcp.journal.queue import IsGone
from keito_mcp.journal.recorded import Pause, Recorded, TakenIn, Told
from keito_mcp.journal.recordings import LOOK_AGAIN, Recordings
from keito_mcp.journal.rows import Abandoned, Claimed, Earlier, Entry, Owner, Settlement, Sign, Write, asked_for
from keito_mcp.journal.states import EntryState, NoSuchWay, WriteKind, WriteState
from keito_mcp.journal.undoing import Thrown

__all__ = [
    "LOOK_AGAIN",
    "Abandoned",
    "Amendment",
    "Claimed",
    "Earlier",
    "Entry",
    "EntryState",
    "IsGone",
    "Journal",
    "JournalError",
    "NoSuchWay",
    "Owner",
    "Pause",
    "Queue",
    "Recorded",
    "Recordings",
    "SessionOverview",
    "Settlement",
    "Sign",
    "TakenIn",
    "Thrown",
    "Told",
    "Write",
    "WriteKind",
    "WriteState",
    "asked_for",
]
