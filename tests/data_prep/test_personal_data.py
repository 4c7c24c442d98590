"""Personal data by form: found, not found where a checksum or the context says no; the rest is not touched."""

from __future__ import annotations

import importlib.util
import time
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from data_prep import personal_data
from data_prep.filters import Drop
from data_prep.filters import personal_data as personal_filter
from data_prep.personal_data import names
from data_prep.personal_data.names import missing
from data_prep.records import Document

FOUND = {
    "EMAIL": [
        "rosa.field@larkmoor.example.org", "nora.brook+garden@example.net", "a_b-c%d@sub.example.co.uk",
        "X@EXAMPLE.COM", "o'neil@example.com",
    ],
    "PHONE": [
        "+44 20 7946 0123", "(555) 010-0147", "+1 555-010-0199", "555.010.0199", "0049 (30) 1234567", "020 7946 0958",
        "+49-30-1234567", "1-800-555-0199", "+1-448-414-3381x060",
    ],
    "IBAN": ["DE89 3704 0044 0532 0130 00", "GB82 WEST 1234 5698 7654 32", "DE89370400440532013000",
             "NO93 8601 1117 947"],
    "CREDIT_CARD": ["4111 1111 1111 1111", "5500-0000-0000-0004", "340000000000009", "6011000000000004"],
    "IP": ["192.0.2.44", "255.255.255.255", "2001:db8:0:0:0:0:2:1", "2001:db8::1"],
}  # fmt: skip
NOT_FOUND = [
    "DE89 3704 0044 0532 0130 01",  # IBAN: mod-97 fails
    "XX89 3704 0044 0532 0130 00",  # no country of that code
    "256.1.2.3 or 1.2.3.4.5 or version 1.2.3.4-beta",  # no IP addresses
    "at 12:30:45 or 10:20",  # times, no IPv6 addresses
    "born on 2020-10-11 or 11.10.2020 or 1999/12/31",
    "ISBN 978-3-16-148410-0, in the years 1914-1918 and 1939-1945",
    "3.14159265358979, 1,234,567,890 and 12 345",
    "me@home and @handle and a@b",
    "0000000000000000",  # Luhn holds, but it is no card
    "pages 100-200, rooms 12/13, room 1234",
]


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in FOUND.items() for value in values])
@pytest.mark.parametrize("frame", ["{}", "Use {}.", "({}), please", "Line\n{}\nend", "it is {}, or not"])
def test_each_form_is_found_wherever_it_stands(kind: str, value: str, frame: str) -> None:
    text, counts = personal_data.redact(frame.format(value))
    assert text == frame.format(f"<{kind}>")
    assert counts == {kind: 1}


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert personal_data.redact(text)[0] == text


@pytest.mark.parametrize("number", ["4111 1111 1111 1112", "5500-0000-0000-0005", "6011000000000005"])
def test_a_card_that_fails_luhn_is_no_card(number: str) -> None:
    assert not personal_data.is_card(number)
    assert personal_data.is_card(f"{number[:-1]}{int(number[-1]) - 1}")
    assert "CREDIT_CARD" not in personal_data.redact(f"Number {number}.")[1]


@pytest.mark.parametrize("digit", range(10))
def test_mod_97_finds_every_wrong_digit(digit: int) -> None:
    good = "DE89370400440532013000"
    for place in range(4, len(good)):
        changed = f"{good[:place]}{digit}{good[place + 1 :]}"
        assert personal_data.is_iban(changed) == (changed == good)


def test_a_word_in_capitals_after_an_iban_is_not_eaten() -> None:
    assert personal_data.redact("Pay NO93 8601 1117 947 NOW OR NEVER")[0] == "Pay <IBAN> NOW OR NEVER"


def test_a_short_number_counts_only_after_a_word_for_phone() -> None:
    assert personal_data.redact("Call 785 8949 now")[0] == "Call <PHONE> now"
    assert personal_data.redact("Phone:\n467 3395")[0] == "Phone:\n<PHONE>"
    assert personal_data.redact("We planted 785 8949 trees")[0] == "We planted 785 8949 trees"


def test_several_in_one_text_and_only_the_kinds_wanted() -> None:
    text = "Ask a@example.com (192.0.2.1) or +1 555-010-0199; card 4111111111111111, account DE89370400440532013000."
    assert personal_data.redact(text)[0] == "Ask <EMAIL> (<IP>) or <PHONE>; card <CREDIT_CARD>, account <IBAN>."
    assert personal_data.redact(text, frozenset({"IP"}))[1] == {"IP": 1}
    spans = [(finding.start, finding.end) for finding in personal_data.find(text)]
    assert spans == sorted(spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))


