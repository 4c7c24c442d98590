"""Names and places by a trained model: Microsoft Presidio over a spaCy pipeline, where both are installed.

    pip install 'tuneloop[presidio]' && python -m spacy download en_core_web_sm

Presidio (https://microsoft.github.io/presidio) is loaded at first use; `missing` tells beforehand whether it is there.
Its own patterns are not asked: those of this package are measured to be at least as good and are many times as fast.
Left out: languages other than the pipeline's.
"""

from __future__ import annotations

import re
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from data_prep.personal_data.span import Finding

MODEL_KINDS = ("PERSON", "LOCATION")
_PIECE = 50_000  # characters: spaCy's memory grows with the text it is given
_PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]+(?:_[0-9]+)?>")


def missing(pipeline: str) -> str:
    """Return what would have to be installed for a spaCy pipeline to be asked for names, or ""."""
    if find_spec("presidio_analyzer") is None or find_spec("spacy") is None:
        return "presidio-analyzer is not installed: pip install 'tuneloop[presidio]'"
    if find_spec(pipeline) is None:
        return f"the spaCy pipeline {pipeline} is not installed: python -m spacy download {pipeline}"
    return ""


class Names:
    """A loaded model that finds people and places."""

    def __init__(self, pipeline: str, min_score: float) -> None:
        self._pipeline = pipeline
        self._min_score = min_score

    @cached_property
    def _recognizer(self) -> Any:
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import SpacyNlpEngine
        from presidio_analyzer.predefined_recognizers import SpacyRecognizer

        registry = RecognizerRegistry(recognizers=[SpacyRecognizer()], supported_languages=["en"])
        engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": self._pipeline}])
        return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])

    def find(self, text: str, kinds: frozenset[str]) -> list[Finding]:
        """Return the people and places found, without what is a placeholder."""
        entities = [kind for kind in MODEL_KINDS if kind in kinds]
        holes = [match.span() for match in _PLACEHOLDER.finditer(text)]
        found = []
        for start, piece in _pieces(text):
            for result in self._recognizer.analyze(piece, "en", entities=entities, score_threshold=self._min_score):
                place = start + result.start, start + result.end
                if all(place[1] <= hole[0] or place[0] >= hole[1] for hole in holes):
                    found.append(Finding(result.entity_type, *place))
        return sorted(found, key=lambda finding: (finding.start, finding.end, finding.kind))


def _pieces(text: str) -> list[tuple[int, str]]:
    """Return a text in pieces that end at a line's end, each with its place."""
    pieces, start = [], 0
    while start < len(text):
        end = len(text) if len(text) - start <= _PIECE else text.rfind("\n", start, start + _PIECE) + 1
        end = end if end > start else start + _PIECE
        pieces.append((start, text[start:end]))
        start = end
    return pieces
