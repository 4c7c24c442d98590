"""Spoil the collection in known ways, and note each defect where it was planted.

Two kinds of defects:

- documents that should not survive: `exact_duplicate` and `near_duplicate` (one of the two documents should go, either
  will do), `off_topic`, `foreign_language`, `leaked_question`, `too_short`, `garbage`, `corrupt_line`, `empty_file`;
- damage in good documents, to be repaired: `boilerplate` lines, `encoding` (mojibake, or a file in another encoding),
  `personal_data`. Those documents are in the list of good ones, too, with the text that should be left.
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator, Sequence

from data_prep.garden.files import BOILERPLATE, PDF_FOOTER, Item
from data_prep.garden.foreign import FOREIGN, OFF_TOPIC
from data_prep.garden.questions import TestSets

CORRUPT = (
    ("cards/plant-cards.jsonl", b'{"id": "plant-cards-x", "text": "The card of the\n'),
    ("letters/visitors.jsonl", b'{"id": "visitors-x", "text": "Dear Ott\xff\xfe", "title"}\n'),
)
SHORT = ("OK.", "See above.", "More soon.", "Photo: the pond.", "To do.")
GARBAGE = (
    "%%## 00 0x1f 7f45 4c46 0201 0100 0000 0000 0300 3e00 0100 0000 6010 4000 0000 0000 ~~ 4000 3800 0900 4000 1f00",
    "click here click here click here click here click here click here click here click here click here click here",
    "|||||||| ---- |||||||| ---- |||||||| ==== |||||||| ---- |||||||| ---- |||||||| ==== |||||||| ---- |||||||| ----",
    "xk qpz vvjw rrt zzkq bbn wqx jjp lkt qzzx mnb vcx qwp zxk jvb tpq xkz wjq pvz kxq bnz qjx wvk zpt xqk vjz",
    "a;lsdkfj a;sldkfj a;sldkfj asdf asdf asdf jkl; jkl; asdf jkl; asdf asdf qwer qwer uiop asdf jkl; asdf asdf",
)
PERSONAL = (
    ("email", "rosa.field@larkmoor.example.org", "Please write to {} if you want to help."),
    ("email", "tom_barley@example.com", "The address for the seeds is {}."),
    ("email", "nora.brook+garden@example.net", "Send your pictures to {}."),
    ("phone", "+44 20 7946 0123", "Call {} in the afternoon."),
    ("phone", "(555) 010-0147", "The number of the office is {}."),
    ("phone", "+1 555-010-0199", "In a storm, ring {} at once."),
    ("iban", "DE89 3704 0044 0532 0130 00", "Gifts go to the account {}."),
    ("iban", "GB82 WEST 1234 5698 7654 32", "Pay the rent to {}."),
    ("ip", "192.0.2.44", "The camera at the pond has the address {}."),
    ("ip", "198.51.100.7", "The pump answers at {}."),
)
ACCENTED = (
    "Renée brought fresh crêpes from the café.", "Señor Núñez sent us a very kind note.",
    "Zoë’s friend Jürgen sang for the crowd.", "The poet’s name was André, and he loved naïve songs.",
    "Frau Müller’s hat flew into the stream.", "A crème brûlée was served after the walk.",
)  # fmt: skip
MAIL_LINES = "This letter was sent through the Larkmoor letter box. Do not answer to this box."
# Changes that a second author makes: none of them changes what is said.
REWORDED = (
    ("grows in the", "is growing in the"), ("takes care of", "looks after"), ("You will find", "You can find"),
    ("needs water", "wants water"), ("comes from", "came from"), ("has trouble with", "is often visited by"),
    (" is often ", " is very often "), ("Here is what we know", "This is what we know"),
)  # fmt: skip
REMARKS = ("Checked again this spring.", "Second edition.", "Copied by hand for the office.")


def spoil(items: list[Item], sets: TestSets, seed: int) -> list[Item]:
    """Return all items, good and bad, in the order of their files and rows; good ones are changed in place."""
    generator = random.Random(f"{seed}:defects")
    targets = [one for one in items if not one.path.endswith(".pdf")]
    generator.shuffle(targets)
    _boilerplate(items)
    bad = [
        *_duplicates(targets, generator), *_foreign(), *_off_topic(), *_leaks(sets, generator), *_worthless(generator),
    ]  # fmt: skip
    # The originals of duplicates stay whole, so that what makes them duplicates is the only defect there.
    untouched = targets[32:]
    _encoding(untouched, generator)
    _personal(untouched, generator)
    return _shuffled_into([*items, *bad], generator)


def _duplicates(targets: list[Item], generator: random.Random) -> Iterator[Item]:
    """Yield copies of the first 16 documents and slightly changed copies of the next 16."""
    for index, original in enumerate(targets[:32]):
        twin = copy.deepcopy(original)
        twin.good, twin.facts = False, []
        if not twin.path.endswith(".jsonl"):
            twin.path = _copied_path(twin.path)
        if index < 16:
            twin.plant("exact_duplicate", of=original)
        else:
            twin.paragraphs = _reworded(twin.paragraphs, generator)
            twin.plant("near_duplicate", of=original)
        yield twin


def _copied_path(path: str) -> str:
    folder, _, name = path.rpartition("/")
    stem, _, ending = name.rpartition(".")
    return f"{folder}/old/{stem}-copy.{ending}"


def _reworded(paragraphs: list[str], generator: random.Random) -> list[str]:
    """Return the paragraphs with one change for each 60 words and a remark at the end."""
    text = "\n".join(paragraphs)
    allowed = max(1, len(text.split()) // 60)
    fitting = [change for change in REWORDED if change[0] in text]
    for old, new in generator.sample(fitting, min(allowed, len(fitting))):
        text = text.replace(old, new, 1)
    return [*text.split("\n"), generator.choice(REMARKS)]


def _foreign() -> Iterator[Item]:
    for index, (language, title, paragraphs) in enumerate(FOREIGN):
        path = (f"website/{language}/page-{index + 1}.html", "letters/visitors.jsonl")[index % 2]
        one = Item(path, title, list(paragraphs), good=False)
        one.plant("foreign_language", language=language)
        yield one


def _off_topic() -> Iterator[Item]:
    for index, (title, paragraphs) in enumerate(OFF_TOPIC):
        path = (f"website/partners/page-{index + 1}.html", f"downloads/file-{index + 1}.txt", "letters/visitors.jsonl")
        one = Item(path[index % 3], title, list(paragraphs), good=False)
        one.plant("off_topic", title=title)
        yield one


def _leaks(sets: TestSets, generator: random.Random) -> Iterator[Item]:
    """Yield quiz sheets and letters that hold held-out questions with their answers."""
    found = [("prompts_test", row.id, row.prompt[-1]["content"], row.references[0]) for row in sets.prompts]
    found += [("questions_free", row.id, row.prompt[-1]["content"], row.references[0]) for row in sets.free]
    found += [("preferences_test", row.id, row.prompt[-1]["content"], row.chosen[0]["content"]) for row in sets.pairs]
    found += [("questions_choice", row["id"], row["question"], row["choices"][row["answer"]]) for row in sets.choice]
    taken = generator.sample(found, min(24, len(found)))
    for index in range(0, len(taken), 2):
        part = taken[index : index + 2]
        path = f"quiz/sheet-{index // 2 + 1:02}.txt" if index % 4 else "letters/visitors.jsonl"
        written = [_disguised(question, answer, generator) for _, _, question, answer in part]
        frame = "We played a quiz in the bus on the way home, and these were the questions that we liked most."
        one = Item(path, "A quiz for the bus", [frame, *written], good=False)
        for (name, identity, question, answer), text in zip(part, written, strict=True):
            one.plant("leaked_question", set=name, id=identity, question=question, answer=answer, text=text)
        yield one


def _disguised(question: str, answer: str, generator: random.Random) -> str:
    """Return question and answer in another case, with other punctuation or other white space."""
    text = f"{question} {answer}"
    return generator.choice(
        (text.upper(), text.lower().replace("?", " ??"), re.sub(" ", "  ", text),
         text.replace("?", "").replace(".", ""), text.replace(" ", "\n", 3).lower())
    )  # fmt: skip


def _worthless(generator: random.Random) -> Iterator[Item]:
    for index, text in enumerate(SHORT):
        one = Item(
            f"downloads/note-{index + 1}.txt" if index % 2 else "cards/plant-cards.jsonl", "Note", [text], good=False
        )
        one.plant("too_short", text=text)
        yield one
    for index, text in enumerate(GARBAGE):
        one = Item(
            f"downloads/scan-{index + 1}.txt" if index % 2 else "notes/bulletins.jsonl", "Scan", [text] * 3, good=False
        )
        one.plant("garbage", text=text)
        yield one
    for path, raw in CORRUPT:
        one = Item(path, "", [], good=False, raw=raw)
        one.plant("corrupt_line", text=raw.decode("latin-1").rstrip("\n"))
        yield one
    for path in ("downloads/empty.txt", "website/plants/new-plant.html"):
        one = Item(path, "", [], good=False, raw=b"" if path.endswith(".txt") else None)
        one.plant("empty_file", bytes=0 if path.endswith(".txt") else "navigation only")
        yield one


def _boilerplate(items: Sequence[Item]) -> None:
    """Note the lines around the content of web pages and under the pages of the PDF; add one to each letter."""
    for one in items:
        if one.path.endswith(".html"):
            one.plant("boilerplate", lines=list(BOILERPLATE))
        elif one.path.endswith(".pdf"):
            one.plant("boilerplate", lines=[PDF_FOOTER.partition(" - page")[0]])
        elif one.path.startswith("letters/"):
            one.clean = list(one.paragraphs)
            one.paragraphs.append(MAIL_LINES)
            one.plant("boilerplate", lines=[MAIL_LINES])


def _insert(one: Item, text: str, clean: str | None, generator: random.Random) -> None:
    """Put a sentence at the end of a paragraph, and `clean` into the text that should be left."""
    one.clean = list(one.paragraphs) if one.clean is None else one.clean
    place = generator.randrange(len(one.clean))
    one.paragraphs[place] += f" {text}"
    if clean:
        one.clean[place] += f" {clean}"


def _encoding(targets: list[Item], generator: random.Random) -> None:
    """Damage 12 documents: UTF-8 read as Windows-1252, and two text files stored in Windows-1252."""
    for index in range(12):
        one = targets.pop()
        text = ACCENTED[index % len(ACCENTED)]
        damaged = text.encode("utf-8").decode("cp1252")
        _insert(one, damaged, text, generator)
        one.plant("encoding", damaged=damaged, repaired=text)
    stored = [one for one in targets if one.path.endswith(".txt")][:2]
    for index, one in enumerate(stored):
        targets.remove(one)
        text = ACCENTED[index]
        _insert(one, text, text, generator)
        one.encoding = "cp1252"
        one.plant("encoding", encoding="cp1252", repaired=text)


def _personal(targets: list[Item], generator: random.Random) -> None:
    for kind, text, sentence in PERSONAL * 2:
        one = targets.pop()
        _insert(one, sentence.format(text), None, generator)
        one.plant("personal_data", kind=kind, text=text)


def _shuffled_into(items: list[Item], generator: random.Random) -> list[Item]:
    """Return the items by path, the rows of each JSON-lines file in random order."""
    generator.shuffle(items)
    return sorted(items, key=lambda one: one.path)
