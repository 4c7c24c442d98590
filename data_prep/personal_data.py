"""Find personal data by form and replace it with typed placeholders.

E-mail addresses, phone numbers, IBANs (ISO 13616: country, length and mod-97), credit card numbers (issuer prefix and
Luhn) and IP addresses. A number that fails its checksum is no card and no IBAN; it may still look like a phone number.
What would tell names and street addresses is a trained model, which is left out here.

Phone numbers have no checksum. A run of digits counts as one if it is written with a plus sign or 00, with an area code
in brackets, in the North American 3-3-4 or another grouped form, or after a word such as "phone" or "call".
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of personal data: what it is and where it stands in the text."""

    kind: str
    start: int
    end: int


EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][\w.+%'-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b"
)
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}(?![A-Za-z0-9])")
CARD = re.compile(r"(?<![\w.-])(?<!\d )\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)")
IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d|-\w)")
IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
PHONE = re.compile(
    r"""(?<![\w/.:=+-])(?<!\d,)(?:(?<!\d[ ])|(?=\+))(?:         # not inside a longer row of groups of digits
        (?:\+|00)[1-9](?:[ ./()-]{0,3}\d){6,14}                       # +44 20 7946 0958, 0049 (30) 123456
      | (?:1[ .-])?\(\d{2,5}\)[ ./-]{0,3}\d(?:[ ./-]?\d){4,9}         # (555) 010-0199
      | (?:1[ .-])?\d{3}[.-]\d{3}[.-]\d{4}                            # 555-010-0199
      | (?:1[ ])?\d{3}[ ]\d{3}[ ]\d{4}
      | 0\d{1,4}[ /-]\d{2,4}(?:[ /-]?\d{2,4}){1,3}                    # 020 7946 0958, 0171/1234567
    )(?:[ ]?(?:x|ext\.?)[ ]?\d{1,6})?(?![\w]|[./-]\d)""",
    re.VERBOSE | re.IGNORECASE,
)
NAMED_PHONE = re.compile(
    r"\b(?:tel|telephone|phone|fax|mobile|cell|call|ring|text|whatsapp|dial)\b(?:[^\d\n+(]{0,24}|:\s{1,3})"
    r"([+(]?\d(?:[ ./()-]{0,2}\d){5,14}(?:[ ]?(?:x|ext\.?)[ ]?\d{1,6})?)(?!\w)",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ]\d{4}")
_SHORTEST_UNNAMED = 9  # digits; shorter runs are numbers of many kinds unless a word says that they are a phone's

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip
# First digits of the issuers: Visa 4, Mastercard 51-55 and 2221-2720, American Express, Discover, Diners, JCB, Maestro.
_CARD_PREFIX = re.compile(r"4|5[0-9]|2[2-7]|3[0-9]|6")


def redact(text: str, kinds: frozenset[str] | None = None) -> tuple[str, Counter[str]]:
    """Return the text with placeholders such as <EMAIL>, and how many of each kind were put."""
    counts: Counter[str] = Counter()
    pieces, position = [], 0
    for finding in find(text):
        if kinds is None or finding.kind in kinds:
            pieces += [text[position : finding.start], f"<{finding.kind}>"]
            position = finding.end
            counts[finding.kind] += 1
    return "".join([*pieces, text[position:]]) if counts else text, counts


def find(text: str) -> list[Finding]:
    """Return what is found, in order and without overlaps; the kind with a checksum wins over the one without."""
    taken: list[Finding] = []
    for kind, search in _SEARCHES.items():
        for start, end in search(text):
            if all(end <= other.start or start >= other.end for other in taken):
                taken.append(Finding(kind, start, end))
    return sorted(taken, key=lambda finding: finding.start)


def is_card(number: str) -> bool:
    """Tell whether digits are a credit card number: issuer, length and Luhn's checksum (ISO/IEC 7812)."""
    digits = [int(digit) for digit in number if digit.isdigit()]
    if not 13 <= len(digits) <= 19 or not _CARD_PREFIX.match(re.sub(r"\D", "", number)) or len(set(digits)) == 1:
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def is_iban(number: str) -> bool:
    """Tell whether letters and digits are an IBAN: known country, its length, and remainder 1 modulo 97."""
    compact = re.sub(r"[ -]", "", number)
    if IBAN_LENGTHS.get(compact[:2]) != len(compact):
        return False
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _emails(text: str) -> Iterator[tuple[int, int]]:
    if "@" in text:
        yield from (match.span() for match in EMAIL.finditer(text))


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    """Yield IBANs; words after one, in capitals, may have been caught with it, so shorter ends are tried as well."""
    for match in IBAN.finditer(text):
        length = IBAN_LENGTHS.get(match.group()[:2], 0)
        end = match.start()
        for character in text[match.start() : match.end()]:
            end += 1
            length -= character not in " -"
            if length == 0:
                break
        if is_iban(text[match.start() : end]) and not text[end : end + 1].isalnum():
            yield match.start(), end


def _cards(text: str) -> Iterator[tuple[int, int]]:
    yield from (match.span() for match in CARD.finditer(text) if is_card(match.group()))


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    candidates = list(IPV4.finditer(text)) if "." in text else []
    if ":" in text:
        candidates += [match for match in IPV6.finditer(text) if any(part.isdigit() for part in match.group())]
    for match in candidates:
        try:
            ipaddress.ip_address(match.group())
        except ValueError:
            continue  # the form fits, the value does not: 300.1.2.3 or a time
        yield match.span()


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for match in PHONE.finditer(text):
        digits = sum(map(str.isdigit, match.group()))
        if digits >= _SHORTEST_UNNAMED and not _DATE.fullmatch(match.group()):
            yield match.span()
    yield from (match.span(1) for match in NAMED_PHONE.finditer(text) if not _DATE.fullmatch(match.group(1)))


_SEARCHES: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "IBAN": _ibans,
    "CREDIT_CARD": _cards,
    "EMAIL": _emails,
    "IP": _addresses,
    "PHONE": _phones,
}
