"""Imports only go down: recipes < data_prep < finetune < eval < app; and stage modules import nothing heavy.

Every import counts, also those inside functions and those under TYPE_CHECKING, and imports by name.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("recipes", "data_prep", "finetune", "eval", "app")
HEAVY = {
    "torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "datasets", "evaluate", "gradio", "sklearn",
    "scipy", "pandas", "numpy", "sqlalchemy", "sacrebleu", "huggingface_hub", "tokenizers", "safetensors", "rich",
}  # fmt: skip
TORCH = {"torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes"}


def files(floor: str) -> list[Path]:
    if floor == "app":
        return [path for path in (ROOT / "app.py",) if path.exists()]
    return sorted((ROOT / floor).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every module that is imported, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield str(node.module), node.lineno
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            yield from ((name.value, node.lineno) for name in node.args[:1] if isinstance(name, ast.Constant))


def at_import_time(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[str, int]]:
    """Yield the modules imported when a file itself is imported: outside functions, methods and TYPE_CHECKING."""
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ClassDef):
            yield from at_import_time(node)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports(ast.Module([node], []))


ALL = [pytest.param(floor, path, id=str(path.relative_to(ROOT))) for floor in FLOORS for path in files(floor)]


@pytest.mark.parametrize("floor, path", ALL)
def test_imports_only_go_down(floor, path):
    above = FLOORS[FLOORS.index(floor) + 1 :]
    wrong = [
        f"line {line}: {module}"
        for module, line in imports(ast.parse(path.read_text(encoding="utf-8")))
        # The command line starts the app and the floors' own `show`: by name, when a user asks for them.
        if module.split(".")[0] in above and not (path == ROOT / "recipes" / "run.py" and module == "app")
    ]
    assert not wrong


@pytest.mark.parametrize("floor, path", [case for case in ALL if case.values[0] in ("recipes", "data_prep")])
def test_the_lower_floors_need_no_torch(floor, path):
    if path == ROOT / "recipes" / "warm.py":
        pytest.skip("its one task is to import them, in a process of its own")
    if path == ROOT / "recipes" / "doctor.py":
        pytest.skip("it looks whether torch loads")
    found = [name for name, _ in imports(ast.parse(path.read_text(encoding="utf-8"))) if name.split(".")[0] in TORCH]
    assert not found


STAGES = [case for case in ALL if case.values[1].parent.name == "stages"]


@pytest.mark.parametrize("floor, path", STAGES)
def test_importing_a_stage_imports_nothing_heavy(floor, path):
    """Follow the imports of our own modules too: `tuneloop check` imports stages and must answer at once."""
    seen: set[Path] = set()
    todo, heavy = [path], []
    while todo:
        here = todo.pop()
        if here in seen:
            continue
        seen.add(here)
        for module, line in at_import_time(ast.parse(here.read_text(encoding="utf-8"))):
            if module.split(".")[0] in HEAVY:
                heavy.append(f"{here.relative_to(ROOT)}:{line}: {module}")
            if module.split(".")[0] in FLOORS:
                base = ROOT.joinpath(*module.split("."))
                todo += [file for file in (base.with_suffix(".py"), base / "__init__.py") if file.exists()]
    assert not heavy
