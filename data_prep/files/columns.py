"""A row of a table (JSON lines, CSV, Parquet, ...) -> a document.

The text is in the column that the recipe names, else in the first of `TEXT` that the row has; `title`, `url`, `source`
and `license` are taken where they are, and all other columns are kept in `meta`. Values that JSON has no form for
(pictures, other bytes) are left out; dates and decimal numbers become text.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Mapping
from typing import Any

from data_prep.files.decoding import Unreadable
from data_prep.records import Document

TEXT = ("text", "content", "body", "document", "article")
KNOWN = ("title", "url", "source", "license")
Columns = Mapping[str, str]  # the column for each of text, title, url, source, license


def document(row: dict[str, Any], number: int, columns: Columns) -> Document | Unreadable:
    """Return a row as a document, or why it is none; 0 is the number of a file's only one."""
    column = text_column(row, columns)
    if column is None:
        return Unreadable(missing(columns), number)
    text = row.pop(column)
    if not isinstance(text, str) or not text.strip():
        return Unreadable(f"{column} is empty or no text", number)
    known = {
        name: row.pop(columns.get(name, name)) for name in KNOWN if isinstance(row.get(columns.get(name, name)), str)
    }
    meta = row.pop("meta", {})
    own = {name: value for name, value in row.items() if value is not None}
    own.update(meta if isinstance(meta, dict) else {"meta": meta})
    if number:
        own["row"] = number
    return Document("", text, known.pop("source", ""), **known, meta=own)


def text_column(row: Mapping[str, Any], columns: Columns) -> str | None:
    """Return the column that holds the text, or None when the row has none such."""
    wanted = (columns["text"],) if "text" in columns else TEXT
    return next((name for name in wanted if name in row), None)


def missing(columns: Columns) -> str:
    """Return the reason for a row without a text column."""
    return f"no column {columns['text'] if 'text' in columns else ', '.join(TEXT)}"


def plain(value: Any) -> Any:
    """Return a value of a typed table as JSON has it; None for what it has no form for."""
    if isinstance(value, str | int | bool) or value is None:
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None  # neither infinite nor not a number
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, decimal.Decimal | datetime.timedelta) else None
