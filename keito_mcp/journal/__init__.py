"""What must survive a crash: the timers that run and the writes that were sent, on this machine's disk."""

from keito_mcp.journal.file import JournalError
from keito_mcp.journal.journal import Journal
from keito_mcp.journal.rows import Earlier, Entry, EntryState, Owner, Settlement, Write, WriteKind, WriteState

__all__ = [
    "Earlier",
    "Entry",
    "EntryState",
    "Journal",
    "JournalError",
    "Owner",
    "Settlement",
    "Write",
    "WriteKind",
    "WriteState",
]
