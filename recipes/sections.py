"""The sections that recipes share, and the types of their values, in one place to import from.

Nothing here imports torch or transformers: a refused recipe must answer in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from recipes import launching
from recipes.errors import UserError
from recipes.model_sections import Adapter, Freeze, Lora, Model
from recipes.section_types import (
    NAMED,
    DatasetRef,
    Fault,
    InputPath,
    Key,
    ModelRef,
    Section,
    SourcePath,
    StageRecipe,
    shipped,
    walk,
)
from recipes.training_section import Training

__all__ = [
    "NAMED",
    "Adapter",
    "DatasetRef",
    "Fault",
    "Freeze",
    "Generation",
    "InputPath",
    "Key",
    "Launch",
    "Lora",
    "Model",
    "ModelRef",
    "Section",
    "SourcePath",
    "StageRecipe",
    "Training",
    "shipped",
    "walk",
]


def _config_name(value: str | None) -> str | None:
    """Return a config of accelerate that is there; refuse others."""
    if value is None or launching.place(value).is_file():
        return value
    from recipes.finding import nearest  # which needs sections itself

    names = launching.names()
    guess = nearest(value, names)
    what = f"no config of accelerate is called {value!r}, and no such file is there"
    write = (f"did you mean {guess}? Or " if guess else "") + f"write one of {', '.join(names)}, or a file's path"
    raise PydanticCustomError("mistake", "{what}", {"what": what, "write": write})


class Launch(Section):
    """In how many processes a stage works, and how they share the work; the names are those of `accelerate launch`."""

    config: Annotated[str | None, AfterValidator(_config_name)] = Field(
        None, description="A shipped config of accelerate (ddp, fsdp2, zero2, ...) or a file's path. Absent: DDP."
    )
    num_processes: int = Field(1, ge=1, description="Over all machines; one for each GPU.")
    num_machines: int = Field(1, ge=1)
    machine_rank: int = Field(0, ge=0, description="This machine's number; the first is 0.")
    main_process_ip: str | None = Field(None, min_length=1, description="Of machine 0, as the others reach it.")
    main_process_port: int = Field(launching.DEFAULT_PORT, ge=1, le=65535, description="With several machines.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Refuse numbers that do not go together, and several machines that cannot find each other."""
        if wrong := next(self._wrong(), None):
            raise PydanticCustomError("mistake", "{what}", {"what": wrong[0], "write": wrong[1]})
        return self

    def _wrong(self) -> Iterator[tuple[str, str]]:
        if self.num_processes % self.num_machines:
            what = f"num_processes: {self.num_processes} cannot be shared by {self.num_machines} machines"
            yield what, "write a multiple: the number of all processes on all machines"
        if self.machine_rank >= self.num_machines:
            what = f"machine_rank: {self.machine_rank} with num_machines: {self.num_machines}"
            yield what, f"number the machines from 0 to {self.num_machines - 1}"
        if self.num_machines > 1 and self.main_process_ip is None:
            yield "several machines without main_process_ip", "write the address of machine 0"
        if self.config is None:
            return
        try:
            config = launching.read(self.config)
        except UserError as error:
            yield f"{error.where} {error.what}", error.write
            return
        if config.alone and self.num_processes > 1:
            yield f"config: {self.config} is for one process, not {self.num_processes}", "write config: cpu_ddp or ddp"
        if config.kind in ("MULTI_GPU", "FSDP") and self.num_processes == 1:
            yield f"config: {self.config} with one process", "write num_processes: the number of GPUs, or leave it out"

    @property
    def launched(self) -> bool:
        """Return whether accelerate has to start the stage."""
        return self.num_processes > 1 or self.config is not None


class Generation(Section):
    """How answers are sampled; the names are those of transformers' `GenerationConfig`."""

    max_new_tokens: int = Field(64, ge=1)
    do_sample: bool = True
    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, description="0: no limit.")

    def greedy(self) -> Self:
        """Return these settings without sampling."""
        return self.model_copy(update={"do_sample": False})
