"""Texts and words to the ids that a classifier reads, and batches of them.

Encoders get what their tokenizer makes of a text or a pair, special tokens and all; a decoder, whose tokenizer knows no
pairs, gets both texts with a line break between. What is longer than `max_length` is cut at its end (of a pair, the
longer text first) and counted.

A word's label stands at its first token in an encoder. A decoder has not read the whole word there, so it stands at the
last one. All other tokens have -100.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from data_prep.records import Labelled, Tagged
from finetune.families import Family

Row = dict[str, Any]
BATCH = 1024  # texts that are tokenised together
CUT = "cut at max_length"


def encode_texts(
    tokenizer: Any, texts: Sequence[tuple[str, str]], max_length: int, family: Family, cut: Counter[str]
) -> list[Row]:
    """Return input_ids, and token_type_ids of pairs, for each (text, second text or ""); count long ones in `cut`."""
    found: list[Row] = []
    for start in range(0, len(texts), BATCH):
        chunk = texts[start : start + BATCH]
        for (first, second), ids in zip(chunk, _whole(tokenizer, chunk, family), strict=True):
            if len(ids["input_ids"]) > max_length:
                cut[CUT] += 1
                ids = _cut(tokenizer, first, second, max_length, family)
            if not second:
                ids.pop("token_type_ids", None)
            found.append(ids)
    return found


def _whole(tokenizer: Any, texts: Sequence[tuple[str, str]], family: Family) -> list[Row]:
    """Return the ids of texts that may be of any length."""
    if family == "encoder":
        pairs = [index for index, (_, second) in enumerate(texts) if second]
        plain = [index for index, (_, second) in enumerate(texts) if not second]
        rows: dict[int, Row] = {}
        for places, second in ((plain, False), (pairs, True)):
            if places:
                several = [[texts[place][0] for place in places], [texts[place][1] for place in places]]
                made = tokenizer(*several[: 2 if second else 1], verbose=False)
                names = [name for name in ("input_ids", "token_type_ids") if name in made]
                rows |= {place: {name: made[name][at] for name in names} for at, place in enumerate(places)}
        return [rows[index] for index in range(len(texts))]
    joined = [f"{first}\n{second}" if second else first for first, second in texts]
    return [{"input_ids": ids} for ids in tokenizer(joined, verbose=False)["input_ids"]]


def _cut(tokenizer: Any, first: str, second: str, max_length: int, family: Family) -> Row:
    """Return the ids of a text or a pair, cut to `max_length`."""
    if family == "encoder":
        several = (first, second) if second else (first,)
        made = tokenizer(*several, truncation="longest_first", max_length=max_length, verbose=False)
        return {name: made[name] for name in ("input_ids", "token_type_ids") if name in made}
    if not second:
        return {"input_ids": tokenizer(first, truncation=True, max_length=max_length, verbose=False)["input_ids"]}
    head = tokenizer(first, verbose=False)["input_ids"]
    tail = tokenizer(f"\n{second}", add_special_tokens=False, verbose=False)["input_ids"]
    # As with longest_first: the longer one loses its end until both fit.
    short = min(len(head), len(tail), max_length // 2)
    kept = (short, max_length - short) if len(head) <= len(tail) else (max_length - short, short)
    return {"input_ids": head[: kept[0]] + tail[: kept[1]]}


def encode_words(
    tokenizer: Any, sentences: Sequence[Sequence[str]], max_length: int, family: Family, cut: Counter[str]
) -> list[Row]:
    """Return input_ids and `places`, for each word the token that has its label; -1 where the word was cut off."""
    found = []
    for start in range(0, len(sentences), BATCH):
        chunk = sentences[start : start + BATCH]
        texts = [" ".join(words) for words in chunk]
        made = tokenizer(texts, return_offsets_mapping=True, verbose=False)
        for index, words in enumerate(chunk):
            ids, offsets = made["input_ids"][index], made["offset_mapping"][index]
            if len(ids) > max_length:
                cut[CUT] += 1
                one = tokenizer(
                    texts[index], return_offsets_mapping=True, truncation=True, max_length=max_length, verbose=False
                )
                ids, offsets = one["input_ids"], one["offset_mapping"]
            places = _places(words, offsets, first=family == "encoder")
            cut["words cut off"] += places.count(-1)
            found.append({"input_ids": ids, "places": places})
    cut += Counter()  # nothing that is 0
    return found


def _places(words: Sequence[str], offsets: Sequence[tuple[int, int]], *, first: bool) -> list[int]:
    """Return the first or last token of each word, from where tokens begin and end in the words joined by blanks."""
    word_at = [index for index, word in enumerate(words) for _ in range(len(word) + 1)]
    places = [-1] * len(words)
    for token, (begin, end) in enumerate(offsets):
        if end <= begin:  # a special token
            continue
        # By its last letter: some tokenizers count the blank before a word to its first token.
        word = word_at[end - 1]
        if places[word] == -1 or not first:
            places[word] = token
    return places


def text_rows(
    tokenizer: Any, rows: Sequence[Labelled], labels: Sequence[str], max_length: int, family: Family,
    cut: Counter[str], *, multi_label: bool, weights: Sequence[float] | None = None,
) -> list[Row]:  # fmt: skip
    """Return the training rows of texts: input_ids, target (a label's number, or 0 and 1 for each label), weight.

    The one label of a text multiplies its weight by that of the label in `weights`.
    """
    number = {label: index for index, label in enumerate(labels)}
    encoded = encode_texts(tokenizer, [(row.text, row.text_pair) for row in rows], max_length, family, cut)
    for index, (ids, row) in enumerate(zip(encoded, rows, strict=True)):
        chosen = {number[name] for name in row.labels}
        target = [float(at in chosen) for at in range(len(labels))] if multi_label else min(chosen)
        weight = row.weight * (weights[min(chosen)] if weights and not multi_label else 1.0)
        ids |= {"target": target, "weight": float(weight), "index": index}
    return encoded


def word_rows(
    tokenizer: Any, rows: Sequence[Tagged], labels: Sequence[str], max_length: int, family: Family, cut: Counter[str]
) -> list[Row]:
    """Return the training rows of words: input_ids, places, and labels, a tag's number or -100 for each token."""
    number = {label: index for index, label in enumerate(labels)}
    encoded = encode_words(tokenizer, [row.tokens for row in rows], max_length, family, cut)
    for index, (ids, row) in enumerate(zip(encoded, rows, strict=True)):
        ids["labels"] = [-100] * len(ids["input_ids"])
        for place, tag in zip(ids["places"], row.tags, strict=True):
            if place >= 0:
                ids["labels"][place] = number[tag]
        ids["index"] = index
    return encoded


def collate(
    pad: int, family: Family, weights: Sequence[float] | None = None
) -> Callable[[Sequence[Row]], dict[str, Any]]:
    """Return what makes a batch of rows: padded on the right; a mask only where an encoder would see padding.

    `count` is the sum of the weights of what the loss sums over: texts, or labelled tokens, which weigh as their label
    does in `weights`.
    """
    return lambda rows: _batch(rows, pad, family, weights)


def _batch(rows: Sequence[Row], pad: int, family: Family, weights: Sequence[float] | None) -> dict[str, Any]:
    """Return input_ids (B, T), `last` (B,), where each text ends, and targets of rows that have them."""
    import torch

    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    batch: dict[str, Any] = {
        "input_ids": _padded([row["input_ids"] for row in rows], pad),
        "last": lengths - 1,
        "tokens": lengths.sum(),
    }
    if family == "encoder" and int(lengths.min()) < int(lengths.max()):
        batch["attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    if any("token_type_ids" in row for row in rows):
        types = [row.get("token_type_ids", [0] * len(row["input_ids"])) for row in rows]
        batch["token_type_ids"] = _padded(types, 0)
    if all("target" in row for row in rows):
        batch["target"] = torch.tensor([row["target"] for row in rows])
        batch["weight"] = torch.tensor([row["weight"] for row in rows])
        batch["count"] = batch["weight"].sum()
    if all("labels" in row for row in rows):
        batch["labels"] = _padded([row["labels"] for row in rows], -100)
        labels = batch["labels"][batch["labels"] != -100]
        batch["count"] = torch.tensor(weights)[labels].sum() if weights else torch.tensor(float(len(labels)))
    if all("index" in row for row in rows):
        batch["index"] = torch.tensor([row["index"] for row in rows])
    return batch


def _padded(rows: Sequence[Sequence[int]], value: int) -> Any:
    """Return rows as one tensor (B, T), padded on the right."""
    import torch

    width = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])
