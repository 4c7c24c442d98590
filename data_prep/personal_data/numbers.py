"""Numbers with a checksum or a fixed form: cards, IBANs, US social security numbers, national ids.

Credit cards: issuer prefix and Luhn (ISO/IEC 7812). IBAN: country, length and mod-97 (ISO 13616). US social security
numbers: areas, groups and serials that are never given out are no numbers (ssa.gov); without hyphens only after words
that name them. National ids are those whose checksum or form makes chance hits rare: Brazil's CPF, Spain's DNI and NIE,
France's NIR, India's Aadhaar, Poland's PESEL. A number that fails its checksum is none of these; it may still look like
a phone number. Left out: ids without a checksum (passports, driving licences).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.personal_data.span import Span, matches

IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])")
CARD = re.compile(r"(?<![\w.-])(?<!\d )\d(?:[ -]?\d){11,18}(?![\w-]|\.\d)")
SSN = re.compile(r"(?<![\w.-])(\d{3})-(\d{2})-(\d{4})(?![\w-])")
NAMED_SSN = re.compile(
    r"\b(?:ssn|social security(?: (?:number|no\.?|#))?)\b[^\d\n]{0,24}(\d{3})[ .]?(\d{2})[ .]?(\d{4})(?!\w)", re.I
)
NATIONAL_IDS = re.compile(
    r"""(?<![\w.-])(?:
        (?P<cpf>\d{3}\.\d{3}\.\d{3}-\d{2})
      | (?P<dni>(?:\d{8}|[XYZ]-?\d{7})-?[A-Z])
      | (?P<nir>[12][ ]?\d{2}[ ]?(?:0[1-9]|1[0-2])[ ]?(?:\d{2}|2[AB])[ ]?\d{3}[ ]?\d{3}[ ]?\d{2})
      | (?P<aadhaar>[2-9]\d{3}[ ]\d{4}[ ]\d{4})
      | (?P<pesel>\d{11})
    )(?![\w-]|[.]\d)""",
    re.VERBOSE,
)
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
# First digits of the issuers, and how many digits their numbers have (ISO/IEC 7812; JCB's old ones have 15).
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3[0689]\d{12,17}|35\d{14,17}|(?:1800|2131)\d{11}|"
    r"6\d{15,18}|(?:50|5[678]|6304|67)\d{10,17}"
)
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
# Verhoeff's multiplication table of the dihedral group of order 10, and its permutation.
_DIHEDRAL = [
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
]  # fmt: skip
_PERMUTATION = [
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
]  # fmt: skip


def ibans(text: str, runs: list[Span]) -> Iterator[Span]:
    """Yield IBANs; words after one may have been caught with it, so only the country's length counts."""
    for match in matches(IBAN, text, runs):
        length = IBAN_LENGTHS.get(match.group()[:2].upper(), 0)
        end = match.start()
        for character in text[match.start() : match.end()]:
            end += 1
            length -= character not in " -"
            if length == 0:
                break
        if is_iban(text[match.start() : end]) and not text[end : end + 1].isalnum():
            yield match.start(), end


def is_iban(number: str) -> bool:
    """Tell whether letters and digits are an IBAN: known country, its length, and remainder 1 modulo 97."""
    compact = re.sub(r"[ -]", "", number).upper()
    if IBAN_LENGTHS.get(compact[:2]) != len(compact):
        return False
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def cards(text: str, runs: list[Span]) -> Iterator[Span]:
    """Yield credit card numbers."""
    yield from (match.span() for match in matches(CARD, text, runs) if is_card(match.group()))


def is_card(number: str) -> bool:
    """Tell whether digits are a credit card number: issuer, length and Luhn's checksum."""
    compact = re.sub(r"\D", "", number)
    digits = [int(digit) for digit in compact]
    if not _ISSUERS.fullmatch(compact) or len(set(digits)) == 1:
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def social_security_numbers(text: str, runs: list[Span]) -> Iterator[Span]:
    """Yield US social security numbers."""
    for match in matches(SSN, text, runs):
        if _given_out(*match.groups()):
            yield match.span()
    for match in matches(NAMED_SSN, text, runs):
        if _given_out(*match.groups()):
            yield match.start(1), match.end()


def _given_out(area: str, group: str, serial: str) -> bool:
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def national_ids(text: str, runs: list[Span]) -> Iterator[Span]:
    """Yield national ids whose checksum holds."""
    for match in matches(NATIONAL_IDS, text, runs):
        assert match.lastgroup
        if _CHECKS[match.lastgroup](re.sub(r"[^\dA-Z]", "", match.group())):
            yield match.span()


def is_cpf(digits: str) -> bool:
    """Tell a Brazilian CPF: two check digits modulo 11."""
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        total = sum(int(digit) * weight for digit, weight in zip(digits, range(length + 1, 1, -1), strict=False))
        if total * 10 % 11 % 10 != int(digits[length]):
            return False
    return True


def is_dni(compact: str) -> bool:
    """Tell a Spanish DNI or NIE: the letter is the number modulo 23."""
    number = compact[:-1].translate(str.maketrans("XYZ", "012"))
    return _DNI_LETTERS[int(number) % 23] == compact[-1]


def is_nir(compact: str) -> bool:
    """Tell a French NIR: the last two digits are 97 less the rest modulo 97; Corsica's 2A and 2B count 19 and 18."""
    number = compact[:-2].replace("2A", "19").replace("2B", "18")
    return len(compact) == 15 and 97 - int(number) % 97 == int(compact[-2:])


def is_aadhaar(digits: str) -> bool:
    """Tell an Indian Aadhaar number: Verhoeff's checksum."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = int(_DIHEDRAL[check][int(_PERMUTATION[place % 8][int(digit)])])
    return check == 0


def is_pesel(digits: str) -> bool:
    """Tell a Polish PESEL: a day of birth (the century is in the month) and a check digit modulo 10."""
    month, day = int(digits[2:4]) % 20, int(digits[4:6])
    total = sum(int(digit) * weight for digit, weight in zip(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), strict=True))
    return 1 <= month <= 12 and 1 <= day <= 31 and total % 10 == 0


_CHECKS = {"cpf": is_cpf, "dni": is_dni, "nir": is_nir, "aadhaar": is_aadhaar, "pesel": is_pesel}
