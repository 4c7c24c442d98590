"""Imported once by the server that worker processes are forked from, so that each starts with these in memory."""

import numpy  # noqa: F401

from data_prep.corpus import duplicates, finishing, passes  # noqa: F401
