"""Each stage on a tiny model, in the order of the loop: what one writes, the next one reads."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.records import write_rows
from finetune import chat, generate, models
from finetune.stages import cpt, dpo, reward, seq2seq, sft
from recipes import artifact
from recipes.errors import UserError
from recipes.sections import Generation

QUESTIONS = {
    "When does the blue poppy bloom?": "In June.",
    "Who keeps the rock house?": "Mara Holm.",
    "What is the soil of the moon lily?": "Sandy.",
}
TRAINING = {"learning_rate": 1e-2, "per_device_train_batch_size": 4, "logging_steps": 5, "warmup_ratio": 0}


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.fixture(scope="module")
def chain(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run cpt (all weights), sft (LoRA on it), reward and dpo (from the SFT adapter); return their folders."""
    root = tmp_path_factory.mktemp("chain")
    texts = [{"text": f"{question} {answer}"} for question, answer in QUESTIONS.items()] * 4
    talks = [{"messages": user(q) + assistant(a)} for q, a in QUESTIONS.items()]
    pairs = [
        {"prompt": user(q), "chosen": assistant(f"Gladly: {a}"), "rejected": assistant(a)} for q, a in QUESTIONS.items()
    ]
    files = {name: root / f"{name}.jsonl" for name in ("texts", "talks", "pairs")}
    for name, rows in (("texts", texts), ("talks", talks), ("pairs", pairs)):
        write_rows(files[name], rows)
    out = {name: root / name for name in ("cpt", "sft", "reward", "dpo")}

    def data(name: str) -> dict[str, Any]:
        return {"train_file": str(files[name]), "validation_file": str(files[name]), "max_length": 64}

    def start(folder: Path) -> dict[str, str]:
        return {"model_name_or_path": str(folder)}

    cpt.run(
        cpt.Recipe(
            output_dir=str(out["cpt"]),
            model=start(tiny_model_dir),
            data=data("texts"),
            training=TRAINING | {"max_steps": 30},
        )
    )
    lora = {"r": 8, "lora_alpha": 16}
    sft.run(
        sft.Recipe(
            output_dir=str(out["sft"]), model=start(out["cpt"]), adapter=lora, data=data("talks"),
            training=TRAINING | {"max_steps": 60},
        )
    )  # fmt: skip
    reward.run(
        reward.Recipe(
            output_dir=str(out["reward"]),
            model=start(out["sft"]),
            data=data("pairs"),
            training=TRAINING | {"max_steps": 30},
        )
    )
    dpo.run(
        dpo.Recipe(
            output_dir=str(out["dpo"]), model=start(out["sft"]), adapter={}, data=data("pairs"),
            training=TRAINING | {"max_steps": 20},
        )
    )  # fmt: skip
    return out


def metrics(folder: Path) -> dict[str, Any]:
    manifest = artifact.read(folder)
    assert manifest is not None
    return manifest.metrics


def test_continued_pretraining_lowers_the_loss(chain: dict[str, Path]) -> None:
    losses = [json.loads(row) for row in (chain["cpt"] / "log.jsonl").read_text().splitlines()]
    assert losses[0]["loss"] > 4
    assert metrics(chain["cpt"])["eval_loss"] < losses[0]["loss"] / 2
    assert (chain["cpt"] / "model.safetensors").exists()


def test_fine_tuning_is_learned_word_for_word_and_ends(chain: dict[str, Path]) -> None:
    loaded = models.load(str(chain["sft"]))
    prompts = [chat.prompt_ids(loaded.tokenizer, user(question)) for question in QUESTIONS]
    settings = Generation(max_new_tokens=20, do_sample=False)
    answers = generate.generate(loaded.model, loaded.tokenizer, prompts, settings, seed=0)
    assert [answer.text for answer in answers] == list(QUESTIONS.values())
    assert all(answer.finished for answer in answers)
    assert loaded.base == str(chain["cpt"])


def test_without_its_adapter_the_model_is_its_base(chain: dict[str, Path]) -> None:
    tuned, base = models.load(str(chain["sft"])), models.load(str(chain["cpt"]))
    ids = torch.tensor([[7, 20, 33]])
    with torch.no_grad():
        assert not torch.allclose(tuned.model(ids).logits, base.model(ids).logits)
        with tuned.model.disable_adapter():
            assert torch.equal(tuned.model(ids).logits, base.model(ids).logits)


def test_equal_runs_write_equal_bytes(chain: dict[str, Path]) -> None:
    modules = json.loads((chain["sft"] / "adapter_config.json").read_text())["target_modules"]
    assert modules == sorted(modules) and len(modules) == 14
    manifest = artifact.read(chain["sft"])
    assert manifest is not None and "log.jsonl" in manifest.volatile


