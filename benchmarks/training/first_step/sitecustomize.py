"""Python imports this by itself where its folder is on PYTHONPATH: a process that takes an optimiser step notes when.

Written to the file that FIRST_STEP names: the wall clock and the process's CPU seconds right after the first step of
any torch optimiser. The process then ends, so that only the way to that step is measured. Works for every tool alike.
"""

import os
import sys
import time
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

WATCHED = "torch.optim.optimizer"


class Watch:
    """A finder that looks for nothing, but sees one module being loaded."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the watched module's usual spec, with a loader that registers the hook afterwards."""
        if name != WATCHED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        loader, load = spec.loader, spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            module.register_optimizer_step_post_hook(_note)

        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _note(*_: Any) -> None:
    with open(os.environ["FIRST_STEP"], "a", encoding="utf-8") as file:
        file.write(f"{time.time()} {time.process_time()} {len(sys.modules)}\n")
    os._exit(0)


if "FIRST_STEP" in os.environ:
    sys.meta_path.insert(0, Watch())
