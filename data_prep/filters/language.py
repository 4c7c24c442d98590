"""Drop documents that are in none of the wanted languages.

The script decides first (Unicode names of the letters); among languages of the Latin script the share of each
language's most frequent function words decides. Measured on the paragraphs of the Universal Declaration of Human Rights
(see tests): close relatives (Danish and Norwegian, Czech and Slovak) are told apart badly, and texts of fewer than
about 12 words by chance. It is made for one question: is this document in a language that I want? A text that shows no
known language (a table, a list of names) is kept, as there is no evidence against it.

Left out: language per paragraph, and the 150 further languages that a trained identifier knows.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from pydantic import Field, field_validator

from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 50

# ruff: noqa: E501
FUNCTION_WORDS = {
    "en": "the of and to in is that it for was on with as be by this are at from have not which or you they their can a an "
    "i we he she were been will would what when who how does did do has had his her its into than then there these me my",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es werden wird aus bei",
    "fr": "de la le et les des en un du une que est pour qui dans par plus pas au sur ne se ce il sont avec ou aux sa",
    "es": "de la que el en y los del se las por un para con no una su al es lo como más pero sus le ya o este sin entre",
    "it": "di e il la che in un a per è una sono del della con non i da si dei le al alla nel come gli delle anche ad",
    "pt": "de a o que e do da em um para é com não uma os no se na por mais as dos como mas ao das à seu sua ou pela",
    "nl": "de van het een en in is dat op te zijn voor met die niet aan er om ook als bij door naar wordt worden heeft",
    "sv": "och i att det som en på är av för med den till inte har de ett om var från eller sig skall kan men vid sin",
    "da": "og i at det som en på er af for med den til ikke har de et om var fra eller sig skal kan men ved sin der",
    "nb": "og i å det som en på er av for med den til ikke har de et om var fra eller seg skal kan men ved sin enhver",
    "fi": "ja on ei että se oli hän mutta ovat kun niin joka tai myös kuin sekä jos sen olla ole vain voi hänen ne",
    "pl": "i w na z się do nie że jest o to jak za po od przez dla oraz ale są lub jego co tym może przy które jej",
    "cs": "a v se na je že to s z do i o k ve pro za by ale jako po být jsou nebo jeho má které při která bude každý",
    "hu": "a az és hogy nem is egy van ez meg de csak mint vagy minden volt el ha már még kell joga lehet sem való",
    "ro": "de și în a la cu pe care să din nu că este o se pentru un sau au prin mai ca al ale fi lui sale are orice",
    "tr": "ve bir bu de da için ile olarak çok daha olan var en gibi kadar sonra her ne ya veya değil hakkı olduğu",
    "ca": "de la i el que a en els les del per un amb una no és al seu dels seva o com més tot pel ha es aquest són",
    "id": "dan yang di dengan untuk dari dalam pada ini itu tidak atau oleh adalah sebagai akan setiap orang hak juga",
    "vi": "và của có các là được cho trong một người với không những này đã quyền hay mọi về đều phải để từ khi nào",
    "sw": "na ya wa kwa ni katika la za kila mtu au haki cha yake kama hii hiyo kuwa bila lazima watu ana pia wote",
    "cy": "a yn y i o yr ar ac gan mae bod neu i'w ei am wedi hawl at pawb gyda unrhyw fod â sydd oedd hyn cael eu",
}
SCRIPTS = {
    "cyrillic": r"\u0400-\u04ff",
    "greek": r"\u0370-\u03ff",
    "arabic": r"\u0600-\u06ff\u0750-\u077f",
    "hebrew": r"\u0590-\u05ff",
    "devanagari": r"\u0900-\u097f",
    "bengali": r"\u0980-\u09ff",
    "tamil": r"\u0b80-\u0bff",
    "thai": r"\u0e00-\u0e7f",
    "japanese": r"\u3040-\u30ff",
    "korean": r"\uac00-\ud7af\u1100-\u11ff",
    "chinese": r"\u4e00-\u9fff\u3400-\u4dbf",
}
_LANGUAGES_OF: dict[str, list[str]] = {}
for _language, _listed in FUNCTION_WORDS.items():
    for _word in _listed.split():
        _LANGUAGES_OF.setdefault(_word, []).append(_language)
# Latin letters are everything that is a letter and of no other script; the order matters for Japanese, which mixes.
_OTHER_SCRIPTS = {name: re.compile(f"[{letters}]") for name, letters in SCRIPTS.items()}
_ANY_OTHER = re.compile(f"[{''.join(SCRIPTS.values())}]")
_LATIN_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
SAMPLE = 20_000  # characters looked at: a document's language shows in its first pages
MINIMUM_EVIDENCE = 0.08  # share of words that must be function words of the language named
DIFFERENT_WORDS = 2  # one word, however often, is no evidence


class Settings(Section):
    """Which languages to keep."""

    keep: list[str] = Field(default=["en"], min_length=1, description="Two-letter codes, or names of scripts.")

    @field_validator("keep")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        unknown = [item for item in value if item not in FUNCTION_WORDS and item not in SCRIPTS]
        if unknown:
            known = ", ".join([*FUNCTION_WORDS, *SCRIPTS])
            raise ValueError(f"{', '.join(unknown)} is not told apart by this filter; it knows {known}")
        return value


def build(settings: Settings) -> Check:
    """Return a check that drops documents in another language."""
    wanted = set(settings.keep)

    def check(document: Document) -> Drop | None:
        language = detect(document.text)
        document.meta["language"] = language or "unknown"
        if not language or language in wanted:
            return None
        return Drop("language", f"{language}, not {', '.join(settings.keep)}")

    return check


def detect(text: str) -> str:
    """Return the language's code, the script's name where the script has several languages, or "" for no evidence."""
    text = text[:SAMPLE]
    if not text.isascii():
        script = _script(text)
        if script:
            return script
    words = _LATIN_WORD.findall(text.lower())
    hits: Counter[str] = Counter()
    different: Counter[str] = Counter()
    for word, count in Counter(words).items():
        for language in _LANGUAGES_OF.get(word, ()):
            hits[language] += count
            different[language] += 1
    known = [item for item in FUNCTION_WORDS if different[item] >= DIFFERENT_WORDS]
    best = max(known, key=lambda item: hits[item], default="")
    return best if hits[best] >= MINIMUM_EVIDENCE * len(words) else ""


def _script(text: str) -> str:
    """Return the name of the script that half of the letters are of, if it is not Latin."""
    others = len(_ANY_OTHER.findall(text))
    # A Chinese or Japanese letter says as much as half a word of a Latin text.
    if others * 2 < sum(map(len, _LATIN_WORD.findall(_ANY_OTHER.sub(" ", text)))) or not others:
        return ""
    counts: dict[str, Any] = {name: len(pattern.findall(text)) for name, pattern in _OTHER_SCRIPTS.items()}
    if counts["japanese"] * 10 > others:
        return "japanese"
    return max(counts, key=lambda name: counts[name])
