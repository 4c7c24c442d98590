"""Tallies against counting by hand, and term search against regular expressions."""

import json
import random
import re
from collections import Counter

import pytest

from data_prep.governance import demographics, tally, term_search
from data_prep.governance.tally import Tally
from data_prep.records import Document
from recipes.errors import UserError

TERMS = """
groups:
  gender:
    women: [she, woman/women, Ms]
    men: [he, man/men]
  nation:
    Polish: [Polish]
    American: [American]
  ethnicity:
    Black: [African American, person of colour]
attributes:
  work: [nurse/nurses, engineer]
"""


@pytest.fixture
def terms(tmp_path):
    path = tmp_path / "terms.yaml"
    path.write_text(TERMS)
    return demographics.load(path)


def seen(texts, terms=None, **values):
    whole = Tally(terms)
    for number, text in enumerate(texts):
        whole.see(Document(f"d{number}", text, values.get("source", "a"), meta=dict(values.get("meta", {}))))
    return whole.row()


def test_sizes_lengths_and_names_by_hand(terms):
    whole = Tally(terms)
    whole.see(
        Document("1", "Zoë sees\u00a0it.", "b", license="MIT", meta={"path": "x/a.jsonl.gz", "date": "3 May 1998"})
    )
    whole.see(
        Document(
            "2",
            "one",
            "a",
            meta={"path": "README", "language": "en", "redacted": {"EMAIL": 2}, "personal_data": {"PHONE": 1}},
        )
    )
    whole.see(Document("3", " ".join("w" * 5), "a", meta={"format": "html", "year": 2020, "redacted": {"EMAIL": 1}}))
    row = whole.row()
    assert (row["documents"], row["words"], row["characters"], row["bytes"]) == (3, 9, 24, 26)
    assert row["lengths"] == {"0": 1, "3": 1, "4": 1}  # 1 word; 3 words: 2^1.5 to 2^2; 5 words: 2^2 to 2^2.5
    named = {name: counts["named"] for name, counts in row["by"].items()}
    assert named["source"] == {"a": [2, 6, 12], "b": [1, 3, 14]}
    assert named["license"] == {"MIT": [1, 3, 14], "not stated": [2, 6, 12]}
    assert named["language"] == {"en": [1, 1, 3], "not stated": [2, 8, 23]}
    assert named["format"] == {"html": [1, 5, 9], "jsonl": [1, 3, 14], "not stated": [1, 1, 3]}
    assert named["year"] == {"1998": [1, 3, 14], "2020": [1, 5, 9], "not stated": [1, 1, 3]}
    assert (row["redacted"], row["left_in"]) == ({"EMAIL": 3}, {"PHONE": 1})
    assert json.loads(json.dumps(row)) == row


@pytest.mark.parametrize("odd", ["yes", ["EMAIL"], {"EMAIL": "two", 3: True}, 7, None, {"EMAIL": None}])
def test_a_raw_column_that_bears_the_name_of_a_count_is_no_count(terms, odd):
    row = seen(["one"], terms, meta={"redacted": odd, "personal_data": odd, "language": odd, "path": odd, "year": odd})
    assert (row["redacted"], row["left_in"], row["documents"]) == ({}, {}, 1)


def test_bins_cover_every_length_once():
    for words in range(3000):
        low, high = tally.bin_of(tally.place_of(words))
        assert low <= words <= high


def test_parts_merge_into_the_whole(terms):
    texts = [f"She is engineer {number}. He is no nurse.\nPolish men" * (number % 7) for number in range(40)]
    whole = seen(texts, terms)
    first, rest = Tally(terms), Tally(terms)
    for number, text in enumerate(texts):
        (first if number < 13 else rest).see(Document(f"d{number}", text, "a"))
    again = Tally.from_row(json.loads(json.dumps(first.row())), terms)
    again.merge(rest)
    assert again.row() == whole


