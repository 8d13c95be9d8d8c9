"""How damage to the journal's file is known."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from keito_mcp.journal.schema import SCHEMA_VERSION, NewerSchema

PRIMARY_CODE = 0xFF
"""The bits of SQLite's error codes that name the kind of error."""

_SHOWN = 3


class Damaged(Exception):
    """The file isn't what SQLite wrote; the text says it as SQLite does."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite failed because of what is in the file."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & PRIMARY_CODE
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def told_apart() -> Iterator[None]:
    """Tell damage from the other reasons why SQLite fails.

    Raises:
        Damaged: In place of SQLite's own error.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise Damaged(str(error)) from error
        raise


def look(connection: sqlite3.Connection) -> None:
    """Read the first page and the schema, and change nothing.

    A check of all pages takes as long as the file is large, and an agent's first call would wait for it. A page that
    is damaged further on is noticed when it is read.

    Raises:
        Damaged: It is no database, or its schema can't be read.
        NewerSchema: It was written by a newer program.
        sqlite3.Error: It can't be read now.
    """
    with told_apart():
        # The version first: what a newer program's schema says may be no SQL to this SQLite, and isn't damage.
        if connection.execute("PRAGMA user_version").fetchone()[0] > SCHEMA_VERSION:
            raise NewerSchema
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def check(connection: sqlite3.Connection) -> None:
    """Let SQLite check every page, index and constraint.

    Raises:
        Damaged: It found something.
        sqlite3.Error: It can't be read now.
    """
    with told_apart():
        findings = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    if findings != ["ok"]:
        more = f"; {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
        raise Damaged("; ".join(findings[:_SHOWN]) + more)
