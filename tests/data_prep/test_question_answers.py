"""Questions from documents: passages keep their places, rules say what a text says, checks have their reasons."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import Reply, Server, answered

from data_prep.records import Conversation, Document, read, read_rows, write_rows
from data_prep.stages import question_answers
from data_prep.synthesis.question_answers import checks, prompts, rules, words
from data_prep.synthesis.question_answers.duplicates import Asked
from data_prep.synthesis.question_answers.passages import Pair, passages, spans
from data_prep.synthesis.question_answers.rules.headings import infinitive
from recipes.errors import RecipeError, UserError
from recipes.load import load

ROOT = Path(__file__).resolve().parents[2]
RUN = "import sys; from data_prep.stages.question_answers import *; run(Recipe.model_validate_json(sys.argv[1]))"
LIMITS = checks.Limits(grounding=0.8, together=2, min_answer_words=2, max_answer_characters=300, max_question_words=20)


def document(text: str, title: str = "Acne", id: str = "d1") -> Document:
    return Document(id, text, "s", title)


def found(text: str, title: str = "Acne") -> list[tuple[str, str, str]]:
    """Return rule, question and answer of all pairs, after the checks."""
    return [
        (pair.maker, pair.question, pair.answer)
        for passage in passages(document(text, title), 1500)
        for pair in rules.find(passage)
        if checks.reason(pair, passage, LIMITS) is None
    ]


# Passages


TEXT = """# Ferns

The silver fern is a plant. It grows up to 1.5 m, e.g. in the rock house. Dr. Holm keeps it!

## Watering

- Give it water.
- Do not let it dry out.

Questions and answers
=====================

Who keeps the fern?

