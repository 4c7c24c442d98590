"""Make `profiles.safetensors`: how likely each character n-gram is in each language.

    python -m data_prep.language.make_profiles LANGDETECT_PROFILES LINGUA_MODELS

3-grams, with the blank before and after a word, come from the profiles that langdetect 1.0.9 ships
(https://github.com/Mimino666/langdetect, Apache-2.0; made from Wikipedia); 4-grams inside words from the models of
lingua-language-detector 1.4.2 (https://github.com/pemistahl/lingua-py, Apache-2.0; made from the Leipzig corpora,
CC BY), whose conditional probabilities are multiplied out. Both packages hold them as data files; the arguments are the
folders `langdetect/profiles` and `lingua/language-models` (the latter needs `pip install brotli`).

Kept are the likeliest 4-grams of a language, and for each the weight log(P + floor) - log(floor), in steps of `SCALE`
in one byte. Floor, number and temperature were chosen on translated GNOME help pages; no text of the benchmark's set
went into the profiles.
"""

from __future__ import annotations

import json
import sys
from math import log
from pathlib import Path
from typing import Any

from data_prep.language import PROFILES, SHARED, hashes, words

FLOOR = 1e-7
SCALE = 0.08
FOURGRAMS = 2500  # of each language
FOURGRAM_WEIGHT = 1.5
_FILES = {"nb": "no"}  # langdetect's name of a language where it is not ours
_ORDERS = ("unigrams", "bigrams", "trigrams", "quadrigrams")


def main(langdetect: Path, lingua: Path) -> None:
    """Write the file."""
    languages = sorted(language for listed in SHARED.values() for language in listed)
    weights: dict[str, dict[int, int]] = {}
    for column, language in enumerate(languages):
        for gram, likelihood in trigrams(langdetect / _FILES.get(language, language)).items():
            weights.setdefault(gram, {})[column] = _step(likelihood)
        for gram, likelihood in fourgrams(lingua / language).items():
            weights.setdefault(gram, {})[column] = _step(likelihood, FOURGRAM_WEIGHT)
    save(languages, weights)


def _step(likelihood: float, factor: float = 1.0) -> int:
    return max(1, min(255, round(factor * log(likelihood / FLOOR + 1) / SCALE)))


def trigrams(path: Path) -> dict[str, float]:
    """Return the likelihood of each 3-gram of letters and blanks in a profile of langdetect."""
    profile = json.loads(path.read_text(encoding="utf-8"))
    total = profile["n_words"][2]
    found: dict[str, float] = {}
    for gram, count in profile["freq"].items():
        if len(gram) == 3 and gram.strip() and _of_words(gram):
            found[gram.lower()] = found.get(gram.lower(), 0.0) + count / total
    return found


def _of_words(gram: str) -> bool:
    return bytes(words(f"x{gram}x"))[8:-8].decode("utf-32-le") == gram.lower()


def fourgrams(folder: Path) -> dict[str, float]:
    """Return the likelihood of the most frequent 4-grams in a language's models of lingua."""
    if not folder.is_dir():  # three languages have none: their 3-grams must do
        return {}
    joint: dict[str, float] = {"": 1.0}
    for order in _ORDERS:
        for fraction, grams in _lingua(folder / f"{order}.json.br").items():
            numerator, denominator = map(int, fraction.split("/"))
            for gram in grams.split(" "):
                joint[gram] = joint.get(gram[:-1], 0.0) * numerator / denominator
    ranked = sorted((-likelihood, gram) for gram, likelihood in joint.items() if len(gram) == 4)
    return {gram: -likelihood for likelihood, gram in ranked[:FOURGRAMS]}


def _lingua(path: Path) -> dict[str, str]:
    import brotli  # type: ignore[import-not-found, import-untyped, unused-ignore]

    loaded: dict[str, Any] = json.loads(brotli.decompress(path.read_bytes()))
    grams: dict[str, str] = loaded["ngrams"]
    return grams


def save(languages: list[str], weights: dict[str, dict[int, int]]) -> None:
    """Write the n-grams, those with the most weight first."""
    import numpy as np
    from safetensors.numpy import save_file

    grams = sorted(weights, key=lambda gram: (-sum(weights[gram].values()), gram))
    points = [np.frombuffer(gram.encode("utf-32-le"), np.uint32) for gram in grams]
    keys = np.concatenate([hashes(item, len(item)) for item in points])
    pairs = [pair for gram in grams for pair in sorted(weights[gram].items())]
    tensors = {
        "keys": keys,
        "counts": np.array([len(weights[gram]) for gram in grams], np.uint8),
        "columns": np.array([column for column, _ in pairs], np.uint8),
        "values": np.array([value for _, value in pairs], np.uint8),
    }
    save_file(tensors, PROFILES, metadata={"languages": json.dumps(languages), "scale": str(SCALE)})
    print(f"{PROFILES}: {len(grams):,} n-grams, {len(pairs):,} weights, {PROFILES.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
