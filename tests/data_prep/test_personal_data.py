"""Personal data by form: found, not found where a checksum or the context says no; the rest is not touched."""

from __future__ import annotations

from itertools import pairwise

import pytest

from data_prep import personal_data

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


def test_a_long_text_of_digits_takes_no_long_time() -> None:
    for text in ("1 " * 50_000, "a@" * 20_000, "1:" * 20_000, "1." * 20_000, "A" * 50_000 + "@", "DE89" * 10_000):
        personal_data.redact(text)
