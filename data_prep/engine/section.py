"""The section `engine:` of the recipes whose work is divided: corpus, mixture, tokens."""

from __future__ import annotations

from pydantic import Field

from recipes.sections import Section


class Engine(Section):
    """Who does the work; none of this changes what comes out."""

    workers: int = Field(default=0, ge=0, description="Processes on this machine; 0: one for each core.")
    scheduler: str = Field(default="", description="Address of a Dask scheduler whose workers see the same files.")
    shard_bytes: int = Field(default=32 * 2**20, ge=2**16, description="Input bytes that are one task.")
