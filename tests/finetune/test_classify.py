"""Classifiers on tiny encoders and decoders: what they read, that they learn, resume exactly and can be used."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from cut_runs import cut_and_go_on
from tiny_families import build_tiny_encoder

from data_prep.records import Labelled, read_rows, write_rows
from finetune import models
from finetune.classification import encoding, losses, predicting
from finetune.stages import classify, predict
from recipes import artifact
from recipes.errors import UserError
from tests.conftest import SENTENCES

TEXTS = {
    "water": ["The silver fern wants water.", "Water the poppy in June.", "Give the lily water every day."],
    "people": ["Mara Holm keeps the house.", "The children were happy.", "She opens the door at nine."],
    "soil": ["The soil is sandy.", "Sandy soil for the lily!"],
}
TAGGED = [
    {"tokens": text.split(), "tags": tags.split()}
    for text, tags in (
        ("Mara Holm keeps the rock house", "B-PER I-PER O O B-LOC I-LOC"),
        ("The blue poppy blooms in June", "O B-PLANT I-PLANT O O B-TIME"),
    )
]
TRAINING: dict[str, Any] = {
    "learning_rate": 1e-2, "per_device_train_batch_size": 4, "logging_steps": 5, "warmup_ratio": 0.0, "report_to": [],
}  # fmt: skip
FAMILIES = ["encoder", "decoder"]
RATES = {"encoder": 4e-3, "decoder": 1e-2}


@pytest.fixture(scope="module")
def bases(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("encoder") / "model"
    return {"encoder": build_tiny_encoder(folder, SENTENCES * 3), "decoder": tiny_model_dir}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    rows = [{"text": text, "label": label} for label, several in TEXTS.items() for text in several]
    write_rows(tmp_path / "texts.jsonl", rows)
    return tmp_path / "texts.jsonl"


def recipe(base: Path, file: Path, out: Path, *, training: dict[str, Any] | None = None, **keys: Any) -> Any:
    data = {"train_file": str(file), "validation_file": str(file), "max_length": 64, **keys.pop("data", {})}
    return classify.Recipe(
        output_dir=str(out), model={"model_name_or_path": str(base)}, data=data,
        training={**TRAINING, **(training or {})}, **keys,
    )  # fmt: skip


def metrics(folder: Path) -> dict[str, Any]:
    manifest = artifact.read(folder)
    assert manifest is not None
    return manifest.metrics


# --- what is read


def test_batches_of_an_encoder_are_those_of_its_tokenizer(bases: dict[str, Path]) -> None:
    tokenizer = models.load_tokenizer(str(bases["encoder"]))
    texts = [("The silver fern", ""), ("Water", "the blue poppy in June"), ("Mara keeps the rock house.", "She opens")]
    cut: Counter[str] = Counter()
    for longest, expected in ((64, 0), (7, 2)):
        found = encoding.encode_texts(tokenizer, texts, longest, "encoder", cut)
        for row, (first, second) in zip(found, texts, strict=True):
            pair = (first, second) if second else (first,)
            wanted = tokenizer(*pair, truncation="longest_first", max_length=longest)
            assert row["input_ids"] == wanted["input_ids"]
            assert row.get("token_type_ids", [0] * len(row["input_ids"])) == wanted["token_type_ids"]
        assert cut == ({encoding.CUT: expected} if expected else {})


def test_a_decoders_pair_is_two_lines_cut_from_the_longer_one(bases: dict[str, Path]) -> None:
    tokenizer = models.load_tokenizer(str(bases["decoder"]))
    first, second = "The silver fern grows in the rock house", "Yes."
    whole = tokenizer(f"{first}\n{second}")["input_ids"]
    cut: Counter[str] = Counter()
    (row,) = encoding.encode_texts(tokenizer, [(first, second)], len(whole), "decoder", cut)
    assert row["input_ids"] == whole and not cut
    (row,) = encoding.encode_texts(tokenizer, [(first, second)], len(whole) - 3, "decoder", cut)
    tail = tokenizer(f"\n{second}")["input_ids"]
    assert row["input_ids"] == whole[: len(whole) - 3 - len(tail)] + tail and cut[encoding.CUT] == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_words_label_stands_at_its_first_token_or_where_it_has_been_read(family: Any, bases: dict[str, Path]) -> None:
    tokenizer = models.load_tokenizer(str(bases[family]))
    words = ["Mara", "unhappily", "keeps", "pond,", "house"]
    (row,) = encoding.encode_words(tokenizer, [words], 64, family, Counter())
    pieces = [tokenizer.decode([token]).strip() for token in row["input_ids"]]
    for word, place in zip(words, row["places"], strict=True):
        clean = pieces[place].removeprefix("##").lower()
        assert word.lower().startswith(clean) if family == "encoder" else word.lower().endswith(clean)
    assert row["places"] == sorted(set(row["places"])) and len(row["input_ids"]) > len(words) + 2
    cut: Counter[str] = Counter()
    (short,) = encoding.encode_words(tokenizer, [words], 6, family, cut)
    assert len(short["input_ids"]) == 6 and short["places"][0] == row["places"][0] and short["places"][-1] == -1
    assert cut == {encoding.CUT: 1, "words cut off": short["places"].count(-1)}


@pytest.mark.parametrize("family", FAMILIES)
def test_company_in_a_batch_changes_nothing(family: Any, bases: dict[str, Path]) -> None:
    loaded = models.load(str(bases[family]), head="sequence_classification", labels=["a", "b", "c"])
    texts = ["Mara Holm keeps the rock house.", "Water", "The soil of the moon lily is sandy. You are welcome. <|end|>"]
    rows = encoding.encode_texts(loaded.tokenizer, [(text, "") for text in texts], 64, family, Counter())
    rows = [{**row, "index": index} for index, row in enumerate(rows)]
    collate = encoding.collate(loaded.tokenizer.pad_token_id, family)
    together = predicting.outputs(loaded.model, rows, family, "single", collate, 3, lambda logits: logits)
    loaded.model.eval()
    for row, values in zip(rows, (together[index] for index in range(3)), strict=True):
        with torch.no_grad():  # transformers' own reading of one row without padding
            alone = loaded.model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
        assert values == pytest.approx(alone.tolist(), abs=1e-5)


def test_a_decoder_is_read_at_its_last_token_whatever_that_is(bases: dict[str, Path]) -> None:
    """Where the text ends with what also pads, transformers' own pooling reads another token."""
    loaded = models.load(str(bases["decoder"]), head="sequence_classification", labels=["a", "b"])
    pad = loaded.model.config.pad_token_id
    rows = [{"input_ids": [20, 30, pad], "index": 0}, {"input_ids": [20, 30, 40, 50], "index": 1}]
    found = predicting.outputs(
        loaded.model, rows, "decoder", "single", encoding.collate(pad, "decoder"), 2, lambda logits: logits
    )
    with torch.no_grad():
        hidden = loaded.model.model(input_ids=torch.tensor([[20, 30, pad]])).last_hidden_state[0, -1]
        theirs = loaded.model(input_ids=torch.tensor([[20, 30, pad, pad], [20, 30, 40, 50]])).logits[0]
        assert found[0] == pytest.approx(loaded.model.score(hidden).tolist(), abs=1e-6)
    assert found[0] != pytest.approx(theirs.tolist(), abs=1e-4)


