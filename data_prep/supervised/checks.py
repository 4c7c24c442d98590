"""Is a row fit to be trained on? Its texts are tidied first, then every rule that it breaks first is its reason.

| reason | rule |
|---|---|
| empty answer, empty message, no user turn, no answer at the end, roles out of order | `turns.check_turns` |
| encoding damage | half a surrogate pair, or more than 0.2 % of the characters lost (U+FFFD) |
| too long, too many tokens | all texts of the row together |
| answer too short, placeholder answer, refusal | the answer to be learnt: the last, the chosen one, the target |
| chosen equals rejected | also where they differ in white space alone |
| wrong language | of prompt and answer together, where the language can be told |
| contaminated | an evaluation question stands in the prompt, or is the prompt |
| duplicate, same text with another label, same answer with another label, reversed pair | against the rows before |

Memory: a hash, a place and a verdict for each row, about 300 bytes.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from data_prep import decontaminate, shingles
from data_prep.decontaminate import Hit, Questions
from data_prep.decontaminate import Item as Question
from data_prep.records import Message
from data_prep.supervised.turns import Parts, Refused, check_turns, unlearnt
from recipes.errors import UserError

PLACEHOLDERS = (
    "n/a", "[n/a]", "(n/a)", "todo", "tbd", "tba", "fixme", "null", "nan", "undefined", "no answer",
    "no answer provided", "not available", "placeholder", "[placeholder]", "[answer]", "<answer>", "answer here",
    "your answer here", "[insert answer here]", "lorem ipsum", "...", "…", "???", "---", "xxx",
)  # fmt: skip
REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial intelligence)\b|\bi(?:'|’)?(?: a)?m (?:just )?an ai (?:language )?model\b"
    r"|^(?:i(?:'|’)m sorry,? but )?i (?:can(?:'|’)t|cannot|am unable to|can not) (?:assist|help|fulfil|provide|answer)",
    re.IGNORECASE,
)
LOST, MAX_LOST = "\ufffd", 0.002
SURROGATE = re.compile("[\ud800-\udfff]")
UNLEARNT = "answers of weight 0"
SAMPLE = 2000  # characters by which the language is told


@dataclass(frozen=True)
class Rules:
    """What the recipe asks for."""

    kind: str
    system: str = ""
    max_characters: int = 20_000
    max_tokens: int = 0
    min_answer_characters: int = 1
    placeholders: frozenset[str] = frozenset(PLACEHOLDERS)
    refusals: bool = False
    languages: frozenset[str] = frozenset()
    keep_indentation: bool = True
    redact: bool = False
    duplicates: bool = True
    whole_questions_only: bool = False


@dataclass
class Checked:
    """A row that may be trained on: its parts tidied, what it asks, what it answers, and its labels."""

    parts: Parts
    prompt: str
    answers: tuple[str, ...]
    labels: tuple[str, ...] = ()
    tokens: int = 0


class Seen(NamedTuple):
    """Where a row stood and what it said; equal texts are kept once, as there may be a million of these."""

    file: str
    line: int
    verdict: str

    @property
    def place(self) -> str:
        """Return file and line."""
        return f"{self.file}:{self.line}"


class Contaminated(Refused):
    """A row with an evaluation question in it."""

    def __init__(self, hit: Hit) -> None:
        super().__init__("contaminated", f"{hit.item.file}:{hit.item.line}")
        self.hit = hit


@dataclass
class Checker:
    """Checks rows one after another; it remembers the rows it has seen."""

    rules: Rules
    questions: Questions
    whole: dict[bytes, Question] = field(default_factory=dict)
    count_tokens: Callable[[Sequence[str]], int] | None = None
    changed: Counter[str] = field(default_factory=Counter)
    _seen: dict[bytes, Seen] = field(default_factory=dict)

    def check(self, parts: Parts, place: str) -> Checked:
        """Return the row tidied.

        Raises: Refused.
        """
        found = self._examined({name: self._tidied(value) for name, value in parts.items()})
        texts = list(_texts(found.parts))
        self._lengths(found, texts)
        self._answer(found)
        self._language(found)
        self._contamination(found)
        if self.rules.duplicates:
            self._repeated(found, place)
        self.changed[UNLEARNT] += unlearnt(found.parts.get("messages", ()))
        return found

    def _tidied(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._clean(value)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return [{**turn, "content": self._clean(turn["content"])} for turn in value]
        return value

    def _clean(self, text: str) -> str:
        """Return a text repaired, in normal form, with regular white space and, if asked for, without personal data.

        Raises: Refused for a text that is beyond repair.
        """
        from data_prep import personal_data
        from data_prep.filters.encoding import repair
        from data_prep.filters.unicode import normalised
        from data_prep.filters.whitespace import tidy

        repaired = repair(text)
        self.changed["encoding repaired"] += repaired != text
        lost = repaired.count(LOST)
        if lost > MAX_LOST * len(repaired) or SURROGATE.search(repaired):
            raise Refused("encoding damage", f"{lost} of {len(repaired)} characters are lost" if lost else
                          "half a surrogate pair")  # fmt: skip
        text = tidy(normalised(repaired), keep_indentation=self.rules.keep_indentation)
        if self.rules.redact:
            before, (text, _) = text, personal_data.redact(text)
            self.changed["personal data replaced"] += before != text
        return text

    def _examined(self, parts: Parts) -> Checked:
        """Return the row with its prompt and answers.

        Raises: Refused.
        """
        if "labels" in parts:
            if not parts["text"].strip() or not parts.get("text_pair", "x").strip():
                raise Refused("empty text")
            text = "\n".join(filter(None, (parts["text"], parts.get("text_pair"))))
            return Checked(parts, text, (), tuple(parts["labels"]))
        if "tokens" in parts:
            if not any(token.strip() for token in parts["tokens"]):
                raise Refused("empty text")
            return Checked(parts, " ".join(parts["tokens"]), (), ())
        if "source" in parts:
            if not parts["source"].strip() or not parts["target"].strip():
                raise Refused("empty source" if not parts["source"].strip() else "empty answer")
            return Checked(parts, parts["source"], (parts["target"],))
        return self._conversation(parts)

    def _conversation(self, parts: Parts) -> Checked:
        start: list[Message] = parts["prompt"] if "prompt" in parts else parts["messages"]
        if self.rules.system and start and start[0]["role"] != "system":
            start.insert(0, {"role": "system", "content": self.rules.system})
        names = [name for name in ("chosen", "rejected", "completion") if name in parts]
        for conversation in [parts["prompt"] + parts[name] for name in names] or [parts["messages"]]:
            check_turns(conversation)
        if names:
            self._whole_answers(parts, names)
        if "chosen" in parts and _folded(parts["chosen"]) == _folded(parts["rejected"]):
            raise Refused("chosen equals rejected")
        prompt = "\n".join(turn["content"] for turn in start if turn["role"] == "user")
        answers = [_said(parts[name]) for name in names] or [_said(parts["messages"])]
        labels = (str(parts["label"]).lower(),) if "completion" in parts else ()
        return Checked(parts, prompt, tuple(answers), labels)

    def _whole_answers(self, parts: Parts, names: Sequence[str]) -> None:
        """Refuse a compared answer that is not to be learnt; what stands before one is not learnt anyway."""
        if any(unlearnt(parts[name]) for name in names):
            raise Refused("turn of weight 0", "an answer that is not to be learnt")
        parts["prompt"] = [{"role": turn["role"], "content": turn["content"]} for turn in parts["prompt"]]

    def _lengths(self, found: Checked, texts: Sequence[str]) -> None:
        # A pair is as long as its longer side: prompt and chosen, or prompt and rejected.
        length = max(map(_length, _alternatives(found.parts)))
        if length > self.rules.max_characters:
            raise Refused("too long", f"{length} characters, at most {self.rules.max_characters}")
        if self.count_tokens:
            found.tokens = max(self.count_tokens(list(side)) for side in _alternatives(found.parts))
            if self.rules.max_tokens and found.tokens > self.rules.max_tokens:
                raise Refused("too many tokens", f"{found.tokens} tokens, at most {self.rules.max_tokens}")

    def _answer(self, found: Checked) -> None:
        for answer in found.answers:
            last = answer.rpartition("\0")[2]
            if len(last) < self.rules.min_answer_characters:
                raise Refused("answer too short", f"{len(last)} characters")
        if not found.answers or "false" in found.labels:
            return  # a bad answer may well be a placeholder
        last = found.answers[0].rpartition("\0")[2].strip()
        if last.lower().rstrip(".!") in self.rules.placeholders or last.lower() in self.rules.placeholders:
            raise Refused("placeholder answer", last[:40])
        if self.rules.refusals and (match := REFUSAL.search(last)):
            raise Refused("refusal", match[0][:60])

    def _language(self, found: Checked) -> None:
        if not self.rules.languages:
            return
        from data_prep.filters.language import detect

        seen = detect("\n".join((found.prompt[:SAMPLE], *(answer[:SAMPLE] for answer in found.answers[:1]))))
        if seen and seen not in self.rules.languages:
            raise Refused("wrong language", f"{seen}, not {', '.join(sorted(self.rules.languages))}")

    def _contamination(self, found: Checked) -> None:
        if same := self.whole.get(words_key(found.prompt)) if self.whole else None:
            raise Contaminated(Hit(same, found.prompt[:200], found.prompt[:200]))
        runs = self.questions.items and not self.rules.whole_questions_only
        for hit in self.questions.hits(found.prompt) if runs else ():
            raise Contaminated(hit)

    def _repeated(self, found: Checked, place: str) -> None:
        """Refuse a row that was there before, or that says the contrary of one."""
        verdict = " ".join(sorted(found.labels))
        key = _key(found.parts)
        if "chosen" in found.parts and (before := self._seen.get(_key(_swapped(found.parts)))):
            raise Refused("reversed pair", f"{before.place} has the same answers the other way round")
        file, _, line = place.rpartition(":")
        now = Seen(sys.intern(file), int(line), sys.intern(verdict))
        before = self._seen.setdefault(key, now)
        if before is now:
            return
        if before.verdict == verdict:
            raise Refused("duplicate", before.place)
        what = "answer" if "completion" in found.parts else "text"
        raise Refused(f"same {what} with another label", f"{verdict or 'none'}; {before.place}: {before.verdict}")


def words_key(text: str) -> bytes:
    """Return a hash of a text's words, whatever their case and what stands between them."""
    return blake2b(" ".join(shingles.words(text)).encode("utf-8", "replace"), digest_size=16).digest()


