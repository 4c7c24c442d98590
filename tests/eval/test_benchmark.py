"""The benchmark stage, on tiny models: what it writes, what it reuses, what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_prep.records import read_rows, write_rows
from eval import measuring, tasks
from eval.comparison import Score
from eval.report import html, markdown, table, words
from eval.stages import benchmark
from recipes import artifact
from recipes.load import RecipeError, UserError, load

QUESTIONS = [
    ("When does the blue poppy bloom?", "June"),
    ("Who keeps the rock house?", "Mara Holm"),
    ("What is the soil of the moon lily?", "sandy"),
    ("Where does the silver fern grow?", "rock house"),
]


def judge(prompt: list[dict[str, str]], answer: str, meta: dict[str, Any]) -> dict[str, float]:
    """Like answers with many letters; one key is all or nothing."""
    return {"total": min(1.0, len(answer) / 200), "wrote": float(bool(answer))}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one small file for each kind of task."""
    monkeypatch.chdir(tmp_path)
    choices = [answer for _, answer in QUESTIONS]
    write_rows("choice.jsonl", [{"question": q, "choices": choices, "answer": a} for q, a in QUESTIONS * 2])
    prompts = [{"prompt": q, "references": [a], "meta": {"fact": a}} for q, a in QUESTIONS]
    write_rows("free.jsonl", prompts)
    write_rows("documents.jsonl", [{"text": f"{q} It is {a}."} for q, a in QUESTIONS])
    write_rows("pairs.jsonl", [{"prompt": q, "chosen": f"Gladly: {a}.", "rejected": a} for q, a in QUESTIONS])
    return tmp_path