Mara Holm keeps the silver fern, with the help of a great many visitors who come by.
"""


def test_sentences_end_where_they_end() -> None:
    text = 'It is 1.5 m, e.g. Tall. Dr. Holm said no! "Why?" (See J. R. Smith.) In the U.S. It rains. end'
    assert [text[start:end] for start, end in spans(text)] == [
        "It is 1.5 m, e.g. Tall.", "Dr. Holm said no!", '"Why?"', "(See J. R. Smith.)", "In the U.S. It rains. end",
    ]  # fmt: skip


def test_passages_know_their_section_and_their_place() -> None:
    cut = list(passages(document(TEXT, "Ferns"), 1000))
    assert [(passage.heading, passage.text.split("\n")[0][:20]) for passage in cut] == [
        ("Ferns", "The silver fern is a"), ("Watering", "- Give it water."),
        ("Who keeps the fern?", "Mara Holm keeps the "),
    ]  # fmt: skip
    for passage in cut:
        for sentence in passage.sentences:
            assert " ".join(TEXT[sentence.start : sentence.end].split()) == sentence.text
    assert [sentence.text for sentence in cut[1].sentences] == ["Give it water.", "Do not let it dry out."]


def test_long_sections_are_cut_between_sentences() -> None:
    text = " ".join(f"Sentence number {number} is here." for number in range(60))
    cut = list(passages(document(text), 200))
    assert " ".join(passage.text for passage in cut) == text
    assert all(len(passage.text) <= 200 and passage.text.endswith(".") for passage in cut)
    assert [passage.first for passage in cut[:3]] == [True, False, False]
    longer = "word " * 100
    assert [passage.text for passage in passages(document(longer), 100)] == [longer.strip()]


def test_code_and_lists_hold_no_headings() -> None:
    text = "Intro text that stands here.\n\n```\n# a remark in code\n\nX\n```\n\n- An item\n\nlower case line\n\nSome."
    assert [passage.heading for passage in passages(document(text, "T"), 1000)] == [""]


# Rules: a sentence, and the question that a reader would put to it.

SENTENCES = [
    ("definitions", "What is acne?", "Acne is a disease of the skin that comes and goes."),
    ("definitions", "What are cytokines?", "Cytokines are small proteins that carry messages between cells."),
    ("definitions", "What is another name for acne?", "Acne is also called acne vulgaris by doctors."),
    ("definitions", "What does the term rosacea mean?", "The term rosacea refers to a redness of the face."),
    ("causes", "What causes acne?", "Acne is usually caused by blocked pores in the skin."),
    ("causes", "What causes acne?", "Mutations in the ACN1 gene cause acne."),
    ("causes", "What is the exact cause of acne?", "The exact cause of acne is unknown in most people."),
    ("causes", "When does acne occur?", "Acne occurs when pores are blocked by oil."),
    ("symptoms", "What are the signs and symptoms of acne?", "Common signs and symptoms of acne include red spots."),
    ("symptoms", "What is acne characterized by?", "Acne is characterized by red spots on the face."),
    ("symptoms", "What can acne cause?", "Acne can cause scars that stay for years."),
    ("methods", "How is acne diagnosed?", "Acne is usually diagnosed by looking at the skin."),
    ("methods", "How can acne be treated?", "Acne can be treated with creams and with patience."),
    ("methods", "What is the treatment for acne?", "Treatment of acne may include creams and tablets."),
    ("methods", "What is retinol cream used for?", "Retinol cream is used to open the pores of the skin."),
    ("numbers", "How common is acne?", "Acne affects about 85 percent of all teenagers."),
    ("numbers", "What is the prevalence of acne?", "The prevalence of acne is highest at seventeen years."),
    ("numbers", "When was the Acne Society founded?", "The Acne Society was founded in 1923 by three doctors."),
    ("numbers", "What is the most common form of acne?", "The most common form of acne is acne vulgaris."),
    ("numbers", "Who is the keeper of the Acne Museum?", "The keeper of the Acne Museum is Mara Holm."),
    ("relations", "What does the ACN1 gene provide instructions for making?",
     "The ACN1 gene provides instructions for making a protein of the skin."),
    ("relations", "Where are acne spots found?", "Acne spots are found on the face and on the back."),
    ("relations", "When does acne begin?", "Acne usually begins in adolescence and ends after it."),
    ("relations", "How is acne inherited?", "Acne is inherited in a way that nobody knows."),
    ("relations", "What does an acne cream contain?", "An acne cream contains oil, water and a little acid."),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "question", "sentence"), SENTENCES, ids=[question for _, question, _ in SENTENCES])
def test_a_sentence_gives_its_question(rule: str, question: str, sentence: str) -> None:
    text = f"Doctors see many of the visitors. {sentence}"
    assert (rule, question, sentence) in found(text)


@pytest.mark.parametrize(
    "sentence",
    [
        "This is a disease that comes and goes.",
        "It is caused by blocked pores in the skin.",  # nothing said before what "it" is
        "The procedure is a way that doctors take.",
        "The lens is made of glass and of plastic.",
        "Symptoms are a thing that people dislike.",
        "There is a cream that helps many people.",
        "Surgery is an important part of treatment.",
        "People are caused by other people at times.",
        "Decisions about the best treatment are based on the results of tests.",
        "Vision often returns to normal within two weeks.",
        "Flu almost never causes an upset stomach at all.",
        "What I call art is caused by blocked pores here.",
        "Where it hurts is caused by something that nobody knows.",
        "Pumping Action In normal hearts is a thing of the past.",
        "Such spots are proteins that carry these messages.",
        "Acne is a - red - sore - hot disease of the skin.",
        "Acne acne is a disease of the skin.",
        "The symptoms of faces last longer and are more severe than others.",
        "Other causes of this are caused by blocked pores.",
    ],
)
def test_a_sentence_that_names_nothing_gives_none(sentence: str) -> None:
    assert found(f"Doctors see many of the visitors. {sentence}", title="Faces") == []


def test_a_pronoun_stands_for_the_title_after_a_sentence_about_it() -> None:
    text = "Acne is a disease of the skin. It is caused by blocked pores. He said so. It is treated with creams."
    assert [question for _, question, _ in found(text)] == ["What causes acne?", "What is acne?"]


def test_names_keep_their_capitals_and_words_lose_them() -> None:
    text = (
        "People with Wilson disease are rare. Wilson disease is a disorder of copper. "
        "Muscle Tone is a thing of muscles. The tone is low."
    )
    assert [question for _, question, _ in found(text, title="Wilson Disease")] == [
        "What is Wilson disease?", "What is Muscle Tone?",
    ]  # fmt: skip
    text = "Adult acne is a disease of the skin. An adult knows it."
    assert found(text, title="Adult Acne")[0][1] == "What is adult acne?"


def test_a_page_of_questions_is_taken_at_its_word() -> None:
    text = (
        "Acne\n\nWhat is (are) Acne ?\nYoung people have acne most. It is a disease of the skin.\n\n"
        "Is Acne inherited ?\nIn many families more than one person has it.\n\n"
        "How to prevent Acne ?\nWash your face with warm water twice a day.\n\n"
        "Who gets it?\nWho knows?\n"
    )
    assert [(question, answer) for rule, question, answer in found(text) if rule == "faq"] == [
        ("What is acne?", "Young people have acne most. It is a disease of the skin."),
        ("How is acne inherited?", "In many families more than one person has it."),
        ("How do you prevent acne?", "Wash your face with warm water twice a day."),
    ]
    text = "Q: Where is the shop?\nA: The shop is behind the rock house.\n\n**Q2:** When?\n**A2:** At nine.\n"
    assert ("faq", "Where is the shop?", "The shop is behind the rock house.") in found(text)


def test_headings_are_questions_about_the_title() -> None:
    text = (
        "## Causes\n\nBlocked pores and oil are to blame for most of it.\n\n"
        "## Installing the package\n\nDownload the archive and unpack it into a folder of your own.\n\n"
        "## How to wash a face\n\nUse warm water and a little soap, then dry it with a towel.\n\n"
        "## More\n\nNothing to see in here today.\n"
    )
    assert [(question, answer) for rule, question, answer in found(text) if rule == "headings"] == [
        ("What causes acne?", "Blocked pores and oil are to blame for most of it."),
        ("How do you install the package?", "Download the archive and unpack it into a folder of your own."),
        ("How do you wash a face?", "Use warm water and a little soap, then dry it with a towel."),
    ]


@pytest.mark.parametrize(
    ("gerund", "verb"),
    [("training", "train"), ("using", "use"), ("running", "run"), ("making", "make"), ("creating", "create"),
     ("installing", "install"), ("adding", "add"), ("setting", "set"), ("writing", "write"), ("building", "build"),
     ("saving", "save"), ("loading", "load"), ("managing", "manage"), ("testing", "test"), ("choosing", "choose"),
     ("reading", "read"), ("changing", "change"), ("configuring", "configure"), ("starting", "start"),
     ("enabling", "enable"), ("deploying", "deploy"), ("caring", "care"), ("watering", "water"), ("helping", "help")],
)  # fmt: skip
def test_infinitives(gerund: str, verb: str) -> None:
    assert infinitive(gerund) == verb


def test_lines_of_keys_and_values() -> None:
    text = "The card\n\nSoil: sand and gravel\n- **Height**: two feet\nPests: snails and mice\n\nNote: a sentence."
    pairs = found(text, title="The fox lily - Larkmoor Garden")
    assert pairs == [
        ("key_values", "What is the soil of the fox lily?", "sand and gravel"),
        ("key_values", "What is the height of the fox lily?", "two feet"),
        ("key_values", "What are the pests of the fox lily?", "snails and mice"),
    ]
    assert found("The log\n\n```\nSoil: sand and gravel\nHeight: two feet\n```\n", title="The fox lily") == []
    assert found("Soil: sand and gravel\n\nThat is all there is to say here.", title="The fox lily") == []


def test_an_answer_is_its_document_word_for_word() -> None:
    text = (
        "Acne is a\n   disease of the skin. It is caused by blocked pores.\n\nWhat helps?\nWash your face\nwith water."
    )
    for passage in passages(document(text), 1000):
        for pair in rules.find(passage):
            assert pair.start is not None and pair.end is not None
            assert " ".join(text[pair.start : pair.end].split()) == pair.answer


def test_only_the_rules_that_are_named() -> None:
    (passage,) = passages(document("Acne is a disease of the skin. It is caused by blocked pores."), 1000)
    assert [pair.maker for pair in rules.find(passage, ["causes"])] == ["causes"]


# Checks


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("Acne and its causes", "blocked pores in the skin", "not a question"),
        ("Pores acne blocked?", "blocked pores in the skin", "not a question"),
        ("What's acne?", "blocked pores in the skin", "question too short"),
        ("What is acne " + "and acne " * 10 + "?", "blocked pores", "question too long"),
        ("What causes acne?", "pores", "answer too short"),
        ("What causes acne?", "blocked pores " * 30, "answer too long"),
        ("What does the passage say of acne?", "blocked pores in the skin", "refers to the text"),
        ("What does this article call acne?", "blocked pores in the skin", "refers to the text"),
        ("What causes acne?", "It is described above: blocked pores.", "refers to the text"),
        ("What causes acne?", "Below is a list: blocked pores.", "refers to the text"),
        ("What causes acne?", "This has to do with blocked pores.", "refers to the text"),
        ("What is it?", "a disease of the skin", "names nothing"),
        ("What causes this condition?", "blocked pores in the skin", "names nothing"),
        ("How is it treated?", "with creams for the skin", "names nothing"),
        ("Is acne caused by blocked pores?", "Yes, by blocked pores.", "yes or no question"),
        ("What is the sore skin called?", "It is acne.", "answered by the title"),
        (
            "What do blocked pores of the skin cause in acne?",
            "blocked pores of the skin",
            "answer repeats the question",
        ),
        ("What causes acne?", "bad food, stars and the moon", "ungrounded"),
        ("What share of people has acne?", "90 percent of people in the skin", "ungrounded"),
        ("Who was the emperor of Rome under Nero?", "blocked pores in the skin", "question not about the passage"),
        ("What causes acne?", "Blocked pores in the skin.", None),
        ("Name the cause of acne?", "It comes from a blocked pore.", None),
        ("What share of people has acne?", "It has 85 percent of people.", None),
    ],
)
def test_each_bad_pair_has_its_reason(question: str, answer: str, reason: str | None) -> None:
    text = "Acne is a disease of the skin. It comes from blocked pores. 85 percent of people have it; creams help."
    (passage,) = passages(document(text), 1000)
    assert checks.reason(Pair(question, answer), passage, LIMITS) == reason


def test_grounding_is_a_share_of_content_words() -> None:
    (passage,) = passages(document("Blocked pores cause red spots."), 1000)
    pair = Pair("What causes acne?", "The pores, the spots, and the moon and stars")
    assert words.content(pair.answer) == ["pore", "spot", "moon", "star"]
    assert checks.reason(pair, passage, LIMITS) == "ungrounded"
    assert checks.reason(pair, passage, checks.Limits(0.5, 2, 2, 300, 20)) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("The acne cream is white and costs five euros.", None),  # two neighbours; the title holds for all
        ("The cream is white. Old people wash with soap.", None),  # two sentences, each from its own place
        ("The cream of old people is white.", "pieced together"),
        ("The cream is white. Five old people wash euros.", "pieced together"),
        ("Sun helps old people. They wash.", None),
    ],
)
def test_an_answer_is_said_in_one_place(answer: str, reason: str | None) -> None:
    text = "The cream is white. It costs five euros. Sun helps young people. Old people wash with soap."
    (passage,) = passages(document(text), 1000)
    pair = Pair("What helps people with acne?", answer)
    assert checks.reason(pair, passage, LIMITS) == reason
    assert checks.reason(pair, passage, dataclasses.replace(LIMITS, together=0)) is None


def test_questions_that_were_asked_before() -> None:
    asked = Asked(0.7)

    def again(question: str, answer: str, name: str) -> str | None:
        return asked.again(Pair(question, answer), name)

    assert again("What is the treatment for acne?", "Creams and tablets help.", "a") is None
    assert again("what is the TREATMENT for acne", "Something else.", "b") == "duplicate question"
    assert again("Acne: what is the treatment?", "Creams.", "b") == "near-duplicate question"
    assert again("What is the treatment for rosacea?", "Creams and tablets help.", "b") is None
    assert (
        again("What is the treatment for mild rosacea?", "Creams and some tablets help.", "b")
        == "near-duplicate question"
    )
    assert again("What is the treatment for mild rosacea?", "Creams and some tablets help.", "c") is None


# Prompts


@pytest.mark.parametrize(
    "said",
    [
        '[{"question": "Who?", "answer": "I."}, {"question": "Where?", "answer": "Here."}]',
        'Sure!\n```json\n[{"question": "Who?", "answer": "I."},\n {"question": "Where?", "answer": "Here."}]\n```',
        '{"question": "Who?", "answer": "I."}\n{"Question": "Where?", "Answer": "Here."}',
        '[{"q": "Who?", "a": "I."}, {"question": "Where?", "answer": "Here."}, {"question": "Wh',
        "Question: Who?\nAnswer: I.\n\nQuestion: Where?\nAnswer: Here.",
        "**Q1:** Who?\n**A1:** I.\n**Q2:** Where?\n**A2:** Here.",
        "1. Q: Who?\n   A: I.\n2. Q: Where?\n   A: Here.\n\nI hope this helps!",
    ],
)
def test_what_models_write_is_read(said: str) -> None:
    assert prompts.pairs(said) == [("Who?", "I."), ("Where?", "Here.")]


@pytest.mark.parametrize("said", ["", "I cannot do that.", "[]", '{"question": 5, "answer": "I."}', "Question: Who?"])
def test_what_holds_no_pair_gives_none(said: str) -> None:
    assert prompts.pairs(said) == []


def test_a_task_of_ones_own() -> None:
    (passage,) = passages(document("Acne is a disease of the skin."), 1000)
    assert (
        prompts.request(passage, 2, "{number} about {text}")[1]["content"] == "2 about Acne is a disease of the skin."
    )
    assert prompts.task_mistake("{number} about {text}") is None
    assert prompts.task_mistake("about it") == (
        "the task does not hold {text}",
        "write {text} where the passage belongs",
    )
    assert prompts.task_mistake('{"a": {text}}') is not None


# The stage

ACNE = "Acne is a disease of the skin that comes and goes. Acne is caused by blocked pores. See the table below."


def recipe(folder: Path, rows: list[Any], **keys: Any) -> question_answers.Recipe:
    write_rows(folder / "in.jsonl", rows)
    given = {"inputs": [str(folder / "in.jsonl")], "output_dir": str(folder / "out"), "validation": 0.0,
             "passages": {"min_words": 3}}  # fmt: skip
    return question_answers.Recipe(**{**given, **keys})


def test_a_pair_carries_its_passage(tmp_path: Path) -> None:
    row = Document("d1", ACNE, "s", "Acne", url="http://x", license="CC0", meta={"cluster": "c"})
    question_answers.run(recipe(tmp_path, [row], system="Be kind.", include_passage=True, rules=["definitions"]))
    (made,) = read(tmp_path / "out" / "train.jsonl", Conversation)
    assert made.messages == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": f"{ACNE}\n\nWhat is acne?"},
        {"role": "assistant", "content": "Acne is a disease of the skin that comes and goes."},
    ]
    assert made.meta == {
        "document": "d1", "source": "s", "title": "Acne", "url": "http://x", "license": "CC0", "passage": ACNE,
        "start": 0, "end": len(ACNE), "answer_start": 0, "answer_end": 50,
        "generator": "rules", "made_by": "definitions",
    }  # fmt: skip
    assert ACNE[0:50] == made.messages[2]["content"]


def test_refused_pairs_are_counted_and_listed(tmp_path: Path) -> None:
    write_rows(tmp_path / "eval.jsonl", [{"question": "what is the prevalence of ACNE"}])
    rows = [
        document(ACNE, id="a"),
        document(ACNE, id="b"),
        document("The prevalence of acne is high in towns. Acne is also called a thing listed below.", id="c"),
    ]
    question_answers.run(recipe(tmp_path, rows, decontaminate=[str(tmp_path / "eval.jsonl")]))
    refused = [(row["document"], row["reason"]) for row in read_rows(tmp_path / "out" / "refused.jsonl")]
    assert refused == [
        ("b", "duplicate question"), ("b", "duplicate question"), ("c", "refers to the text"), ("c", "contaminated"),
    ]  # fmt: skip
    metrics = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["metrics"]
    assert metrics["refused"] == {"duplicate question": 2, "refers to the text": 1, "contaminated": 1}
    assert (metrics["documents"], metrics["train"], metrics["made_by"]) == (3, 2, {"causes": 1, "definitions": 1})
    (leak,) = read_rows(tmp_path / "out" / "contamination.jsonl")
    assert leak["question"] == "what is the prevalence of ACNE" and leak["evaluation"].endswith("eval.jsonl:1")


def plants(count: int) -> list[Document]:
    return [
        document(
            f"The plant{chr(97 + number % 26)}{number} fern is a plant of the house. "
            f"The plant{chr(97 + number % 26)}{number} fern is caused by rain.",
            f"The plant{chr(97 + number % 26)}{number} fern", f"d{number}",
        )
        for number in range(count)
    ]  # fmt: skip


def test_a_document_stands_on_one_side(tmp_path: Path) -> None:
    question_answers.run(recipe(tmp_path, plants(200), validation=0.3))
    train, held_back = (
        [row["meta"]["document"] for row in read_rows(tmp_path / "out" / f"{side}.jsonl")]
        for side in ("train", "validation")
    )
    assert len(train) + len(held_back) == 400
    assert len(held_back) > 80
    assert not set(train) & set(held_back)


def test_limits_for_each_document(tmp_path: Path) -> None:
    question_answers.run(recipe(tmp_path, plants(3), max_pairs_per_document=1))
    assert [row["meta"]["document"] for row in read_rows(tmp_path / "out" / "train.jsonl")] == ["d0", "d1", "d2"]
    assert [row["reason"] for row in read_rows(tmp_path / "out" / "refused.jsonl")] == [
        "over the limit per document"
    ] * 3
    long = document(" ".join(f"The Fern{n} bush is a plant of number {n}." for n in range(30)), "Ferns")
    settings = {"min_words": 3, "max_characters": 100, "per_document": 2}
    question_answers.run(recipe(tmp_path, [long], passages=settings))
    assert {row["meta"]["start"] for row in read_rows(tmp_path / "out" / "train.jsonl")} == {0, 78}


def test_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    made = recipe(tmp_path, [*plants(20), document(ACNE)])
    outputs = []
    for seed in ("1", "2"):
        text = made.model_copy(update={"output_dir": str(tmp_path / seed)}).model_dump_json()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", RUN, text], env=environment, check=True, capture_output=True)
        outputs.append([(tmp_path / seed / f"{name}.jsonl").read_bytes() for name in ("train", "refused")])
    assert outputs[0] == outputs[1]


def test_nothing_to_ask_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        question_answers.run(recipe(tmp_path, [document("Nothing here says what anything is to anyone.")]))
    assert str(caught.value) == (
        f"{tmp_path}/in.jsonl: not one pair is left of 1 passages in 1 documents (nothing was found); "
        "longer documents, weaker checks, or a better generator"
    )
    assert not (tmp_path / "out").exists()


# The stage with an endpoint


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server(write_pairs)
    yield running
    running.close()


def write_pairs(_: object, body: dict[str, Any]) -> Reply:
    """Write one good pair, one that is invented, one without a name: as models do."""
    text = body["messages"][-1]["content"].split("Text:\n")[-1]
    name = text.split()[1]
    time.sleep(0.01)
    return answered(json.dumps([
        {"question": f"What sort of thing is the {name} fern?", "answer": "A plant of the house."},
        {"question": f"When was the {name} fern found?", "answer": "It was found in 1850."},
        {"question": "What is it?", "answer": "A plant of the house."},
    ]))  # fmt: skip


def asking(folder: Path, server: Server, rows: list[Any], **keys: Any) -> question_answers.Recipe:
    generator = {"kind": "endpoint", "url": server.url, "model": "some-model", "first_wait_seconds": 0.01,
                 "max_retries": 1, "max_concurrency": 3}  # fmt: skip
    return recipe(folder, rows, generator=generator, **keys)


def test_what_an_endpoint_writes_is_checked_like_anything_else(tmp_path: Path, server: Server) -> None:
    question_answers.run(asking(tmp_path, server, plants(4)))
    rows = list(read(tmp_path / "out" / "train.jsonl", Conversation))
    assert [row.messages[0]["content"] for row in rows] == [
        f"What sort of thing is the plant{letter} fern?" for letter in ("a0", "b1", "c2", "d3")
    ]
    assert rows[0].meta["made_by"] == "some-model" and "answer_start" not in rows[0].meta
    reasons = [row["reason"] for row in read_rows(tmp_path / "out" / "refused.jsonl")]
    assert reasons == ["ungrounded", "names nothing"] * 4
    assert server.seen[0]["messages"][0]["content"].startswith("You write question and answer pairs")


def test_answers_without_a_pair_are_counted(tmp_path: Path, server: Server) -> None:
    server.replies = [answered("I would rather not."), write_pairs]
    question_answers.run(asking(tmp_path, server, plants(2)))
    refused = list(read_rows(tmp_path / "out" / "refused.jsonl"))
    assert [row["reason"] for row in refused].count("no pair in the answer") == 1
    assert refused[0]["answer"] == "I would rather not." or refused[-1]["answer"] == "I would rather not."


def test_a_killed_stage_goes_on_and_asks_nothing_twice(tmp_path: Path, server: Server) -> None:
    made = asking(tmp_path, server, plants(120))
    command = [sys.executable, "-c", RUN, made.model_dump_json()]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    while len(server.seen) < 30:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    question_answers.run(made)
    assert 120 <= len(server.seen) <= 120 + 3
    whole = (tmp_path / "out" / "train.jsonl").read_bytes()
    assert whole.count(b"\n") == 120
    question_answers.run(made.model_copy(update={"output_dir": str(tmp_path / "again")}))
    assert (tmp_path / "again" / "train.jsonl").read_bytes() == whole


# Recipes


def problems(path: Path) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(str(path))
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_all_mistakes_of_a_recipe_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows("in.jsonl", [{"question": "Who?", "answer": "I."}])
    Path("qa.yaml").write_text(
        "stage: question_answers\noutput_dir: out\ninputs: [in.jsonl]\nrules: [definitoins]\n"
        "generator:\n  kind: endpoint\n  url: localhost:8000\n  model: m\n  api_key_env: NO_SUCH_KEY\n  batch_size: 4\n"
    )
    assert problems(tmp_path / "qa.yaml") == [
        "qa.yaml:3: inputs.0: in.jsonl holds no documents (missing column id, text, source; found answer, question); "
        "columns id, text, source (optional: title, url, license, meta)",
        "qa.yaml:4: rules.0: there is no rule definitoins; did you mean definitions?",
        "qa.yaml:4: rules: `rules` means nothing for generator.kind: endpoint; remove it, or change the kind",
        "qa.yaml:7: generator.url: 'localhost:8000' is no URL of an http or https server; a URL such as http://127.0.0.1:8000/v1",
        "qa.yaml:9: generator.api_key_env: the environment variable NO_SUCH_KEY is not set; "
        "export NO_SUCH_KEY=..., or leave the key out for a server that wants none",
        "qa.yaml:10: generator.batch_size: `batch_size` means nothing for kind: endpoint; "
        "remove it, or write kind: model",
    ]


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([{"id": "1", "text": " ", "source": "s"}], "in.jsonl: the first document is empty; documents with a text"),
        (
            [{"id": "1", "text": 5, "source": "s"}],
            "in.jsonl holds no documents (text is 5, not text); columns id, text",
        ),
    ],
)
def test_documents_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Any], what: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows("in.jsonl", rows)
    Path("qa.yaml").write_text("stage: question_answers\noutput_dir: out\ninputs: [in.jsonl]\n")
    assert what in problems(tmp_path / "qa.yaml")[0]


def test_an_empty_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").touch()
    Path("qa.yaml").write_text("stage: question_answers\noutput_dir: out\ninputs: [in.jsonl]\n")
    assert problems(tmp_path / "qa.yaml") == [
        "qa.yaml:3: inputs.0: in.jsonl is an empty file; name a file with something in it",
        "qa.yaml:3: inputs.0: in.jsonl has no row; a file with documents: a corpus's train.jsonl",
    ]


def test_a_url_or_a_key_changes_no_result() -> None:
    cosmetic = question_answers.Recipe.cosmetic
    assert {"output_dir", "generator.url", "generator.api_key_env", "generator.max_concurrency"} <= cosmetic
    assert "generator.model" not in cosmetic