def evaluation(paths: Iterable[Path]) -> tuple[Questions, dict[bytes, Question]]:
    """Return the questions of evaluation sets: by runs of words, and whole ones by their words, however few.

    A question of a word or two stands in many honest texts; a prompt that is just this question is the question."""
    questions = Questions()
    whole: dict[bytes, Question] = {}
    for question in decontaminate.asked(paths):
        questions.add(question)
        if shingles.words(question.text):
            whole.setdefault(words_key(question.text), question)
    return questions, whole


def token_counter(path: str) -> Callable[[Sequence[str]], int]:
    """Return a function that counts the tokens of texts, without those that a chat template adds.

    Raises: UserError for a file that the library cannot read.
    """
    from tokenizers import Tokenizer

    place = Path(path)
    file = place / "tokenizer.json" if place.is_dir() else place
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises no type of its own
        raise UserError(str(file), f"not a tokenizer ({error})", "name a tokenizer.json of the library") from error
    return lambda texts: sum(len(one.ids) for one in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False))


def _said(turns: Sequence[Message]) -> str:
    """Return all that the assistant says and is learnt, turns apart by a NUL, which tidied texts do not hold."""
    return "\0".join(turn["content"] for turn in turns if turn["role"] == "assistant" and turn.get("weight") != 0)