@pytest.fixture(scope="module")
def adapter_dir(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter, far from zero, on the tiny model."""
    import torch

    from finetune import models
    from recipes.sections import Lora

    torch.manual_seed(1)
    loaded = models.load(str(tiny_model_dir), trainable=True)
    models.add_adapter(loaded, Lora.model_validate({"r": 4, "lora_alpha": 64}))
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    place = tmp_path_factory.mktemp("tiny") / "adapter"
    models.save(loaded.model, loaded.tokenizer, place)
    return place


@pytest.fixture(scope="module")
def reward_dir(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model with a random head."""
    import torch

    from finetune import models
    from recipes.sections import Lora

    loaded = models.load_reward_base(str(tiny_model_dir), Lora.model_validate({"r": 4}))
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if "score" in name and "default" in name:
                weight.normal_()
    place = tmp_path_factory.mktemp("tiny") / "reward"
    models.save(loaded.model, loaded.tokenizer, place)
    return place


ALL_TASKS: list[dict[str, Any]] = [
    {"name": "choice", "kind": "multiple_choice", "file": "choice.jsonl"},
    {"name": "plain", "kind": "multiple_choice", "file": "choice.jsonl", "style": "plain", "applies_to": ["base"]},
    {"name": "free", "kind": "generate", "file": "free.jsonl", "cluster": "meta.fact"},
    {"name": "pages", "kind": "perplexity", "file": "documents.jsonl"},
    {"name": "judged", "kind": "judged", "file": "free.jsonl", "judge": "tests.eval.test_benchmark:judge"},
    {"name": "pairs", "kind": "preference_accuracy", "file": "pairs.jsonl"},
]


@pytest.fixture
def recipe(folder: Path, tiny_model_dir: Path, adapter_dir: Path, reward_dir: Path) -> dict[str, Any]:
    """All kinds of tasks on a base and an adapter, with a name that has to be escaped."""
    return {
        "stage": "benchmark",
        "output_dir": "out",
        "checkpoints": [
            {"name": "base", "model_name_or_path": str(tiny_model_dir)},
            {"name": "<b>&", "model_name_or_path": str(adapter_dir)},
        ],
        "baseline": "base",
        "reward_model": str(reward_dir),
        "tasks": ALL_TASKS,
        "generation": {"max_new_tokens": 8, "do_sample": False},
        "app": "python app.py app.yaml",
    }


def checked(recipe: dict[str, Any]) -> benchmark.Recipe:
    """Return a recipe that went through a file, as a user's does."""
    Path("benchmark.yaml").write_text(json.dumps(recipe))
    found = load("benchmark.yaml")
    assert isinstance(found, benchmark.Recipe)
    return found


def refused(recipe: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as caught:
        checked(recipe)
    return str(caught.value)


def test_everything_is_measured_and_written(recipe: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.run(checked(recipe))
    manifest = artifact.read("out")
    assert manifest is not None
    assert {"answers.jsonl", "report.html", "report.md", "results.json", "table.txt"} == set(manifest.files)
    results = json.loads(Path("out/results.json").read_text())
    measures = {(one["checkpoint"], one["task"], one["measure"]) for one in results["scores"]}
    assert ("base", "plain", "accuracy") in measures and ("<b>&", "plain", "accuracy") not in measures
    assert {m for c, t, m in measures if (c, t) == ("base", "judged")} == {"total", "wrote", "reward", "win_rate"}
    assert {m for c, t, m in measures if t == "pairs"} >= {"accuracy", "accuracy_better_is_longer"}
    for one in results["scores"]:
        assert one["low"] <= one["value"] + 1e-9 and one["value"] - 1e-9 <= one["high"]
    assert manifest.metrics["base"]["judged.win_rate"] == 0.5
    compared = {(one["task"], one["measure"]) for one in results["comparisons"]}
    assert {("choice", "accuracy"), ("pages", "bits_per_byte"), ("judged", "win_rate")} <= compared
    assert all(0 <= one["p"] <= one["p_adjusted"] <= 1 for one in results["comparisons"])

    answers = list(read_rows("out/answers.jsonl"))
    assert len(answers) == 8 + 8 + 4 + 4 + 4 + 4
    assert set(answers[0]["answers"]) == {"base", "<b>&"}
    shown = capsys.readouterr().out
    assert shown.strip() == Path("out/table.txt").read_text().strip()
    assert max(map(len, shown.splitlines())) <= table.WIDTH
    assert "python app.py app.yaml" in shown


def test_report_needs_no_network_and_escapes_names(recipe: dict[str, Any]) -> None:
    benchmark.run(checked(recipe))
    page = Path("out/report.html").read_text()
    assert "<b>&</" not in page.replace("<b>&lt;", "") and "&lt;b&gt;&amp;" in page
    assert not re.search(r"""(src|href)=|url\(|@import|<script|https?://""", page)
    import xml.etree.ElementTree as ElementTree

    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)
    assert "| base | " in Path("out/report.md").read_text()


def test_scores_do_not_depend_on_sharing_a_base(recipe: dict[str, Any], adapter_dir: Path) -> None:
    """The adapter measured alone equals the adapter measured behind its base, bit for bit; and not the base."""
    benchmark.run(checked(recipe))
    together = json.loads(Path("out/results.json").read_text())["scores"]
    alone = {**recipe, "output_dir": "alone", "checkpoints": recipe["checkpoints"][1:], "baseline": None}
    alone["tasks"] = [task for task in ALL_TASKS if task["name"] != "plain"]
    benchmark.run(checked(alone))
    by_name = {(one["checkpoint"], one["task"], one["measure"]): one["value"] for one in together}
    for one in json.loads(Path("alone/results.json").read_text())["scores"]:
        assert one["value"] == by_name[one["checkpoint"], one["task"], one["measure"]]
    assert by_name["base", "pages", "bits_per_byte"] != by_name["<b>&", "pages", "bits_per_byte"]


def test_prompts_are_answered_once_and_a_killed_run_goes_on(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune import generate

    asked: list[int] = []
    original: Callable[..., Any] = generate.generate

    def counting(model: Any, tokenizer: Any, prompts: list[list[int]], *rest: Any, **named: Any) -> Any:
        asked.append(len(prompts))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return original(model, tokenizer, prompts, *rest, **named)

    monkeypatch.setattr(generate, "generate", counting)
    with pytest.raises(KeyboardInterrupt):
        benchmark.run(checked(recipe))
    assert asked == [4, 4]  # `free` and `judged` share the base's answers; the adapter was interrupted
    benchmark.run(checked(recipe))
    assert asked == [4, 4, 4]
    resumed = Path("out/answers.jsonl").read_bytes()
    shutil.rmtree("out")
    monkeypatch.setattr(generate, "generate", original)
    benchmark.run(checked(recipe))
    assert Path("out/answers.jsonl").read_bytes() == resumed


def test_a_test_item_in_the_training_files_is_told_loudly(
    recipe: dict[str, Any], tiny_model_dir: Path, tmp_path: Path
) -> None:
    write_rows("train.jsonl", [{"messages": [{"role": "user", "content": QUESTIONS[0][0].upper()}]}])
    write_rows("validation.jsonl", [{"text": QUESTIONS[1][0]}])
    trained = tmp_path / "trained"
    shutil.copytree(tiny_model_dir, trained)
    manifest = dict.fromkeys(("version", "source", "started", "content", "fingerprint"), "")
    inputs = {
        "data.train_file": {"path": "train.jsonl", "model": False},
        "data.validation_file": {"path": "validation.jsonl", "model": False},
        "data.more": {"path": "gone.jsonl", "model": False},
    }
    lists: dict[str, Any] = {
        name: {} for name in ("recipe", "files", "sizes", "metrics", "notes", "libraries", "machine")
    }
    numbers = {"seed": 0, "seconds": 1.0, "peak_memory": 0, "processes": 1, "resumed": False, "tuneloop": 1}
    whole = {**manifest, **lists, **numbers, "stage": "sft", "inputs": inputs, "volatile": []}
    (trained / "manifest.json").write_text(json.dumps({**whole, "content": "abc"}))
    rows = [{"step": step, "loss": 3.0 - step / 10, "kl": 0.1} for step in range(5)]
    write_rows(trained / "log.jsonl", rows)
    recipe["checkpoints"].append({"name": "trained", "model_name_or_path": str(trained)})
    benchmark.run(checked(recipe))
    results = json.loads(Path("out/results.json").read_text())
    hits = {(hit["task"], hit["file"]): hit for hit in results["contamination"]}
    assert set(hits) == {(name, "train.jsonl") for name in ("choice", "plain", "free", "judged", "pairs")}
    assert hits["choice", "train.jsonl"]["checkpoints"] == ["trained"]
    assert len(hits["choice", "train.jsonl"]["items"]) == 2
    for name in ("table.txt", "report.md", "report.html"):
        text = Path("out", name).read_text()
        assert "CONTAMINATION" in text and "gone.jsonl" in text
    assert Path("out/report.html").read_text().count("by training step") == 2


def test_prompts_that_do_not_fit_are_counted_and_left_out(recipe: dict[str, Any]) -> None:
    long = "the silver fern " * 200
    write_rows("free.jsonl", [{"prompt": long, "references": ["x"], "meta": {"fact": 1}}, *read_rows("free.jsonl")])
    choices = [{"question": long, "choices": ["June", "May"], "answer": 0}, *read_rows("choice.jsonl")]
    write_rows("choice.jsonl", choices)
    benchmark.run(checked(recipe))
    results = json.loads(Path("out/results.json").read_text())
    assert {one["name"]: one["not_asked"] for one in results["tasks"]}["free"] == {"base": 1, "<b>&": 1}
    counted = {(one["task"], one["measure"]): one["n"] for one in results["scores"] if one["checkpoint"] == "base"}
    assert counted["free", "bleu"] == 4 and counted["choice", "accuracy"] == 8 and counted["judged", "reward"] == 4
    assert "1 of 5 items of 'free' do not fit into the context of base" in " ".join(
        Path("out/table.txt").read_text().replace("!", "").split()
    )


def test_mistakes_in_the_recipe_are_told_all_at_once(recipe: dict[str, Any], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text("{}")
    Path("no_rows.jsonl").write_text("\n")
    recipe["baseline"] = "bse"
    recipe["reward_model"] = None
    recipe["checkpoints"] += [{"name": "base", "model_name_or_path": str(bare)}]
    recipe["tasks"] = [
        {"name": "choice", "kind": "multiple_choice", "file": "free.jsonl", "applies_to": ["tuned"]},
        {"name": "choice", "kind": "generate", "file": "free.jsonl", "metrics": ["token_f2", "accuracy"]},
        {"name": "pages", "kind": "perplexity", "file": "no_rows.jsonl", "window": 64, "stride": 64},
        {"name": "judged", "kind": "judged", "file": "free.jsonl", "judge": "nowhere.at_all:score"},
        {"name": "pairs", "kind": "preference_accuracy", "file": "pairs.jsonl"},
    ]
    told = refused(recipe)
    for part in (
        "baseline: there is no checkpoint 'bse'; one of base, <b>&",
        "checkpoints.2.name: 'base' is there twice",
        "bare has no tokenizer",
        "tasks.0.file: free.jsonl:1: missing column question; found meta, prompt, references",
        "tasks.0.applies_to.0: there is no checkpoint 'tuned'",
        "tasks.1.name: 'choice' is there twice",
        "tasks.1.metrics.0: there is no metric 'token_f2'; did you mean token_f1?",
        "tasks.1.metrics.1: accuracy does not compare texts",
        "tasks.2.file: no_rows.jsonl has no rows",
        "tasks.2.stride: 64 leaves tokens out",
        "tasks.3.judge: nowhere.at_all:score cannot be imported",
        "tasks.4.kind: preference_accuracy measures a reward model, and none is named",
    ):
        assert part in told, told


def test_without_a_judge_the_reward_model_decides(recipe: dict[str, Any]) -> None:
    recipe["tasks"] = [{"name": "rewarded", "kind": "judged", "file": "free.jsonl"}]
    benchmark.run(checked(recipe))
    results = json.loads(Path("out/results.json").read_text())
    assert {one["measure"] for one in results["scores"]} == {"reward", "win_rate"}
    recipe["reward_model"] = None
    assert "tasks.0.judge: there is neither a judge nor a reward model" in refused(recipe)


def test_answers_are_greedy_unless_the_recipe_says_otherwise(recipe: dict[str, Any]) -> None:
    assert not checked({**recipe, "generation": {"max_new_tokens": 8}}).generation.do_sample
    assert checked({**recipe, "generation": {"do_sample": True}}).generation.do_sample


def test_a_perplexity_beyond_all_numbers_is_still_written(recipe: dict[str, Any]) -> None:
    write_rows("documents.jsonl", [{"text": "unbelievably" * 30}])
    recipe["tasks"] = [{"name": "pages", "kind": "perplexity", "file": "documents.jsonl", "table": ["word_perplexity"]}]
    benchmark.run(checked(recipe))
    results = Path("out/results.json").read_text()
    assert "NaN" not in results and "Infinity" not in results
    assert {one["value"] for one in json.loads(results)["scores"] if one["measure"] == "word_perplexity"} == {None}
    assert "inf" in Path("out/table.txt").read_text()


def test_a_typo_in_a_task_names_the_key(recipe: dict[str, Any]) -> None:
    recipe["tasks"] = [{"name": "free", "kind": "generate", "file": "free.jsonl", "limt": 3}]
    assert "tasks.0.limt" in refused(recipe)
    recipe["tasks"] = [{"name": "free", "kind": "generat", "file": "free.jsonl"}]
    assert "generat" in refused(recipe)


def test_a_label_outside_the_choices_names_file_and_line(recipe: dict[str, Any]) -> None:
    write_rows("choice.jsonl", [*read_rows("choice.jsonl"), {"question": "q", "choices": ["a", "b"], "answer": "c"}])
    assert "choice.jsonl:9: answer is 'c', neither one of the choices nor 0 to 1" in refused(recipe)


def test_a_bad_row_further_down_is_found_before_a_model_is_loaded(recipe: dict[str, Any]) -> None:
    write_rows("pairs.jsonl", [*[{"prompt": "q", "chosen": "a", "rejected": "b"}] * 30, {"prompt": "q", "chosen": "a"}])
    with pytest.raises(UserError, match=r"pairs.jsonl:31: missing column rejected"):
        benchmark.run(checked(recipe))
    assert "json" not in {path.suffix for path in Path("out.partial/.scratch").iterdir()}


def test_columns_of_any_file_can_be_named(folder: Path, tiny_model_dir: Path) -> None:
    write_rows("medical.jsonl", [{"question": "What is anemia?", "answer": "too little iron", "focus": "anemia"}])
    checkpoints = [{"name": "one", "model_name_or_path": str(tiny_model_dir)}]
    own = {"name": "qa", "kind": "generate", "file": "medical.jsonl", "user": "{question}", "reference": "{answer}"}
    pages = {"name": "pages", "kind": "perplexity", "file": "medical.jsonl", "text": "{focus}\n{answer}"}
    whole = {"stage": "benchmark", "output_dir": "out", "checkpoints": checkpoints, "tasks": [own, pages]}
    found = checked({**whole, "generation": {"max_new_tokens": 4}})
    item = benchmark.tasks_of.read(found.tasks[0], tasks.kind("generate").parse)[0]
    assert item.data["prompt"] == [{"role": "user", "content": "What is anemia?"}]
    assert item.expected == "too little iron"
    benchmark.run(found)
    results = json.loads(Path("out/results.json").read_text())
    assert results["comparisons"] == []


def test_bits_per_byte_by_hand(folder: Path, tiny_model_dir: Path) -> None:
    import math

    import torch

    from finetune import models

    checkpoints = [{"name": "one", "model_name_or_path": str(tiny_model_dir)}]
    pages = {"name": "pages", "kind": "perplexity", "file": "documents.jsonl"}
    benchmark.run(checked({"stage": "benchmark", "output_dir": "out", "checkpoints": checkpoints, "tasks": [pages]}))
    loaded = models.load(str(tiny_model_dir))
    nats = tokens = size = 0.0
    for row in read_rows("documents.jsonl"):
        ids = loaded.tokenizer.encode(row["text"], add_special_tokens=False)
        whole = torch.tensor([[loaded.tokenizer.eos_token_id, *ids]])
        with torch.no_grad():
            nats += float(loaded.model(input_ids=whole, labels=whole).loss) * len(ids)
        tokens, size = tokens + len(ids), size + len(row["text"].encode())
    found = {one["measure"]: one["value"] for one in json.loads(Path("out/results.json").read_text())["scores"]}
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-5)


def test_a_new_kind_or_metric_is_one_new_file() -> None:
    assert {"generate", "judged", "multiple_choice", "perplexity", "preference_accuracy"} <= set(tasks.names())
    folder = Path(tasks.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(tasks.names())


def test_figures_keep_their_interval() -> None:
    def made(value: float, half: float) -> Score:
        return Score("a", "t", "m", "m", value, value - half, value + half, 9, 9, "x", True)

    assert words.figure(made(0.623, 0.051), words.decimals([made(0.623, 0.051)])) == "0.62 ±0.05"
    assert words.figure(made(2.1234, 0.0042), words.decimals([made(2.1234, 0.0042)])) == "2.123 ±0.004"
    assert words.figure(made(41.27, 3.2), words.decimals([made(41.27, 3.2)])) == "41.3 ±3.2"
    assert words.figure(made(1.0, 0.0), words.decimals([made(1.0, 0.0)])) == "1.00 ±0.00"


def test_markdown_cells_are_not_taken_for_markup() -> None:
    assert markdown.cell("a|b\n*c* <i>") == r"a\|b \*c\* \<i\>"
    assert html.escape("<i>") == "&lt;i&gt;"


def test_restored_outcomes_are_equal(recipe: dict[str, Any]) -> None:
    from eval.task import Measure, Outcome

    outcome = Outcome(
        {"a": Measure("accuracy", "accuracy", [(1.0, 1.0), (0.0, 0.0)])}, [True, False], ["x", ""], {"n": 1}
    )
    assert Outcome.restore(json.loads(json.dumps(outcome.stored()))) == outcome
    assert measuring.REWARD_MODEL == "reward model"


@pytest.mark.parametrize("name", ["quickstart", "medical"])
def test_shipped_recipes_lack_nothing_but_what_earlier_steps_make(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recipes.load import examine

    monkeypatch.chdir(tmp_path)
    problems = [str(one) for one in examine(f"recipes/{name}/benchmark.yaml").problems]
    assert problems and all(" is not there" in one for one in problems), problems