def test_names_are_bounded_and_totals_exact(terms, monkeypatch):
    monkeypatch.setattr(tally, "HELD", 10)
    whole = Tally(terms)
    for number in range(50):
        whole.see(Document(str(number), "w " * (number + 1), f"s{number:02}"))
    by_source = whole.row()["by"]["source"]
    assert len(by_source["named"]) <= 10
    total = [sum(column) for column in zip(*by_source["named"].values(), by_source["others"], strict=True)]
    assert total[:2] == [50, sum(range(1, 51))]
    assert "s49" in by_source["named"] and "s00" not in by_source["named"]


def test_a_search_over_batches_and_slices_counts_as_one(terms, monkeypatch):
    generator = random.Random(3)
    words = [
        "she",
        "he",
        "nurse",
        "women",
        "engineer",
        "Polish",
        "polish",
        "tree.",
        "leaf",
        "?!",
        "\n",
        "African American",
    ]
    texts = [" ".join(generator.choices(words, k=generator.randrange(400))) for _ in range(60)]
    whole = seen(texts, terms)
    monkeypatch.setattr(tally, "BATCH", 500)
    assert seen(texts, terms) == whole
    # A text longer than a slice is cut at a line's end; where lines are short, nothing changes.
    lines = ["she is a nurse\nhe is one\n" * 300 for _ in range(3)]
    uncut = seen(lines, terms)
    monkeypatch.setattr(term_search, "SLICE", 1000)
    assert seen(lines, terms) == uncut
    assert uncut["demographics"]["pairs"]["gender"] == {"women": {"nurse": [900, 3]}}


def test_terms_by_hand(terms):
    texts = [
        "She met an African-American man. The woman’s nurse—an American—left; polish it.",
        "MS Paint. Ms Ames said: nurse? He (he!) is a nurse, she too.\nPolish engineer",
        "Shells, hen, nursery, womanly, African\nAmerican.",
    ]
    row = seen(texts, terms)["demographics"]
    assert row["sentences"] == 8
    assert row["groups"]["gender"]["women"] == {
        "sentences": 4,
        "documents": 2,
        "terms": {"she": 2, "woman": 1, "Ms": 1},
    }
    assert row["groups"]["gender"]["men"] == {"sentences": 2, "documents": 2, "terms": {"he": 2, "man": 1}}
    # Inside "African-American" no American is counted; over a line's end it is no term of two words.
    assert row["groups"]["nation"]["American"]["terms"] == {"American": 2}
    assert row["groups"]["ethnicity"]["Black"]["terms"] == {"African American": 1}
    assert row["groups"]["nation"]["Polish"]["terms"] == {"Polish": 1}
    assert row["attributes"] == {"work": {"nurse": [3, 2], "engineer": [1, 1]}}
    assert row["pairs"] == {
        "gender": {"women": {"nurse": [3, 2]}, "men": {"nurse": [1, 1]}},
        "nation": {"American": {"nurse": [1, 1]}, "Polish": {"engineer": [1, 1]}},
    }


def test_the_shipped_list_is_found_as_a_regular_expression_finds_it():
    """Every form of one word, in random text, against re with the same rules; lines are sentences."""
    whole = demographics.load()
    forms = [form for form in whole.forms if len(term_search.fold(form)) == 1]
    entries = dict(zip(whole.forms, whole.of_form, strict=True))
    generator = random.Random(1)
    others = ["stone", "Über", "naïve", "x1", "’s", "-", "anti", ",", "Washington"]
    texts = []
    for _ in range(120):
        words = [generator.choice(generator.choice([forms, others])) for _ in range(80)]
        texts.append("".join(word + generator.choice([" ", " ", "\n", "-", "'"]) for word in words))
    mentions: Counter[tuple[str, str, str]] = Counter()
    for text in texts:
        for word in re.findall(r"[^\W_]+", text):
            form = word if word in entries else word[0].lower() + word[1:]
            if form in entries and len(term_search.fold(form)) == 1:
                mentions[whole.places[entries[form]]] += 1
    row = seen(texts)["demographics"]
    single = {
        (axis, group, term): count
        for axis, groups in row["groups"].items()
        for group, said in groups.items()
        for term, count in said["terms"].items()
        if term in forms
    }
    hidden = {"American", "Indian", "Christian", "gender fluid"}  # chance may make terms of two words with these
    assert {key: count for key, count in mentions.items() if key[0] and key[2] not in hidden} == {
        key: count for key, count in single.items() if key[2] not in hidden
    }
    assert len(single) > 100


