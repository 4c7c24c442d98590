"""The garden: the same bytes every time, no contradiction, every defect where the truth table says, nothing leaked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from data_prep.garden import defects, everything, files, pages, world
from data_prep.garden.oracle import plain, prefer
from data_prep.records import Conversation, Document, Preference, Prompt, read, read_rows
from data_prep.stages import garden

PLACE = world.build(42)
QUICKSTART = Path("recipes/quickstart/garden.yaml")


@pytest.fixture(scope="module")
def made() -> everything.Everything:
    return everything.make(42, 30, 0.08, everything.Sizes())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("garden") / "out"
    garden.run(garden.Recipe(output_dir=str(folder)))
    return folder


def words(text: str) -> str:
    """Return the words alone: no case, no punctuation, single spaces."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def document_text(raw: bytes, place: dict[str, Any]) -> str:
    """Return the text of a planted place, as it lies on the disk."""
    if "row" in place:
        raw = raw.split(b"\n")[place["row"] - 1]
        return str(json.loads(raw)["text"]) if place["defect"] != "corrupt_line" else raw.decode("latin-1")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252")


# The same bytes


def test_equal_seeds_give_equal_bytes_whatever_the_hash_seed() -> None:
    code = (
        "import hashlib; from data_prep.garden import everything as e; m = e.make(7, 20, 0.1, "
        "e.Sizes(200, 20, 100, 20, 50, 10, e.questions.Sizes(20, 20, 20, 20))); "
        "print(hashlib.sha256(repr((m.raw, {k: e.lines(v) for k, v in m.rows.items()}, m.truth)).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(digests) == 1


def test_another_seed_gives_another_world() -> None:
    assert {fact.id: fact.value for fact in world.build(1).facts} != {fact.id: fact.value for fact in PLACE.facts}


def test_the_stage_writes_the_same_content_twice_in_little_time(written: Path, tmp_path: Path) -> None:
    started = time.process_time()
    garden.run(garden.Recipe(output_dir=str(tmp_path / "again")))
    assert time.process_time() - started < 3
    first, second = (json.loads((one / "manifest.json").read_text()) for one in (written, tmp_path / "again"))
    assert first["content"] == second["content"]


# What is there


def test_rows_are_of_their_types_and_as_many_as_asked(written: Path) -> None:
    wanted = {
        "instructions_train": (Conversation, 1600),
        "instructions_validation": (Conversation, 120),
        "preferences_train": (Preference, 1600),
        "preferences_validation": (Preference, 120),
        "preferences_test": (Preference, 200),
        "prompts_train": (Prompt, 600),
        "prompts_test": (Prompt, 150),
        "questions_free": (Prompt, 150),
        "general_test": (Document, 60),
    }
    for name, (kind, size) in wanted.items():
        rows = list(read(written / f"{name}.jsonl", kind))
        assert len(rows) == size
        assert len({row.id for row in rows}) == size
    choice = list(read_rows(written / "questions_choice.jsonl"))
    assert len(choice) == 150
    for row in choice:
        assert len(set(row["choices"])) == 4
        assert row["choices"][row["answer"]].lower() == f"{row['meta']['value']}.".lower()


def test_sizes_of_the_collection(written: Path) -> None:
    metrics = json.loads((written / "manifest.json").read_text())["metrics"]
    assert 120_000 < metrics["good_characters"] < 400_000
    endings = Counter(path.suffix for path in (written / "raw").rglob("*") if path.is_file())
    assert set(endings) == {".html", ".md", ".txt", ".jsonl", ".pdf"}
    assert all(size >= 1 for size in metrics["planted"].values())


def test_most_conversations_are_short(made: everything.Everything) -> None:
    lengths = [
        sum(len(one["content"].split()) for one in row.messages) for row in made.rows["instructions_train.jsonl"]
    ]
    assert sorted(lengths)[len(lengths) * 9 // 10] <= 32
    assert max(lengths) <= 60


def test_answers_for_training_are_of_mixed_quality(made: everything.Everything) -> None:
    rows = made.rows["instructions_train.jsonl"]
    share = {name: count / len(rows) for name, count in Counter(row.meta["quality"] for row in rows).items()}
    assert 0.35 < share["curt"] < 0.5
    assert 0.1 < share["rambling"] < 0.2
    assert 0.28 < share["good"] < 0.42
    assert 0.01 < share["wrong"] < 0.07
    assert 0.02 < sum(len(row.messages) > 2 for row in rows) / len(rows) < 0.1


# One truth


def patterns() -> list[tuple[world.Attribute, re.Pattern[str]]]:
    """Return for each statement a pattern that reads entity, value and pest back."""
    result = []
    for attribute in world.ATTRIBUTES.values():
        slots = {
            "e": "|".join(map(re.escape, world.ENTITIES[attribute.kind])),
            "v": "|".join(re.escape(value.text) for value in attribute.values),
            "x": "|".join(world.ENTITIES["pest"]),
        }
        for statement in attribute.statements:
            pattern = re.escape(statement)
            for slot, choices in slots.items():
                pattern = pattern.replace(rf"\{{{slot}\}}", f"(?P<{slot}>{choices})")
            result.append((attribute, re.compile(pattern, re.IGNORECASE)))
    return result


def test_what_documents_say_can_be_read_back_and_never_contradicts(made: everything.Everything) -> None:
    known = {(fact.entity.lower(), fact.attribute): fact for fact in PLACE.facts}
    seen: Counter[str] = Counter()
    readers = patterns()
    text = " ".join(one["text"] for one in made.truth["good"])
    for sentence in dict.fromkeys(re.split(r"(?<=[.?!])\s+", text)):
        for attribute, pattern in readers:
            if match := pattern.fullmatch(sentence):
                found = match.groupdict()
                fact = known[found.get("e", "garden").lower(), attribute.name]
                assert found["v"].lower() == fact.value.lower(), sentence
                assert found.get("x", fact.extra).lower() == fact.extra, sentence
                seen[fact.id] += 1
    assert len(seen) == len(PLACE.facts)
    assert min(seen.values()) >= 2


def test_every_sentence_with_a_fact_is_one_of_its_wordings() -> None:
    facts = {fact.id: fact for fact in PLACE.facts}
    for page in pages.pages(PLACE, 42):
        for sentence in (one for paragraph in page.paragraphs for one in paragraph if one.fact):
            fact = facts[sentence.fact]
            own = [one.format(e=fact.entity, v=fact.value) for one in fact.about.own_words]
            full = re.sub(r"^It ", f"The {fact.entity} ", sentence.text)
            assert full in [*fact.statements(), *own]


def test_what_follows_from_other_facts_follows() -> None:
    for plant in PLACE.plants:
        about = PLACE.of(plant)
        assert about["remedy"].value == PLACE.of(about["pest"].value)["cure"].value
        assert about["keeper"].value == PLACE.of(about["house"].value)["house_keeper"].value
        assert PLACE.of(about["keeper"].value)["workplace"].value == about["house"].value


def test_keys_of_facts_are_unique() -> None:
    assert len({fact.id for fact in PLACE.facts}) == len(PLACE.facts)


# Nothing held out is in what is trained on


def test_no_held_out_question_is_in_good_training_text(made: everything.Everything) -> None:
    rows = made.rows
    trained = [row for name in ("instructions_train", "instructions_validation") for row in rows[f"{name}.jsonl"]]
    texts = [message["content"] for row in trained for message in row.messages]
    texts += [
        row.prompt[0]["content"] for name in ("preferences_train", "prompts_train") for row in rows[f"{name}.jsonl"]
    ]
    texts += [one["text"] for one in made.truth["good"]]
    everything_trained = " | ".join(words(text) for text in texts)
    held_out = [row.prompt[0]["content"] for name in ("prompts_test", "preferences_test", "questions_free")
                for row in rows[f"{name}.jsonl"]]  # fmt: skip
    held_out += [row["question"] for row in rows["questions_choice.jsonl"]]
    assert len(set(held_out)) == len(held_out)
    assert [one for one in held_out if words(one) in everything_trained] == []


def test_facts_of_the_documents_alone_are_never_asked_in_training(made: everything.Everything) -> None:
    hidden = {fact["id"] for fact in made.truth["facts"] if fact["split"] == "held_out"}
    for name in ("instructions_train", "preferences_train", "prompts_train"):
        assert not hidden & {row.meta["fact"] for row in made.rows[f"{name}.jsonl"]}
    assert sum(row.meta["split"] == "held_out" for row in made.rows["questions_free.jsonl"]) == 30
    told = {fact for one in made.truth["good"] for fact in one["facts"]}
    assert hidden <= told


def test_held_out_prompts_are_about_facts_that_training_knows(made: everything.Everything) -> None:
    trained = {row.meta["fact"] for row in made.rows["instructions_train.jsonl"]}
    assert {row.meta["fact"] for row in made.rows["prompts_test.jsonl"]} <= trained


# Preferences follow the rule


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_pairs_follow_the_rule_and_length_tells_nothing(made: everything.Everything, name: str) -> None:
    rows = made.rows[f"preferences_{name}.jsonl"]
    longer = words_longer = 0
    for row in rows:
        chosen, rejected = row.chosen[0]["content"], row.rejected[0]["content"]
        assert prefer(row.prompt, chosen, rejected, row.meta) == 1, row
        longer += len(chosen) > len(rejected)
        words_longer += len(chosen.split()) > len(rejected.split())
    assert {row.meta["reason"] for row in rows} == {"untrue", "rambling", "impolite"}
    # "The longer one is better" is right in about half of the pairs, whatever the reason.
    assert 0.47 <= longer / len(rows) <= 0.53
    assert 0.40 <= words_longer / len(rows) <= 0.60


def test_reasons_are_each_balanced_in_length(made: everything.Everything) -> None:
    rows = made.rows["preferences_train.jsonl"]
    for reason in ("untrue", "rambling", "impolite"):
        part = [row for row in rows if row.meta["reason"] == reason]
        longer = sum(len(row.chosen[0]["content"]) > len(row.rejected[0]["content"]) for row in part)
        assert 0.45 <= longer / len(part) <= 0.55


# Defects


def test_every_planted_defect_is_in_the_bytes(made: everything.Everything) -> None:
    for place in made.truth["planted"]:
        raw, detail = made.raw[place["path"]], place["detail"]
        kind = place["defect"]
        if kind == "empty_file":
            assert raw == b"" or not re.search(rb"<p>(?!Larkmoor)", raw)
            continue
        if place["path"].endswith(".pdf"):
            assert detail["lines"][0].encode() in raw
            continue
        text = document_text(raw, place)
        if kind in ("too_short", "garbage", "leaked_question", "personal_data", "corrupt_line"):
            assert detail["text"] in text
        elif kind == "encoding":
            assert detail["damaged" if "damaged" in detail else "repaired"] in text
        elif kind == "boilerplate":
            assert all(line in text for line in detail["lines"])
        elif kind == "off_topic":
            assert len(text.split()) > 60
        elif kind == "foreign_language":
            assert re.search(r"[éèäöüßñáíó]", text)
        else:
            assert kind in ("exact_duplicate", "near_duplicate")


def test_each_kind_of_defect_is_there(made: everything.Everything) -> None:
    assert {place["defect"] for place in made.truth["planted"]} == {
        "exact_duplicate", "near_duplicate", "boilerplate", "encoding", "personal_data", "off_topic",
        "foreign_language", "leaked_question", "too_short", "garbage", "corrupt_line", "empty_file",
    }  # fmt: skip


def shingles(text: str) -> set[tuple[str, ...]]:
    """Return runs of five words."""
    found = words(text).split()
    return {tuple(found[index : index + 5]) for index in range(len(found) - 4)}


def likeness(first: set[tuple[str, ...]], second: set[tuple[str, ...]]) -> float:
    return len(first & second) / len(first | second)


def test_duplicates_are_as_near_as_they_should_be(made: everything.Everything) -> None:
    for place in made.truth["planted"]:
        if not place["defect"].endswith("_duplicate"):
            continue
        origin = {**place["detail"]["of"], "defect": place["defect"]}
        copy, original = document_text(made.raw[place["path"]], place), document_text(made.raw[origin["path"]], origin)
        if place["defect"] == "exact_duplicate":
            assert copy == original
        else:
            assert 0.75 < likeness(shingles(copy), shingles(original)) < 1


def test_no_two_good_documents_are_near_duplicates(made: everything.Everything) -> None:
    sets = [shingles(one["text"]) for one in made.truth["good"]]
    nearest = max(likeness(first, second) for index, first in enumerate(sets) for second in sets[:index])
    assert nearest < 0.4


def test_bad_documents_are_not_among_the_good(made: everything.Everything) -> None:
    repaired = {"boilerplate", "encoding", "personal_data"}
    good = {(one["path"], one.get("row")) for one in made.truth["good"]}
    assert len(good) == len(made.truth["good"])
    for place in made.truth["planted"]:
        if place["defect"] not in repaired:
            assert (place["path"], place.get("row")) not in good
    assert all(path in made.raw for path, _ in good)


def test_leaks_are_real_held_out_questions_in_disguise(made: everything.Everything) -> None:
    rows = made.rows
    questions = {row.id: row.prompt[0]["content"] for name in ("prompts_test", "preferences_test", "questions_free")
                 for row in rows[f"{name}.jsonl"]}  # fmt: skip
    questions |= {row["id"]: row["question"] for row in rows["questions_choice.jsonl"]}
    leaks = [place["detail"] for place in made.truth["planted"] if place["defect"] == "leaked_question"]
    assert {leak["set"] for leak in leaks} == {"prompts_test", "preferences_test", "questions_free", "questions_choice"}
    for leak in leaks:
        assert questions[leak["id"]] == leak["question"]
        assert leak["question"] not in leak["text"] or "  " in leak["text"]
        assert words(leak["question"]) in words(leak["text"]) and words(leak["answer"]) in words(leak["text"])


def test_mojibake_and_cp1252_can_be_undone(made: everything.Everything) -> None:
    damaged = [place for place in made.truth["planted"] if place["defect"] == "encoding"]
    for place in damaged:
        detail = place["detail"]
        if "damaged" in detail:
            assert detail["damaged"].encode("cp1252").decode("utf-8") == detail["repaired"]
        else:
            with pytest.raises(UnicodeDecodeError):
                made.raw[place["path"]].decode("utf-8")


def test_account_numbers_have_right_check_digits() -> None:
    for kind, text, _ in defects.PERSONAL:
        if kind == "iban":
            packed = text.replace(" ", "")
            digits = "".join(str(int(one, 36)) for one in packed[4:] + packed[:4])
            assert int(digits) % 97 == 1


def test_the_pdf_reads_back(made: everything.Everything) -> None:
    import pypdfium2

    document = pypdfium2.PdfDocument(made.raw["handbook.pdf"])
    found = [document[index].get_textpage().get_text_range() for index in range(len(document))]
    assert len(found) >= 5
    footer = files.PDF_FOOTER.format(page=2)
    assert footer in found[1]
    text = plain(" ".join(one.replace(files.PDF_FOOTER.format(page=index), "") for index, one in enumerate(found, 1)))
    good = next(one for one in made.truth["good"] if one["path"] == "handbook.pdf")
    assert plain(good["text"]) in text


def test_titles_and_html_are_escaped_and_complete(made: everything.Everything) -> None:
    from selectolax.lexbor import LexborHTMLParser

    for one in made.truth["good"]:
        if one["path"].endswith(".html"):
            tree = LexborHTMLParser(made.raw[one["path"]].decode("utf-8"))
            content = tree.css_first("main") or tree.css_first("div.content")
            assert content is not None
            text = plain(content.text(separator=" "))
            lost = [line for line in one["text"].split("\n\n") if plain(line) not in text]
            damaged = [place for place in made.truth["planted"]
                       if place["path"] == one["path"] and place["defect"] == "encoding"]  # fmt: skip
            assert len(lost) <= len(damaged)


# The recipe


def test_the_shipped_recipe_is_right_and_says_what_the_defaults_say() -> None:
    import yaml

    recipe = garden.Recipe(**yaml.safe_load(QUICKSTART.read_text()))
    assert recipe.faults() == []
    assert recipe == garden.Recipe(output_dir=recipe.output_dir)


def test_more_rows_than_there_are_questions_are_refused() -> None:
    recipe = garden.Recipe(output_dir="x", plants=8, instructions=garden.Instructions(train=3000))
    assert [fault.key for fault in recipe.faults()] == [("instructions", "train"), ("questions",)]
    assert "at most" in recipe.faults()[0].write


def test_a_small_world_is_whole_too(tmp_path: Path) -> None:
    recipe = garden.Recipe(
        output_dir=str(tmp_path / "small"), plants=8, seed=3, general=5,
        instructions=garden.Instructions(train=100, validation=10),
        preferences=garden.Preferences(train=60, validation=10, test=10),
        prompts=garden.Prompts(train=30, test=10), questions=garden.Questions(choice=10, free=10),
    )  # fmt: skip
    assert recipe.faults() == []
    garden.run(recipe)
    truth = json.loads((tmp_path / "small" / "truth.json").read_text())
    assert {place["defect"] for place in truth["planted"]} >= {"exact_duplicate", "leaked_question", "personal_data"}
