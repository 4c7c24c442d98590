"""Language identification and its filter: known languages told apart, no evidence kept, paragraphs by themselves."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from data_prep.filters import Drop, language
from data_prep.language import LANGUAGES, SHARED, identify, words
from data_prep.records import Document

TEXTS = {
    "en": "The garden is very beautiful in summer, and the children play with the dog in the meadow.",
    "de": "Der Garten ist im Sommer sehr schön, und die Kinder spielen mit dem Hund auf der Wiese.",
    "fr": "Le jardin est très beau en été, et les enfants jouent avec le chien dans la prairie.",
    "es": "El jardín es muy bonito en verano y los niños juegan con el perro en el prado, pero no por la noche.",
    "it": "Il giardino è molto bello in estate e i bambini giocano con il cane nel prato della casa.",
    "nl": "De tuin is in de zomer heel mooi en de kinderen spelen met de hond op het gras van het huis.",
    "pl": "Ogród jest latem bardzo piękny i dzieci bawią się z psem na łące, ale nie po nocy.",
    "cs": "Zahrada je v létě velmi krásná a děti si hrají se psem na louce, ale ne v noci.",
    "sv": "Trädgården är mycket vacker på sommaren och barnen leker med hunden på ängen.",
    "tr": "Bahçe yazın çok güzeldir ve çocuklar çayırda köpekle oynarlar, ama gece değil.",
    "vi": "Khu vườn rất đẹp vào mùa hè và trẻ em chơi với con chó trên đồng cỏ.",
    "ru": "Летом сад очень красив, и дети играют с собакой на лугу, но не ночью, когда темно.",
    "uk": "Влітку сад дуже гарний, і діти граються з собакою на лузі, але не вночі, коли темно.",
    "bg": "През лятото градината е много красива и децата играят с кучето на поляната.",
    "el": "Ο κήπος είναι πολύ όμορφος το καλοκαίρι και τα παιδιά παίζουν με τον σκύλο στο λιβάδι.",
    "ar": "الحديقة جميلة جدا في الصيف والأطفال يلعبون مع الكلب في المرج وليس في الليل.",
    "fa": "باغ در تابستان بسیار زیبا است و کودکان با سگ در چمنزار بازی می‌کنند، اما نه در شب.",
    "hi": "गर्मियों में बगीचा बहुत सुंदर होता है और बच्चे घास के मैदान में कुत्ते के साथ खेलते हैं।",
    "zh": "夏天花园非常美丽，孩子们和狗在草地上玩耍，但是晚上不行。",
    "ja": "夏の庭はとても美しく、子供たちは犬と草原で遊びます。",
    "ko": "여름에는 정원이 매우 아름답고 아이들은 초원에서 개와 함께 놀지만 밤에는 아니에요.",
    "th": "ในฤดูร้อนสวนสวยงามมากและเด็ก ๆ เล่นกับสุนัขในทุ่งหญ้า",
}  # fmt: skip


def check(text: str, **settings: Any) -> tuple[Drop | None, Document]:
    """Return what the filter says of a text, and the document as it left it."""
    document = Document("id", text, "source")
    return language.build(language.Settings(**settings))(document), document


@pytest.mark.parametrize("code", TEXTS)
def test_languages_are_told_apart(code: str) -> None:
    guess = identify(TEXTS[code])
    assert guess.language == code
    assert 0.9 < guess.confidence <= 1
    drop, document = check(TEXTS[code])
    assert drop == (None if code == "en" else Drop("language", f"{code}, not en"))
    assert document.meta["language"] == code
    assert check(TEXTS[code], keep=["cy", code])[0] is None


def test_decomposed_letters_and_capitals_change_nothing() -> None:
    import unicodedata

    for code in ("vi", "cs", "fr"):
        plain = identify(TEXTS[code])
        assert identify(unicodedata.normalize("NFD", TEXTS[code])) == plain
        assert identify(TEXTS[code].upper()) == plain


def test_a_long_text_is_judged_by_windows_of_it() -> None:
    assert identify(TEXTS["de"] * 500).language == "de"
    mostly = f"{TEXTS['en']} {TEXTS['de'] * 60}"
    assert identify(mostly).language == "de"
    assert identify(f"{TEXTS['de']} {TEXTS['en'] * 60}").language == "en"


@pytest.mark.parametrize(
    "text",
    ["", " ", "42 17 3", "\n\n", "+++ --- ###", "Oscar Greta Victor", "qxzj vvkq jjxq " * 9, "\ud800 lone surrogate",
     "\U0001f600 \U0001f680" * 9],
)  # fmt: skip
def test_a_text_without_evidence_is_kept(text: str) -> None:
    drop, document = check(text)
    assert drop is None
    assert document.meta["language"] == "unknown"


def test_short_texts_and_doubtful_ones_are_unknown() -> None:
    short = "Der Garten ist im Sommer schön."
    assert identify(short).language == "de"
    assert check(short)[0] is None
    assert check(short, min_words=6)[0] == Drop("language", "de, not en")
    confidence = identify(short).confidence
    assert check(short, min_words=1, min_confidence=min(1, confidence + 1e-3))[1].meta["language"] == "unknown"
    assert check(short, min_words=1, min_confidence=confidence)[1].meta["language"] == "de"


def test_a_few_foreign_words_do_not_drop_an_english_text() -> None:
    assert check(f"{TEXTS['en']} Mit freundlichen Grüßen, Ihre Gärtnerei. 草地上玩耍")[0] is None


def test_foreign_paragraphs_are_left_out() -> None:
    text = f"{TEXTS['en']}\n\n{TEXTS['de']}\n\n\nShort one.\n \n{TEXTS['fr']}\n{TEXTS['fr']}"
    drop, document = check(text, paragraphs=True)
    assert drop is None
    assert document.text == f"{TEXTS['en']}\n\n\nShort one."
    assert document.meta == {"foreign_paragraphs": 2, "language": "en"}
    _, both = check(text, paragraphs=True, keep=["de", "fr"])
    assert both.text == f"{TEXTS['de']}\n\n\nShort one.\n \n{TEXTS['fr']}\n{TEXTS['fr']}"
    assert check(f"{TEXTS['de']}\n\n{TEXTS['fr']}", paragraphs=True)[0] == Drop("language", "no paragraph in en")
    assert check(TEXTS["en"], paragraphs=True)[1].text == TEXTS["en"]


def test_an_unknown_code_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValidationError, match=r"xx, english is not told apart by this filter; it knows af, am, ar"):
        language.Settings(keep=["en", "xx", "english"])
    assert {code for codes in SHARED.values() for code in codes} < set(LANGUAGES)


def test_words_are_letters_and_marks_with_single_blanks() -> None:
    assert bytes(words("A-b2  é\tहिंदी!")).decode("utf-32-le") == " a b é हिंदी "


def test_the_profiles_are_what_their_sources_say() -> None:
    """Hold a few weights against the counts that langdetect publishes for them."""
    from math import log

    import numpy as np

    from data_prep.language import _model

    counts = [("ção", "pt", 131304, 42469388), ("ого", "ru", 132906, 29165701)]  # of all 3-grams, in langdetect 1.0.9

    def weight(gram: str, code: str) -> float:
        model = _model()
        rows, _ = model.rows(np.array([ord(character) for character in gram], np.uint32))
        return float(model.weights[rows[0], model.languages.index(code)])

    for gram, code, count, total in counts:
        assert weight(gram, code) == pytest.approx(log(count / total / 1e-7 + 1), abs=0.05)
    assert weight("qqq", "sw") == 0
