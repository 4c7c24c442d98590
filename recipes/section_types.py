"""What a recipe is made of: sections, the types of their values, and mistakes.

A stage's recipe is a pydantic model made of sections. Keys are Hugging Face's own names wherever one exists. Values
that name something on disk have types of their own (`InputPath`, `ModelRef`), so that existence checks, content hashes
and lineage need no list to be kept by hand: whatever a recipe reads is found by walking its values.

Nothing here imports torch or transformers: a refused recipe must answer in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

Key = tuple[str | int, ...]


class InputPath(str):
    """A file or folder that the stage reads; relative to the working folder."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(min_length=1))


class SourcePath(InputPath):
    """A file or folder that the stage reads, or a URL that fsspec has a protocol for (recipes/remote.py)."""


class ModelRef(str):
    """A local model folder, a finished stage's folder, or a Hugging Face id such as `org/name`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(min_length=1))


class DatasetRef(str):
    """A local folder with a data set, or a data set's name on the Hugging Face hub such as `org/name`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(min_length=1))


NAMED = (InputPath, SourcePath, ModelRef, DatasetRef)  # all types of values that name what a stage reads


@dataclass(frozen=True)
class Fault:
    """One mistake in a recipe: `key` says where, `what` is wrong with which value, `write` what to write instead."""

    key: Key
    what: str
    write: str


class Section(BaseModel):
    """A part of a recipe; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), validate_default=True, allow_inf_nan=False)


class StageRecipe(Section):
    """What every recipe has; a stage adds its own sections."""

    stage: str
    output_dir: str = Field(min_length=1, description="The folder that the stage writes, whole or not at all.")
    seed: int = Field(42, ge=0, le=2**32 - 1)

    # Keys that change how a run looks or where it runs, never what comes out: they are left out of the fingerprint.
    cosmetic: ClassVar[frozenset[str]] = frozenset({"output_dir"})

    def faults(self) -> list[Fault]:
        """Return mistakes that no single value shows (pairs of values that exclude each other, wrong columns, ...).

        Called only when every value on its own is right. Must not import torch and must not read whole data sets:
        the first rows of a file are enough. Files may not exist yet when an earlier pipeline step makes them.
        """
        return []


def walk(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield every leaf of a recipe with its key path."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from walk(getattr(value, name), (*key, name))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from walk(item, (*key, name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from walk(item, (*key, index))
    else:
        yield key, value


def shipped(path: str) -> Path:
    """Return where `path` lies: in the working folder or, for `recipes/...`, in the installed package."""
    here = Path(path)
    if not here.exists() and here.parts[:1] == ("recipes",):
        inside = Path(__file__).parent.joinpath(*here.parts[1:])
        if inside.exists():
            return inside
    return here