def test_redacting_twice_changes_nothing_more() -> None:
    once = personal_data.redact("Ask a@example.com or +1 555-010-0199 or DE89370400440532013000.")[0]
    assert personal_data.redact(once)[0] == once


def test_no_text_takes_more_time_than_its_length_asks_for() -> None:
    started = time.process_time()
    pieces = [
        "1 ", "a@", "1:", "1.", "A", "DE89", "12-", "+1 ", "sk-", "hf_", "eyJ", "password=", "token=a1", "ssn ", "://a:b",
        "12 Main ", "12 rue ", "Aa ", "call 1 ", "-----BEGIN PRIVATE " + "KEY-----",
    ]  # fmt: skip
    for piece in pieces:
        personal_data.redact(piece * 10_000 + "@", frozenset(personal_data.KINDS))
    assert time.process_time() - started < 20  # quadratic time would be minutes


MORE = {
    "US_SSN": ["536-22-1234"],
    "MAC": ["00:1A:2b:3C:4d:5E", "00-1A-2B-3C-4D-5E"],
    # Numbers that the issuing offices, or Wikipedia's articles on them, give as examples.
    "NATIONAL_ID": [
        "111.444.777-35", "12345678Z", "X1234567L", "2 55 08 14 168 025 38", "2341 2341 2346", "44051401359",
    ],
}  # fmt: skip
LESS = [
    "666-22-1234, 900-22-1234, 536-00-1234, 536-22-0000",  # areas, groups, serials never given out
    "111.444.777-36, 12345678A, X1234567T, 2 55 08 14 168 025 39, 44051401358",  # wrong check digits
    "at 00:1A:2B:3C:4D or 12:34:56",
    "on http://127.0.0.1:8080 or 0.0.0.0, version 1.30.0.4",
    "id 004436823",
]


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in MORE.items() for value in values])
@pytest.mark.parametrize("frame", ["{}", "Use {}.", "({}), please", "Line\n{}\nend"])
def test_ids_with_a_checksum_or_a_form_of_their_own(kind: str, value: str, frame: str) -> None:
    assert personal_data.redact(frame.format(value)) == (frame.format(f"<{kind}>"), {kind: 1})


@pytest.mark.parametrize("text", LESS)
def test_what_fails_its_check_stays(text: str) -> None:
    assert personal_data.redact(text)[0] == text


def test_a_social_security_number_without_hyphens_needs_its_name() -> None:
    assert personal_data.redact("Her SSN is 536221234.")[0] == "Her SSN is <US_SSN>."
    assert personal_data.redact("Part 536221234 of it")[0] == "Part 536221234 of it"


@pytest.mark.parametrize(
    "address",
    ["12 Main Street", "221B Baker St", "1600 Pennsylvania Avenue NW, Washington, DC 20500", "12 rue de la Paix",
     "Via Roma 3", "Hauptstraße 5a", "Villacher Strasse 89", "P.O. Box 42", "350 Fifth Ave, Apt. 4B",
     "PSC 0729, Box 5797\nAPO AP 96854"],
)  # fmt: skip
def test_street_addresses_on_request(address: str) -> None:
    text = f"Send it to {address}; thanks."
    assert personal_data.redact(text)[0] == text
    assert personal_data.redact(text, frozenset({"ADDRESS"}))[0] == "Send it to <ADDRESS>; thanks."


def test_streets_without_a_number_and_numbers_without_a_street_are_no_addresses() -> None:
    text = "In 1999 the Street Band played 12 songs on Main Street. Wall Street fell by 300 points."
    assert personal_data.redact(text, frozenset({"ADDRESS"}))[0] == text


def test_urls_on_request() -> None:
    text = "See https://example.org/a?b=1#c, or (http://x.example)."
    assert personal_data.redact(text)[0] == text
    assert personal_data.redact(text, frozenset({"URL"}))[0] == "See <URL>, or (<URL>)."


def test_equal_values_get_equal_numbers() -> None:
    text = "a@example.org, B@example.org, A@EXAMPLE.ORG; ring +1 555-010-0199, +1 (555) 010 0199 or +1 555-010-0142"
    redacted, counts = personal_data.redact(text, numbered=True)
    assert redacted == "<EMAIL_1>, <EMAIL_2>, <EMAIL_1>; ring <PHONE_1>, <PHONE_1> or <PHONE_2>"
    assert counts == {"EMAIL": 3, "PHONE": 3}


