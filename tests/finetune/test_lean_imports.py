"""A process started for one stage leaves out what the stage does not use: same result, nothing else missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from finetune import lean_imports
from finetune.stages import sft
from recipes import artifact

ROWS = [
    {"messages": [{"role": "user", "content": "When?"}, {"role": "assistant", "content": f"In June {n}."}]}
    for n in range(8)
]
AFTERWARDS = """
import gc, sys
from recipes import load
from finetune import lean_imports
recipe = load.examine(sys.argv[1], []).recipe
lean_imports.prepare(recipe)
assert sys.modules["bitsandbytes"] is None and gc.isenabled() and gc.get_freeze_count() > 100_000
heavy = {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
assert not heavy & {"datasets", "scipy", "pandas", "bitsandbytes"}, heavy
import datasets, scipy.optimize  # there again for whoever wants them
sys.modules[type(recipe).__module__].run(recipe)
"""


def recipe_of(base: Path, folder: Path, **sections: object) -> sft.Recipe:
    """Return a small recipe, with its file of rows."""
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    values = {
        "stage": "sft",
        "output_dir": str(folder / "result"),
        "model": {"model_name_or_path": str(base)},
        "adapter": {"r": 2},
        "data": {"train_file": str(file), "max_length": 64},
        "training": {"learning_rate": 1e-2, "max_steps": 3, "per_device_train_batch_size": 2},
    }
    return sft.Recipe(**{**values, **sections})


def test_a_lean_process_trains_the_same(tiny_model_dir: Path, tmp_path: Path) -> None:
    """The result is that of a process with everything; what was hidden while loading can be imported afterwards."""
    recipe = recipe_of(tiny_model_dir, tmp_path)
    file = tmp_path / "recipe.json"
    file.write_text(recipe.model_dump_json(exclude_unset=True))
    done = subprocess.run([sys.executable, "-c", AFTERWARDS, str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lean = artifact.read(tmp_path / "result")
    whole = recipe.model_copy(update={"output_dir": str(tmp_path / "whole")})
    sft.run(whole)
    made = artifact.read(tmp_path / "whole")
    assert lean and made and lean.content == made.content


@pytest.mark.parametrize(
    ("sections", "wanted"),
    [
        ({}, False),
        ({"adapter": None}, False),
        ({"adapter": {"init_lora_weights": "loftq"}}, True),
        ({"training": {"learning_rate": 1e-3, "optim": "adamw_8bit"}}, True),
        ({"training": {"learning_rate": 1e-3, "optim": "adamw_torch"}}, False),
        ({"model": {"model_name_or_path": "org/of-the-hub"}}, True),
    ],
)
def test_what_might_need_bitsandbytes(tiny_model_dir: Path, tmp_path: Path, sections: dict, wanted: bool) -> None:
    """Quantisation, its optimisers, and models that cannot be looked at keep it in reach."""
    assert lean_imports.wants_bitsandbytes(recipe_of(tiny_model_dir, tmp_path, **sections)) is wanted


def test_a_quantised_model_on_disk_needs_bitsandbytes(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Also where the recipe says nothing of it."""
    model = tmp_path / "quantised"
    model.mkdir()
    config = json.loads((tiny_model_dir / "config.json").read_text()) | {"quantization_config": {"load_in_4bit": True}}
    (model / "config.json").write_text(json.dumps(config))
    assert lean_imports.wants_bitsandbytes(recipe_of(model, tmp_path))


def test_nothing_is_done_where_torch_is_loaded(tiny_model_dir: Path, tmp_path: Path) -> None:
    """A process that goes on after the stage keeps all of its libraries."""
    import torch  # noqa: F401

    before = {name for name, module in sys.modules.items() if module is None}
    lean_imports.prepare(recipe_of(tiny_model_dir, tmp_path))
    assert {name for name, module in sys.modules.items() if module is None} == before