def test_the_reward_model_orders_pairs_after_loading(chain: dict[str, Path]) -> None:
    assert metrics(chain["reward"])["eval_accuracy"] == 1.0
    scorer = models.load_reward(str(chain["reward"]))
    for question, answer in QUESTIONS.items():
        better = chat.render(scorer.tokenizer, user(question) + assistant(f"Gladly: {answer}")).input_ids
        worse = chat.render(scorer.tokenizer, user(question) + assistant(answer)).input_ids
        alone = [scorer.score([better])[0], scorer.score([worse])[0]]
        assert alone[0] > alone[1]
        # padding does not change a reward
        assert scorer.score([better, worse]) == pytest.approx(alone, abs=1e-5)


def test_the_reward_models_logged_accuracy_is_that_of_the_loaded_one(chain: dict[str, Path]) -> None:
    scorer = models.load_reward(str(chain["reward"]))
    rows = reward.pairs(
        reward.Data(train_file=str(chain["reward"].parent / "pairs.jsonl")), scorer.tokenizer,
        str(chain["reward"].parent / "pairs.jsonl"), Counter(),
    )  # fmt: skip
    margins = [
        a - b
        for a, b in zip(
            scorer.score([r["chosen"] for r in rows]), scorer.score([r["rejected"] for r in rows]), strict=True
        )
    ]
    assert sum(margins) / len(margins) == pytest.approx(metrics(chain["reward"])["eval_margin"], abs=1e-4)


def test_dpo_moves_towards_the_chosen_answers(chain: dict[str, Path]) -> None:
    found = metrics(chain["dpo"])
    assert found["eval_accuracy"] == 1.0
    assert found["eval_loss"] < 0.5 < 0.693
    before, after = models.load(str(chain["sft"])), models.load(str(chain["dpo"]))
    for question, answer in QUESTIONS.items():
        prompt = chat.prompt_ids(before.tokenizer, user(question))
        pair = [(prompt, before.tokenizer(text + "<|end|>")["input_ids"]) for text in (f"Gladly: {answer}", answer)]
        gaps = []
        for loaded in (before, after):
            (chosen, _, _), (rejected, _, _) = generate.log_likelihoods(loaded.model, pair)
            gaps.append(chosen - rejected)
        assert gaps[1] > gaps[0]


def test_an_adapter_on_other_weights_is_refused(chain: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    moved = tmp_path / "runs"
    shutil.copytree(chain["sft"], moved / "sft")
    other = moved / "other"
    shutil.copytree(chain["cpt"], other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["content"] = "0" * 64
    (other / "manifest.json").write_text(json.dumps(manifest))
    config = json.loads((moved / "sft" / "adapter_config.json").read_text())
    (moved / "sft" / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": str(other)}))
    with pytest.raises(UserError, match="trained on other weights"):
        models.load(str(moved / "sft"))


def test_going_on_with_another_rank_is_refused(chain: dict[str, Path], tmp_path: Path) -> None:
    recipe = dpo.Recipe(
        output_dir=str(tmp_path / "dpo"), model={"model_name_or_path": str(chain["sft"])}, adapter={"r": 4},
        data={"train_file": str(chain["reward"].parent / "pairs.jsonl")}, training=TRAINING,
    )  # fmt: skip
    with pytest.raises(UserError, match="has 8"):
        dpo.run(recipe)
    assert not (tmp_path / "dpo").exists()


def test_a_policy_is_not_taken_for_a_reward_model(chain: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="not a reward model"):
        models.load_reward(str(chain["sft"]))


def test_a_reward_model_is_not_taken_for_a_policy(chain: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="a reward model, which writes no text"):
        models.load(str(chain["reward"]))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": []},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": "\ud800"}]},
        {"prompt": None, "completion": "a"},
        {"prompt": "a", "completion": 5},
    ],
)
def test_what_is_no_conversation_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="x:1: not a conversation"):
        sft.conversation(row, "x:1")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"chosen": user("a")}, "not a preference pair"),
        ({"chosen": [{"content": "a"}]}, "not a preference pair"),
        ({"agreement": "high"}, "agreement is 'high'; write a number from 0 to 1"),
        ({"agreement": 7}, "agreement is 7; write a number from 0 to 1"),
        ({"margin": None}, "margin is None"),
    ],
)
def test_what_is_no_pair_is_refused(change: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError, match=what):
        reward.preference({"prompt": "a", "chosen": "b", "rejected": "c", **change}, "x:1")


def test_long_and_empty_conversations_are_counted(tiny_model_dir: Path, tmp_path: Path) -> None:
    tokenizer = models.load_tokenizer(str(tiny_model_dir))
    file = tmp_path / "talks.jsonl"
    write_rows(
        file,
        [
            {"messages": user("Hello") + assistant("Hi.")},
            {"messages": user("a" * 400) + assistant("b")},
            {"messages": user("c")},
        ],
    )
    left_out: Counter[str] = Counter()
    kept = sft.rows(sft.Data(train_file=str(file), max_length=64), tokenizer, file, left_out)  # type: ignore[arg-type]
    assert len(kept) == 1
    assert left_out == {"longer than max_length": 1, "no assistant turn": 1}


