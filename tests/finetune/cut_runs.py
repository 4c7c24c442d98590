"""A stage's run that is cut as a kill would cut it, and its uninterrupted twin."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from finetune.training import saving


class Cut(Exception):
    """Stands for the kill."""


def cut_and_go_on(module: ModuleType, recipe: Any, saves: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run a recipe until its `saves`-th checkpoint is whole, then once more to the end; return its folder."""
    save, done = saving.Saver.save, []

    def save_and_cut(self: Any, *arguments: Any, **keys: Any) -> Any:
        found = save(self, *arguments, **keys)
        done.append(found)
        if len(done) == saves:
            raise Cut
        return found

    with monkeypatch.context() as patch:
        patch.setattr(saving.Saver, "save", save_and_cut)
        with pytest.raises(Cut):
            module.run(recipe)
    folder = Path(recipe.output_dir)
    assert not folder.exists() and list(folder.with_name(f"{folder.name}.partial").rglob("checkpoint-*"))
    module.run(recipe)
    return folder
