"""Where a document is: its rows in a corpus result, its raw file, and what was made of it further down.

A corpus is read line by line; of a line that does not hold the id's bytes nothing is parsed. Results further down know
documents by id where they keep ids (mixtures, tokenised shards, question-answer pairs); of any other that used a file
with the document it is said that it may hold it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from heapq import nlargest
from pathlib import Path
from typing import Any

from data_prep.records import lines, parse_line
from data_prep.split import SIDES
from recipes.downstream import Held, kind_of, shown
from recipes.errors import UserError
from recipes.manifest import Manifest, owner
from recipes.sections import shipped

DROPPED = "dropped.jsonl"
ALIKE = re.compile(r"(.*) is (\d\.\d+) alike", re.DOTALL)
COMPARED = 200_000  # ids looked at to find the nearest to one that is not there
LOOKED_AT = 100  # lines of a file from which it is told whether its rows know their documents
_ID = re.compile(rb'"id": ("(?:[^"\\]|\\.)*")')


@dataclass
class Found:
    """A document in a corpus: its row, in which file and line, and the documents that were dropped in its favour."""

    file: str
    line: int
    row: dict[str, Any]
    copies: list[dict[str, Any]] = field(default_factory=list)  # id, reason, likeness

    @property
    def id(self) -> str:
        """Return the document's id."""
        return str(self.row["id"])

    @property
    def kept(self) -> bool:
        """Return whether it is in the corpus."""
        return self.file != DROPPED


def corpus(path: str) -> Manifest:
    """Return the manifest of a corpus result.

    Raises: UserError for anything else.
    """
    place = shipped(path)
    if not place.exists():
        raise UserError(path, "there is nothing here", "write the folder of a corpus")
    result = owner(place)
    if result is None:
        raise UserError(path, "this is not the result of a stage (no manifest.json here or above)", "name a corpus")
    if result.stage != "corpus":
        what = f"this is the result of a {result.stage} stage, not of a corpus stage"
        raise UserError(path, what, f"name a corpus; `tuneloop lineage {path}` shows which one it came from")
    if missing := [name for name in result.damaged() if name in (DROPPED, *(f"{side}.jsonl" for side in SIDES))]:
        raise UserError(str(result.folder / missing[0]), "this file of the corpus was changed or removed afterwards",
                        "run its stage again")  # fmt: skip
    return result


def rows(result: Manifest, file: str, needle: bytes = b"") -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and row of each row of a file whose bytes hold `needle`."""
    for number, line in lines(result.folder / file):
        if needle in line:
            yield number, parse_line(line)


def files(result: Manifest) -> list[str]:
    """Return the files of a corpus that hold documents, those that were dropped last."""
    return [name for name in (*(f"{side}.jsonl" for side in SIDES), DROPPED) if name in result.files]


def find(result: Manifest, document: str) -> Found:
    """Return a document of a corpus.

    Raises: UserError with the ids that are nearest, when it is not there.
    """
    found: Found | None = None
    copies = []
    for file in files(result):
        for number, row in rows(result, file, _needle(document)):
            if row.get("id") == document and found is None:
                found = Found(file, number, row)
            elif file == DROPPED and (twin := twin_of(row)) and twin[0] == document:
                copies.append({"id": row["id"], "reason": row["reason"], "likeness": twin[1]})
    if found is None:
        near = nearest(document, ids(result))
        write = f"did you mean {' or '.join(near)}?" if near else "an id as it stands in train.jsonl"
        raise UserError(f"--document {document}", f"no document of {shown(result.folder)} has this id", write)
    found.copies = copies
    return found


def twin_of(row: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return id and likeness of the document that a dropped row's is a copy of, if that is why it was dropped."""
    said = ALIKE.fullmatch(str(row.get("detail", ""))) if row.get("step") == "deduplicate" else None
    return (said.group(1), float(said.group(2))) if said else None


def _needle(text: str) -> bytes:
    """Return what a text looks like inside a row."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "replace")


def ids(result: Manifest) -> Iterator[str]:
    """Yield the ids of all documents of a corpus."""
    for file in files(result):
        for _, line in lines(result.folder / file):
            if match := _ID.search(line):
                yield json.loads(match.group(1))


def nearest(word: str, known: Iterator[str], most: int = 3) -> list[str]:
    """Return the names that `word` was probably meant to be, the nearest first."""
    matcher = SequenceMatcher(b=word)
    scored = []
    for number, name in enumerate(known):
        matcher.set_seq1(name)
        if matcher.real_quick_ratio() >= 0.6 and matcher.quick_ratio() >= 0.6:
            scored.append((matcher.ratio(), name))
        if number == COMPARED:
            break
    return [name for score, name in nlargest(most, scored) if score >= 0.6]


@dataclass(frozen=True)
class Raw:
    """The file that a document was read from; `key` is its input's in the manifest."""

    path: Path
    key: str
    row: int = 0
    url: bool = False


