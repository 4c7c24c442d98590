"""Arrow files, of both kinds (IPC file and IPC stream): what `datasets.save_to_disk` and Feather write.

Read by memory map, a record batch at a time, so that memory does not grow with the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.files import columns
from data_prep.files.decoding import Unreadable

SUFFIXES = (".arrow", ".feather")
HEADER = True
ROWS = 256
_FILE = b"ARROW1"
_STREAM = b"\xff\xff\xff\xff"


def recognises(head: bytes) -> bool:
    """Tell Arrow by the mark of its files, or of the first message of its streams."""
    return head.startswith(_FILE) or (head.startswith(_STREAM) and len(head) > 8 and head[6:8] == b"\0\0")


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row with its number."""
    import pyarrow

    number = 0
    path.stat()  # a file that is gone is not damaged
    try:
        with pyarrow.memory_map(str(path)) as source:
            for batch in _batches(source):
                batch.validate(full=True)  # Arrow believes offsets in a file: damaged ones would end the process
                for start in range(0, batch.num_rows, ROWS):
                    for row in batch.slice(start, ROWS).to_pylist():
                        number += 1
                        yield number, {name: columns.plain(value) for name, value in row.items()}
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise Unreadable("damaged Arrow file", number + 1) from error


def _batches(source: Any) -> Iterator[Any]:
    import pyarrow

    is_file = source.read(len(_FILE)) == _FILE
    source.seek(0)
    if is_file:
        file = pyarrow.ipc.open_file(source)
        yield from (file.get_batch(index) for index in range(file.num_record_batches))
    else:
        yield from pyarrow.ipc.open_stream(source)
