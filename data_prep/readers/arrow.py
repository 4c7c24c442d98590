"""Arrow files, of both kinds (IPC file and IPC stream): what `datasets.save_to_disk` and Feather write."""

from data_prep.files.columnar import arrow as rows
from data_prep.files.columnar import is_arrow as recognises

__all__ = ["HEADER", "SUFFIXES", "recognises", "rows"]

SUFFIXES = (".arrow", ".feather")
HEADER = True
