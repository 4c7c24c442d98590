"""Find personal data and secrets by form, and replace them with typed placeholders.

`numbers` knows what has a checksum or a fixed form (cards, IBANs, social security and national ids), `contacts` e-mail,
phones, IP and MAC addresses, URLs, `secrets` keys, tokens and passwords, `addresses` street addresses. Names and places
are told by a model where one is installed (`names`). Each search begins with a cheap test (no @, no e-mail; no run of
digits, no card), so ordinary prose costs little.

A placeholder is `<EMAIL>`, or `<EMAIL_1>` where equal values of a document shall stay recognisable as equal. Redaction
is repeated until nothing is found, since what stood beside a match may only then be seen as one; so a second pass over
its result finds nothing.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable

from data_prep.personal_data.addresses import street_addresses
from data_prep.personal_data.contacts import emails, ip_addresses, mac_addresses, phones, urls
from data_prep.personal_data.names import MODEL_KINDS, Names
from data_prep.personal_data.numbers import cards, ibans, is_card, is_iban, national_ids, social_security_numbers
from data_prep.personal_data.secrets import secrets
from data_prep.personal_data.span import Finding, Search, digit_runs

__all__ = ["DEFAULT_KINDS", "KINDS", "Finding", "find", "is_card", "is_iban", "redact"]

# In the order of trust: where two overlap, the first one is taken.
_SEARCHES: dict[str, Search] = {
    "SECRET": secrets,
    "IBAN": ibans,
    "CREDIT_CARD": cards,
    "US_SSN": social_security_numbers,
    "NATIONAL_ID": national_ids,
    "EMAIL": emails,
    "MAC": mac_addresses,
    "IP": ip_addresses,
    "URL": urls,
    "PHONE": phones,
    "ADDRESS": street_addresses,
}
KINDS = (*_SEARCHES, *MODEL_KINDS)
DEFAULT_KINDS = frozenset(_SEARCHES) - {
    "URL",
    "ADDRESS",
}  # web addresses are rarely personal; a street is often a place
_PASSES = 5


def redact(
    text: str, kinds: frozenset[str] | None = None, numbered: bool = False, names: Names | None = None
) -> tuple[str, Counter[str]]:
    """Return the text with placeholders, and how many of each kind were put."""
    counts: Counter[str] = Counter()
    placeholder = _numbered() if numbered else _plain
    findings = find(text, kinds, names)
    for _ in range(_PASSES):
        if not findings:
            break
        text = _replaced(text, findings, placeholder, counts)
        findings = find(text, kinds)
    return text, counts


def find(text: str, kinds: frozenset[str] | None = None, names: Names | None = None) -> list[Finding]:
    """Return what is found, in order and without overlaps; what has a checksum wins over what has none."""
    kinds = DEFAULT_KINDS if kinds is None else kinds
    runs = digit_runs(text)
    by_form = (
        Finding(kind, start, end)
        for kind, search in _SEARCHES.items()
        if kind in kinds
        for start, end in search(text, runs)
    )
    return merged([*by_form, *(names.find(text, kinds) if names else ())])


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings in order of place without those that overlap an earlier one."""
    taken: list[Finding] = []
    for finding in findings:
        place = bisect(taken, finding.start, key=lambda other: other.start)
        if (place and taken[place - 1].end > finding.start) or (
            place < len(taken) and taken[place].start < finding.end
        ):
            continue
        taken.insert(place, finding)
    return taken


def counted(findings: Iterable[Finding]) -> Counter[str]:
    """Return how many findings there are of each kind."""
    return Counter(finding.kind for finding in findings)


def _replaced(text: str, findings: list[Finding], placeholder: Callable[[str, str], str], counts: Counter[str]) -> str:
    pieces, position = [], 0
    for finding in findings:
        value = text[finding.start : finding.end]
        pieces += [text[position : finding.start], placeholder(finding.kind, value)]
        position = finding.end
        counts[finding.kind] += 1
    return "".join([*pieces, text[position:]])


def _plain(kind: str, value: str) -> str:
    return f"<{kind}>"


def _numbered() -> Callable[[str, str], str]:
    """Return a maker of placeholders that gives equal values of a kind the same number."""
    numbers: dict[tuple[str, str], int] = {}
    last: Counter[str] = Counter()

    def placeholder(kind: str, value: str) -> str:
        # A card or phone number is the same however its digits are grouped, a name whatever its case and blanks.
        key = kind, re.sub(r"[\W_]+", "", value).casefold() or value
        if key not in numbers:
            last[kind] += 1
            numbers[key] = last[kind]
        return f"<{kind}_{numbers[key]}>"

    return placeholder