# --- the losses


def test_a_decoder_whose_head_is_not_found_is_told() -> None:
    from transformers import ModernBertDecoderConfig, ModernBertDecoderForSequenceClassification

    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = ModernBertDecoderForSequenceClassification(ModernBertDecoderConfig(vocab_size=60, pad_token_id=0, **shape))
    with pytest.raises(UserError, match="ModernBertDecoderForSequenceClassification has no head called score"):
        losses.logits_of(model, {"input_ids": torch.tensor([[5, 6]]), "last": torch.tensor([1])}, "decoder", "single")


def test_losses_are_those_of_torch() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 1, 1])
    weights = torch.tensor([1.0, 0.5, 2.0, 3.0])
    ours = losses.single_loss(logits, target, weights[target], 0.1) / weights[target].sum()
    plain = torch.nn.functional.cross_entropy(logits, target, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(ours, (plain * weights[target]).sum() / weights[target].sum())
    torch.testing.assert_close(
        losses.single_loss(logits, target, weights[target]) / weights[target].sum(),
        torch.nn.CrossEntropyLoss(weight=weights)(logits, target),
    )
    several = (torch.rand(6, 4) < 0.4).float()
    torch.testing.assert_close(
        losses.multi_loss(logits, several, torch.ones(6), weights.tolist()) / 6,
        torch.nn.BCEWithLogitsLoss(pos_weight=weights)(logits, several),
    )
    tokens, labels = torch.randn(2, 5, 4), torch.tensor([[-100, 0, 1, -100, 3], [2, -100, -100, 2, -100]])
    count = weights[labels[labels != -100]].sum()
    torch.testing.assert_close(
        losses.token_loss(tokens, labels, weights.tolist()) / count,
        torch.nn.CrossEntropyLoss(weight=weights)(tokens.transpose(1, 2), labels),
    )


@pytest.mark.parametrize("kind", ["single", "tokens"])
def test_the_count_is_the_sum_of_weights(kind: str, bases: dict[str, Path]) -> None:
    tokenizer = models.load_tokenizer(str(bases["encoder"]))
    if kind == "single":
        items = [Labelled("Water", ["a"], weight=0.5), Labelled("the house", ["b"], weight=2.0)]
        rows = encoding.text_rows(
            tokenizer, items, ["a", "b"], 64, "encoder", Counter(), multi_label=False, weights=[1.0, 3.0]
        )
        batch = encoding.collate(0, "encoder")(rows)
        assert batch["weight"].tolist() == [0.5, 6.0] and float(batch["count"]) == 6.5
    else:
        row = {"input_ids": [2, 7, 8, 3], "labels": [-100, 1, 0, -100], "index": 0}
        assert float(encoding.collate(0, "encoder", [0.5, 3.0])([row])["count"]) == 3.5
        assert float(encoding.collate(0, "encoder")([row])["count"]) == 2


# --- the stage


@pytest.mark.parametrize("adapter", [None, {"r": 8, "lora_alpha": 16}], ids=["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_labels_are_learned_and_told_after_loading(
    family: str, adapter: Any, bases: dict[str, Path], texts: Path, tmp_path: Path
) -> None:
    asked = recipe(
        bases[family], texts, tmp_path / "out", adapter=adapter, classification={"class_weights": "balanced"},
        training={"max_steps": 60, "per_device_train_batch_size": 8, "learning_rate": RATES[family]},
    )  # fmt: skip
    assert asked.faults() == []
    classify.run(asked)
    found = metrics(tmp_path / "out")
    assert found["eval_accuracy"] == found["eval_f1_macro"] == 1.0 and found["eval_loss"] < 0.3
    assert found["labels"] == {"people": 3, "soil": 2, "water": 3}
    assert found["by_label"]["soil"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "rows": 2}
    assert found["confusion"] == {label: {label: len(several)} for label, several in TEXTS.items()}
    classifier = predicting.Classifier.load(tmp_path / "out")
    every = [text for several in TEXTS.values() for text in several]
    said = classifier.predict(every, batch_size=3)
    assert [one.labels for one in said] == [[label] for label, several in TEXTS.items() for _ in several]
    assert all(sum(one.probabilities.values()) == pytest.approx(1) for one in said)
    if adapter is None:  # and by transformers alone
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
        inputs = AutoTokenizer.from_pretrained(tmp_path / "out")(every[0], return_tensors="pt")
        with torch.no_grad():
            probabilities = model(input_ids=inputs["input_ids"]).logits[0].softmax(-1)
        by_name = {model.config.id2label[index]: float(value) for index, value in enumerate(probabilities)}
        assert by_name == pytest.approx(said[0].probabilities, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_words_are_tagged(family: str, bases: dict[str, Path], tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", TAGGED)
    asked = recipe(
        bases[family], tmp_path / "a.jsonl", tmp_path / "out",
        classification={"task": "token-classification"}, training={"max_steps": 60},
    )  # fmt: skip
    assert asked.faults() == []
    classify.run(asked)
    found = metrics(tmp_path / "out")
    assert found["eval_f1"] == found["eval_accuracy"] == 1.0
    assert found["by_label"]["PLANT"]["rows"] == 1 and found["confusion"]["I-PER"] == {"I-PER": 1}
    sentences = [row["tokens"] for row in TAGGED]
    assert predicting.Classifier.load(tmp_path / "out").tag(sentences) == [row["tags"] for row in TAGGED]


def test_several_labels_with_a_tuned_threshold(bases: dict[str, Path], tmp_path: Path) -> None:
    rows = [{"text": text, "labels": [label]} for label, several in TEXTS.items() for text in several]
    rows += [
        {"text": "Sandy soil and water every day.", "labels": ["soil", "water"]},
        {"text": "Gladly.", "labels": []},
    ]
    write_rows(tmp_path / "a.jsonl", rows)
    asked = recipe(
        bases["encoder"], tmp_path / "a.jsonl", tmp_path / "out",
        classification={"multi_label": True, "threshold": "tuned", "class_weights": "balanced"},
        training={"max_steps": 80, "per_device_train_batch_size": 10, "learning_rate": RATES["encoder"]},
    )  # fmt: skip
    assert asked.faults() == []
    classify.run(asked)
    found = metrics(tmp_path / "out")
    assert found["eval_f1_micro"] == 1.0 and 0 < found["eval_threshold"] < 1
    classifier = predicting.Classifier.load(tmp_path / "out")
    assert classifier.settings.threshold == found["eval_threshold"]
    assert [one.labels for one in classifier.predict([row["text"] for row in rows])] == [row["labels"] for row in rows]


@pytest.mark.parametrize("family", FAMILIES)
def test_micro_batches_are_the_big_batch(family: str, bases: dict[str, Path], tmp_path: Path) -> None:
    rows = [
        {"text": text, "label": label, "weight": 1.0 + index}
        for label, several in TEXTS.items()
        for index, text in enumerate(several)
    ]
    write_rows(tmp_path / "a.jsonl", rows)
    folder = bases[family]
    if family == "encoder":  # without dropout, whose draws depend on the batch
        folder = tmp_path / "still"
        models.save(*_without_dropout(bases[family]), folder)
    weights = []
    for size, parts in ((8, 1), (2, 4)):
        training = {
            "max_steps": 2, "per_device_train_batch_size": size, "gradient_accumulation_steps": parts, "optim": "sgd",
            "lr_scheduler_type": "constant",
        }  # fmt: skip
        asked = recipe(folder, tmp_path / "a.jsonl", tmp_path / f"out-{size}", training=training,
                       classification={"class_weights": "balanced"})  # fmt: skip
        classify.run(asked)
        weights.append(models.load(str(tmp_path / f"out-{size}"), head="sequence_classification").model.state_dict())
    for name, one in weights[0].items():
        torch.testing.assert_close(weights[1][name], one, rtol=1e-5, atol=1e-6)
    start = models.load(str(folder), head="causal" if family == "decoder" else "masked").model.state_dict()
    assert any(not torch.equal(start[name], one) for name, one in weights[0].items() if name in start)


def _without_dropout(base: Path) -> tuple[Any, Any]:
    loaded = models.load(str(base), head="masked")
    loaded.model.config.hidden_dropout_prob = loaded.model.config.attention_probs_dropout_prob = 0.0
    return loaded.model, loaded.tokenizer


@pytest.mark.parametrize("family, adapter", [("encoder", None), ("decoder", {"r": 4, "lora_dropout": 0.1})])
def test_a_cut_run_goes_on_bit_for_bit(
    family: str, adapter: Any, bases: dict[str, Path], texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, class weights, selection of the best: all as in the run that was never cut."""
    training = {
        "max_steps": 8, "save_steps": 2, "eval_steps": 2, "per_device_train_batch_size": 3,
        "metric_for_best_model": "f1_macro", "load_best_model_at_end": True,
    }  # fmt: skip
    keys = {"classification": {"class_weights": "balanced"}, "training": training, "adapter": adapter}
    classify.run(recipe(bases[family], texts, tmp_path / "whole", **keys))
    cut = cut_and_go_on(classify, recipe(bases[family], texts, tmp_path / "cut", **keys), 2, monkeypatch)
    file = "adapter_model.safetensors" if adapter else "model.safetensors"
    assert (cut / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert metrics(cut) == metrics(tmp_path / "whole")


def test_a_classifiers_adapter_goes_on_with_its_own_labels_alone(
    bases: dict[str, Path], texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: dict[str, Any] = {"adapter": {"r": 4}, "training": {"max_steps": 40}}
    first = recipe(bases["decoder"], texts, tmp_path / "first", **keys)
    classify.run(first)
    again = {"adapter": {}, "training": {"max_steps": 1, "learning_rate": 1e-6}}
    classify.run(recipe(tmp_path / "first", texts, tmp_path / "second", **again))
    losses = [metrics(tmp_path / name)["eval_loss"] for name in ("first", "second")]
    assert losses[1] == pytest.approx(losses[0], abs=0.01)
    fewer, other = tmp_path / "fewer.jsonl", tmp_path / "other.jsonl"
    write_rows(fewer, [row for row in read_rows(texts) if row["label"] != "soil"])
    write_rows(other, [{**row, "label": f"a {row['label']}"} for row in read_rows(texts)])

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    with monkeypatch.context() as patch:
        patch.setattr(models, "load_for", refused)
        own = 'write classification.labels: ["people", "soil", "water"]'
        for file, asked, write in (
            (other, {}, "start from its base, for which a head is made, or name rows with its labels"),
            (fewer, {}, own),
            (texts, {"labels": ["water", "soil", "people"]}, own),
        ):
            with pytest.raises(UserError, match="its head tells people, soil, water apart, the rows") as caught:
                classify.run(recipe(tmp_path / "first", file, tmp_path / "third", classification=asked, **again))
            assert caught.value.write == write
    kept = {"labels": ["people", "soil", "water"]}
    classify.run(recipe(tmp_path / "first", fewer, tmp_path / "fourth", classification=kept, **again))
    assert metrics(tmp_path / "fourth")["eval_accuracy"] == 1.0


def test_labels_that_training_never_saw_are_counted(
    bases: dict[str, Path], texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "check.jsonl", [{"text": "Water", "label": "water"}, {"text": "A dog", "label": "animals"}])
    data = {"validation_file": str(tmp_path / "check.jsonl"), "max_length": 8}
    classify.run(recipe(bases["encoder"], texts, tmp_path / "out", data=data, training={"max_steps": 1}))
    found = metrics(tmp_path / "out")
    assert found["unseen_labels"] == {"animals": 1} and sum(found["by_label"][n]["rows"] for n in TEXTS) == 1
    assert "labels that no training row has are left out: animals (1)" in capsys.readouterr().err
    assert found["truncated"]["cut at max_length"] > 0
    write_rows(tmp_path / "check.jsonl", [{"text": "A dog", "label": "animals"}])
    with pytest.raises(
        UserError, match=r"data.validation_file: no row has a label of the training rows \(.*\(animals\)"
    ):
        classify.run(recipe(bases["encoder"], texts, tmp_path / "none", data=data))


def test_samples_show_what_is_read(bases: dict[str, Path], texts: Path, tmp_path: Path) -> None:
    asked = recipe(bases["encoder"], texts, tmp_path / "out")
    tokenizer = models.load_tokenizer(str(bases["encoder"]))
    shown = classify.samples(asked, tokenizer, Counter())
    assert shown[0][0] == "row 1 -> water" and tokenizer.decode(shown[0][1]).startswith("[CLS] the silver fern")
    write_rows(tmp_path / "a.jsonl", TAGGED)
    asked = recipe(
        bases["encoder"], tmp_path / "a.jsonl", tmp_path / "out", classification={"task": "token-classification"}
    )
    assert [sum(mask) for _, _, mask in classify.samples(asked, tokenizer, Counter())] == [6, 6]


def test_a_folder_that_is_no_classifier_is_told(tiny_model_dir: Path) -> None:
    with pytest.raises(
        UserError, match=r"no classifier \(it has no classifier.json\); name a `stage: classify` folder"
    ):
        predicting.Classifier.load(tiny_model_dir)


def test_mistakes_are_told_before_a_model_is_loaded(bases: dict[str, Path], texts: Path, tmp_path: Path) -> None:
    def said(base: Path = bases["encoder"], file: Path = texts, **keys: Any) -> list[tuple[str, str]]:
        faults = recipe(base, file, tmp_path / "out", **keys).faults()
        return [(".".join(map(str, fault.key)), fault.what) for fault in faults]

    assert said() == []
    (tmp_path / "t5").mkdir()
    (tmp_path / "t5/config.json").write_text(json.dumps({"model_type": "t5", "is_encoder_decoder": True}))
    assert said(tmp_path / "t5") == [
        ("model.model_name_or_path",
         f"{tmp_path / 't5'} is an encoder-decoder (T5-like), and a classifier has one stack of layers")
    ]  # fmt: skip
    assert said(data={"max_length": 512}) == [("data.max_length", "512 is more than the model's context of 128 tokens")]
    write_rows(tmp_path / "a.jsonl", TAGGED)
    assert [key for key, _ in said(file=tmp_path / "a.jsonl")] == ["data.train_file", "data.validation_file"]
    keys = {"multi_label": True, "task": "token-classification"}
    assert said(file=tmp_path / "a.jsonl", classification=keys) == [
        ("classification.multi_label", "multi_label is for texts: a word has one tag")
    ]
    several = {"threshold": 2.0, "labels": ["a", "a"], "class_weights": {"b": 0.0}}
    assert [key for key, _ in said(classification=several)] == [
        "classification.threshold", "classification.threshold", "classification.labels",
        "classification.class_weights", "classification.class_weights",
    ]  # fmt: skip
    tuned = {"multi_label": True, "threshold": "tuned", "label_smoothing": 0.1}
    assert [what for _, what in said(classification=tuned, data={"validation_file": None})] == [
        "a threshold is tuned on validation rows, and there are none",
        "labels that do not exclude each other are not smoothed",
    ]


def test_a_file_is_labelled(bases: dict[str, Path], texts: Path, tmp_path: Path) -> None:
    training = {"max_steps": 60, "per_device_train_batch_size": 8, "learning_rate": RATES["decoder"]}
    classify.run(recipe(bases["decoder"], texts, tmp_path / "out", training=training))
    asked = predict.Recipe(output_dir=str(tmp_path / "said"), classifier=str(tmp_path / "out"), input_file=str(texts))
    assert asked.faults() == []
    write_rows(tmp_path / "words.jsonl", [{"tokens": ["a"]}])
    (fault,) = asked.model_copy(update={"input_file": str(tmp_path / "words.jsonl")}).faults()
    assert (
        fault.what.endswith("words.jsonl:1: no text; the columns are tokens") and fault.write == "write a column text"
    )
    predict.run(asked)
    said = list(read_rows(tmp_path / "said" / predict.PREDICTIONS))
    assert [row["predicted"] for row in said] == [[row["label"]] for row in said] and len(said) == 8
    assert all(sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5) for row in said)
    write_rows(tmp_path / "b.jsonl", [{"body": "a"}])
    wrong = predict.Recipe(
        output_dir="said", classifier=str(bases["decoder"]), input_file=str(tmp_path / "b.jsonl")
    ).faults()
    assert [fault.what for fault in wrong] == [
        f"{tmp_path / 'b.jsonl'}:1: no text and no words; the columns are body",
        f"{bases['decoder']}: no classifier (it has no classifier.json)",
    ]


def test_a_whole_classifier_keeps_no_rows_under_other_names(
    bases: dict[str, Path], texts: Path, tmp_path: Path
) -> None:
    classify.run(recipe(bases["encoder"], texts, tmp_path / "first"))
    other = tmp_path / "other.jsonl"
    write_rows(other, [{**row, "label": f"a {row['label']}"} for row in read_rows(texts)])
    with pytest.raises(UserError, match="its head tells people, soil, water apart, the rows a people, a soil"):
        classify.run(recipe(tmp_path / "first", other, tmp_path / "second"))
    classify.run(recipe(tmp_path / "first", texts, tmp_path / "third"))
