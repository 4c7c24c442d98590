"""CSV and TSV: one document a row; the first line names the columns (data_prep/files/delimited.py).

`meta.row` is the line on which a row starts. A file is not divided: whether a line end ends a row is known only to who
has read all quotes before it.

Left out: files without a header (their columns have no names to be found by).
"""

from __future__ import annotations

import csv

from data_prep.files import columns
from data_prep.files.delimited import delimiter_of, rows

__all__ = ["HEADER", "SUFFIXES", "recognises", "rows"]

SUFFIXES = (".csv", ".tsv", ".tab")
BY_HINTS = True
HEADER = True


def recognises(head: bytes) -> bool:
    """Tell a table by a first line that names a text column and three more lines with as many fields."""
    lines = head.removeprefix(b"\xef\xbb\xbf").split(b"\n")[:-1][:5]
    if len(lines) < 3 or b"\0" in head:
        return False
    text = [line.decode("utf-8", errors="replace").strip("\r") for line in lines]
    delimiter = delimiter_of(text[0])
    try:
        rows = list(csv.reader(text, delimiter=delimiter, strict=True))
    except csv.Error:
        return False
    names = [name.strip().lower() for name in rows[0]]
    return len(names) > 1 and bool(set(names) & set(columns.TEXT)) and {len(row) for row in rows} == {len(names)}
