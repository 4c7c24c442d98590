"""Keep the lines that are sentences, drop documents with too few: C4's quality rules.

Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", section 2.2, in
the order of the code that made C4 (tensorflow_datasets, `c4_utils.py`); keys are datatrove's names, and each rule can
be switched off. A line goes that does not end in a terminal punctuation mark or an end quotation mark, or ends in an
ellipsis; has fewer than three words, or one of more than 1,000 characters; mentions JavaScript; or names cookies or
terms of use. The document goes where a line that is left says "lorem ipsum" or has a curly bracket, and where fewer
than five sentences are left. As in that code, a bracket in a line that goes for another reason does no harm, and the
lines that are left follow each other without empty ones: paragraphs are lost, and documents must not be poems or lists.

FineWeb (Penedo et al. 2024) uses these rules with `filter_no_terminal_punct: false`. C4's word list is the filter
`inappropriate`; its removal of repeated three-sentence spans is near-duplicate search.
"""

from __future__ import annotations

import re

from pydantic import Field

from data_prep import splits
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 66

END_MARKS = (".", "?", "!", '"', "'", "”", "’")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")


class Settings(Section):
    """Thresholds as published; 0 or false switches a rule off."""

    filter_no_terminal_punct: bool = Field(default=True, description="Remove lines that do not end as sentences do.")
    min_words_per_line: int = Field(default=3, ge=0)
    max_word_length: int = Field(default=1000, ge=0, description="Characters; lines with a longer word go.")
    min_num_sentences: int = Field(default=5, ge=0, description="In what is left of the document.")
    remove_citations: bool = Field(default=True, description="Wikipedia's [1], [edit], [citation needed].")
    filter_lorem_ipsum: bool = True
    filter_javascript: bool = True
    filter_curly_bracket: bool = True
    filter_policy: bool = True


class _Dropped(Exception):
    def __init__(self, drop: Drop) -> None:
        self.drop = drop


def build(settings: Settings) -> Check:
    """Return a check that leaves the document with its good lines."""

    def check(document: Document) -> Drop | None:
        lines = document.text.splitlines()
        try:
            kept = _kept(settings, document.text, lines)
        except _Dropped as found:
            return found.drop
        count = _sentences(kept, settings.min_num_sentences)
        if count < settings.min_num_sentences:
            return Drop("too_few_sentences", f"{count} sentences in {len(kept)} of {_present(lines)} lines")
        text = "\n".join(kept)
        if text != document.text:
            removed = _present(lines) - len(kept)
            if removed:
                document.meta["c4_lines_removed"] = removed
            document.text = text
        return None if text else Drop("empty", "no line is left")

    return check


def _present(lines: list[str]) -> int:
    return sum(1 for line in lines if line and not line.isspace())


def _kept(settings: Settings, text: str, lines: list[str]) -> list[str]:
    """Return the lines that stay, stripped and without citations.

    Raises: _Dropped for what drops the whole document.
    """
    lowered = text.lower()
    javascript = settings.filter_javascript and "javascript" in lowered
    lorem = settings.filter_lorem_ipsum and "lorem ipsum" in lowered
    bracket = settings.filter_curly_bracket and "{" in text
    policy = settings.filter_policy and any(phrase in lowered for phrase in POLICY)
    citations = settings.remove_citations and "[" in text
    # Most texts have none of these, and then no line needs a second look.
    second_look = javascript or lorem or bracket or policy
    kept = []
    for raw in lines:
        line = _shaped(settings, raw.strip(), citations)
        if line is None:
            continue
        if second_look:
            folded = line.lower()
            if lorem and "lorem ipsum" in folded:
                raise _Dropped(Drop("lorem_ipsum", line[:80]))
            if javascript and "javascript" in folded:
                continue
            if bracket and "{" in line:
                raise _Dropped(Drop("curly_bracket", line[:80]))
            if policy and any(phrase in folded for phrase in POLICY):
                continue
        kept.append(line)
    return kept


def _shaped(settings: Settings, line: str, citations: bool) -> str | None:
    """Return a line without citations if it has the shape of a sentence."""
    longest = settings.max_word_length
    if longest and len(line) > longest and any(len(word) > longest for word in line.split()):
        return None
    words = settings.min_words_per_line
    if words > 0 and len(line.split(None, words - 1)) < words:
        return None
    if citations:
        line = _CITATION.sub("", line)
    if settings.filter_no_terminal_punct and (not line.endswith(END_MARKS) or line.endswith("...")):
        return None
    return line


def _sentences(lines: list[str], enough: int) -> int:
    """Count sentences, up to what is enough."""
    count = 0
    for line in lines:
        if count >= enough:
            break
        count += len(splits.sentences(line))
    return count
