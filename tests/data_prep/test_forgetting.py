"""The block list: what it finds, what it does not say, and what it refuses."""

import random
import re

import pytest

from data_prep.filters import Drop
from data_prep.governance import forgetting, term_search
from data_prep.records import Document
from recipes.errors import UserError


def listed(*asked):
    empty = forgetting.new()
    return empty.with_entries(empty.entry(kind, value, "2026-11-24") for kind, value in asked)


def document(text="A quiet page.", id="docs/a.txt", source="docs", **values):
    return Document(id, text, source, **values)


@pytest.mark.parametrize(
    ("kind", "value", "found", "left"),
    [
        ("document", "docs/a.txt", document(), document(id="docs/a.txt#2")),
        ("source", "docs/letters/", document(source="docs/letters/1999"), document(source="docs/letters2")),
        ("source", "docs", document(source="docs"), document(source="")),
        ("text", "Renée O'Hara", document("Ask RENÉE\n  o’hara, please."), document("Renée met O’Haras.")),
        ("text", "jane.doe@example.org", document("<Jane.Doe@Example.ORG>"), document("jane.doe@example.com")),
        ("text", "Ng", document("said Ng."), document("sang")),
        ("text", "+44 20 7946 0958", document("Tel. (+44) 20-7946-0958"), document("44 20 7946 09581")),
        ("text", "Ada Lovelace", document(title="On Ada Lovelace"), document(url="https://e.org/ada/x/lovelace")),
        ("text", "Ada Lovelace", document(url="https://e.org/ada-lovelace"), document(title="Ada", text="Lovelaces")),
    ],
)
def test_what_is_found(kind, value, found, left):
    block = listed((kind, value))
    assert block.check(left) is None
    assert block.check(found) == Drop("forgotten", f"entry 1 of the block list ({kind})")


def test_a_document_that_is_left_out_is_emptied():
    held = document("By Ada Lovelace.", id="docs/lovelace.txt", title="Ada Lovelace", url="u", meta={"author": "Ada"})
    block = listed(("text", "Ada Lovelace"))
    block.check(held)
    assert held == Document(f"forgotten/{block.hash('docs/lovelace.txt')}", "", "", license="")


def test_the_file_says_nothing_in_clear_and_says_the_same_again(tmp_path):
    asked = [("text", "Ada Lovelace"), ("document", "docs/lovelace.txt"), ("source", "lovelace")]
    block = listed(*asked)
    block.save(tmp_path / "forgotten.jsonl")
    written = (tmp_path / "forgotten.jsonl").read_text()
    assert not re.search("ada|lovelace", written, re.IGNORECASE)
    again = forgetting.load(tmp_path / "forgotten.jsonl")
    assert again.entries == block.entries and again.salt == block.salt
    assert all(again.holds(again.entry(kind, value)) for kind, value in asked)
    assert again.with_entries([again.entry("text", "ada, LOVELACE", "2030-01-01")]).entries == block.entries
    # Two lists of the same entries have nothing in common.
    assert not {entry.hash for entry in listed(*asked).entries} & {entry.hash for entry in block.entries}


def test_long_texts_against_a_regular_expression(monkeypatch):
    monkeypatch.setattr(term_search, "SLICE", 3000)
    generator = random.Random(4)
    names = ["Ada Lovelace", "Mary Ann Evans", "Zoë", "Ng"]
    block = listed(*(("text", name) for name in names))
    others = ["ada", "mary", "ann", "lovelace", "Zoës", "ngo", "a" * 40, *["tree", "leaf,"] * 30]
    seen = set()
    for _ in range(300):
        words = generator.choices(others, k=generator.choice([30, 900]))
        if generator.random() < 0.3:
            words.insert(generator.randrange(len(words)), generator.choice(names))
        text = " ".join(words)
        expected = bool(re.search(r"\b(ada,? lovelace|mary,? ann,? evans|zoë|ng)\b", text, re.IGNORECASE))
        assert bool(block.number(document(text))) == expected
        seen.add((expected, len(text) > 3000))
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", ":1: this is no block list (no salt in its first row)"),
        ('{"text": "a document"}', ":1: this is no block list (no salt in its first row)"),
        ('{"salt": "00"}', ":1: this is no block list (no salt in its first row)"),
        ('{"salt": "SALT"}\n{"kind": "person", "hash": "x"}', ":2: no entry of a block list (kind 'person')"),
        ('{"salt": "SALT"}\n\n{"kind": "source", "hash": "x"}', ":3: no entry of a block list (kind 'source')"),
        ('{"salt": "SALT"}\n{"kind": "text", "hash": "HASH"}', ":2: an entry of kind text with 0 words"),
        ('{"salt": "SALT"}\n{"kind": "text", "hash": "HASH", "words": 1, "slot": 70000}',
         ":2: words 1 and slot 70000 are not whole numbers in range"),
        ('{"salt": "SALT"}\n[1]', ":2: a JSON list where an object was expected"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_block_list_is_refused(tmp_path, rows, said):
    path = tmp_path / "list.jsonl"
    path.write_text(rows.replace("SALT", "0" * 32).replace("HASH", "0" * 40))
    with pytest.raises(UserError) as caught:
        forgetting.load(path)
    assert str(caught.value).startswith(f"{path}{said}; ")


def test_a_recipe_that_names_another_file_is_told_before_work_starts(tmp_path):
    path = tmp_path / "list.jsonl"
    assert forgetting.faults(("forget",), str(path)) == []  # that it is not there is told with all other paths
    path.write_text('{"text": "a document"}\n')
    (fault,) = forgetting.faults(("forget",), str(path))
    assert fault.key == ("forget",) and fault.what == f"{path}:1: this is no block list (no salt in its first row)"
    listed(("source", "docs")).save(path)
    assert forgetting.faults(("forget",), str(path)) == []


@pytest.mark.parametrize(("text", "words"), [("...", 0), ("a b c d e f g h i j k l m n o p q", 17)])
def test_words_that_cannot_be_looked_for(text, words):
    with pytest.raises(UserError) as caught:
        forgetting.new().entry("text", text)
    assert str(caught.value) == f"--match: {text!r} has {words} words; 1 to 16 words to look for"