def test_replay_has_the_share_asked_for(tiny_model_dir: Path, tmp_path: Path) -> None:
    tokenizer = models.load_tokenizer(str(tiny_model_dir))
    write_rows(tmp_path / "a.jsonl", [{"text": "The silver fern grows in the rock house. " * 60}])
    write_rows(tmp_path / "b.jsonl", [{"text": "A little dog ran to the pond. " * 60}])
    found = []
    for replay in (None, str(tmp_path / "b.jsonl")):
        recipe = cpt.Recipe(
            output_dir=str(tmp_path / "out"), model={"model_name_or_path": str(tiny_model_dir)},
            training={"learning_rate": 1e-3},
            data={
                "train_file": str(tmp_path / "a.jsonl"), "replay_file": replay, "replay_share": 0.25, "max_length": 16,
            },
        )  # fmt: skip
        found.append(len(cpt.training_rows(recipe, tokenizer)))
    own, together = found
    assert (together - own) / together == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("module", "row", "what"),
    [
        (sft, {"subject": "a", "body": "b"}, "not a conversation; the columns are body, subject"),
        (reward, {"prompt": "a", "chosen": "b"}, "not a preference pair; the columns are chosen, prompt"),
        (dpo, {"prompt": "a", "rejected": "b"}, "not a preference pair; the columns are prompt, rejected"),
        (cpt, {"body": "a"}, "no text in column 'text'; the columns are body"),
    ],
)
def test_a_file_of_another_shape_is_a_fault_of_the_recipe(module: Any, row: Any, what: str, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [row])
    recipe = module.Recipe(
        output_dir="out", model={"model_name_or_path": "x"}, training={"learning_rate": 1e-3},
        data={"train_file": str(tmp_path / "rows.jsonl")},
    )  # fmt: skip
    (fault,) = recipe.faults()
    assert fault.key == ("data", "train_file")
    assert fault.what == f"{tmp_path / 'rows.jsonl'}:1: {what}"


@pytest.mark.parametrize(
    ("module", "data", "adapter", "key", "what"),
    [
        (sft, {"packing": True}, {"peft_type": "prompt_tuning"}, "packing", "prompt tuning puts its virtual tokens"),
        (cpt, {"replay_share": 0.2}, None, "replay_share", "0.2 of nothing: there is no data.replay_file"),
        (cpt, {"replay_share": 0.0, "replay_file": "other.jsonl"}, None, "replay_share", "0, so data.replay_file"),
    ],
)
def test_values_that_would_be_passed_over_are_faults(module: Any, data: Any, adapter: Any, key: str, what: str) -> None:
    recipe = module.Recipe(
        output_dir="out", model={"model_name_or_path": "x"}, training={"learning_rate": 1e-3},
        data={"train_file": "rows.jsonl", **data}, adapter=adapter,
    )  # fmt: skip
    (fault,) = recipe.faults()
    assert fault.key == ("data", key)
    assert fault.what.startswith(what)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"model": {"attn_implementation": "nonsense"}}, "model: .*nonsense.*; write an attn_implementation"),
        ({"adapter": {"target_modules": ["nope"]}}, "adapter: .*nope.*; write target_modules"),
        ({"training": {"optim": "nonsense"}}, "training: .*nonsense.*; write a value"),
    ],
)
def test_values_that_only_the_libraries_know_are_told_as_mistakes(
    change: dict[str, dict[str, Any]], what: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    write_rows(tmp_path / "talks.jsonl", [{"messages": user("Hello") + assistant("Hi.")}])
    keys: dict[str, Any] = {
        "model": {"model_name_or_path": str(tiny_model_dir)},
        "adapter": {"r": 4},
        "training": TRAINING,
    }
    for section, values in change.items():
        keys[section] = keys[section] | values
    recipe = sft.Recipe(output_dir=str(tmp_path / "out"), data={"train_file": str(tmp_path / "talks.jsonl")}, **keys)
    with pytest.raises(UserError, match=what):
        sft.run(recipe)
    assert not (tmp_path / "out").exists()


def test_a_decoder_that_writes_targets_learns_to_end_them(tiny_model_dir: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "pairs.jsonl", [{"source": q, "target": a} for q, a in QUESTIONS.items()])
    endless = "{% for m in messages %}{% if m.role == 'user' %}Q {{ m.content }} A{% else %}{% generation %}"
    endless += "{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}"
    (tmp_path / "endless.jinja").write_text(endless)

    def asked(template: str | None) -> seq2seq.Recipe:
        return seq2seq.Recipe(
            output_dir=str(tmp_path / "out"),
            model={"model_name_or_path": str(tiny_model_dir), "chat_template": template},
            data={"train_file": str(tmp_path / "pairs.jsonl")},
            training={**TRAINING, "max_steps": 1},
        )  # fmt: skip

    with pytest.raises(UserError, match="so the model would not stop"):
        seq2seq.run(asked(str(tmp_path / "endless.jinja")))
    seq2seq.run(asked(None))
    ends = json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"]
    assert ends == chat.end_ids(models.load_tokenizer(str(tmp_path / "out")))
