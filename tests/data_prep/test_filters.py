"""Filters: each rule drops the text made for it, with its reason, and keeps an ordinary one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from data_prep import filters
from data_prep.filters import Drop
from data_prep.records import Document

# An ordinary text: 60 words, every sentence different.
GOOD = (
    "The silver fern grows best in the shade of tall trees, where the earth stays moist and cool. Gardeners water it "
    "early in the morning and cover its roots with leaves before the first frost. Visitors often ask why the plant "
    "turns bright in autumn, and the answer is that its leaves lose their green with every cold night that passes."
)


def check(name: str, text: str, others: Sequence[str] = (), **settings: Any) -> tuple[Drop | None, Document]:
    """Return what a filter says of a text, and the document as it left it."""
    document = Document("id", text, "source")
    documents = [document, *(Document(f"other {index}", other, "source") for index, other in enumerate(others))]
    return filters.fitted(name, filters.modules()[name].Settings(**settings), documents)(document), document


def reason(name: str, text: str, others: Sequence[str] = (), **settings: Any) -> str | None:
    drop, _ = check(name, text, others, **settings)
    return drop.reason if drop else None


STEPS = [
    "missing", "encoding", "unicode", "whitespace", "boilerplate", "template_lines", "links", "length", "language",
    "symbols", "gopher_quality", "gopher_repetition", "c4_quality", "fineweb_quality", "off_topic", "inappropriate",
    "perplexity", "personal_data", "special_characters", "lower_case",
]  # fmt: skip


def test_the_chain_runs_in_the_order_of_its_steps() -> None:
    assert [name for name in filters.modules() if name in STEPS] == STEPS
    chosen = SimpleNamespace(**dict.fromkeys(filters.modules()))
    assert filters.chosen(chosen) == []
    chosen.length, chosen.missing = object(), object()
    assert filters.chosen(chosen) == ["missing", "length"]


# off_topic and perplexity must be told something, lower_case changes every text, C4 asks for five sentences.
NOT_DEFAULT = {"off_topic", "lower_case", "perplexity", "c4_quality"}


@pytest.mark.parametrize("name", [name for name in STEPS if name not in NOT_DEFAULT])
def test_an_ordinary_text_is_kept_as_it_is(name: str) -> None:
    drop, document = check(name, GOOD)
    assert drop is None
    assert document.text == GOOD


# --- repairs


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Ren\u00e9e\u2019s caf\u00e9 \u2013 na\u00efve", "cp1252"),
        ("\u00dcber Stra\u00dfen", "latin-1"),
        ("pi\u00f1ata and \u201cquotes\u201d", "latin-1"),
    ],
)
def test_encoding_damage_is_repaired_and_sound_lines_are_not_touched(text: str, encoding: str) -> None:
    damaged = text.encode("utf-8").decode(encoding)
    drop, document = check("encoding", f"na\u00efve caf\u00e9\n{damaged}\nEnd.")
    assert drop is None
    assert document.text == f"na\u00efve caf\u00e9\n{text}\nEnd."
    assert document.meta["encoding_repaired"] is True


def test_lost_characters_drop_a_document_only_beyond_the_bound() -> None:
    drop, _ = check("encoding", "Gar\ufffdon \ufffdt\ufffd")
    assert drop == Drop("encoding_damage", "3 of 10 characters are lost")
    assert reason("encoding", GOOD + GOOD + "\ufffd") is None


def test_unicode_is_composed_and_unseen_characters_go() -> None:
    _, document = check("unicode", "cafe\u0301 \ufb01nd zero\u200bwidth soft\u00adhyphen \u202eturn x\u00b2 a\tb\x00\n")
    assert document.text == "caf\u00e9 find zerowidth softhyphen turn x\u00b2 a\tb\n"


def test_white_space_is_made_regular() -> None:
    text = "  One\u00a0 two\tthree \r\n\r\n\r\n\r\n    four\u2028five  \n"
    assert check("whitespace", text)[1].text == "One two three\n\nfour\nfive"
    code = "def f():\n    return  1   \n\n\n\n    # end\n"
    assert check("whitespace", code, keep_indentation=True)[1].text == "def f():\n    return 1\n\n    # end"
    assert check("whitespace", " \n\u00a0\n")[0] == Drop("empty", "no text is left")


def test_lines_that_repeat_over_a_source_go() -> None:
    footer = "Copyright 2024 by the botanical garden, page 3"
    others = [f"Text number {index} about plants.\n\nCare\n\n{footer.replace('3', str(index))}" for index in range(9)]
    _, document = check("boilerplate", f"{GOOD}\n\nCare\n\n{footer}", others)
    assert document.text == f"{GOOD}\n\nCare"
    assert document.meta["boilerplate_lines"] == 1
    assert check("boilerplate", footer, others)[0] == Drop("boilerplate", "every line is boilerplate of its source")


def test_boilerplate_of_one_source_stays_in_another() -> None:
    settings = filters.modules()["boilerplate"].Settings()
    line = "Call us if you have any question."
    documents = [Document(str(index), f"{index} is a number\n{line}", "a") for index in range(9)] + [
        Document("x", line, "b")
    ]
    assert filters.fitted("boilerplate", settings, documents)(documents[-1]) is None
    assert documents[-1].text == line


# --- judgements


WORDS = [f"{a}{b}" for a in ("fern", "lily", "rose", "moss", "vine", "pear", "plum", "sage") for b in "abcdefgh"]
OTHERS = [f"{GOOD} Plant number {index} of the garden is called {word}." for index, word in enumerate(WORDS[:30])]
ELSEWHERE = (
    "Our casino offers jackpot slots, roulette dealers, bonus spins, poker tournaments plus gambling credit tonight."
)


def test_off_topic_by_the_collection() -> None:
    drop, _ = check("off_topic", ELSEWHERE, OTHERS, max_rarity=9)
    assert drop is not None
    assert drop.reason == "off_topic"
    assert reason("off_topic", GOOD, OTHERS, max_rarity=9) is None
    assert reason("off_topic", ELSEWHERE, OTHERS[:5], max_rarity=9) is None  # too small a collection to judge by


def test_off_topic_judges_a_long_document_by_its_best_passage() -> None:
    long = f"{GOOD} " * 5 + " ".join(f"{x}{y}{z}" for x in WORDS for y in "xyz" for z in "pq")
    assert reason("off_topic", long, OTHERS, max_rarity=9) is None


def test_off_topic_by_named_words() -> None:
    terms = ["Fern", "tree", "roots"]
    assert reason("off_topic", GOOD, domain_terms=terms, min_terms=2) is None
    assert check("off_topic", ELSEWHERE, domain_terms=terms)[0] == Drop(
        "off_topic", "0 of the domain terms, at least 1"
    )


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("off_topic", {}, "says nothing about what is on topic: write domain_terms or max_rarity"),
        ("off_topic", {"domain_terms": ["a"], "min_terms": 2}, "min_terms 2 is more than the 1 domain_terms"),
        ("length", {"min_words": 5, "max_words": 4}, "min_words 5 is above max_words 4"),
        ("length", {"min_characters": 5, "max_characters": 4}, "min_characters 5 is above max_characters 4"),
        ("missing", {"required": ["url"], "defaults": {"url": "x"}}, "url cannot be required and have a default"),
        ("missing", {"required": ["text"]}, "text: every document has it; name title, url, license or keys of meta"),
        ("template_lines", {"patterns": ["a", "(b"]}, "'\\(b' is no regular expression"),
        ("inappropriate", {"words": False}, "looks at nothing: write words: true or a classifier"),
        ("inappropriate", {"words": False, "word_lists": ["a"], "classifier": "math:sqrt"}, "and words is false"),
        ("inappropriate", {"classifier": "math"}, "does not name a function: write module:function"),
        (
            "perplexity",
            {"model": "a", "scorer": "no_such.scorer:f"},
            "there is no module no_such.scorer; it may lie in",
        ),
        ("perplexity", {"model": "a", "min_perplexity": 5, "max_perplexity": 5}, "5 is not below max_perplexity 5"),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        filters.modules()[name].Settings(**settings)


# Texts that make a careless regular expression look again and again at what it has seen.
LONG = 30_000
HOSTILE = {
    "dots": "." * LONG + "a", "blanks": "x" + " " * LONG + "x", "indentation": " " * LONG + "x\n\nx",
    "lines": "x\n" * LONG,
    "brackets": "[a" * LONG, "closing": "See it at https://a" + ")," * LONG + " now", "markdown": "[a](" + "(" * LONG,
    "links": "[a](b" * LONG, "quotes": "." + ")" * LONG + "a", "word": "a" * LONG, "signs": "a@" * LONG,
    "digits": "1," * LONG, "hashes": "#" * LONG, "emoji": "\U0001f33f\u200d" * LONG, "marks": "?! " * LONG,
    "same": "fern " * LONG, "tags": "<A" * LONG, "cookies": "we use cookies " * (LONG // 15), "tabs": "\t \n" * LONG,
    "nul": "\0" * LONG, "surrogates": "\ud800" * LONG, "initials": "A. " * LONG,
}  # fmt: skip
WITH = {
    "links": {"addresses": "remove", "max_link_lines": 1, "max_link_characters": 1},
    "whitespace": {"keep_indentation": True},
    "c4_quality": {"filter_no_terminal_punct": False, "min_words_per_line": 0, "max_word_length": 0},
    "gopher_quality": {"words": "tokens"},
    "gopher_repetition": {"words": "tokens"},
    "special_characters": {"remove": ["punctuation", "emoji", "symbols"]},
}


@pytest.mark.parametrize("name", [name for name in STEPS if name not in ("perplexity", "off_topic")])
def test_hostile_texts_take_no_more_than_their_length(name: str) -> None:
    start = time.process_time()
    for text in HOSTILE.values():
        check(name, text, **WITH.get(name, {}))
    assert time.process_time() - start < 5  # seconds; what is quadratic takes minutes


def test_a_new_filter_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shouting.py").write_text(
        "from data_prep.filters import Drop\n"
        "from recipes.sections import Section\n"
        "ORDER = 46\n"
        "class Settings(Section):\n    pass\n"
        "def build(settings):\n    return lambda document: Drop('shouting') if document.text.isupper() else None\n"
    )
    monkeypatch.setattr(filters, "__path__", [*filters.__path__, str(tmp_path)])
    filters.modules.cache_clear()
    try:
        assert list(filters.modules()).index("shouting") == list(filters.modules()).index("length") + 1
        assert reason("shouting", "HEAR, HEAR") == "shouting"
    finally:
        filters.modules.cache_clear()
