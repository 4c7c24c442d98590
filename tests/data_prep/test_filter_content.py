"""Missing values, inappropriate content, special characters and lower case."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from data_prep import filters, hooks
from data_prep.filters import Drop, inappropriate
from data_prep.records import Document
from recipes.errors import UserError


def check(name: str, document: Document | str, **settings: Any) -> tuple[Drop | None, Document]:
    """Return what a filter says of a document, and the document as it left it."""
    module = filters.modules()[name]
    if isinstance(document, str):
        document = Document("id", document, "source")
    return module.build(module.Settings(**settings))(document), document


# --- missing values


@pytest.mark.parametrize("value", ["", " \n", "N/A", "null", " None ", "NaN", "unknown", "-", "TBD"])
def test_a_placeholder_is_no_value(value: str) -> None:
    drop, _ = check("missing", Document("id", "A text.", "source", title=value), required=["title"])
    assert drop == Drop("missing_title", f"it says {value!r}" if value else "absent")


@pytest.mark.parametrize("value", [None, "n/a", [], float("nan")])
def test_keys_of_meta_can_be_required(value: Any) -> None:
    drop, _ = check("missing", Document("id", "A text.", "source", meta={"date": value}), required=["date"])
    assert drop is not None
    assert drop.reason == "missing_date"
    assert check("missing", "A text.", required=["date"])[0] == Drop("missing_date", "absent")


def test_what_is_there_is_kept() -> None:
    document = Document("id", "A text.", "source", title="Nulls and nones", url="https://a.example", meta={"views": 0})
    assert check("missing", document, required=["title", "url", "views"])[0] is None
    assert check("missing", "A text.")[0] is None
    assert (
        check("missing", Document("id", "A text.", "s", title="N/A"), required=["title"], placeholders=["?"])[0] is None
    )


def test_defaults_are_filled_in() -> None:
    document = Document("id", "A text.", "source", license="unknown", meta={"date": "2024"})
    drop, _ = check("missing", document, defaults={"license": "CC0-1.0", "date": "2000", "author": "Anon"})
    assert drop is None
    assert (document.license, document.meta) == ("CC0-1.0", {"date": "2024", "author": "Anon"})


def test_a_text_that_is_a_placeholder_goes() -> None:
    assert check("missing", "NULL\n")[0] == Drop("missing_text", "'NULL\\n'")


# --- inappropriate content


def test_a_word_of_the_shipped_list_drops_a_document() -> None:
    drop, _ = check("inappropriate", "Well, that is a BLOW-JOB of a text, you Motherfucker.")
    assert drop == Drop("inappropriate_words", "2 of the list's, such as 'blow job'")
    assert check("inappropriate", "Such an asshole.", max_words=1)[0] is None


def test_the_shipped_list_spares_ordinary_words() -> None:
    text = (
        "Sex and breast cancer, anal fissures and penile pain are topics of medicine. A cock crows, a great tit sings, "
        "the ass brays; queer theory, Scunthorpe, Essex, Dick Turpin, shiitake, and the hordes of Whorehouse Meadow."
    )
    assert check("inappropriate", text)[0] is None


def test_word_lists_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# weeds\nGround Elder  # and its kin\nnettle\nground\n\n", encoding="utf-8-sig")
    phrases = inappropriate.read([path])
    assert inappropriate.occurrences("Nettle, ground-elder, ground ivy; elder.", phrases) == [
        "nettle", "ground elder", "ground",
    ]  # fmt: skip
    assert check("inappropriate", "A nettle grows.", word_lists=[str(path)])[0] == Drop(
        "inappropriate_words", "1 of the list's, such as 'nettle'"
    )
    path.write_text("# nothing\n")
    with pytest.raises(UserError) as error:
        check("inappropriate", "", word_lists=[str(path)])
    assert str(error.value) == f"{path}: there is no word in this list; write a word or phrase on each line"
    with pytest.raises(UserError, match="the word list cannot be read"):
        check("inappropriate", "", word_lists=[str(tmp_path / "none.txt")])


@pytest.fixture
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working folder with functions to name in a recipe."""
    name = f"judges_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "limit = 3\n"
        "def shouting(text): return sum(c.isupper() for c in text) / len(text)\n"
        "def broken(text): raise KeyError('weights')\n"
        "def nan(text): return float('nan')\n"
        "def words(text): return 'bad'\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_classifier_is_a_function_of_a_text(judges: str) -> None:
    settings = {"words": False, "classifier": f"{judges}:shouting", "max_score": 0.3}
    assert check("inappropriate", "BUY ferns", **settings)[0] == Drop("inappropriate_score", "0.333")
    assert check("inappropriate", "Buy ferns", **settings)[0] is None


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("broken", "{0}:broken failed with KeyError: 'weights'; its text was 'A text.'; make it return a number"),
        ("words", "{0}:words failed with ValueError: could not convert string to float: 'bad'; its text was"),
        ("nan", "{0}:nan returned NaN for 'A text.'; make it return a number for every text"),
        ("none", "{0}:none cannot be imported (module '{0}' has no attribute 'none'); write module:function"),
        ("limit", "{0}:limit is a int, not a function; name a function"),
    ],
)
def test_a_function_that_cannot_judge_stops_with_one_line(judges: str, function: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        check("inappropriate", "A text.", words=False, classifier=f"{judges}:{function}")
    assert str(error.value).startswith(f"filters.inappropriate.classifier: {said.format(judges)}")


def test_a_named_module_is_looked_for_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "heavy" / "inside"
    package.mkdir(parents=True)
    for file in (tmp_path / "heavy" / "__init__.py", package / "__init__.py", package / "model.py"):
        file.write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    for name in ("heavy:f", "heavy.inside:f", "heavy.inside.model:f", "finetune.perplexity_scorer:score", "math:sqrt"):
        assert hooks.known(name) == name
    for name in ("heavy.other:f", "heavy.inside.other:f", "finetune.no_such:f", "nowhere:f", "math.inner:f"):
        with pytest.raises(ValueError, match="there is no module"):
            hooks.known(name)
    for name in ("heavy", "heavy:", ":f", "heavy:f.g", "heavy f", "heavy:f()"):
        with pytest.raises(ValueError, match="does not name a function: write module:function"):
            hooks.known(name)


# --- special characters and lower case


def test_special_characters_go_by_class() -> None:
    text = "Ferns 🌿👩🏽‍🌾 grow → here\ue000 ★ ✓ 20 °C – “so” €5 ½ x² ≤ 3"
    assert check("special_characters", text)[1].text == "Ferns grow here 20 °C – “so” €5 ½ x² ≤ 3"
    assert check("special_characters", "a→b ★", remove=["ornaments"], keep="→")[1].text == "a→b ★"
    assert check("special_characters", "a €5 $6 ≤ 7 + 1", remove=["currency", "mathematics"])[1].text == "a 5 6 7 1"
    assert check("special_characters", "In 1999 ½ x² of 3", remove=["digits"])[1].text == "In x of"
    assert check("special_characters", "🌿\n★")[0] == Drop("special_characters", "no character is left")


def test_what_a_language_needs_stays() -> None:
    text = "L'eau, l’air (3.5 % – 1,000): mother-in-law's « thé », don't! می‌خواهم हिन्दी। क्‍ष naïve café"
    _, document = check("special_characters", text, remove=["punctuation"])
    assert document.text == "L'eau l’air 3.5 1,000 mother-in-law's thé don't می‌خواهم हिन्दी क्‍ष naïve café"
    plain = "1 # * 3 ©"
    assert check("special_characters", plain, remove=["emoji"])[1].text == plain


def test_lines_and_indentation_that_have_nothing_special_are_left_alone() -> None:
    code = "def f():\n    return 1  # two blanks\n"
    assert check("special_characters", code)[1].text == code
    assert check("special_characters", "One 🌿\n\n🌿 Two\n")[1].text == "One\n\nTwo"


def test_lower_case_spares_placeholders() -> None:
    assert check("lower_case", "Write to <EMAIL> or ÄNNE, <B>Ring <PHONE_NUMBER></B>")[1].text == (
        "write to <EMAIL> or änne, <B>ring <PHONE_NUMBER></b>"
    )
    assert check("lower_case", "Straße NASA")[1].text == "straße nasa"


def test_settings_are_checked_at_once() -> None:
    """`tuneloop check` has a third of a second for everything."""
    start = time.process_time()
    for name in ("perplexity", "inappropriate"):
        key = {"perplexity": "scorer", "inappropriate": "classifier"}[name]
        filters.modules()[name].Settings(**{key: "finetune.perplexity_scorer:score", "model": "x"} if key == "scorer"
                                         else {key: "finetune.perplexity_scorer:score"})  # fmt: skip
    assert time.process_time() - start < 0.1