def _alternatives(parts: Parts) -> list[list[str]]:
    """Return the texts that are trained on together: of a pair two sets, else one."""
    if "chosen" not in parts:
        return [list(_texts(parts))]
    return [list(_texts({"prompt": parts["prompt"], "answer": parts[name]})) for name in ("chosen", "rejected")]


def _folded(turns: Sequence[Message]) -> list[tuple[str, ...]]:
    """Return what is said, however it is spaced."""
    return [(turn["role"], *turn["content"].split()) for turn in turns]


def _length(texts: Sequence[str]) -> int:
    return sum(map(len, texts))


def _texts(parts: Parts) -> Iterable[str]:
    for name, value in parts.items():
        if isinstance(value, str) and not name.endswith("_language"):
            yield value
        elif name == "tokens":
            yield " ".join(value)
        elif isinstance(value, list) and name not in ("labels", "tags"):
            yield from (turn["content"] for turn in value)


def _key(parts: Parts) -> bytes:
    folded = "\0".join(" ".join(text.casefold().split()) for text in _texts(parts))
    return blake2b(folded.encode("utf-8", "replace"), digest_size=16).digest()


def _swapped(parts: Parts) -> Parts:
    return {"prompt": parts["prompt"], "chosen": parts["rejected"], "rejected": parts["chosen"]}
