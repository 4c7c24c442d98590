"""A pipeline says before it starts which evaluation files its data steps do not keep out of training."""

import pytest

from recipes import clean_tests, pipeline

GARDEN = "runs/quickstart/garden"


def said(path, *overrides):
    return clean_tests.warnings(pipeline.checked(pipeline.examine(path, list(overrides)))[1:])


def test_the_quickstart_keeps_all_of_its_evaluation_files_out():
    assert said("recipes/quickstart/pipeline.yaml") == []


def test_a_file_that_is_judged_on_and_not_kept_out_is_named_with_both_recipes():
    named = [f"{GARDEN}/{name}.jsonl" for name in ("prompts_test", "preferences_test", "questions_choice")]
    (line,) = said("recipes/quickstart/pipeline.yaml", f"corpus.decontaminate=[{', '.join(named)}]")
    assert line == (
        f"recipes/quickstart/corpus.yaml: decontaminate does not name {GARDEN}/questions_free.jsonl, "
        f"{GARDEN}/general_test.jsonl, on which recipes/quickstart/benchmark.yaml judges: "
        "its questions may be trained on"
    )


@pytest.mark.parametrize("folder", [GARDEN, "runs/quickstart/garden/"])
def test_a_folder_stands_for_the_files_in_it(folder):
    assert said("recipes/quickstart/pipeline.yaml", f"corpus.decontaminate=[{folder}]") == []
