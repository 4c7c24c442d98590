"""`translation: {en: ..., de: ...}` (OPUS, WMT), or a column for each of the two languages that the recipe names."""

from __future__ import annotations

from data_prep.supervised import turns
from data_prep.supervised.turns import Options, Parts, Refused, Row

KIND, ORDER = "pairs", 10
NEEDS = (("translation",),)
MAY = ()
WHY = "it names the two languages"


def fits(row: Row) -> bool:
    """Tell an object of texts."""
    value = turns.unpacked(row["translation"])
    return isinstance(value, dict) and len(value) > 1 and all(isinstance(item, str) for item in value.values())


def languages(row: Row, options: Options) -> tuple[str, str]:
    """Return source and target language: those of the recipe, else the first two in the order in which they stand.

    Raises: Refused.
    """
    value = turns.unpacked(row["translation"])
    if not isinstance(value, dict):
        raise Refused("not an object", f"translation is {turns.kind_of(value)}")
    there = list(value)
    source, target = options.languages
    source = source or next((name for name in there if name != target), "")
    target = target or next((name for name in there if name != source), "")
    if source not in value or target not in value:
        raise Refused("language missing", f"{source or 'one'} to {target or 'another'}; found {', '.join(there)}")
    return source, target


def read(row: Row, options: Options) -> list[Parts]:
    """Return the pair with its languages."""
    source, target = languages(row, options)
    value = turns.unpacked(row["translation"])
    texts = [turns.text(value, name) for name in (source, target)]
    return [{"source": texts[0], "target": texts[1], "source_language": source, "target_language": target}]
