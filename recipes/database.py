"""The content hash of an SQLite file: of its rows, not of its bytes.

A database with a write-ahead log keeps new rows in a second file and moves them over when it likes: the bytes of the
main file stay the same when something was added, and change when nothing was. So what counts is the tables' statements
and rows, as one reader sees them at one moment.
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

MAGIC = b"SQLite format 3\0"
WRITE_AHEAD = b"\2\2"  # bytes 18 and 19 of the file, https://www.sqlite.org/fileformat.html


def has_log(path: Path | str) -> bool:
    """Return whether a file is an SQLite database with a write-ahead log, by its first bytes."""
    with open(path, "rb") as file:
        head = file.read(20)
    return head.startswith(MAGIC) and head[18:20] == WRITE_AHEAD


def rows_hash(path: Path | str) -> str:
    """Return the SHA-256 over all tables and rows of a database.

    Raises:
        sqlite3.DatabaseError: the file is damaged.
    """
    digest = hashlib.sha256()
    connection = sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        connection.execute("BEGIN")
        tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        for name, statement in tables:
            digest.update(f"{name}\0{statement}\n".encode())
            if not name.startswith("sqlite_"):
                quoted = '"' + name.replace('"', '""') + '"'
                columns = len(connection.execute(f"PRAGMA table_info({quoted})").fetchall())
                order = ", ".join(str(number + 1) for number in range(columns))
                for row in connection.execute(f"SELECT * FROM {quoted} ORDER BY {order}"):
                    digest.update(repr(row).encode("utf-8", "surrogatepass") + b"\n")
    finally:
        connection.close()
    return digest.hexdigest()
