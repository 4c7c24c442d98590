"""Every recipe that ships is right: it loads, and every pipeline holds together from the raw files on."""

import os
from pathlib import Path

import pytest

from recipes import pipeline

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted(
    path.relative_to(ROOT).as_posix() for path in (ROOT / "recipes").rglob("*.yaml") if path.parent.name != "accelerate"
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Work where nothing has been run and no data lies; shipped recipes are found in the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("path", RECIPES)
def test_only_files_that_are_still_to_be_made_are_missing(path):
    problems = [problem for one in pipeline.examine(path) for problem in one.problems]
    assert [str(problem) for problem in problems if "is not there" not in problem.what] == []


def test_the_quickstart_needs_nothing():
    found = pipeline.checked(pipeline.examine("recipes/quickstart/pipeline.yaml"))
    assert len(found) > 5 and all(one.recipe is not None for one in found)


@pytest.mark.parametrize("path", RECIPES)
def test_a_recipe_has_a_heading_and_no_machine_path(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert "/work/" not in text and os.path.expanduser("~") not in text and "\n  - /" not in text
