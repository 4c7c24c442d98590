"""The data card: read as the hub reads it, and as a person does."""

import re

import pytest
import yaml

from data_prep.governance import card
from data_prep.governance.tally import Tally
from data_prep.records import Document
from data_prep.stages.corpus import Recipe


def made(documents, summary=None, **recipe):
    tally = Tally()
    for document in documents:
        tally.see(document)
    row = tally.row()
    size = {"documents": tally.documents, "words": tally.words, "bytes": tally.bytes}
    empty = dict.fromkeys(size, 0)
    by = {name: {one: size[0] for one, size in counts["named"].items()} for name, counts in row["by"].items()}
    whole = {
        "steps": [{"name": "read", "documents_in": 9, "documents_out": 9, "dropped": {}, "changed": 0},
                  {"name": "length", "documents_in": 9, "documents_out": 2, "dropped": {"too_short": 7}, "changed": 0}],
        "sides": {"train": size, "validation": empty, "test": empty}, "lengths": row["lengths"],
        "tally": {"train": row, "validation": Tally().row(), "test": Tally().row()},
        "languages": by["language"], "licenses": by["license"],
        "sources": {"a|b": {**size, "read": 9}}, "contamination": {"found": 0, "shown": []},
    } | (summary or {})  # fmt: skip
    settings = {"output_dir": "runs/c", "inputs": [{"path": "data/x", "license": "MIT"}], **recipe}
    return card.page(whole, Recipe(**settings).model_dump(mode="json"))


def parts(page):
    _, head, body = page.split("---\n", 2)
    return yaml.safe_load(head), body


def document(license="", **meta):
    return Document("1", "She is a nurse. " * 30, "a|b", license=license, meta=meta)


def test_the_head_is_what_the_hub_reads():
    head, _ = parts(made([document("CC-BY-4.0", language="en"), document("CC-BY-4.0", language="de")]))
    assert head == {
        "license": "cc-by-4.0",
        "language": ["de", "en"],
        "size_categories": ["n<1K"],
        "task_categories": ["text-generation"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "train.jsonl"}]}],
    }


def test_the_hub_library_reads_the_head():
    from huggingface_hub import DatasetCard

    data = DatasetCard(made([document("MIT", language="en")])).data
    assert (data.license, data.language, data.size_categories) == ("mit", ["en"], ["n<1K"])


@pytest.mark.parametrize(
    ("licenses", "said"),
    [(["Our own terms"], "other"), ([""], "unknown"), (["MIT", ""], ["mit", "unknown"]), (["X", "Y"], "other")],
)
def test_licences_of_the_head(licenses, said):
    head, _ = parts(made([document(one) for one in licenses]))
    assert head["license"] == said


@pytest.mark.parametrize(
    ("documents", "category"), [(999, "n<1K"), (1000, "1K<n<10K"), (5_000_000, "1M<n<10M"), (2 * 10**12, "n>1T")]
)
def test_size_categories(documents, category):
    size = {"documents": documents, "words": 1, "bytes": 1}
    head, _ = parts(made([], {"sides": {"train": size}}))
    assert head["size_categories"] == [category]


def test_documents_without_a_licence_are_told_loudly():
    _, body = parts(made([document(""), document("MIT"), document("")]))
    assert "> **WARNING: 2 of 3 documents state no licence.**" in body
    assert "| **not stated** | 2 |" in body and "**2 documents state none" in body
    _, body = parts(made([document("MIT")]))
    assert "no licence.**" not in body


def test_nothing_done_is_not_said_to_be_done():
    _, body = parts(made([document("MIT")], deduplicate=None))
    for said in (
        "> **WARNING: no evaluation set was named.**", "> **WARNING: personal data were not looked for.**",
        "### Duplicates\n\nNot removed.", "### Evaluation sets kept out\n\nNone was named.",
        "No document states a year.",
        "- Languages were not identified.", "- Copies were not removed.", "- No quality rules were applied.",
    ):  # fmt: skip
        assert said in body, said


def test_what_was_done_stands_with_settings_and_counts():
    summary = {
        "redacted": {"EMAIL": 3},
        "duplicates": {"exact": 4, "near": 5, "clusters": 6, "largest": [{"size": 3, "id": "x"}], "paragraphs": None},
        "contamination": {"questions": 12, "too_short_to_search_for": 1, "found": 2, "shown": []},
        "reasons": {"forgotten": 2},
        "unreadable": {"empty file": 2},
    }
    recipe = {
        "filters": {"length": {"min_words": 20}, "personal_data": {"kinds": ["EMAIL", "IP"]}},
        "decontaminate": ["data/test.jsonl"],
        "forget": "forgotten.jsonl",
    }
    _, body = parts(made([document("MIT", year=1999), document("MIT", date="2003-01-02")], summary, **recipe))
    for said in (
        "min_words 20", "| 9 | 2 | too_short 7 |", "kinds EMAIL IP", "| EMAIL | 3 |", "Jaccard index of 0.8 or more",
        "Removed: 4 exact copies and 5 near-duplicates, in 6 clusters. The largest cluster has 3 documents.",
        "- `data/test.jsonl`\n\n12 questions were looked for (runs of 13 words", "Years from 1999 to 2003, stated by 2",
        "2 documents were left out on request (block list `forgotten.jsonl`).", "| empty file | 2 |",
        "| gender | women | 2 | 2 |", "| a\\|b | 9 | 2 | 240 |",
    ):  # fmt: skip
        assert said in body, said


def test_personal_data_that_were_only_reported_are_told_loudly():
    recipe = {"filters": {"personal_data": {"action": "report"}}}
    _, body = parts(made([document("MIT", personal_data={"EMAIL": 2, "IP": 1})], **recipe))
    assert "> **WARNING: 3 personal data were found and left in the text.**" in body
    assert "| kind | found and left in the text |\n| --- | --- |\n| EMAIL | 2 |" in body


def test_the_recipe_in_the_card_makes_the_corpus_again():
    page = made([document()], filters={"length": {"min_words": 20}}, seed=7, decontaminate=["data/test.jsonl"])
    stored = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL).group(1))
    again = Recipe(**stored, output_dir="elsewhere")
    assert again.filters.length.min_words == 20 and again.seed == 7 and again.inputs[0].license == "MIT"
    assert again.faults() == []


def test_names_from_data_make_no_markup():
    evil = "x | y\n# title <script>"
    page = made([document(evil, language="en")], {"sources": {evil: {"documents": 1, "words": 1, "bytes": 1}}})
    assert "\n# title" not in page and "<script>" not in page and "| x \\| y # title &lt;script> | 1 |" in page