def raw_of(result: Manifest, row: Mapping[str, Any]) -> Raw | None:
    """Return the raw file of a document, by its id and what its reader noted; None when no input bears its name."""
    best: tuple[int, Raw] | None = None
    for index, item in enumerate(result.recipe["inputs"]):
        path = str(item.get("path") or item.get("dataset"))
        name = _called(item, path)
        if row["id"] != name and not str(row["id"]).startswith((f"{name}/", f"{name}#")):
            continue
        place, where = shipped(path), str(row.get("meta", {}).get("path", ""))
        file = place / where if where and not place.is_file() else place
        key = f"inputs.{index}.{'path' if item.get('path') else 'dataset'}"
        found = Raw(file, key, int(row.get("meta", {}).get("row") or 0), "://" in path)
        if best is None or len(name) > best[0]:
            best = len(name), found
    return best[1] if best else None


def _called(item: Mapping[str, Any], path: str) -> str:
    if item.get("name"):
        return str(item["name"])
    return path.rstrip("/").rpartition("/")[2] if "://" in path or item.get("dataset") else Path(path).resolve().name


def holding(documents: frozenset[str]) -> Any:
    """Return a function that tells which files of a result hold one of these documents, and where."""

    def tell(result: Manifest, inputs: Mapping[str, str]) -> Held | None:
        everything = frozenset(result.files)
        if kind_of(result.stage) == "checkpoint":
            return Held(everything, _rows_in(result, documents, inputs))
        if kind_of(result.stage) != "data":
            return Held(everything)
        if "tokens.json" in result.files:
            where = _in_shards(result, documents)
            return Held(everything, where) if where else None
        return _in_rows(result, documents)

    return tell


def _in_rows(result: Manifest, documents: frozenset[str]) -> Held | None:
    """Look for ids in the JSON lines of a result; where no row has the id of a document, nobody can tell."""
    found: dict[str, list[int]] = {}
    knows = False
    needles = {_needle(one) for one in documents}
    for file in sorted(name for name in result.files if name.endswith((".jsonl", ".jsonl.gz"))):
        for number, line in lines(result.folder / file):
            if number <= LOOKED_AT or any(needle in line for needle in needles):
                row = parse_line(line)
                meta = row["meta"] if isinstance(row.get("meta"), dict) else {}
                known = {row.get("document"), meta.get("document")} | ({row.get("id")} if "source" in row else set())
                knows = knows or any(isinstance(one, str) and one for one in known)
                if known & documents:
                    found.setdefault(file, []).append(number)
    if not found:
        return None if knows else Held(frozenset(result.files), "its rows have no document ids", sure=False)
    where = "; ".join(f"{file} line {_some(numbers)}" for file, numbers in found.items())
    return Held(frozenset(found), where)


def _in_shards(result: Manifest, documents: frozenset[str]) -> str:
    from data_prep.tokens.token_shards import TokenShards

    shards = TokenShards(result.folder)
    places = [index for index, name in enumerate(shards.names()) if name["id"] in documents]
    tokens = sum(len(shards[index]) for index in places)
    return f"tokenised document {_some(places)} of {len(shards):,} (from 0), {tokens:,} tokens" if places else ""


def _rows_in(result: Manifest, documents: frozenset[str], inputs: Mapping[str, str]) -> str:
    """Return the rows of a training that was fed with tokenised shards, where they still lie there."""
    data = result.recipe.get("data", {})
    path = inputs.get("data.train_file")
    if path is None or not (shipped(path) / "tokens.json").is_file() or "max_length" not in data:
        return ""
    from data_prep.tokens import packed_rows
    from data_prep.tokens.token_shards import TokenShards

    shards = TokenShards(shipped(path))
    plan = packed_rows.plan(shards.lengths(), data.get("packing", "wrap"), data["max_length"], result.seed)
    places = [index for index, name in enumerate(shards.names()) if name["id"] in documents]
    numbers = sorted({row for place in places for row in plan.rows_of(place)})
    return f"training row {_some(numbers)} of {len(plan):,} (from 0)" if numbers else ""


def _some(numbers: list[int], most: int = 5) -> str:
    first = ", ".join(f"{number:,}" for number in numbers[:most])
    return first + (f" and {len(numbers) - most:,} more" if len(numbers) > most else "")
