"""Help and a refused recipe answer without torch and its kin: what is imported is looked at, not the clock."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "torch transformers peft trl accelerate datasets evaluate gradio numpy pandas sklearn sqlalchemy huggingface_hub"
)
PROGRAM = f"""
import sys
from recipes.run import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print(code, [name for name in "{HEAVY}".split() if name in sys.modules])
"""


def start(*arguments):
    command = [sys.executable, "-c", PROGRAM, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("--version",)])
def test_help_imports_nothing_heavy(arguments):
    assert start(*arguments) == "0 []"


@pytest.mark.parametrize("recipe", sorted(path.name for path in (ROOT / "recipes" / "quickstart").glob("*.yaml")))
def test_a_refused_recipe_imports_nothing_heavy(recipe):
    assert start("run", f"recipes/quickstart/{recipe}", "output_dirr=x") == "2 []"


def test_help_does_not_even_read_yaml():
    program = "import sys; from recipes.run import parser; parser(); print(*({'yaml', 'pydantic'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert result.stdout == "\n"


def test_the_table_of_training_arguments_is_that_of_the_installed_library():
    import dataclasses

    from transformers import TrainingArguments

    from recipes.training_arguments import DECIDED, FIELDS

    assert {field.name for field in dataclasses.fields(TrainingArguments) if field.init} == FIELDS
    assert set(DECIDED) <= FIELDS
