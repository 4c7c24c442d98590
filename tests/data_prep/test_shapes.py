"""Each shape, as its source writes it, is recognised and gives the right parts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from data_prep.decontaminate import Questions
from data_prep.supervised import checks, shapes
from data_prep.supervised.turns import Options, Refused

ASK, ANSWER, WORSE = ({"role": role, "content": text} for role, text in
                      (("user", "Where?"), ("assistant", "Here."), ("assistant", "Nowhere.")))  # fmt: skip
SYSTEM = {"role": "system", "content": "Be kind."}
ONE = [{"messages": [ASK, ANSWER]}]
TWO = {"prompt": [ASK], "chosen": [ANSWER], "rejected": [WORSE]}
HH = "\n\nHuman: Where?\n\nAssistant:"


def read(kind: str, row: dict[str, Any], **options: Any) -> tuple[str, list[dict[str, Any]]]:
    """Return the shape that a row is recognised as, and its parts."""
    reading = shapes.recognise(row, kind)
    assert reading is not None, row
    return reading.shape.name, reading.shape.read(row, Options(**options))


CONVERSATIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("OpenAI", "messages", {"messages": [ASK, ANSWER]}),
    ("OpenAI with parts", "messages", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Where?"}]},
                                                    ANSWER]}),
    ("in a CSV cell as JSON", "messages", {"messages": json.dumps([ASK, ANSWER])}),
    ("in a CSV cell as pandas writes it", "messages", {"messages": str([ASK, ANSWER])}),
    ("ultrachat_200k", "messages", {"prompt": "Where?", "prompt_id": "1", "messages": [ASK, ANSWER]}),
    ("ShareGPT", "sharegpt", {"conversations": [{"from": "human", "value": "Where?"},
                                                {"from": "gpt", "value": "Here."}]}),
    ("ShareGPT with roles", "sharegpt", {"conversation": [ASK, ANSWER]}),
    ("LIMA", "exchanges", {"conversations": ["Where?", "Here."], "source": "stackexchange"}),
    ("UltraChat", "exchanges", {"id": "0", "data": ["Where?", "Here."]}),
    ("Guanaco", "transcript", {"text": "### Human: Where?### Assistant: Here."}),
    ("Guanaco with lines", "transcript", {"text": "### Human: Where?\n### Assistant: Here."}),
    ("ChatML", "transcript", {"text": "<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\nHere.<|im_end|>\n"}),
    ("HH", "transcript", {"text": HH + " Here."}),
    ("Alpaca", "alpaca", {"instruction": "Where?", "input": "", "output": "Here."}),
    ("Dolly", "alpaca", {"instruction": "Where?", "context": "", "response": "Here.", "category": "open_qa"}),
    ("TRL", "prompt_completion", {"prompt": "Where?", "completion": "Here."}),
    ("TRL messages", "prompt_completion", {"prompt": [ASK], "completion": [ANSWER]}),
    ("MetaMath", "question_answer", {"query": "Where?", "response": "Here."}),
    ("P3", "question_answer", {"inputs": "Where?", "targets": "Here."}),
    ("GSM8K", "question_answer", {"question": "Where?", "answer": "Here."}),
    ("summaries as answers", "source_target", {"article": "Where?", "highlights": "Here."}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "shape", "row"), CONVERSATIONS, ids=[case[0] for case in CONVERSATIONS])
def test_conversations(name: str, shape: str, row: dict[str, Any]) -> None:
    assert read("conversations", row) == (shape, ONE)


def test_system_messages_and_earlier_exchanges_find_their_place() -> None:
    told = [{"messages": [SYSTEM, ASK, ANSWER]}]
    assert read("conversations", {"system_prompt": "Be kind.", "question": "Where?", "response": "Here."})[1] == told
    assert read("conversations", {"system": "Be kind.", "conversations": [ASK, ANSWER]})[1] == told
    assert read("conversations", {"messages": [{"role": "developer", "content": "Be kind."}, ASK, ANSWER]})[1] == told
    row = {"instruction": "Where?", "output": "Here.", "history": [["Hi", "Hello"]]}
    spoken = [turn["content"] for turn in read("conversations", row)[1][0]["messages"]]
    assert spoken == ["Hi", "Hello", "Where?", "Here."]


def test_an_answer_that_looks_like_a_list_stays_a_text() -> None:
    row = {"prompt": "Where?", "completion": '[{"x": 1}, 2]'}
    assert read("conversations", row)[1][0]["messages"][1]["content"] == '[{"x": 1}, 2]'


CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": "map"}'}}
TOOLS = [
    ASK,
    {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]},
    {"role": "tool", "content": "A3"},
    {"role": "tool", "content": "B4"},
    ANSWER,
]
CALLED = '<tool_call>\n{"name": "look", "arguments": {"at": "map"}}\n</tool_call>'


def test_tool_turns_are_refused_or_written_out() -> None:
    with pytest.raises(Refused) as caught:
        read("conversations", {"messages": TOOLS})
    assert (caught.value.reason, caught.value.detail) == ("tool turn", "assistant calls a tool")
    _, (row,) = read("conversations", {"messages": TOOLS, "tools": [{"name": "look"}]}, tool_turns="as_text")
    assert row["messages"] == [
        {"role": "system", "content": '<tools>\n{"name": "look"}\n</tools>'},
        ASK,
        {"role": "assistant", "content": f"{CALLED}\n{CALLED}"},
        {
            "role": "user",
            "content": "<tool_response>\nA3\n</tool_response>\n<tool_response>\nB4\n</tool_response>",
        },
        ANSWER,
    ]
    said = [
        ("human", "Where?"),
        ("function_call", '{"name": "look", "arguments": {}}'),
        ("observation", "A3"),
        ("gpt", "x"),
    ]
    glaive = [{"from": role, "value": text} for role, text in said]
    _, (row,) = read("conversations", {"conversations": glaive}, tool_turns="as_text")
    assert [turn["role"] for turn in row["messages"]] == ["user", "assistant", "user", "assistant"]
    assert row["messages"][1]["content"] == '<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>'


@pytest.mark.parametrize(
    ("messages", "reason", "detail"),
    [
        ([ASK, {**ANSWER, "weight": 0.5}], "weight of a turn", "0.5, not 0 or 1"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, ANSWER], "not text",
         "content holds image_url"),
        ([ASK, {"role": "assistant", "content": None}], "not text", "content is null"),
        ([ASK, {"from": "gpt", "value": "Here."}], "not a message", "needs role and content"),
    ],
)  # fmt: skip
def test_messages_that_cannot_be_read(messages: list[Any], reason: str, detail: str) -> None:
    with pytest.raises(Refused) as caught:
        read("conversations", {"messages": messages})
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


def test_an_answer_that_is_not_learnt_is_kept_where_answers_are_learnt_by_turns() -> None:
    unlearnt = {**ANSWER, "weight": 0}
    told = [{"messages": [ASK, unlearnt, ASK, ANSWER]}]
    both = [ASK, {**ANSWER, "train": False}, ASK, {**ANSWER, "weight": 1}]
    assert read("conversations", {"messages": both})[1] == told
    with pytest.raises(Refused) as caught:
        read("pairs", {"messages": [ASK, unlearnt]})
    assert caught.value.reason == "turn of weight 0"
    _, (row,) = read("preferences", {"prompt": [ASK, unlearnt, ASK], "chosen": [ANSWER], "rejected": [WORSE]})
    checked = checks.Checker(checks.Rules("preferences"), Questions()).check(row, "a:1")
    assert checked.parts == {"prompt": [ASK, ANSWER, ASK], "chosen": [ANSWER], "rejected": [WORSE]}
    _, (row,) = read("preferences", {"prompt": [ASK], "chosen": [unlearnt], "rejected": [WORSE]})
    with pytest.raises(Refused, match="turn of weight 0"):
        checks.Checker(checks.Rules("preferences"), Questions()).check(row, "a:1")


PREFERENCES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("TRL texts", "preference", {"prompt": "Where?", "chosen": "Here.", "rejected": "Nowhere."}, TWO),
    ("TRL messages", "preference", {"prompt": [ASK], "chosen": [ANSWER], "rejected": [WORSE]}, TWO),
    ("TRL implicit prompt", "preference", {"chosen": [ASK, ANSWER], "rejected": [ASK, WORSE]}, TWO),
    ("UltraFeedback", "preference", {"prompt": "Where?", "chosen": [ASK, ANSWER], "rejected": [ASK, WORSE],
     "score_chosen": 8.5, "score_rejected": 6}, {**TWO, "margin": 2.5}),
    ("HH", "preference", {"chosen": HH + " Here.", "rejected": HH + " Nowhere."}, TWO),
    ("HH with prompt", "preference", {"prompt": HH, "chosen": "Here.", "rejected": "Nowhere."}, TWO),
    ("Orca", "preference", {"system": "Be kind.", "question": "Where?", "chosen": "Here.", "rejected": "Nowhere."},
     {**TWO, "prompt": [SYSTEM, ASK]}),
    ("LLaMA-Factory", "preference", {"conversations": [{"from": "human", "value": "Where?"}],
     "chosen": {"from": "gpt", "value": "Here."}, "rejected": {"from": "gpt", "value": "Nowhere."}}, TWO),
    ("system beside both", "preference", {"system": "Be kind.", "prompt": "Where?", "chosen": [ASK, ANSWER],
     "rejected": [ASK, WORSE]}, {**TWO, "prompt": [SYSTEM, ASK]}),
    ("StackExchange", "preference", {"question": "Where?", "response_j": "Here.", "response_k": "Nowhere."}, TWO),
    ("distilabel", "preference", {"instruction": "Where?", "chosen_response": "Here.", "rejected_response": "Nowhere.",
     "chosen_rating": 5, "rejected_rating": 5}, {**TWO, "margin": 0.0}),
    ("AlpacaFarm", "compared", {"instruction": "Where?", "input": "", "output_1": "Nowhere.", "output_2": "Here.",
     "preference": 2}, TWO),
    ("arena", "compared", {"conversation_a": [ASK, ANSWER], "conversation_b": [ASK, WORSE], "winner": "model_a"}, TWO),
    ("SafeRLHF", "compared", {"prompt": "Where?", "response_0": "Nowhere.", "response_1": "Here.",
     "better_response_id": 1}, TWO),
    ("numbered answers", "compared", {"prompt": "Where?", "answer_a": "Here.", "answer_b": "Nowhere.",
     "preferred": "answer_a"}, TWO),
    ("WebGPT", "compared", {"question": "Where?", "answer_0": "Nowhere.", "score_0": -0.5, "answer_1": "Here.",
     "score_1": 0.5}, {**TWO, "margin": 1.0}),
    ("SHP", "compared", {"history": "Where?", "human_ref_A": "Nowhere.", "human_ref_B": "Here.", "labels": 0}, TWO),
    ("SHP with votes", "compared", {"history": "Where?", "human_ref_A": "Here.", "human_ref_B": "Nowhere.",
     "score_A": 9, "score_B": 3, "labels": 1}, {**TWO, "agreement": 0.75, "raters": 12}),
    ("Nectar", "ranked", {"prompt": "Where?", "answers": [{"answer": "Nowhere.", "rank": 4}, {"answer": "Here.",
     "rank": 1}]}, {**TWO, "margin": 3.0}),
    ("UltraFeedback raw", "ranked", {"instruction": "Where?", "completions": [{"response": "Here.", "overall_score": 8},
     {"response": "Nowhere.", "overall_score": "6.5"}]}, {**TWO, "margin": 1.5}),
    ("two lists", "ranked", {"prompt": "Where?", "responses": ["Nowhere.", "Here."], "scores": [0.25, 1]},
     {**TWO, "margin": 0.75}),
    ("votes", "ranked", {"question": "Where?", "answers": [{"text": "Here.", "votes": 3}, {"text": "Nowhere.",
     "votes": 1}]}, {**TWO, "agreement": 0.75, "raters": 4}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "shape", "row", "wanted"), PREFERENCES, ids=[case[0] for case in PREFERENCES])
def test_preferences(name: str, shape: str, row: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert read("preferences", row) == (shape, [wanted])


HH = "\n\nHuman: Where?\n\nAssistant:"


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("preferences", {"prompt": HH, "chosen": "Here.", "rejected": "Nowhere."}),
        ("preferences", {"prompt": HH, "answers": [{"answer": "Here.", "rank": 1}, {"answer": "Nowhere.", "rank": 2}]}),
        ("preferences", {"prompt": HH, "response_a": "Here.", "response_b": "Nowhere.", "winner": "a"}),
        ("unpaired", {"prompt": HH, "completion": "Here.", "label": True}),
        ("conversations", {"prompt": HH, "completion": "Here."}),
        ("conversations", {"prompt": HH, "response": "Here."}),
        ("pairs", {"prompt": HH, "response": "Here."}),
    ],
)
def test_the_marks_of_a_prompt_are_no_text(kind: str, row: dict[str, Any]) -> None:
    (parts,) = read(kind, row)[1]
    assert "Human" not in str(parts) and "Assistant" not in str(parts)
    assert parts.get("source") == "Where?" or parts.get("prompt", parts.get("messages"))[0] == ASK


def test_a_ranked_list_gives_every_pair_that_differs_the_widest_first() -> None:
    answers = [{"answer": name, "grade": grade} for name, grade in (("a", 2), ("b", 4), ("c", 2), ("d", 1))]
    row = {"prompt": "Where?", "answers": answers}

    def pairs(**options: Any) -> list[tuple[str, str, float]]:
        found = read("preferences", row, **options)[1]
        return [(one["chosen"][0]["content"], one["rejected"][0]["content"], one["margin"]) for one in found]

    assert pairs() == [("b", "d", 3), ("b", "a", 2), ("b", "c", 2), ("a", "d", 1), ("c", "d", 1)]
    assert pairs(max_pairs=2) == [("b", "d", 3), ("b", "a", 2)]
    assert pairs(min_margin=2.5) == [("b", "d", 3)]


def test_rows_with_one_rated_answer_each_are_gathered_by_prompt() -> None:
    rows = [
        ("Where?", "Here.", 4),
        ("When?", "Now.", 1),
        ("Where?", "Nowhere.", 1),
        ("Who?", "Me.", 2),
        ("Who?", "You.", 2),
    ]
    held = []
    for line, (prompt, response, score) in enumerate(rows, 1):
        name, (parts,) = read("preferences", {"prompt": prompt, "response": response, "helpfulness": score})
        held.append((line, parts))
    assert name == "rated"
    gathered = list(shapes.named("rated", "preferences").gather(held, Options()))
    assert gathered[0] == (1, [{**TWO, "margin": 3.0}])
    assert [(place, one.reason) for place, one in gathered[1:]] == [(2, "one answer only"), (4, "no better answer")]


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({"prompt": "Where?", "answer_a": "x", "answer_b": "y", "winner": "tie"}, "tie", "winner is tie"),
        ({"prompt": "Where?", "answer_a": "x", "answer_b": "y", "winner": "z"}, "unknown verdict", "winner is 'z'"),
        ({"prompt": "Where?", "chosen": "x", "rejected": "y", "score_chosen": 1, "score_rejected": 2},
         "chosen is scored lower", "1 against 2"),
        ({"prompt": "Where?", "responses": ["x", "y"], "scores": [1]}, "lists of two lengths", "2 answers, 1 numbers"),
        ({"prompt": "Where?", "answers": [{"text": "x", "rank": 1}]}, "one answer only", "1"),
        ({"prompt": "Where?", "answers": [{"text": "x", "rank": 1}, {"text": "y", "rank": "low"}]}, "not a number",
         "rank is 'low'"),
        ({"prompt": "Where?", "answers": [{"text": "x", "rank": 1}, {"text": "y"}]}, "not an answer",
         "needs one of rank, "),
        ({"chosen": "x", "rejected": "y"}, "no prompt", ""),
    ],
)  # fmt: skip
def test_preferences_that_cannot_be_read(row: dict[str, Any], reason: str, detail: str) -> None:
    if reason == "no prompt":
        assert read("preferences", row)[1][0]["prompt"] == []  # refused by the check of turns
        return
    with pytest.raises(Refused) as caught:
        read("preferences", row)
    assert caught.value.reason == reason
    assert caught.value.detail.startswith(detail)


@pytest.mark.parametrize("label", [True, 1, "true", "thumbs_up", "1"])
def test_single_judgements(label: Any) -> None:
    row = {"prompt": "Where?", "completion": "Here.", "label": label}
    assert read("unpaired", row) == ("judged", [{"prompt": [ASK], "completion": [ANSWER], "label": True}])
    assert read("unpaired", {"messages": [ASK, ANSWER], "label": False})[1][0]["label"] is False
    with pytest.raises(Refused, match="unknown label"):
        read("unpaired", {**row, "label": "perhaps"})
    with pytest.raises(Refused, match="label missing"):
        read("unpaired", {**row, "label": None})


def test_a_pair_is_also_two_single_judgements_and_a_question_a_pair_of_texts() -> None:
    parts = read("unpaired", PREFERENCES[0][2])[1]
    assert [(one["completion"], one["label"]) for one in parts] == [([ANSWER], True), ([WORSE], False)]
    assert read("pairs", {"instruction": "Where?", "output": "Here."})[1] == [{"source": "Where?", "target": "Here."}]
    with pytest.raises(Refused, match="not one exchange"):
        read("pairs", {"messages": [ASK, ANSWER, ASK, ANSWER]})


LABELLED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("text", {"text": "x", "label": "joy"}, {"text": "x", "labels": ["joy"]}),
    ("number", {"sentence": "x", "label": 1}, {"text": "x", "labels": ["1"]}),
    ("float of pandas", {"sentence": "x", "label": 1.0}, {"text": "x", "labels": ["1"]}),
    ("truth", {"text": "x", "label": True}, {"text": "x", "labels": ["true"]}),
    ("list", {"text": "x", "labels": ["a", "b", "a"]}, {"text": "x", "labels": ["a", "b"]}),
    ("no label applies", {"text": "x", "labels": []}, {"text": "x", "labels": []}),
    ("list in a cell", {"text": "x", "labels": "['a', 'b']"}, {"text": "x", "labels": ["a", "b"]}),
    ("names beside numbers", {"text": "x", "label": 3, "label_text": "joy"}, {"text": "x", "labels": ["joy"]}),
    ("two texts", {"premise": "x", "hypothesis": "y", "label": "no"},
     {"text": "x", "text_pair": "y", "labels": ["no"]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "row", "wanted"), LABELLED, ids=[case[0] for case in LABELLED])
def test_text_and_label(name: str, row: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert read("classification", row) == ("text_label", [wanted])


def test_labels_are_held_to_a_list() -> None:
    known = {"labels": ("bad", "good")}
    assert read("classification", {"text": "x", "label": "good"}, **known)[1][0]["labels"] == ["good"]
    assert read("classification", {"text": "x", "label": 0}, **known)[1][0]["labels"] == ["bad"]
    for value, reason in ((2, "label not in the list"), ("fine", "label not in the list"), ("", "label missing"),
                          (None, "label missing"), (0.5, "label is no name"), ({}, "missing column")):  # fmt: skip
        row = {"text": "x", "label": value} if value != {} else {"text": "x"}
        with pytest.raises(Refused) as caught:
            shapes.named("text_label", "classification").read(row, Options(**known))
        assert caught.value.reason == reason, value
    separated = read("classification", {"text": "x", "label": "a; b"}, label_separator=";")[1][0]
    assert separated["labels"] == ["a", "b"]


def test_tokens_and_tags() -> None:
    row = {"tokens": ["Mara", "digs"], "ner_tags": ["B-PER", "O"], "pos_tags": [1, 2]}
    assert read("classification", row) == ("tokens_tags", [{"tokens": ["Mara", "digs"], "tags": ["B-PER", "O"]}])
    with pytest.raises(Refused, match="lists of two lengths"):
        read("classification", {**row, "ner_tags": ["O"]})
    with pytest.raises(Refused, match="not text"):
        read("classification", {**row, "tokens": ["Mara", None]})


def test_pairs() -> None:
    made = [{"source": "x", "target": "y"}]
    for row in ({"source": "x", "target": "y"}, {"article": "x", "summary": "y"}, {"mr": "x", "ref": "y"},
                {"dialogue": "x", "summary": "y"}):  # fmt: skip
        assert read("pairs", row) == ("source_target", made)
    assert read("pairs", {"mr": "x", "refs": ["y", "z", "y"]})[1] == [*made, {"source": "x", "target": "z"}]
    with pytest.raises(Refused, match="empty answer"):
        read("pairs", {"mr": "x", "refs": []})


def test_translations_go_in_the_direction_that_is_asked_for() -> None:
    row = {"translation": {"en": "tree", "de": "Baum", "fr": "arbre"}}
    assert read("pairs", row)[1] == [
        {"source": "tree", "target": "Baum", "source_language": "en", "target_language": "de"}
    ]
    (one,) = read("pairs", row, languages=("de", "fr"))[1]
    assert (one["source"], one["target"]) == ("Baum", "arbre")
    with pytest.raises(Refused, match="language missing"):
        read("pairs", row, languages=("de", "it"))


def test_of_two_shapes_that_fit_the_first_is_taken_and_the_others_are_named() -> None:
    reading = shapes.recognise({"instruction": "a", "input": "b", "output": "c"}, "conversations")
    assert reading is not None
    assert (reading.shape.name, [one.name for one in reading.others]) == ("alpaca", ["question_answer"])


def test_columns_are_renamed_joined_and_looked_up_inside() -> None:
    row = {"title": "T", "body": ["B", "C"], "info": {"answer": "A"}, "toxic": "1", "rude": 0, "rest": 1}
    found = shapes.renamed(row, {"question": ["title", "body"], "answer": "info.answer", "labels": ["toxic", "rude"]})
    assert found == {"info": row["info"], "rest": 1, "question": "T\n\nB\n\nC", "answer": "A", "labels": ["toxic"]}


ODD: list[Any] = [
    None, True, 5, -0.5, "", " ", "x", "[", "[1]", '{"a": 1}', [], {}, [None], [1], ["x"], [[]], [{}],
    [{"role": "user"}], {"en": 1, "de": "x"},
    [{"role": "user", "content": 5}], [{"role": 5, "content": "x"}], [{"from": "gpt", "value": None}], {"role": "user"},
    {"content": "x"}, [{"answer": "x"}], [{"rank": 1}], [{"text": None, "score": None}], {"en": "x"},
    [{"role": "assistant", "tool_calls": [5]}], [{"role": "assistant", "content": "x", "tool_calls": "{"}],
    [{"role": "tool", "content": {"x": 1}}], "\n\nHuman: x\n\nAssistant:", 10**400, "é" * 300,
]  # fmt: skip


@pytest.mark.parametrize("tool_turns", ["refuse", "as_text"])
@pytest.mark.parametrize("kind", shapes.KINDS)
def test_whatever_stands_in_a_cell_a_row_is_read_or_refused(kind: str, tool_turns: str) -> None:
    checker = checks.Checker(checks.Rules(kind, duplicates=False), Questions())
    options, refused, kept = Options(tool_turns=tool_turns, languages=("en", "de")), 0, 0
    for shape in shapes.readable(kind):
        for needs in shape.module.NEEDS[:30:6]:
            for name in [*needs, *shape.module.MAY]:
                for value in ODD:
                    row = {other: other for other in needs} | {name: value}
                    shapes.recognise(row, kind)
                    try:
                        found = shape.read(row, options)
                        held = [(1, one) for one in found]
                        for _, made in shape.gather(held, options) if shape.gathers else [(1, found)]:
                            for one in made if isinstance(made, list) else ():
                                json.dumps(checker.check(one, "a:1").parts)
                                kept += 1
                    except Refused:
                        refused += 1
    assert refused > 100 and kept > 5


@pytest.mark.parametrize("module", shapes.modules(), ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_shape_says_what_it_is(module: Any) -> None:
    assert module.KIND in shapes.KINDS
    assert module.NEEDS and all(isinstance(names, tuple) and names for names in module.NEEDS)
    assert isinstance(module.ORDER, int) and module.WHY and isinstance(module.MAY, tuple)
    assert module.__doc__
