"""Words with a tag each: named entities, parts of speech (CoNLL in JSON or Parquet)."""

from __future__ import annotations

from data_prep.supervised import turns
from data_prep.supervised.shapes import text_label
from data_prep.supervised.turns import Options, Parts, Refused, Row

KIND, ORDER = "classification", 10
WORDS = ("tokens", "words")
TAGS = ("ner_tags", "tags", "labels", "ner", "pos_tags", "upos", "chunk_tags", "token_labels", "pos")
NEEDS = tuple((words, tags) for words in WORDS for tags in TAGS)
SHOWN = ("tokens", "tags")
MAY = ()
WHY = "it has a tag for each word"


def read(row: Row, options: Options) -> list[Parts]:
    """Return words and tags."""
    word_column, tag_column = next(names for names in NEEDS if all(name in row for name in names))
    words, tags = turns.unpacked(row[word_column]), turns.unpacked(row[tag_column])
    for name, value in ((word_column, words), (tag_column, tags)):
        if not isinstance(value, list):
            raise Refused("not a list", f"{name} is {turns.kind_of(value)}")
    if len(words) != len(tags):
        raise Refused("lists of two lengths", f"{len(words)} words, {len(tags)} tags")
    if wrong := [turns.kind_of(word) for word in words if not isinstance(word, str)]:
        raise Refused("not text", f"a word is {wrong[0]}")
    return [{"tokens": words, "tags": [text_label.label(tag_column, tag, options) for tag in tags]}]