def test_an_association_by_hand():
    row = {
        "sentences": 10_000,
        "groups": {
            "gender": {"women": {"sentences": 100, "documents": 60}, "men": {"sentences": 200, "documents": 70}}
        },
        "attributes": {"work": {"nurse": [60, 50], "pilot": [3, 3]}},
        "pairs": {"gender": {"women": {"nurse": [40, 30], "pilot": [1, 1]}, "men": {"nurse": [5, 5]}}},
    }
    first, second = demographics.associations(row)
    # odds 40.5/60.5 against 5.5/195.5; the standard error is the root of the sum of 1/cell; 2 comparisons: z at 0.9875
    assert (first.group, first.word, first.sentences, first.documents) == ("women", "nurse", 40, 30)
    assert first.log_odds == pytest.approx(3.16939, abs=1e-4)
    assert first.high - first.log_odds == pytest.approx(2.2414 * 0.47765, abs=1e-3)
    assert first.information == pytest.approx(6.0589, abs=1e-4)  # log2(40 * 10000 / (100 * 60))
    assert first.clear
    assert (second.group, second.log_odds) == ("men", pytest.approx(-first.log_odds))
    assert not second.clear


def test_associations_agree_with_scipy():
    from scipy.stats import contingency

    row = {
        "sentences": 9_000,
        "groups": {"age": {"old": {"sentences": 400, "documents": 90}, "young": {"sentences": 300, "documents": 80}}},
        "attributes": {"work": {"nurse": [70, 60]}},
        "pairs": {"age": {"old": {"nurse": [50, 40]}, "young": {"nurse": [20, 20]}}},
    }
    first = demographics.associations(row)[0]
    table = [[50, 350], [20, 280]]
    import math

    assert first.log_odds == pytest.approx(math.log(contingency.odds_ratio(table, kind="sample").statistic), abs=0.02)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "this is no list of demographic terms"),
        ("{groups: {}, attributes: {}, more: {}}", "this is no list of demographic terms"),
        ("{groups: {a: {b: }}, attributes: {}}", "a: b has no list of terms"),
        ("{groups: {a: {b: [x, y/x]}}, attributes: {}}", "the term 'x' stands twice"),
        ("{groups: {a: {b: [one two three four]}}, attributes: {}}", "the term 'one two three four' has 4 words"),
        ("{groups: {a: {b: ['--']}}, attributes: {}}", "the term '--' has 0 words"),
        ("{groups: {a", "not YAML"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path, text, said):
    path = tmp_path / "terms.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        demographics.load(path)
    assert caught.value.where == str(path) and caught.value.what.startswith(said)


def test_characters_that_utf_8_cannot_hold_and_no_words_at_all(terms):
    row = seen(["", "\ud83d she", "...\n\n"], terms)
    assert (row["documents"], row["words"], row["demographics"]["sentences"]) == (3, 3, 1)
    assert row["lengths"] == {"-1": 1, "0": 1, "2": 1}


def test_chance_alone_seldom_stands_out():
    """Words strewn at random beside two groups: intervals that hold for all of them leave 0 out in few lists."""
    generator = random.Random(11)
    alarms = 0
    for _ in range(60):
        together: dict[str, dict[str, list[int]]] = {"a": {}, "b": {}}
        for word in range(40):
            for group, sentences in (("a", 300), ("b", 900)):
                count = sum(generator.random() < 0.03 for _ in range(sentences))
                if count:
                    together[group][f"w{word}"] = [count, count]
        row = {
            "sentences": 5000,
            "groups": {"x": {"a": {"sentences": 300, "documents": 300}, "b": {"sentences": 900, "documents": 900}}},
            "attributes": {"k": {f"w{word}": [60, 60] for word in range(40)}},
            "pairs": {"x": together},
        }
        alarms += any(one.clear for one in demographics.associations(row))
    assert alarms <= 6  # 5 % of the lists are expected at most