def test_nothing_is_found_in_what_was_redacted() -> None:
    """Values strung together in every way, so that one match's edge lies on the next."""
    import random

    draw = random.Random(0)
    values = [value for values in [*FOUND.values(), *MORE.values()] for value in values]
    values += ["call", "phone:", "555", "1234 5678", "password=", "hunter2x", "<", "x@", "12 Main Street", "00"]
    kinds = frozenset(personal_data.KINDS)
    for number in range(3000):
        pieces = (draw.choice(values) + draw.choice(["", " ", "-", ".", ",", "\n", "/", ": "]) for _ in range(6))
        text = "".join(pieces)
        redacted, _ = personal_data.redact(text, kinds, numbered=number % 2 == 0)
        assert personal_data.find(redacted, kinds) == [], text


def test_windows_find_what_the_whole_text_holds() -> None:
    """The cheap tests only skip what cannot match: beside a lot of other text the findings are the same."""
    filler = "Plain words without a number, for the windows to skip. " * 20
    for kind, values in [*FOUND.items(), *MORE.items()]:
        for value in values:
            text = f"{filler}{value} {filler}"
            found = personal_data.find(text)
            assert [(item.kind, text[item.start : item.end]) for item in found] == [(kind, value)]


# --- the filter


def _filtered(text: str, **settings: Any) -> tuple[Drop | None, Document]:
    document = Document("id", text, "source")
    return personal_filter.build(personal_filter.Settings(**settings))(document), document


def test_report_counts_and_leaves_the_text() -> None:
    text = "Write to rosa@example.org, or ring +44 20 7946 0123."
    drop, document = _filtered(text, action="report")
    assert drop is None
    assert document.text == text
    assert document.meta == {"personal_data": {"EMAIL": 1, "PHONE": 1}}
    assert _filtered("Nothing.", action="report")[1].meta == {}


def test_drop_bears_as_many_findings_as_said() -> None:
    text = "Write to rosa@example.org, nora@example.org."
    assert _filtered(text, action="drop")[0] == Drop("personal_data", "2 EMAIL")
    assert _filtered(text, action="drop", max_findings=1)[0] == Drop("personal_data", "2 EMAIL")
    drop, document = _filtered(text, action="drop", max_findings=2)
    assert drop is None
    assert document.text == text


def test_redact_numbers_on_request() -> None:
    _, document = _filtered("rosa@example.org or nora@example.org", numbered=True)
    assert document.text == "<EMAIL_1> or <EMAIL_2>"
    assert document.meta == {"redacted": {"EMAIL": 2}}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"action": "redact", "max_findings": 3}, "max_findings 3 has no effect with action redact: write drop"),
        ({"action": "report", "numbered": True}, "numbered has no effect with action report: write redact"),
        ({"kinds": ["PERSON"], "model": "no_such_pipeline"}, "kinds has PERSON, but "),
        ({"kinds": ["NAME"]}, "Input should be 'SECRET', 'IBAN'"),
    ],
)
def test_settings_without_effect_or_means_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        personal_filter.Settings(**settings)


def test_what_is_missing_for_names_is_said() -> None:
    if importlib.util.find_spec("presidio_analyzer") is None:
        assert missing("en_core_web_sm") == "presidio-analyzer is not installed: pip install 'tuneloop[presidio]'"
    else:
        assert missing("nothing_x").endswith("nothing_x is not installed: python -m spacy download nothing_x")


def test_names_by_a_model() -> None:
    pipeline = next((name for name in ("en_core_web_sm", "en_core_web_lg") if not missing(name)), "")
    if not pipeline:
        pytest.skip("no Presidio with a spaCy pipeline here")
    text = "Barack Obama lives in Washington; write to b@example.org or <PERSON>."
    _, document = _filtered(text, kinds=["PERSON", "LOCATION", "EMAIL"], model=pipeline)
    assert document.text == "<PERSON> lives in <LOCATION>; write to <EMAIL> or <PERSON>."


def test_pieces_for_the_model_are_the_text() -> None:
    text = "".join(f"line {number} of a long text\n" for number in range(9000)) + "x" * 120_000
    pieces = names._pieces(text)
    assert "".join(piece for _, piece in pieces) == text
    assert all(text[start : start + len(piece)] == piece and len(piece) <= 50_000 for start, piece in pieces)
