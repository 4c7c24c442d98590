"""New rows from those there are: the answer stays, the origin is named, copies and evaluation questions are refused."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import Reply, Server, answered

from data_prep import decontaminate
from data_prep.records import Conversation, read, read_rows, write_rows
from data_prep.stages import augment
from data_prep.synthesis.augmentation import Context, Origin, back_translation, eda, noise, templates
from data_prep.synthesis.novelty import Novelty
from recipes.errors import RecipeError, UserError
from recipes.load import load

ROOT = Path(__file__).resolve().parents[2]
RUN = "import sys; from data_prep.stages.augment import *; run(Recipe.model_validate_json(sys.argv[1]))"


def conversation(question: str, answer: str, id: str = "", **meta: Any) -> Conversation:
    return Conversation([{"role": "user", "content": question}, {"role": "assistant", "content": answer}], id, meta)


def origin(text: str, answer: str = "In June.", id: str = "o1", labelled: bool = False) -> Origin:
    return Origin(id, text, answer, labelled)


# Templates


@pytest.mark.parametrize(
    ("question", "indirect"),
    [
        ("What is acne?", "what acne is"),
        ("Where is the rock house?", "where the rock house is"),
        ("How is the fern treated?", "how the fern is treated"),
        ("Where are the seeds kept in winter?", "where the seeds are kept in winter"),
        ("What is the spade used for?", "what the spade is used for"),
        ("What color is the fern?", "what color the fern is"),
        ("When does the blue poppy bloom?", "when the blue poppy blooms"),
        ("Which soil does the fern need most?", "which soil the fern needs most"),
        ("How often do the ferns get water?", "how often the ferns get water"),
        ("How do I get rid of flies?", "how I get rid of flies"),
        ("Who keeps the rock house?", "who keeps the rock house"),
        ("How many people see the fern?", "how many people see the fern"),
        ("What are the changes related to acne?", None),  # not "what the changes are related to acne"
        ("Does it carry?", None),
        ("Why is the sky blue?", None),  # "why the sky is blue": where the subject ends is not certain
        ("When does the fern zigzag?", None),
        ("What should I do?", None),
        ("I have a fern. What is it?", None),
        ("Describe the fern.", None),
    ],
)
def test_a_question_in_the_order_of_a_statement(question: str, indirect: str | None) -> None:
    assert templates.indirect_question(question) == indirect


def test_frames_hold_the_question() -> None:
    made = templates.fitting("When does the fern bloom?", [])
    assert len(made) == len(set(made)) == len(templates.DIRECT) + len(templates.INDIRECT)
    assert "I have a question: When does the fern bloom?" in made
    assert "Can you tell me when the fern blooms?" in made
    assert templates.fitting("Describe the fern.", []) == [
        "Please describe the fern.", "Could you describe the fern?", "I would like you to describe the fern.",
        "Can you describe the fern?",
    ]  # fmt: skip
    assert templates.fitting("The fern is green.", []) == []
    assert templates.fitting("The fern is green.", ["So: {question}"]) == ["So: The fern is green."]


@pytest.mark.parametrize("frame", ["no place", "{question} {indirect}", "{question} {other}"])
def test_frames_without_a_place_are_refused(frame: str) -> None:
    with pytest.raises(ValueError, match="the frame"):
        templates.Settings(frames=[frame])


# Noise


def test_a_slip_changes_one_place_of_a_word() -> None:
    chance = random.Random(1)
    kinds = Counter()
    for _ in range(500):
        slipped = noise.slip("Watering", chance)
        assert slipped != "Watering" and slipped[0] == "W" and abs(len(slipped) - 8) <= 1
        kinds[len(slipped) - 8] += 1
        if len(slipped) == 8:
            different = [at for at in range(8) if slipped[at] != "Watering"[at]]
            assert len(different) == 1 or (len(different) == 2 and sorted(slipped) == sorted("Watering"))
    assert min(kinds[-1], kinds[0], kinds[1]) > 50


def test_neighbours_on_the_keyboard() -> None:
    assert (noise.neighbours("a"), noise.neighbours("G"), noise.neighbours("é")) == (["s"], ["F", "H"], [])


def test_only_some_words_slip_and_numbers_never() -> None:
    text = "Where can 12345 silver ferns grow in the old rock house of Larkmoor?"
    for seed in range(50):
        typed = noise.with_typos(text, 0.2, random.Random(seed)).split()
        changed = [word for word, was in zip(typed, text.split(), strict=True) if word != was]
        assert len(changed) == 3  # 0.2 of 13 words
        assert "12345" in typed
    assert noise.with_typos(text, 0, random.Random(1)) == text


# EDA


def words_after(operation: str, text: str, answer: str, seed: int, known: eda.Synonyms | None = None) -> str:
    return eda.changed(origin(text, answer), operation, 0.3, known or {}, random.Random(seed))


QUESTION = "When does the silver fern in the rock house open its leaves?"


@pytest.mark.parametrize("operation", ["synonym", "insert", "swap", "delete"])
def test_what_the_answer_needs_stays(operation: str) -> None:
    known = {"house": ["building"], "leaves": ["fronds"], "silver": ["grey"], "fern": ["plant"]}
    for seed in range(40):
        text = words_after(operation, QUESTION, "The silver fern opens them in June.", seed, known)
        assert text.startswith("When ")
        assert "silver" in text.split() and "fern" in text.split()
        assert text.endswith("?") and "  " not in text


def test_each_operation_does_what_its_name_says() -> None:
    known = {"house": ["building"]}
    assert words_after("synonym", QUESTION, "June.", 1, known) == QUESTION.replace("house", "building")
    inserted = words_after("insert", QUESTION, "June.", 1, known)
    assert Counter(inserted[:-1].split()) - Counter(QUESTION[:-1].split()) == Counter(["building"])
    swapped = words_after("swap", QUESTION, "June.", 1)
    assert swapped != QUESTION and sorted(swapped[:-1].split()) == sorted(QUESTION[:-1].split())
    deleted = words_after("delete", QUESTION, "June.", 1)
    assert not Counter(deleted[:-1].split()) - Counter(QUESTION[:-1].split()) and len(deleted) < len(QUESTION)


def test_deletion_is_as_frequent_as_alpha_says() -> None:
    text = "the " + " ".join(f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(400))
    left = len(eda.changed(origin(text, labelled=True), "delete", 0.1, {}, random.Random(1)).split())
    assert 401 - left == pytest.approx(40, abs=18)  # three standard deviations of 400 draws at 0.1


def test_names_numbers_and_the_first_word_stay() -> None:
    text = "Which of the 3 ferns does Mara like?"
    spans = [(0, 5), (6, 8), (9, 12), (13, 14), (15, 20), (21, 25), (26, 30), (31, 35)]
    assert [text[slice(*spans[place])] for place in eda.free_words(origin(text, "The old ones."), spans)] == [
        "of", "the", "ferns", "does", "like",
    ]  # fmt: skip


def test_synonyms_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("# a remark\nbig, large,huge\n\nBig, tall\n", encoding="utf-8")
    assert eda.read_synonyms(tmp_path / "s.txt") == {
        "big": ["large", "huge", "tall"], "large": ["big", "huge"], "huge": ["big", "large"], "tall": ["Big"],
    }  # fmt: skip
    (tmp_path / "s.txt").write_text("big\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"s\.txt:1: 'big' is no group of synonyms; big, large, huge"):
        eda.read_synonyms(tmp_path / "s.txt")
    (tmp_path / "s.txt").write_bytes(b"caf\xe9, bar")
    with pytest.raises(UserError, match="not UTF-8"):
        eda.read_synonyms(tmp_path / "s.txt")


def test_synonyms_are_learned_from_equal_answers() -> None:
    rows = []
    for plant, month in (("fern", "June"), ("rose", "May"), ("lily", "March"), ("vine", "July")):
        rows += [
            (f"When does the {plant} bloom?", f"In {month}."),
            (f"When does the {plant} flower?", f"It is {month}."),
        ]
        rows += [(f"What color is the {plant}?", f"{month} red."), (f"What size is the {plant}?", f"{month} tall.")]
    assert eda.learn(rows, 3) == {"bloom": ["flower"], "flower": ["bloom"]}
    assert eda.learn(rows, 5) == {}
    # Answers that are the same for every name teach nothing: the place takes more words than a synonym's would.
    named = [
        (f"What is known of {plant}?", "Nothing at all.")
        for plant in ("fern rose lily vine bush moss herb tree oak".split())
    ]
    assert eda.learn(named, 1) == {}


def test_the_copies_of_a_row_differ_and_depend_on_the_seed_alone() -> None:
    def texts(seed: int, origins: list[Origin]) -> list[list[str]]:
        method = noise.build(noise.Settings(copies=3, typos=0.3), Context(seed, "noise"))
        return [[candidate.text for candidate in made] for made in method(origins)]

    one, two = origin(QUESTION, id="a"), origin(QUESTION, id="b")
    assert texts(1, [one, two]) == [texts(1, [one])[0], texts(1, [two])[0]]
    assert len({text for made in texts(1, [one, two]) for text in made}) > 4
    assert texts(1, [one]) != texts(2, [one])


def test_a_share_of_the_rows() -> None:
    method = noise.build(noise.Settings(share=0.3), Context(1, "noise"))
    made = [len(candidates) for candidates in method([origin(QUESTION, id=str(n)) for n in range(1000)])]
    assert 240 < sum(made) < 360


# What is new


def nothing(tmp_path: Path) -> decontaminate.Questions:
    write_rows(tmp_path / "e.jsonl", [{"question": "which fern grows in the rock house of Larkmoor"}])
    return decontaminate.index([tmp_path / "e.jsonl"])


def test_new_tasks_by_the_rule_of_self_instruct(tmp_path: Path) -> None:
    there = Novelty(
        ["Where does the silver fern grow in winter?"], ["Who keeps the old rock house now?"], nothing(tmp_path), 0.7
    )
    assert there.task("where does the SILVER fern grow in winter") == "duplicate"
    assert there.task("Where does the golden fern grow in winter?") == "near copy of another row"  # 14 / 16
    assert there.task("Who keeps the new rock house now?") == "contaminated"
    assert there.task("Say: which fern grows in the rock house of Larkmoor?") == "contaminated"
    assert there.task("...") == "empty"
    assert there.task("How many visitors came here last year?") is None
    there.add("How many visitors came here last year?", 0)
    assert there.task("How many visitors came here this year?") == "near copy of another row"


def test_rewordings_may_be_like_their_origin_and_what_that_is_like(tmp_path: Path) -> None:
    rows = [
        "Where does the silver fern grow?",
        "Where does the golden fern grow?",
        "Tell me where the silver fern grows.",
    ]
    there = Novelty(rows, ["Please tell me where does the silver fern grow"], nothing(tmp_path), 0.7)
    assert there.rewording("Where does the silver fern grow?", 0) == "duplicate"
    assert there.rewording("where does the silver fern grow", 0) == "duplicate"
    assert there.rewording("where does the silver fern grow", 0, folded=False) is None
    assert there.rewording("Wher does the silver fern grow?", 0) is None
    assert there.rewording("Where would the silver fern grow?", 0) is None  # not nearer to the golden fern
    assert there.rewording("Where does the golden silver fern grow?", 0) == "near copy of another row"
    there.add("Well, where does the golden fern grow?", 1, rewording=True)
    assert there.rewording("Well, where does the silver fern grow?", 0) is None  # another plant's rewording
    assert there.rewording("Tell me where the silver fern grows, please.", 0) == "near copy of another row"
    assert there.rewording("Tell me where the silver fern grows, please.", 2) is None  # its own origin
    assert there.rewording("Tell me where does the silver fern grow?", 0) == "contaminated"


# The stage


def recipe(folder: Path, rows: list[Any], **keys: Any) -> augment.Recipe:
    write_rows(folder / "train_rows.jsonl", rows)
    given = {
        "train_file": str(folder / "train_rows.jsonl"),
        "output_dir": str(folder / "out"),
        "methods": {"noise": {}},
    }
    return augment.Recipe(**{**given, **keys})


def run(folder: Path, rows: list[Any], **keys: Any) -> list[dict[str, Any]]:
    augment.run(recipe(folder, rows, **keys))
    return list(read_rows(folder / "out" / "train.jsonl"))


ROWS = [
    conversation(f"When does the plant {name} bloom in the house?", f"In {name}.", f"r{name}", topic=name)
    for name in ("anemone", "begonia", "clematis", "dahlia", "erica", "freesia")
]


def test_a_new_row_is_its_origin_in_other_words_and_says_so(tmp_path: Path) -> None:
    rows = run(tmp_path, ROWS, methods={"templates": {}}, seed=7)
    assert [row["id"] for row in rows[:2]] == ["ranemone", "ranemone~templates1"]
    assert len(rows) == 12
    for old, new in zip(rows[::2], rows[1::2], strict=True):
        assert new["messages"][1] == old["messages"][1]
        assert new["messages"][0] != old["messages"][0]
        assert old["meta"] == {"topic": old["id"][1:]}
        assert new["meta"] == {**old["meta"], "augmentation": {"method": "templates", "of": old["id"], "seed": 7}}
    assert next(read(tmp_path / "out" / "train.jsonl", Conversation)).messages == ROWS[0].messages


def test_only_the_last_question_changes(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "Be kind."}, {"role": "user", "content": "What is the fern?"},
        {"role": "assistant", "content": "A plant."}, {"role": "user", "content": "Where does it grow, please?"},
        {"role": "assistant", "content": "Here."},
    ]  # fmt: skip
    _, new = run(tmp_path, [Conversation(turns, "c")])
    assert [new["messages"][at] for at in (0, 1, 2, 4)] == [turns[at] for at in (0, 1, 2, 4)]
    assert new["messages"][3]["content"] != turns[3]["content"]


def test_labelled_texts_keep_their_label(tmp_path: Path) -> None:
    rows = [
        {"body": f"The {name} fern is green and large today, and so are the others.", "kind": 3, "n": 1}
        for name in ("old", "new")
    ]
    made = run(tmp_path, rows, text_column="body", label_column="kind", methods={"eda": {"copies": 2}})
    assert [row.get("id") for row in made] == [
        None, "train_rows.jsonl#1~eda1", "train_rows.jsonl#1~eda2",
        None, "train_rows.jsonl#2~eda1", "train_rows.jsonl#2~eda2",
    ]  # fmt: skip
    assert {(row["kind"], row["n"]) for row in made} == {(3, 1)}
    assert made[1]["meta"]["augmentation"]["of"] == "train_rows.jsonl#1"


def test_rows_of_the_instructions_stage_need_no_column_named(tmp_path: Path) -> None:
    text = "The old fern is green and large today, and so are the others."
    made = run(tmp_path, [{"id": "a", "text": text, "labels": ["x", "y"]}], methods={"eda": {"copies": 1}})
    assert [(row["id"], row["labels"]) for row in made] == [("a", ["x", "y"]), ("a~eda1", ["x", "y"])]
    with pytest.raises(UserError, match="neither a conversation nor a labelled text; conversations, or rows with text "
                                        "and label or labels"):  # fmt: skip
        run(tmp_path, [{"id": "a", "text": text, "kind": "x"}], methods={"eda": {"copies": 1}})


def test_limits_and_reasons_are_counted(tmp_path: Path) -> None:
    made = run(tmp_path, ROWS, methods={"noise": {"copies": 3}, "templates": {"copies": 3}}, max_per_origin=2)
    of = Counter(row["meta"]["augmentation"]["of"] for row in made if "augmentation" in row["meta"])
    assert set(of.values()) == {2} and len(of) == 6
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    refused = list(read_rows(tmp_path / "out" / "refused.jsonl"))
    assert sum(manifest["metrics"]["refused"].values()) == len(refused) == 6 * 4
    assert {row["reason"] for row in refused} <= {"over the limit per origin", "duplicate"}
    assert manifest["metrics"]["rows"] == 6 and sum(manifest["metrics"]["new"].values()) == 12


def test_the_originals_may_be_left_out_and_nothing_is_augmented_twice(tmp_path: Path) -> None:
    first = run(tmp_path, ROWS, keep_originals=False)
    assert all("augmentation" in row["meta"] for row in first)
    again = run(tmp_path, [*first, ROWS[0]], seed=2)
    assert len(again) == len(first) + 2
    metrics = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["metrics"]
    assert metrics["augmented_before"] == len(first)


def test_validation_rows_go_through_and_nothing_new_is_like_them(tmp_path: Path) -> None:
    held_back = conversation("I have a question: When does the plant anemone bloom in the house?", "In June.")
    write_rows(tmp_path / "held.jsonl.gz", [held_back])
    held = tmp_path / "held.jsonl.gz"
    rows = run(tmp_path, ROWS[:1], validation_file=str(held), methods={"templates": {"copies": 15}}, max_per_origin=20)
    assert (tmp_path / "out" / "validation.jsonl").read_bytes() == gzip.decompress(
        (tmp_path / "held.jsonl.gz").read_bytes()
    )
    assert all("I have a question" not in row["messages"][0]["content"] for row in rows)
    reasons = {row["text"]: row["reason"] for row in read_rows(tmp_path / "out" / "refused.jsonl")}
    assert reasons[held_back.messages[0]["content"]] == "contaminated"


def test_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("house, building\nplant, herb\nbloom, flower, blossom\n", encoding="utf-8")
    methods = {"noise": {"copies": 2}, "templates": {"copies": 2, "share": 0.5},
               "eda": {"synonyms": str(tmp_path / "s.txt"),
                       "operations": ["synonym", "swap", "delete", "insert"]}}  # fmt: skip
    made = recipe(tmp_path, ROWS, methods=methods, max_per_origin=3)
    outputs = []
    for seed in ("1", "2"):
        text = made.model_copy(update={"output_dir": str(tmp_path / seed)}).model_dump_json(exclude_none=True)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", RUN, text], env=environment, check=True, capture_output=True)
        outputs.append([(tmp_path / seed / f"{name}.jsonl").read_bytes() for name in ("train", "refused")])
    assert outputs[0] == outputs[1]


def test_nothing_new_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run(tmp_path, [conversation("The fern is green.", "Yes.")], methods={"templates": {}})
    assert str(caught.value) == (
        f"{tmp_path}/train_rows.jsonl: not one new row came of 1 rows (the methods found nothing to change); "
        "other methods, more copies, or a higher near_copy"
    )


def test_a_bad_row_is_told_by_line(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"train_rows\.jsonl:2: columns x are neither a conversation nor a labelled text"
    ):
        run(tmp_path, [ROWS[0], {"x": 1}])
    with pytest.raises(UserError, match=r"train_rows\.jsonl:2: a conversation without a question and an answer to it"):
        run(tmp_path, [ROWS[0], {"messages": [{"role": "user", "content": "Who?"}]}])


# With a generator


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.close()


def asking(server: Server) -> dict[str, Any]:
    return {"kind": "endpoint", "url": server.url, "model": "some-model", "max_retries": 0, "max_concurrency": 2}


def translate(_: object, body: dict[str, Any]) -> Reply:
    """There: the words backwards. Back: in their order again, with another word for "bloom"."""
    asked, text = body["messages"][-1]["content"].split("\n\nText: ")
    backwards = " ".join(reversed(text.split()))
    return answered(f'"{backwards.replace("bloom", "flower")}"' if "English" in asked else backwards)


def test_back_translation_goes_there_and_back(tmp_path: Path, server: Server) -> None:
    server.replies = [translate]
    rows = run(tmp_path, ROWS[:2], methods={"back_translation": {"languages": ["German"]}}, generator=asking(server))
    assert rows[1]["messages"][0]["content"] == "When does the plant anemone flower in the house?"
    assert rows[1]["messages"][1] == rows[0]["messages"][1]
    assert rows[1]["meta"]["augmentation"] == {
        "method": "back_translation",
        "of": "ranemone",
        "seed": 42,
        "model": "some-model",
    }
    assert sorted(text.split("\n")[0] for text in server.asked) == [
        *["Translate the text into English. Write the translation only."] * 2,
        *["Translate the text into German. Write the translation only."] * 2,
    ]


@pytest.mark.parametrize(
    ("back", "reason"),
    [
        ("When does it bloom in 1999?", None),
        ("When does it bloom?", "a number was lost"),
        ("", "empty translation"),
        ("1999", "much longer or shorter"),
        ("1999 " * 40, "much longer or shorter"),
        ("Translation: Since when does it bloom in 1999?", None),
    ],
)
def test_translations_of_no_use(back: str, reason: str | None) -> None:
    candidate = back_translation.candidate(origin("When did it bloom in 1999?"), back, "")
    assert (candidate.reason or None) == reason
    assert not candidate.text.startswith("Translation")


def test_self_instruct_makes_new_tasks_with_all_their_origins(tmp_path: Path, server: Server) -> None:
    new = ["Which tools do the keepers carry?\nAnswer: A spade.\n\nQuestion: more",
           ROWS[3].messages[0]["content"] + "\nAnswer: x",
           "Draw a picture of the fern.\nAnswer: x", "nothing", "Why?\nAnswer: x",
           "- one more item?\nAnswer: x"]  # fmt: skip
    server.replies = [answered(text) for text in new]
    generator = {**asking(server), "max_concurrency": 1}
    rows = run(tmp_path, ROWS, methods={"self_instruct": {"examples": 3}}, generator=generator)
    made = next(row for row in rows if "augmentation" in row["meta"])
    assert len(rows) == 7
    assert made["messages"] == [
        {"role": "user", "content": "Which tools do the keepers carry?"}, {"role": "assistant", "content": "A spade."},
    ]  # fmt: skip
    note = made["meta"]["augmentation"]
    assert note["of"][0] == "ranemone" and len(set(note["of"])) == 3 and note["model"] == "some-model"
    assert "topic" not in made["meta"]
    shown = server.asked[0]
    assert shown.count("Question: ") == 3 and shown.endswith("\n\nQuestion:")
    assert [row["reason"] for row in read_rows(tmp_path / "out" / "refused.jsonl")] == [
        "duplicate", "no task for a text model", "no pair in the answer", "question too short or too long",
        "does not begin with a word",
    ]  # fmt: skip


# Recipes


def problems(text: str) -> list[str]:
    Path("a.yaml").write_text("stage: augment\noutput_dir: out\n" + text)
    with pytest.raises(RecipeError) as caught:
        load("a.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train_file: t.jsonl\n", ["a.yaml:1: methods: no method is named; "
         "name at least one of back_translation, eda, noise, self_instruct, templates"]),
        ("train_file: t.jsonl\nmethods: {template: {}}\n",
         ["a.yaml:4: methods.template: there is no key `template` in `methods`; did you mean `templates`?"]),
        ("train_file: t.jsonl\nmethods:\n  self_instruct: {}\n", [
         "a.yaml:5: methods.self_instruct: self_instruct needs a model or an endpoint to write; "
         "add `generator: {kind: model, model_name_or_path: ...}`, or kind: endpoint"]),
        ("train_file: t.jsonl\nmethods: {noise: {}}\ngenerator: {kind: model, model_name_or_path: m}\n",
         ["a.yaml:5: generator: none of the methods (noise) asks for it; remove it"]),
        ("train_file: validation.jsonl\nmethods: {noise: {}}\n", [
         "a.yaml:3: train_file: validation.jsonl is a side that is held back: "
         "augmented rows may only be trained on; name the train.jsonl beside it"]),
        ("train_file: t.jsonl\ndecontaminate: [t.jsonl]\nmethods: {noise: {}}\n",
         ["a.yaml:3: train_file: t.jsonl is also named as a file to keep apart; name different files"]),
        ("train_file: bad.jsonl\nmethods: {noise: {}}\n", ["a.yaml:3: train_file: bad.jsonl: columns x are neither a "
         "conversation nor a labelled text; rows with `messages`, or with text and label or labels "
         "(text_column: ..., label_column: ...)"]),
        ("train_file: t.jsonl\nmethods: {eda: {operations: [synonym]}}\n", [
         "a.yaml:4: methods.eda: {\"operations\": [\"synonym\"]}: "
         "no synonym without synonyms: name a file with `synonyms` or `learn_from`; correct the value"]),
        ("train_file: t.jsonl\nmethods: {noise: {typos: 0.9}}\n",
         ["a.yaml:4: methods.noise.typos: 0.9 is not at most 0.5; write a number at least 0 and at most 0.5"]),
        ("train_file: l.jsonl\nmethods: {self_instruct: {}}\ngenerator: {kind: endpoint, url: http://x/v1, model: m}\n",
         ["a.yaml:3: train_file: l.jsonl holds labelled texts, which self_instruct cannot make; remove self_instruct"]),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("t.jsonl", "validation.jsonl"):
        write_rows(name, ROWS)
    write_rows("bad.jsonl", [{"x": 1}])
    write_rows("l.jsonl", [{"text": "The fern is green.", "label": 1}])
    Path("m").mkdir()
    Path("m/config.json").write_text("{}")
    assert problems(text) == expected
